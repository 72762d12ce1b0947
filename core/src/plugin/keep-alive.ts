/** Notices a peer that is gone without a goodbye: asks when it is silent, and gives it up when it stays so. */
import type { Clock } from './types.js'

export interface KeepAliveInit {
  readonly clock: Clock
  /** Silence after which the peer is asked for a sign of life. */
  readonly pingIntervalMs: number
  /** Silence after which it is taken for dead. */
  readonly deadAfterMs: number
  readonly ping: () => void
  readonly dead: () => void
}

export class KeepAlive implements Disposable {
  readonly #init: KeepAliveInit
  #timer: Disposable
  #heard = false
  #silentMs = 0

  constructor(init: KeepAliveInit) {
    this.#init = init
    this.#timer = this.#wait()
  }

  /** Anything came from the peer. */
  heard(): void {
    this.#heard = true
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  #wait(): Disposable {
    const delayMs = Math.min(this.#init.pingIntervalMs, this.#init.deadAfterMs - this.#silentMs)
    // Silence is counted in periods this process was awake for: after a suspended laptop or a blocked event loop the peer
    // gets its chance to be heard before it is given up.
    return this.#init.clock.setTimer(delayMs, () => this.#tick(delayMs))
  }

  #tick(periodMs: number): void {
    this.#silentMs = this.#heard ? 0 : this.#silentMs + periodMs
    this.#heard = false
    if (this.#silentMs >= this.#init.deadAfterMs) {
      this.#init.dead()
      return
    }
    if (this.#silentMs > 0) this.#init.ping()
    this.#timer = this.#wait()
  }
}
