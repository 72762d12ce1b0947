/**
 * The storage on an open database. Commits called while one is being written wait and go together into the next
 * transaction: one sync for all of them (group commit). Each is still atomic for itself and in the order of the calls
 * (SPEC PLUGIN-005).
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
import { type IDBPObjectStore, unwrap } from 'idb'
import { type Connection, ENTRIES, type Schema } from './connection.js'
import { corrupt, storageError } from './errors.js'
import type { Notices } from './notices.js'

/** What one transaction takes; the browser holds all of it in memory. A larger batch goes alone. */
const GROUP_BYTES_MAX = 16 * 1024 * 1024
const GROUP_BATCHES_MAX = 1024

type ReadableStore = IDBPObjectStore<Schema, [typeof ENTRIES], typeof ENTRIES, 'readonly'>
type WritableStore = IDBPObjectStore<Schema, [typeof ENTRIES], typeof ENTRIES, 'readwrite'>

interface Job {
  readonly batch: Batch
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface IndexedDbStorageInit {
  readonly connection: Connection
  readonly manifest: Manifest<'storage'>
  readonly notices: Notices
}

export class IndexedDbStorage implements Storage {
  readonly #connection: Connection
  readonly #manifest: Manifest<'storage'>
  readonly #notices: Notices
  readonly #waiting: Job[] = []
  /** This many jobs at the head of the queue go one by one: they were in a group that failed. */
  #alone = 0
  #writing: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor({ connection, manifest, notices }: IndexedDbStorageInit) {
    this.#connection = connection
    this.#manifest = manifest
    this.#notices = notices
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#checkOpen()
    checkKey(key, this.#manifest)
    return this.#read(async () => {
      const stored = await this.#readable().get(bufferOf(key))
      return stored === undefined ? undefined : this.#bytesOf(stored)
    })
  }

  async *scan(range: ScanRange, signal?: AbortSignal): AsyncGenerator<readonly Entry[]> {
    const { reverse = false } = range
    let { limit = Number.POSITIVE_INFINITY } = range
    let gte: Uint8Array = range.gte.slice()
    let lt: Uint8Array = range.lt.slice()
    while (limit > 0) {
      this.#checkOpen()
      if (signal?.aborted) throw new HeddleError('ABORTED', 'the scan was aborted', { cause: signal.reason })
      const keys = keyRange({ gte, lt })
      if (keys === undefined) return
      const page = await this.#read(() => this.#page(keys, reverse, Math.min(limit, PAGE_ENTRIES_MAX)))
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
    return this.#notices.watch(callback)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#writing
    this.#notices[Symbol.dispose]()
    this.#connection.database.close()
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#writeGroup()
    this.#writing = undefined
  }

  /** Writes the jobs that wait, and those that come while it does, and settles them once they are on the disk. */
  async #writeGroup(): Promise<void> {
    const group: Job[] = []
    const refusals: (HeddleError | undefined)[] = []
    const batchesMax = this.#alone > 0 ? 1 : GROUP_BATCHES_MAX
    this.#alone = Math.max(0, this.#alone - 1)
    let bytes = 0
    let abort = () => {}
    try {
      const transaction = this.#connection.database.transaction(ENTRIES, 'readwrite', { durability: 'strict' })
      const end = endOf(unwrap(transaction))
      // Awaited below; until then an abort must not count as unhandled. The library's promise loses the reason when it
      // was a request that failed.
      for (const promise of [end, transaction.done]) promise.catch(() => undefined)
      abort = () => transaction.abort()
      while (group.length < batchesMax) {
        const job = this.#takeJob(group.length === 0 ? Number.POSITIVE_INFINITY : GROUP_BYTES_MAX - bytes)
        if (job === undefined) break
        group.push(job)
        bytes += job.bytes
        // Nothing but requests of the transaction may be awaited here: IndexedDB commits it otherwise.
        const refusal = await this.#refusal(transaction.store, job.batch)
        refusals.push(refusal)
        if (refusal === undefined) apply(unwrap(transaction.store), job.batch)
      }
      transaction.commit()
      await end
    } catch (cause) {
      try {
        abort()
      } catch {
        // It has aborted by itself, which is why this is reached.
      }
      this.#groupFailed(group, cause)
      return
    }
    group.forEach(({ resolve, reject }, i) => {
      const refusal = refusals[i]
      if (refusal === undefined) resolve()
      else reject(refusal)
    })
    if (group.some(({ batch }, i) => refusals[i] === undefined && isChange(batch))) this.#notices.committed()
  }

  #groupFailed(group: readonly Job[], cause: unknown): void {
    const { name, lost } = this.#connection
    if (group.length > 1 && lost === undefined) {
      // One of them made the transaction fail: alone, only that one fails.
      this.#waiting.unshift(...group)
      this.#alone = group.length
      return
    }
    // Without a group no transaction can begin any more.
    const failed = group.length > 0 ? group : this.#waiting.splice(0)
    const error = lost ?? (HeddleError.is(cause) ? cause : storageError(cause, name, 'written'))
    for (const { reject } of failed) reject(error)
  }

  /** The next job, when there is one and it adds at most `bytesMax`. */
  #takeJob(bytesMax: number): Job | undefined {
    const next = this.#waiting[0]
    return next !== undefined && next.bytes <= bytesMax ? this.#waiting.shift() : undefined
  }

  /** Why a batch must not take effect, found before it changes anything. */
  async #refusal(store: WritableStore, { expect = [] }: Batch): Promise<HeddleError | undefined> {
    for (const { key, value } of expect) {
      const stored = await store.get(bufferOf(key))
      const found = stored === undefined ? undefined : this.#bytesOf(stored)
      const holds = value === undefined || found === undefined ? value === found : equalBytes(value, found)
      if (!holds) return new HeddleError('STORAGE_CONFLICT', 'an expected value has changed; read again and retry')
    }
    return undefined
  }

  /** The first page of a range. A cursor, because `getAll` cannot stop at a number of bytes. */
  #page(keys: IDBKeyRange, reverse: boolean, entriesMax: number): Promise<Entry[]> {
    const store = unwrap(this.#readable())
    return new Promise((resolve, reject) => {
      const page: Entry[] = []
      let bytes = 0
      const request = store.openCursor(keys, reverse ? 'prev' : 'next')
      request.onerror = () => reject(request.error)
      request.onsuccess = () => {
        const cursor = request.result
        if (cursor === null) return resolve(page)
        try {
          const entry = { key: this.#bytesOf(cursor.key), value: this.#bytesOf(cursor.value) }
          bytes += entry.key.length + entry.value.length
          if (page.length > 0 && bytes > PAGE_BYTES_MAX) return resolve(page)
          if (page.push(entry) >= entriesMax) return resolve(page)
          cursor.continue()
        } catch (error) {
          reject(error)
        }
      }
    })
  }

  /** In a transaction of its own, which sees all that was committed before. */
  #readable(): ReadableStore {
    const transaction = this.#connection.database.transaction(ENTRIES, 'readonly')
    // Its requests tell what failed.
    transaction.done.catch(() => undefined)
    return transaction.store
  }

  /** IndexedDB hands out copies: the array belongs to the caller. */
  #bytesOf(stored: unknown): Uint8Array {
    if (stored instanceof ArrayBuffer) return new Uint8Array(stored)
    throw corrupt(this.#connection.name, 'it holds a key or a value that are not bytes')
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (cause) {
      const { name, lost } = this.#connection
      if (HeddleError.is(cause)) throw cause
      // Disposed of between the call and its transaction.
      this.#checkOpen()
      throw lost ?? storageError(cause, name, 'read')
    }
  }

  #checkOpen(): void {
    const { name, lost } = this.#connection
    if (this.#closed !== undefined) {
      throw new HeddleError('STORAGE_CLOSED', `the database "${name}" was used after it was closed`)
    }
    if (lost !== undefined) throw lost
  }
}

/** Resolves when what was written is on the disk, rejects with the reason when none of it is. */
function endOf(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = () => reject(transaction.error ?? new DOMException('it was aborted', 'AbortError'))
  })
}

/** Requests only: whether they succeed is told by the end of the transaction. */
function apply(store: IDBObjectStore, { delRange = [], del = [], put = [] }: Batch): void {
  for (const range of delRange) {
    const keys = keyRange(range)
    if (keys !== undefined) store.delete(keys)
  }
  for (const key of del) store.delete(bufferOf(key))
  for (const { key, value } of put) store.put(bufferOf(value), bufferOf(key))
}

/** Undefined for an empty range, which IndexedDB refuses. */
function keyRange({ gte, lt }: KeyRange): IDBKeyRange | undefined {
  return compareBytes(gte, lt) < 0 ? IDBKeyRange.bound(bufferOf(gte), bufferOf(lt), false, true) : undefined
}

/** IndexedDB stores the whole buffer below a view, and copies it while the request is made. */
function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): ArrayBuffer {
  if (buffer instanceof ArrayBuffer) {
    return byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength)
  }
  return new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength)).buffer
}

const isChange = ({ delRange = [], del = [], put = [] }: Batch): boolean =>
  delRange.length + del.length + put.length > 0

function batchBytes({ put = [] }: Batch): number {
  return put.reduce((sum, { key, value }) => sum + key.length + value.length, 0)
}

/** The key that comes next: nothing lies between the two. */
function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}
