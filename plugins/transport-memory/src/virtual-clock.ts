/**
 * Time for simulations: it stands still while code runs and jumps to the next timer when all of it waits. With the memory
 * network it makes a whole system of devices and servers replay from a seed, hours of it in seconds.
 */
import type { Clock } from '@heddle/core'

export interface VirtualClockOptions {
  /**
   * Waits until nothing runs any more; called before time moves. The default is one turn of the event loop, which is enough
   * for code that waits only for promises and timers of this clock. Pass your own when a thread or a file is awaited.
   */
  readonly settle?: () => Promise<void>
}

/** How far `run` goes: to a moment, to a condition, or to a condition that has to hold by a moment. */
export type RunGoal =
  | { readonly untilMs: number; readonly until?: undefined }
  | { readonly until: () => boolean; readonly untilMs?: number }

export interface VirtualClock extends Clock {
  /** Timers set and neither fired nor disposed. */
  readonly pending: number
  /**
   * Fires timers in order of time, equal times in the order they were set, and lets everything each one started come to
   * rest before the next. With `untilMs` the clock stands there afterwards. Throws when `until` does not hold by `untilMs`
   * or when no timer is left that could make it hold.
   */
  run(goal: RunGoal): Promise<void>
}

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
}

/** A clock that starts at `startMs` (milliseconds since the Unix epoch) and moves only in `run`. */
export function createVirtualClock(startMs: number, options: VirtualClockOptions = {}): VirtualClock {
  const settle = options.settle ?? (() => new Promise<void>((resolve) => setImmediate(resolve)))
  const timers = new TimerHeap()
  let nowMs = startMs
  let order = 0

  return {
    now: () => nowMs,
    get pending() {
      return timers.size
    },
    setTimer(delayMs, callback) {
      const timer: Timer = { atMs: nowMs + Math.ceil(Math.max(0, delayMs)), order: order++, callback }
      timers.add(timer)
      return { [Symbol.dispose]: () => timers.remove(timer) }
    },
    async run(goal) {
      const untilMs = goal.untilMs ?? Number.POSITIVE_INFINITY
      for (;;) {
        await settle()
        if (goal.until?.() === true) return
        const next = timers.first()
        if (next === undefined || next.atMs > untilMs) break
        timers.remove(next)
        nowMs = next.atMs
        next.callback()
      }
      if (Number.isFinite(untilMs)) nowMs = Math.max(nowMs, untilMs)
      if (goal.until !== undefined) {
        const why = timers.size === 0 ? 'no timer is left that could change it' : 'its time is over'
        throw new Error(`the condition does not hold at ${nowMs} ms of virtual time, and ${why}`)
      }
    }
  }
}

/** A binary heap by (time, order); removal marks the entry and drops it when it comes up. */
class TimerHeap {
  readonly #heap: Timer[] = []
  readonly #live = new Set<Timer>()

  get size(): number {
    return this.#live.size
  }

  add(timer: Timer): void {
    this.#live.add(timer)
    this.#heap.push(timer)
    let at = this.#heap.length - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#before(at, parent)) break
      this.#swap(at, parent)
      at = parent
    }
  }

  remove(timer: Timer): void {
    this.#live.delete(timer)
  }

  first(): Timer | undefined {
    for (;;) {
      const top = this.#heap[0]
      if (top === undefined || this.#live.has(top)) return top
      this.#dropTop()
    }
  }

  #dropTop(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    let at = 0
    for (;;) {
      const left = at * 2 + 1
      let least = at
      if (this.#before(left, least)) least = left
      if (this.#before(left + 1, least)) least = left + 1
      if (least === at) return
      this.#swap(at, least)
      at = least
    }
  }

  #before(a: number, b: number): boolean {
    const x = this.#heap[a]
    const y = this.#heap[b]
    if (x === undefined || y === undefined) return false
    return x.atMs < y.atMs || (x.atMs === y.atMs && x.order < y.order)
  }

  #swap(a: number, b: number): void {
    const x = this.#heap[a]
    const y = this.#heap[b]
    if (x === undefined || y === undefined) return
    this.#heap[a] = y
    this.#heap[b] = x
  }
}
