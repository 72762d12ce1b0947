/** HKDF (RFC 5869) over a platform's HMAC-SHA-256. Called by `provider.ts` and `hpke.ts`. */

import { concatBytes } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Primitives } from './types.js'

const HASH_BYTES = 32

export interface Hkdf {
  extract(salt: Uint8Array, keyMaterial: Uint8Array): Uint8Array
  expand(pseudoRandomKey: Uint8Array, info: Uint8Array, length: number): Uint8Array
}

export function createHkdf({ hmacSha256 }: Pick<Primitives, 'hmacSha256'>): Hkdf {
  const noSalt = new Uint8Array(HASH_BYTES)
  const firstBlock = (pseudoRandomKey: Uint8Array, info: Uint8Array, length: number): Uint8Array => {
    const block = hmacSha256(pseudoRandomKey, concatBytes(info, Uint8Array.of(1)))
    if (length === HASH_BYTES) return block
    const output = block.slice(0, length)
    block.fill(0) // a key or part of one
    return output
  }
  return {
    extract: (salt, keyMaterial) => hmacSha256(salt.length === 0 ? noSalt : salt, keyMaterial),
    expand(pseudoRandomKey, info, length) {
      if (!Number.isSafeInteger(length) || length < 0 || length > 255 * HASH_BYTES)
        throw new HeddleError('INVALID', `HKDF cannot expand to ${length} bytes`)
      if (length <= HASH_BYTES) return firstBlock(pseudoRandomKey, info, length)
      const output = new Uint8Array(length)
      let previous: Uint8Array = new Uint8Array(0)
      for (let at = 0, counter = 1; at < length; at += HASH_BYTES, counter++) {
        const block = hmacSha256(pseudoRandomKey, concatBytes(previous, info, Uint8Array.of(counter)))
        previous.fill(0)
        output.set(block.subarray(0, length - at), at)
        previous = block
      }
      previous.fill(0)
      return output
    }
  }
}
