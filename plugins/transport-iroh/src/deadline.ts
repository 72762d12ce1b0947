/** Waiting that ends: a signal that aborts with others or when the time is over, and a race against it. */
import type { Context } from '@heddle/core'

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

/**
 * The promise's outcome, or the abort if it comes first: iroh's calls cannot be aborted. What a call gives after all goes
 * to `late`, so that it can be closed.
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal, late: (value: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal.reason)
      promise.then(late, () => {
        // Nobody waits for it any more; the abort was reported.
      })
    }
    if (signal.aborted) {
      onAbort()
      return
    }
    signal.addEventListener('abort', onAbort, { once: true })
    const settled = () => signal.removeEventListener('abort', onAbort)
    promise.then(
      (value) => {
        settled()
        if (!signal.aborted) resolve(value)
      },
      (error) => {
        settled()
        reject(error)
      }
    )
  })
}
