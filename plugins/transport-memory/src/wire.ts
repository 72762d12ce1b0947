/**
 * One direction of a connection: delivers what is posted in order, each after the latency of the moment it was posted.
 * Latency 0 is a microtask; anything else is a timer of the network's clock, so that a virtual clock replays it.
 */
import type { Clock } from '@heddle/core'

export class Wire {
  readonly #clock: Clock
  readonly #latencyMs: () => number
  #waiting: { readonly dueMs: number; readonly deliver: () => void }[] = []
  #timer: Disposable | undefined
  #armed = false
  #dead = false

  constructor(clock: Clock, latencyMs: () => number) {
    this.#clock = clock
    this.#latencyMs = latencyMs
  }

  /** Delivers later, never before what was posted earlier. Does nothing on a cut wire. */
  post(deliver: () => void): void {
    if (this.#dead) return
    this.#waiting.push({ dueMs: this.#clock.now() + Math.max(0, this.#latencyMs()), deliver })
    this.#arm()
  }

  /** Drops everything under way, for ever. */
  cut(): void {
    this.#dead = true
    this.#waiting = []
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #arm(): void {
    const first = this.#waiting[0]
    if (this.#armed || first === undefined) return
    this.#armed = true
    const delayMs = first.dueMs - this.#clock.now()
    if (delayMs <= 0) queueMicrotask(() => this.#run())
    else this.#timer = this.#clock.setTimer(delayMs, () => this.#run())
  }

  #run(): void {
    const nowMs = this.#clock.now()
    // What is due stops at the first that is not: a faster message waits behind a slower one.
    const due = this.#waiting.findIndex((item) => item.dueMs > nowMs)
    const ready = this.#waiting.splice(0, due === -1 ? this.#waiting.length : due)
    for (const item of ready) if (!this.#dead) item.deliver()
    this.#armed = false
    this.#arm()
  }
}
