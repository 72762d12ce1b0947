/**
 * Notices clients that are not there any more: after a silence, and some chance so that not all are asked at once, a ping;
 * without its answer in time, the end. Any frame postpones the ping, only the right pong answers it. Each client has one.
 */
import type { Context } from '@heddle/core'
import type { Limits } from './options.js'
import { PING_BYTES, ping, pongAnswers } from './protocol/index.js'

const JITTER_MIN_MS = 1_000
const JITTER_MAX_MS = 5_000

export interface KeepAliveHandlers {
  send(frame: Uint8Array): void
  lost(): void
}

export class KeepAlive implements Disposable {
  readonly #context: Context
  readonly #limits: Limits
  readonly #handlers: KeepAliveHandlers
  #heardAtMs: number
  #timer: Disposable
  #expected: Uint8Array | undefined

  constructor(context: Context, limits: Limits, handlers: KeepAliveHandlers) {
    this.#context = context
    this.#limits = limits
    this.#handlers = handlers
    this.#heardAtMs = context.clock.now()
    this.#timer = this.#askIn(limits.pingIntervalMs + this.#jitterMs())
  }

  /** The client sent something. */
  heard(): void {
    this.#heardAtMs = this.#context.clock.now()
  }

  pong(frame: Uint8Array): void {
    if (this.#expected === undefined || !pongAnswers(frame, this.#expected)) return
    this.#expected = undefined
    this.#timer[Symbol.dispose]()
    this.#timer = this.#askIn(this.#limits.pingIntervalMs + this.#jitterMs())
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  #askIn(delayMs: number): Disposable {
    return this.#context.clock.setTimer(delayMs, () => this.#ask())
  }

  #ask(): void {
    const { clock, random } = this.#context
    const restMs = this.#heardAtMs + this.#limits.pingIntervalMs - clock.now()
    // One timer that looks back is cheaper than one that is set anew for every frame.
    if (restMs > 0) {
      this.#timer = this.#askIn(restMs + this.#jitterMs())
      return
    }
    this.#expected = random(PING_BYTES)
    this.#handlers.send(ping(this.#expected))
    this.#timer = clock.setTimer(this.#limits.pongTimeoutMs, () => this.#handlers.lost())
  }

  #jitterMs(): number {
    const [high = 0, low = 0] = this.#context.random(2)
    return JITTER_MIN_MS + Math.floor(((high * 256 + low) / 65_536) * (JITTER_MAX_MS - JITTER_MIN_MS))
  }
}
