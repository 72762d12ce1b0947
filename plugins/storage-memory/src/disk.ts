/**
 * What a memory storage writes to. A test that hands the same disk to one storage after the other sees what a process
 * sees that crashed and started again: every batch whose commit resolved, each whole.
 */
import {
  type Batch,
  compareBytes,
  type Entry,
  equalBytes,
  HeddleError,
  PAGE_BYTES_MAX,
  PAGE_ENTRIES_MAX,
  type ScanRange
} from '@heddle/core'
import { SortedMap } from './sorted-map.js'

export class MemoryDisk {
  readonly #entries = new SortedMap()
  /** The storage that may use the disk: opening another takes it away from the one before, as a crash would. */
  #owner: object | undefined

  /** Gives the disk to `owner`. */
  attach(owner: object): void {
    this.#owner = owner
  }

  isAttached(owner: object): boolean {
    return this.#owner === owner
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#entries.get(key)?.slice()
  }

  /** Applies all of a batch or throws STORAGE_CONFLICT. The caller has checked sizes. */
  apply(batch: Batch): void {
    for (const { key, value } of batch.expect ?? []) {
      const found = this.#entries.get(key)
      const holds = value === undefined || found === undefined ? value === found : equalBytes(value, found)
      if (!holds) throw new HeddleError('STORAGE_CONFLICT', 'an expected value has changed; read again and retry')
    }
    for (const range of batch.delRange ?? []) this.#entries.deleteRange(range)
    for (const key of batch.del ?? []) this.#entries.delete(key)
    for (const { key, value } of batch.put ?? []) this.#entries.set({ key: key.slice(), value: value.slice() })
  }

  /** The first page of a range, copied. */
  page({ gte, lt, reverse = false, limit = Number.POSITIVE_INFINITY }: ScanRange): Entry[] {
    const page: Entry[] = []
    if (compareBytes(gte, lt) >= 0) return page
    let bytes = 0
    for (const { key, value } of reverse
      ? this.#entries.descending({ gte, lt })
      : this.#entries.ascending({ gte, lt })) {
      if (page.length >= Math.min(limit, PAGE_ENTRIES_MAX)) break
      bytes += key.length + value.length
      if (bytes > PAGE_BYTES_MAX && page.length > 0) break
      page.push({ key: key.slice(), value: value.slice() })
    }
    return page
  }
}
