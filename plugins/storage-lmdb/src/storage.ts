/**
 * The storage on an open LMDB environment. Commits called while one is being written wait and go together into the next
 * transaction: one sync for all of them (group commit). Each is still atomic for itself and in the order of the calls
 * (SPEC PLUGIN-*).
 */
import {
  type Batch,
  checkBatch,
  checkKey,
  compareBytes,
  type Entry,
  equalBytes,
  HeddleError,
  type KeyRange,
  type Manifest,
  PAGE_BYTES_MAX,
  PAGE_ENTRIES_MAX,
  type ScanRange,
  type Storage
} from '@heddle/core'
import type { RootDatabase } from 'lmdb'
import { seal, unseal } from './checksum.js'
import { readError, writeError } from './errors.js'
import type { ForeignCommits } from './foreign.js'

export type Database = RootDatabase<Uint8Array, Uint8Array>

/** LMDB's bound for its usual page of 4 KiB. */
export const KEY_BYTES_MAX = 1978
/** What one transaction takes: it holds the main thread while it is filled. A larger batch goes alone. */
const GROUP_BYTES_MAX = 16 * 1024 * 1024
const GROUP_BATCHES_MAX = 4096
/** Keys of a deleted range that are collected before they are deleted: a cursor does not survive deletions. */
const DELETE_KEYS_MAX = 1024

interface Job {
  readonly batch: Batch
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface LmdbStorageInit {
  readonly database: Database
  readonly manifest: Manifest<'storage'>
  readonly path: string
  /** Greatest size of the pages in use; undefined: the disk is the bound. */
  readonly mapBytesMax: number | undefined
  readonly foreign: ForeignCommits
}

export class LmdbStorage implements Storage {
  readonly #database: Database
  readonly #manifest: Manifest<'storage'>
  readonly #path: string
  readonly #mapBytesMax: number | undefined
  readonly #foreign: ForeignCommits
  readonly #waiting: Job[] = []
  /** This many jobs at the head of the queue go one by one: they were in a group that failed. */
  #alone = 0
  #writing: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor({ database, manifest, path, mapBytesMax, foreign }: LmdbStorageInit) {
    this.#database = database
    this.#manifest = manifest
    this.#path = path
    this.#mapBytesMax = mapBytesMax
    this.#foreign = foreign
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#checkOpen()
    checkKey(key, this.#manifest)
    return this.#read(() => this.#value(key))
  }

  async *scan(range: ScanRange, signal?: AbortSignal): AsyncGenerator<readonly Entry[]> {
    const { reverse = false } = range
    let { limit = Number.POSITIVE_INFINITY } = range
    let gte: Uint8Array = range.gte.slice()
    let lt: Uint8Array = range.lt.slice()
    while (limit > 0) {
      this.#checkOpen()
      if (signal?.aborted) throw new HeddleError('ABORTED', 'the scan was aborted', { cause: signal.reason })
      if (compareBytes(gte, lt) >= 0) return
      const page = this.#read(() => this.#page({ gte, lt }, reverse, Math.min(limit, PAGE_ENTRIES_MAX)))
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
    return this.#foreign.watch(callback)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#writing
    this.#foreign[Symbol.dispose]()
    await this.#database.close()
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#writeGroup()
    this.#writing = undefined
  }

  /** Writes the jobs that wait when LMDB gives the write lock, and settles them once they are on the disk. */
  async #writeGroup(): Promise<void> {
    let group: readonly Job[] = []
    let outcomes: readonly (HeddleError | undefined)[] | undefined
    // LMDB gives the number of a transaction that changed nothing to the next one.
    let hasChanged = false
    try {
      // A child transaction is rolled back as a whole when the callback throws; a plain one would keep half a batch.
      await this.#database.childTransaction(() => {
        group = this.#takeGroup()
        this.#foreign.began(this.#database.getWriteTxnId())
        let roomBytes = this.#roomBytes()
        outcomes = group.map(({ batch, bytes }) => {
          const refusal = this.#refusal(batch, bytes, roomBytes)
          if (refusal !== undefined) return refusal
          roomBytes -= bytes
          hasChanged = this.#apply(batch) || hasChanged
          return undefined
        })
      })
    } catch (cause) {
      await this.#groupFailed(group, outcomes !== undefined, cause)
      return
    }
    this.#foreign.ended(hasChanged)
    group.forEach(({ resolve, reject }, i) => {
      const refusal = outcomes?.[i]
      if (refusal === undefined) resolve()
      else reject(refusal)
    })
  }

  async #groupFailed(group: readonly Job[], isFilled: boolean, cause: unknown): Promise<void> {
    this.#foreign.ended(false)
    if (!isFilled && group.length > 1) {
      // One of them made LMDB refuse: alone, only that one fails.
      this.#waiting.unshift(...group)
      this.#alone = group.length
      return
    }
    const error = await writeError(cause, this.#path)
    // Without a group LMDB never called back: whoever waits now would wait for ever.
    const failed = group.length > 0 ? group : this.#waiting.splice(0)
    for (const { reject } of failed) reject(error)
  }

  #takeGroup(): Job[] {
    let count = 1
    if (this.#alone > 0) this.#alone -= 1
    else {
      let bytes = this.#waiting[0]?.bytes ?? 0
      while (count < Math.min(this.#waiting.length, GROUP_BATCHES_MAX)) {
        bytes += this.#waiting[count]?.bytes ?? 0
        if (bytes > GROUP_BYTES_MAX) break
        count += 1
      }
    }
    return this.#waiting.splice(0, count)
  }

  /** Bytes that may still be put; within a transaction. */
  #roomBytes(): number {
    if (this.#mapBytesMax === undefined) return Number.POSITIVE_INFINITY
    const stats = this.#database.getStats() as Readonly<Record<string, unknown>>
    const pages = ['treeBranchPageCount', 'treeLeafPageCount', 'overflowPages'].map((name) => Number(stats[name]))
    return this.#mapBytesMax - Number(stats.pageSize) * pages.reduce((sum, count) => sum + count, 0)
  }

  /** Why a batch must not take effect, found before it changes anything. */
  #refusal(batch: Batch, bytes: number, roomBytes: number): HeddleError | undefined {
    for (const { key, value } of batch.expect ?? []) {
      let found: Uint8Array | undefined
      try {
        found = this.#value(key)
      } catch (error) {
        if (HeddleError.is(error, 'STORAGE_CORRUPT')) return error
        throw error
      }
      const holds = value === undefined || found === undefined ? value === found : equalBytes(value, found)
      if (!holds) return new HeddleError('STORAGE_CONFLICT', 'an expected value has changed; read again and retry')
    }
    if (bytes > 0 && bytes > roomBytes) {
      return new HeddleError(
        'STORAGE_UNAVAILABLE',
        `the storage ${this.#path} may not grow past ${this.#mapBytesMax} bytes; raise mapBytesMax or delete documents`,
        { info: { path: this.#path, mapBytesMax: this.#mapBytesMax } }
      )
    }
    return undefined
  }

  /** Returns whether anything is different afterwards. */
  #apply(batch: Batch): boolean {
    let hasChanged = (batch.put ?? []).length > 0
    for (const range of batch.delRange ?? []) hasChanged = this.#deleteRange(range) || hasChanged
    for (const key of batch.del ?? []) hasChanged = this.#database.removeSync(key) || hasChanged
    for (const { key, value } of batch.put ?? []) this.#database.putSync(key, seal(key, value))
    return hasChanged
  }

  #deleteRange({ gte, lt }: KeyRange): boolean {
    for (let deleted = 0; ; ) {
      const keys: Uint8Array[] = []
      for (const key of this.#database.getKeys({ start: startOf(gte) })) {
        if (compareBytes(key, lt) >= 0 || keys.length >= DELETE_KEYS_MAX) break
        if (compareBytes(key, gte) >= 0) keys.push(key)
      }
      for (const key of keys) this.#database.removeSync(key)
      deleted += keys.length
      if (keys.length < DELETE_KEYS_MAX) return deleted > 0
    }
  }

  #value(key: Uint8Array): Uint8Array | undefined {
    const stored = this.#database.getBinary(key)
    return stored === undefined ? undefined : unseal(key, stored)
  }

  #page({ gte, lt }: KeyRange, reverse: boolean, entriesMax: number): Entry[] {
    const page: Entry[] = []
    let bytes = 0
    // LMDB is told where to begin only: bounds may be longer than its keys. Without `end` the library leaves out the
    // first key of all, a single zero byte, when it goes down.
    const cursor = reverse ? { start: startOf(lt), end: new Uint8Array(0), reverse } : { start: startOf(gte) }
    for (const { key, value } of this.#database.getRange(cursor)) {
      if (reverse ? compareBytes(key, gte) < 0 : compareBytes(key, lt) >= 0) break
      if (reverse ? compareBytes(key, lt) >= 0 : compareBytes(key, gte) < 0) continue
      if (page.length >= entriesMax) break
      bytes += key.length + value.length
      if (bytes > PAGE_BYTES_MAX && page.length > 0) break
      page.push({ key: new Uint8Array(key), value: unseal(key, value) })
    }
    return page
  }

  #read<T>(read: () => T): T {
    // The library keeps a snapshot for a while; a commit of another process may be newer than that.
    this.#database.resetReadTxn()
    try {
      return read()
    } catch (cause) {
      throw HeddleError.is(cause) ? cause : readError(cause, this.#path)
    }
  }

  #checkOpen(): void {
    if (this.#closed === undefined) return
    throw new HeddleError('STORAGE_CLOSED', `the storage ${this.#path} was used after it was closed`)
  }
}

/** What a batch adds at most; 0 when it only deletes. */
function batchBytes(batch: Batch): number {
  return (batch.put ?? []).reduce((sum, { key, value }) => sum + key.length + value.length, 0)
}

/** Where LMDB begins for a bound: it knows no empty key and none above its limit. */
function startOf(bound: Uint8Array): Uint8Array {
  return bound.length === 0 ? new Uint8Array(1) : bound.subarray(0, KEY_BYTES_MAX)
}

/** The key that comes next: nothing lies between the two. */
function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}
