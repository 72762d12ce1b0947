/**
 * What every storage plugin needs besides its store: the order of keys, the bounds its manifest states and the size of
 * a page. Storage plugins call it; the core does not.
 */
import { HeddleError } from '../errors.js'
import type { Batch, Manifest } from './types.js'

export { compareBytes, equalBytes, toHex } from '../bytes.js'

/** A page of a scan ends at whichever it reaches first; one entry may be larger. */
export const PAGE_ENTRIES_MAX = 256
export const PAGE_BYTES_MAX = 1024 * 1024

/** Throws CAPABILITY_MISSING unless the key has 1 to `supports.keyBytesMax` bytes. */
export function checkKey(key: Uint8Array, { name, supports }: Manifest<'storage'>): void {
  if (key.length >= 1 && key.length <= supports.keyBytesMax) return
  throw new HeddleError(
    'CAPABILITY_MISSING',
    `${name} takes keys of 1 to ${supports.keyBytesMax} bytes, not of ${key.length}; nothing was changed`,
    { info: { keyBytes: key.length, keyBytesMax: supports.keyBytesMax } }
  )
}

/** Checks every key and value of a batch before any of it takes effect. Throws CAPABILITY_MISSING. */
export function checkBatch(batch: Batch, manifest: Manifest<'storage'>): void {
  const { valueBytesMax } = manifest.supports
  for (const { key } of batch.expect ?? []) checkKey(key, manifest)
  for (const key of batch.del ?? []) checkKey(key, manifest)
  for (const { key, value } of batch.put ?? []) {
    checkKey(key, manifest)
    if (value.length <= valueBytesMax) continue
    throw new HeddleError(
      'CAPABILITY_MISSING',
      `${manifest.name} takes values of up to ${valueBytesMax} bytes, not of ${value.length}; nothing was changed`,
      { info: { valueBytes: value.length, valueBytesMax } }
    )
  }
}
