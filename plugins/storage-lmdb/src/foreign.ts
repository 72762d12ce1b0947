/**
 * Notices commits of other processes. LMDB numbers its transactions without gaps and gives the number of the last one,
 * so whatever number this process did not use was another's. The storage tells it of its own; `watch` hangs on it.
 */
import type { Clock } from '@heddle/core'

/** How long a commit of another process may stay unnoticed. */
const POLL_MS = 50

export class ForeignCommits implements Disposable {
  readonly #clock: Clock
  readonly #lastTransaction: () => number
  readonly #callbacks = new Set<{ readonly callback: () => void }>()
  #timer: Disposable | undefined
  /** Every transaction up to here is known, whoever made it. */
  #seen: number
  /** The one this process is writing. */
  #own: number | undefined

  constructor(clock: Clock, lastTransaction: () => number) {
    this.#clock = clock
    this.#lastTransaction = lastTransaction
    this.#seen = lastTransaction()
  }

  /** Calls back after a commit of another process, whatever it changed. */
  watch(callback: () => void): Disposable {
    const watcher = { callback }
    if (this.#callbacks.size === 0) this.#seen = this.#lastTransaction()
    this.#callbacks.add(watcher)
    this.#arm()
    return {
      [Symbol.dispose]: () => {
        this.#callbacks.delete(watcher)
        if (this.#callbacks.size === 0) this[Symbol.dispose]()
      }
    }
  }

  /** This process holds the write lock and writes transaction `id`: all before it are committed. */
  began(id: number): void {
    this.#own = id
  }

  /** The write of this process is over; `hasUsed` tells whether with the number it announced. */
  ended(hasUsed: boolean): void {
    if (this.#own === undefined) return
    const last = hasUsed ? this.#own : this.#own - 1
    const isForeign = this.#own - 1 > this.#seen
    this.#own = undefined
    this.#seen = Math.max(this.#seen, last)
    if (isForeign) this.#notify()
  }

  [Symbol.dispose](): void {
    this.#callbacks.clear()
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #arm(): void {
    this.#timer ??= this.#clock.setTimer(POLL_MS, () => {
      this.#timer = undefined
      // While this process writes nobody else does, and the last number may be its own.
      const last = this.#own === undefined ? this.#lastTransaction() : this.#seen
      if (last > this.#seen) {
        this.#seen = last
        this.#notify()
      }
      if (this.#callbacks.size > 0) this.#arm()
    })
  }

  /** Apart from what noticed it: a callback may use the storage at once, and its errors are its own. */
  #notify(): void {
    for (const { callback } of this.#callbacks) queueMicrotask(callback)
  }
}
