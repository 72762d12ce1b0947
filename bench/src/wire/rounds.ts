/**
 * Times tasks against each other in one process: short turns, everyone in every round, every other round in reverse. So
 * a busy moment of the machine hits all of them, and the optimizing compiler has seen all of the work before any counts.
 * What counts is processor time, that of the garbage collector included, not what other programs take in between.
 */

export type Task = () => unknown

export interface Turns {
  /** How long one turn of one task takes, about. */
  readonly turnMs: number
  readonly rounds: number
}

/** Calls of each task in a second of processor time, one number a round. */
export function callsPerSecond(tasks: readonly Task[], { turnMs, rounds }: Turns): readonly (readonly number[])[] {
  const calls = tasks.map((task) => Math.max(1, Math.ceil(warmUp(task, turnMs * 8) * turnMs)))
  const results = tasks.map((): number[] => [])
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < tasks.length; turn++) {
      const index = round % 2 === 0 ? turn : tasks.length - 1 - turn
      const task = tasks[index] as Task
      const count = calls[index] as number
      results[index]?.push((1000 * count) / timed(task, count))
    }
  }
  return results
}

/** Calls a millisecond in the second half of the time. */
function warmUp(task: Task, ms: number): number {
  const half = (): number => {
    const startedMs = cpuMs()
    let calls = 0
    for (; cpuMs() - startedMs < ms / 2; calls++) task()
    return (2 * calls) / ms
  }
  half()
  return half()
}

function timed(task: Task, count: number): number {
  const startedMs = cpuMs()
  for (let i = 0; i < count; i++) task()
  return cpuMs() - startedMs
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
