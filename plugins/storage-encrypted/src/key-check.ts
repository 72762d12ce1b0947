/**
 * Where things lie in the wrapped storage, and the record by which a wrong key is noticed before anything is read or
 * written with it. Opening the storage calls it.
 *
 *   00       the check record: a text that is the same everywhere, sealed
 *   01 ‖ key the sealed value of `key`; in the order of the keys
 */
import { equalBytes, HeddleError, type KeyRange, type Storage } from '@heddle/core'
import { OVERHEAD_BYTES, type Sealer } from './sealer.js'

/** What a key is longer by. */
export const KEY_PREFIX_BYTES = 1
const ENTRIES_PREFIX = 1

const checkKey = Uint8Array.of(0)
const checkText = new TextEncoder().encode('heddle encrypted storage')
/** Every key that a storage can hold, up to those of 0xff bytes only. */
const everything: KeyRange = { gte: new Uint8Array(0), lt: new Uint8Array(64).fill(0xff) }

/** The key in the wrapped storage. */
export function innerKey(key: Uint8Array): Uint8Array {
  const inner = new Uint8Array(KEY_PREFIX_BYTES + key.length)
  inner[0] = ENTRIES_PREFIX
  inner.set(key, KEY_PREFIX_BYTES)
  return inner
}

/** The key out of the wrapped storage's; a new array. */
export const outerKey = (inner: Uint8Array): Uint8Array => inner.slice(KEY_PREFIX_BYTES)

/**
 * Checks that the key is the one the store was made with; a store that holds nothing becomes one of this key. Throws
 * CONFIG_INVALID for a wrong key or a store that is not encrypted, STORAGE_CORRUPT for a check record that is none.
 */
export async function checkStoreKey(store: Storage, sealer: Sealer): Promise<void> {
  const found = await store.get(checkKey)
  if (found !== undefined) return checkRecord(found, sealer)
  for await (const _ of store.scan({ ...everything, limit: 1 })) {
    throw new HeddleError(
      'CONFIG_INVALID',
      'the storage below encrypted() holds data that is not encrypted; begin with an empty one, or open it without ' +
        'encrypted(). Existing data is not encrypted afterwards'
    )
  }
  const record = { key: checkKey, value: sealer.seal(checkKey, checkText) }
  try {
    await store.commit({ expect: [{ key: checkKey, value: undefined }], put: [record] })
  } catch (error) {
    if (!HeddleError.is(error, 'STORAGE_CONFLICT')) throw error
    // Another process began at the same time, and its key has to be ours.
    checkRecord((await store.get(checkKey)) ?? new Uint8Array(0), sealer)
  }
}

function checkRecord(record: Uint8Array, sealer: Sealer): void {
  if (record.length === checkText.length + OVERHEAD_BYTES) {
    try {
      if (equalBytes(sealer.unseal(checkKey, record), checkText)) return
    } catch (cause) {
      throw new HeddleError(
        'CONFIG_INVALID',
        'the key given to encrypted() is not the one this storage was encrypted with (or its check record was ' +
          'changed); give the right key. Without it the data cannot be read',
        { cause }
      )
    }
  }
  throw new HeddleError(
    'STORAGE_CORRUPT',
    `the check record of an encrypted storage does not fit: ${record.length} bytes; restore a backup, use the version ` +
      'that wrote it, or begin with an empty storage'
  )
}
