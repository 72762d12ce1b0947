/** Waiting that ends, for whoever dials and listens. Transports call it; the core does not. */
import type { Context } from './types.js'

/** A signal that aborts with any of the given ones, with the host's, or when the time is over. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController()
  readonly #sources: readonly AbortSignal[]
  readonly #timer: Disposable
  readonly #onAbort = (event: Event) => this.#controller.abort((event.target as AbortSignal).reason)
  #isOver = false

  constructor(context: Context, timeoutMs: number, signals: readonly AbortSignal[]) {
    this.#sources = [context.signal, ...signals]
    for (const source of this.#sources) {
      if (source.aborted) this.#controller.abort(source.reason)
      else source.addEventListener('abort', this.#onAbort, { once: true })
    }
    this.#timer = context.clock.setTimer(timeoutMs, () => {
      this.#isOver = !this.#controller.signal.aborted
      this.#controller.abort(new Error(`no answer within ${timeoutMs} ms`))
    })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** The time was over before anybody aborted. */
  get isOver(): boolean {
    return this.#isOver
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
    for (const source of this.#sources) source.removeEventListener('abort', this.#onAbort)
  }
}
