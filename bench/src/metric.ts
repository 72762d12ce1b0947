/** What a scenario reports, and how rounds become one number. */

export type Unit = 'edits/s' | 'messages/s' | 'envelopes/s' | 'operations/s' | 'ms' | 'µs' | 'bytes' | 'edits' | '×'

export interface Metric {
  /** "scenario.what"; stays the same from version to version, for tools that read the JSON. */
  readonly id: string
  readonly label: string
  readonly unit: Unit
  /** The median of the rounds. */
  readonly value: number
  readonly rounds: readonly number[]
  /** Id of the metric to compare this one with: the same work without Heddle. It may not be there. */
  readonly yardstick?: string
  /** What Heddle is built to reach here. */
  readonly target?: Target
}

export interface Target {
  readonly atLeast?: number
  readonly atMost?: number
}

/** Whether the metric reaches its target; undefined without one. */
export function isMet({ value, target }: Metric): boolean | undefined {
  if (target === undefined) return undefined
  return value >= (target.atLeast ?? Number.NEGATIVE_INFINITY) && value <= (target.atMost ?? Number.POSITIVE_INFINITY)
}

export type MetricHead = Omit<Metric, 'value' | 'rounds'>

/** A metric from one number a round. */
export function metric(head: MetricHead, rounds: readonly number[]): Metric {
  return { ...head, value: median(rounds), rounds }
}

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** The smallest value that `percent` of the values do not exceed (nearest rank). Throws when there are none. */
export function percentile(values: readonly number[] | Float64Array, percent: number): number {
  const sorted = Float64Array.from(values).sort()
  const value = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]
  if (value === undefined) throw new RangeError('there is nothing to take a percentile of')
  return value
}
