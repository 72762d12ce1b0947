/**
 * A queue that is read as an async iterable: values in order, then the end or the error it was closed with. Frames of a
 * stream, incoming streams and accepted connections all wait in one. Transports call it; the core does not.
 */
import type { HeddleError } from '../errors.js'

export interface QueueOptions<T> {
  /** Called as the reader takes a value: the place to give credit back. */
  readonly onTake?: (value: T) => void
  /** Called as a reader begins to wait for a value. */
  readonly onWait?: () => void
}

/**
 * Leaving a `for await` early loses nothing: the next iteration goes on where it stopped. Values queued before `close` are
 * still delivered; `clear` drops them.
 */
export class AsyncQueue<T> implements AsyncIterable<T> {
  readonly #onTake: ((value: T) => void) | undefined
  readonly #onWait: (() => void) | undefined
  #values: T[] = []
  #head = 0
  #waiting: { resolve(result: IteratorResult<T>): void; reject(error: unknown): void }[] = []
  #end: { readonly error: HeddleError | undefined } | undefined

  constructor(options: QueueOptions<T> = {}) {
    this.#onTake = options.onTake
    this.#onWait = options.onWait
  }

  get closed(): boolean {
    return this.#end !== undefined
  }

  /** Values nobody has taken. */
  get size(): number {
    return this.#values.length - this.#head
  }

  /** Whether a reader waits for the next value. */
  get waiting(): boolean {
    return this.#waiting.length > 0
  }

  /** Adds a value; false when the queue is closed. */
  push(value: T): boolean {
    if (this.#end !== undefined) return false
    const reader = this.#waiting.shift()
    if (reader === undefined) {
      this.#values.push(value)
    } else {
      this.#onTake?.(value)
      reader.resolve({ done: false, value })
    }
    return true
  }

  /** Takes out one value nobody has read, if it is there. */
  remove(value: T): boolean {
    const at = this.#values.indexOf(value, this.#head)
    if (at !== -1) this.#values.splice(at, 1)
    return at !== -1
  }

  /** Takes out everything nobody has read. */
  clear(): T[] {
    const rest = this.#values.slice(this.#head)
    this.#values = []
    this.#head = 0
    return rest
  }

  /** Nothing more comes. With an error, readers get it after the queued values; otherwise the iteration ends. */
  close(error?: HeddleError): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    for (const reader of this.#waiting.splice(0)) {
      if (error === undefined) reader.resolve({ done: true, value: undefined })
      else reader.reject(error)
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return { next: () => this.#next(), return: async () => ({ done: true, value: undefined }) }
  }

  #next(): Promise<IteratorResult<T>> {
    if (this.#head < this.#values.length) {
      const value = this.#values[this.#head] as T
      this.#head += 1
      // Shifting one by one is quadratic for long queues; dropping the read half now and then is not.
      if (this.#head === this.#values.length || (this.#head > 32 && this.#head * 2 > this.#values.length)) {
        this.#values = this.#values.slice(this.#head)
        this.#head = 0
      }
      this.#onTake?.(value)
      return Promise.resolve({ done: false, value })
    }
    if (this.#end === undefined) {
      return new Promise((resolve, reject) => {
        this.#waiting.push({ resolve, reject })
        this.#onWait?.()
      })
    }
    if (this.#end.error !== undefined) return Promise.reject(this.#end.error)
    return Promise.resolve({ done: true, value: undefined })
  }
}
