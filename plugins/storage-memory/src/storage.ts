/**
 * The storage itself: commits in the order of the calls, one microtask apart and without timers, so that a simulation
 * which owns the clock stays deterministic (SPEC PLUGIN-*).
 */
import {
  checkBatch,
  checkKey,
  compareBytes,
  type Batch,
  type Entry,
  HeddleError,
  type Manifest,
  type ScanRange,
  type Storage
} from '@heddle/core'
import type { MemoryDisk } from './disk.js'

/** Called before a batch takes effect; what it throws becomes the failure of that commit, and nothing is changed. */
export type OnCommit = (batch: Batch) => void | Promise<void>

export class MemoryStorage implements Storage {
  readonly #disk: MemoryDisk
  readonly #manifest: Manifest<'storage'>
  readonly #onCommit: OnCommit | undefined
  /** The last commit called, settled without error. */
  #tail: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(disk: MemoryDisk, manifest: Manifest<'storage'>, onCommit?: OnCommit) {
    this.#disk = disk
    this.#manifest = manifest
    this.#onCommit = onCommit
    disk.attach(this)
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#checkOpen()
    checkKey(key, this.#manifest)
    return this.#disk.get(key)
  }

  async *scan(range: ScanRange, signal?: AbortSignal): AsyncGenerator<readonly Entry[]> {
    const { reverse = false } = range
    let { limit = Number.POSITIVE_INFINITY } = range
    let gte: Uint8Array = range.gte.slice()
    let lt: Uint8Array = range.lt.slice()
    while (limit > 0) {
      this.#checkOpen()
      if (signal?.aborted) throw new HeddleError('ABORTED', 'the scan was aborted', { cause: signal.reason })
      const page = this.#disk.page({ gte, lt, reverse, limit })
      const last = page.at(-1)?.key.slice()
      if (last === undefined) return
      if (reverse) lt = last
      else gte = successor(last)
      limit -= page.length
      yield page
      if (compareBytes(gte, lt) >= 0) return
    }
  }

  commit(batch: Batch): Promise<void> {
    if (this.#isClosed) return Promise.reject(closed())
    const done = this.#tail.then(async () => {
      checkBatch(batch, this.#manifest)
      await this.#onCommit?.(batch)
      if (!this.#disk.isAttached(this)) throw closed()
      this.#disk.apply(batch)
    })
    this.#tail = done.catch(() => undefined)
    return done
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    await this.#tail
  }

  #checkOpen(): void {
    if (this.#isClosed || !this.#disk.isAttached(this)) throw closed()
  }
}

/** The key that comes next: nothing lies between the two. */
function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}

function closed(): HeddleError {
  return new HeddleError(
    'STORAGE_CLOSED',
    'the memory storage was used after it was closed, or its disk was opened anew'
  )
}
