/**
 * The storage on a PostgreSQL table. Commits called while one is under way wait and go together into the next
 * transaction: one sync, and one set of round trips, for all of them (group commit). Each is still atomic for itself and
 * in the order of the calls (SPEC PLUGIN-005).
 */
import {
  type Batch,
  type Context,
  checkBatch,
  checkKey,
  compareBytes,
  type Entry,
  HeddleError,
  type Manifest,
  type MergedBatches,
  PAGE_ENTRIES_MAX,
  type ScanRange,
  type Storage,
  toHex
} from '@heddle/core'
import { CommitLost, type Database } from './database.js'
import { isLost, storageError } from './errors.js'
import { Listener } from './listener.js'

/** What one transaction takes; a larger batch goes alone. */
const GROUP_BYTES_MAX = 16 * 1024 * 1024
const GROUP_BATCHES_MAX = 256

interface Job {
  readonly batch: Batch
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class PostgresStorage implements Storage {
  readonly #database: Database
  readonly #manifest: Manifest<'storage'>
  readonly #listener: Listener
  /** Tells the notifications of this storage from those of others. */
  readonly #writer: string
  readonly #waiting: Job[] = []
  #writing: Promise<void> | undefined
  #closed: Promise<void> | undefined

  /** Owns the database: disposing of the storage disposes of it. */
  constructor(database: Database, manifest: Manifest<'storage'>, { clock, log, random }: Context) {
    this.#database = database
    this.#manifest = manifest
    this.#writer = toHex(random(16))
    const { channel, timeoutMs } = database
    const config = database.clientConfig()
    this.#listener = new Listener({ config, channel, writer: this.#writer, timeoutMs, clock, log })
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#checkOpen()
    checkKey(key, this.#manifest)
    return this.#database.get(key)
  }

  async *scan(range: ScanRange, signal?: AbortSignal): AsyncGenerator<readonly Entry[]> {
    const { reverse = false } = range
    let { limit = Number.POSITIVE_INFINITY } = range
    let gte: Uint8Array = range.gte.slice()
    let lt: Uint8Array = range.lt.slice()
    while (limit > 0) {
      this.#checkOpen()
      if (compareBytes(gte, lt) >= 0) return
      const reading = () => this.#database.page({ gte, lt }, reverse, Math.min(limit, PAGE_ENTRIES_MAX))
      const page = await orAborted(reading, signal)
      const last = page.at(-1)?.key
      if (last === undefined) return
      if (reverse) lt = last.slice()
      else gte = successor(last)
      limit -= page.length
      yield page
    }
  }

  async commit(batch: Batch): Promise<void> {
    this.#checkOpen()
    checkBatch(batch, this.#manifest)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, bytes: batchBytes(batch), resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  watch(_prefix: Uint8Array, callback: () => void): Disposable {
    this.#checkOpen()
    return this.#listener.watch(callback)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#writing
    await this.#listener[Symbol.asyncDispose]()
    await this.#database[Symbol.asyncDispose]()
  }

  async #writeAll(): Promise<void> {
    // Calls of the same turn go together.
    await undefined
    while (this.#waiting.length > 0) await this.#writeGroup(this.#takeGroup())
    this.#writing = undefined
  }

  async #writeGroup(group: readonly Job[]): Promise<void> {
    let refusals: MergedBatches['refusals']
    try {
      const batches = group.map(({ batch }) => batch)
      refusals = await this.#database.commit(batches, this.#writer)
    } catch (error) {
      await this.#groupFailed(group, error)
      return
    }
    group.forEach(({ resolve, reject }, i) => {
      const refusal = refusals[i]
      if (refusal === undefined) resolve()
      else reject(refusal)
    })
  }

  async #groupFailed(group: readonly Job[], cause: unknown): Promise<void> {
    if (group.length > 1 && !isLost(cause)) {
      // The server refused one of them, and nothing was changed: alone, only that one fails.
      for (const job of group) await this.#writeGroup([job])
      return
    }
    const { where } = this.#database
    const error = cause instanceof CommitLost ? storageError(cause.cause, where, true) : storageError(cause, where)
    // Those that wait would each wait as long for a server that is gone, and no later one may overtake them.
    const failed = isLost(cause) ? [...group, ...this.#waiting.splice(0)] : group
    for (const { reject } of failed) reject(error)
  }

  #takeGroup(): Job[] {
    let count = 1
    let bytes = this.#waiting[0]?.bytes ?? 0
    while (count < Math.min(this.#waiting.length, GROUP_BATCHES_MAX)) {
      bytes += this.#waiting[count]?.bytes ?? 0
      if (bytes > GROUP_BYTES_MAX) break
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  #checkOpen(): void {
    if (this.#closed === undefined) return
    throw new HeddleError('STORAGE_CLOSED', `${this.#database.where} was used after its storage was closed`)
  }
}

/** Does not wait for an answer once the caller wants none; the answer is dropped when it comes. */
async function orAborted<T>(read: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return read()
  const aborted = () => new HeddleError('ABORTED', 'the scan was aborted', { cause: signal.reason })
  if (signal.aborted) throw aborted()
  let onAbort = () => {}
  const abort = new Promise<never>((_, reject) => {
    onAbort = () => reject(aborted())
    signal.addEventListener('abort', onAbort)
  })
  try {
    return await Promise.race([read(), abort])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function batchBytes(batch: Batch): number {
  return (batch.put ?? []).reduce((sum, { key, value }) => sum + key.length + value.length, 0)
}

/** The key that comes next: nothing lies between the two. */
function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}
