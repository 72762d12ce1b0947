/**
 * Several batches as one (group commit): which of them take effect when each is judged after those before it, and what
 * they leave behind together. Storages that write batches in groups call it; it does no I/O (SPEC PLUGIN-005).
 */
import { compareBytes, equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Batch, Entry, KeyRange } from './types.js'

/** What is left of a group. The three lists take effect in the order of a batch; no key is in both `del` and `put`. */
export interface MergedBatches {
  /** For each batch in turn: why it changes nothing, or undefined when it takes effect. */
  readonly refusals: readonly (HeddleError | undefined)[]
  readonly delRange: readonly KeyRange[]
  readonly del: readonly Uint8Array[]
  readonly put: readonly Entry[]
}

/**
 * Applies batches in order to what is stored, in memory. `stored` gives the value before the group of every key that a
 * batch expects; a HeddleError it throws becomes the refusal of that batch. Keeps the arrays it is given, changes none.
 */
export function mergeBatches(
  batches: readonly Batch[],
  stored: (key: Uint8Array) => Uint8Array | undefined
): MergedBatches {
  const delRange: KeyRange[] = []
  /** What the group does to single keys; it takes effect after all ranges. */
  const single = new Map<string, { readonly key: Uint8Array; readonly value: Uint8Array | undefined }>()

  const current = (key: Uint8Array): Uint8Array | undefined => {
    const changed = single.get(toHex(key))
    if (changed !== undefined) return changed.value
    return delRange.some((range) => isWithin(key, range)) ? undefined : stored(key)
  }

  const refusals = batches.map((batch) => {
    const refusal = refusalOf(batch, current)
    if (refusal !== undefined) return refusal
    for (const range of batch.delRange ?? []) {
      if (compareBytes(range.gte, range.lt) >= 0) continue
      delRange.push(range)
      for (const [text, { key }] of single) if (isWithin(key, range)) single.set(text, { key, value: undefined })
    }
    for (const key of batch.del ?? []) single.set(toHex(key), { key, value: undefined })
    for (const { key, value } of batch.put ?? []) single.set(toHex(key), { key, value })
    return undefined
  })

  const del: Uint8Array[] = []
  const put: Entry[] = []
  for (const { key, value } of single.values()) {
    if (value === undefined) del.push(key)
    else put.push({ key, value })
  }
  return { refusals, delRange, del, put }
}

function refusalOf(batch: Batch, current: (key: Uint8Array) => Uint8Array | undefined): HeddleError | undefined {
  try {
    for (const { key, value } of batch.expect ?? []) {
      const found = current(key)
      const holds = value === undefined || found === undefined ? value === found : equalBytes(value, found)
      if (!holds) return new HeddleError('STORAGE_CONFLICT', 'an expected value has changed; read again and retry')
    }
    return undefined
  } catch (error) {
    if (HeddleError.is(error)) return error
    throw error
  }
}

function isWithin(key: Uint8Array, { gte, lt }: KeyRange): boolean {
  return compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0
}
