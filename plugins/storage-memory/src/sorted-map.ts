/**
 * An ordered map from bytes to bytes: a list of sorted chunks, found by binary search. Insertion costs the shift of one
 * chunk, not of the whole map, so 100,000 random keys stay cheap and keys that come in order are appended. The memory
 * storage keeps its data in one.
 */
import { compareBytes, type Entry, type KeyRange } from '@heddle/core'

/** A chunk that grows past this is split in two. */
const CHUNK_ENTRIES_MAX = 512

/** Keeps the arrays it is given and gives out the arrays it keeps: whoever calls it copies. */
export class SortedMap {
  /** None is empty; in order, and each in order within. */
  readonly #chunks: Entry[][] = []

  get(key: Uint8Array): Uint8Array | undefined {
    const chunk = this.#chunks[this.#chunkAt(key)]
    const entry = chunk?.[lowerBound(chunk, key)]
    return entry !== undefined && compareBytes(entry.key, key) === 0 ? entry.value : undefined
  }

  set(entry: Entry): void {
    const at = this.#chunkAt(entry.key)
    const chunk = this.#chunks[at]
    if (chunk === undefined) {
      this.#chunks.push([entry])
      return
    }
    const position = lowerBound(chunk, entry.key)
    const found = chunk[position]
    if (found !== undefined && compareBytes(found.key, entry.key) === 0) {
      chunk[position] = entry
      return
    }
    chunk.splice(position, 0, entry)
    if (chunk.length <= CHUNK_ENTRIES_MAX) return
    // Keys that come in order leave full chunks behind, random ones half-full.
    const isAppend = at === this.#chunks.length - 1 && position === chunk.length - 1
    this.#chunks.splice(at + 1, 0, chunk.splice(isAppend ? CHUNK_ENTRIES_MAX : chunk.length >>> 1))
  }

  delete(key: Uint8Array): void {
    const at = this.#chunkAt(key)
    const chunk = this.#chunks[at]
    if (chunk === undefined) return
    const position = lowerBound(chunk, key)
    const found = chunk[position]
    if (found === undefined || compareBytes(found.key, key) !== 0) return
    chunk.splice(position, 1)
    if (chunk.length === 0) this.#chunks.splice(at, 1)
  }

  deleteRange({ gte, lt }: KeyRange): void {
    if (compareBytes(gte, lt) >= 0) return
    const first = this.#chunkAt(gte)
    let last = first
    for (let chunk = this.#chunks[last]; chunk !== undefined; chunk = this.#chunks[++last]) {
      const from = lowerBound(chunk, gte)
      const to = lowerBound(chunk, lt)
      chunk.splice(from, to - from)
      if (to < chunk.length + (to - from)) break
    }
    const rest = this.#chunks.slice(first, last + 1).filter((chunk) => chunk.length > 0)
    this.#chunks.splice(first, last + 1 - first, ...rest)
  }

  /** Entries from `gte` on, ascending, as far as they lie before `lt`. The map must not change meanwhile. */
  *ascending({ gte, lt }: KeyRange): Generator<Entry> {
    for (let at = this.#chunkAt(gte); at < this.#chunks.length; at++) {
      const chunk = this.#chunks[at] ?? []
      for (let i = lowerBound(chunk, gte); i < chunk.length; i++) {
        const entry = chunk[i]
        if (entry === undefined || compareBytes(entry.key, lt) >= 0) return
        yield entry
      }
    }
  }

  /** Entries before `lt`, descending, as far as they lie from `gte` on. The map must not change meanwhile. */
  *descending({ gte, lt }: KeyRange): Generator<Entry> {
    for (let at = Math.min(this.#chunkAt(lt), this.#chunks.length - 1); at >= 0; at--) {
      const chunk = this.#chunks[at] ?? []
      for (let i = lowerBound(chunk, lt) - 1; i >= 0; i--) {
        const entry = chunk[i]
        if (entry === undefined || compareBytes(entry.key, gte) < 0) return
        yield entry
      }
    }
  }

  /** Index of the chunk the key is in or belongs into: the last that does not begin after it. */
  #chunkAt(key: Uint8Array): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const begin = this.#chunks[middle]?.[0]
      if (begin !== undefined && compareBytes(begin.key, key) <= 0) low = middle + 1
      else high = middle
    }
    return Math.max(0, low - 1)
  }
}

/** Index of the first entry whose key is not before `key`. */
function lowerBound(chunk: readonly Entry[], key: Uint8Array): number {
  let low = 0
  let high = chunk.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const entry = chunk[middle]
    if (entry !== undefined && compareBytes(entry.key, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}
