/** What a scenario is. `main.ts` runs them one after another. */
import type { Metric } from '../metric.js'
import type { Stage } from '../stage.js'

export interface Scenario {
  readonly name: string
  /** One line for a person. */
  readonly about: string
  /** Why it cannot be run here, if so. */
  skipped?(): string | undefined
  run(bench: Bench): Promise<readonly Metric[]>
}

export interface Bench {
  readonly stage: Stage
  /** Less of everything: to see that it works, not to compare. */
  readonly quick: boolean
}

/** Calls `round` so often, one after another, and gathers what it returns. */
export async function rounds<T>(count: number, round: (index: number) => Promise<T>): Promise<readonly T[]> {
  const results: T[] = []
  for (let i = 0; i < count; i++) results.push(await round(i))
  return results
}
