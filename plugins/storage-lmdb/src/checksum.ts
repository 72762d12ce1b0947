/**
 * A stored value ends with a CRC-32 of its key and itself: LMDB has no checksums, and a flipped bit in an acceptor's
 * promise or in a key must be seen rather than believed. The storage calls it for every value that goes in or out.
 */
import { crc32 } from 'node:zlib'
import { HeddleError } from '@heddle/core'

const CHECKSUM_BYTES = 4

/** The value as it is stored: a new array. */
export function seal(key: Uint8Array, value: Uint8Array): Uint8Array {
  const stored = new Uint8Array(value.length + CHECKSUM_BYTES)
  stored.set(value)
  new DataView(stored.buffer).setUint32(value.length, checksumOf(key, value))
  return stored
}

/** The value out of what is stored: a new array. Throws STORAGE_CORRUPT. */
export function unseal(key: Uint8Array, stored: Uint8Array): Uint8Array {
  const length = stored.byteLength - CHECKSUM_BYTES
  if (length >= 0) {
    const value = new Uint8Array(stored.buffer, stored.byteOffset, length)
    const checksum = new DataView(stored.buffer, stored.byteOffset, stored.byteLength).getUint32(length)
    if (checksum === checksumOf(key, value)) return value.slice()
  }
  throw new HeddleError(
    'STORAGE_CORRUPT',
    `a stored value of ${stored.byteLength} bytes fails its checksum: the disk or another program changed it; ` +
      'restore the folder from a backup, or replace this server or device'
  )
}

function checksumOf(key: Uint8Array, value: Uint8Array): number {
  const ofKey = crc32(key)
  // zlib answers nothing with 0 or with what it began with, depending on where the nothing lies.
  return value.length === 0 ? ofKey : crc32(value, ofKey)
}
