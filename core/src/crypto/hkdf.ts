/** HKDF (RFC 5869) over a platform's HMAC-SHA-256. Called by `provider.ts` and `hpke.ts`. */
import { HeddleError } from '../errors.js'
import { concatBytes } from '../bytes.js'
import type { Primitives } from './types.js'

const HASH_BYTES = 32

export interface Hkdf {
  extract(salt: Uint8Array, keyMaterial: Uint8Array): Uint8Array
  expand(pseudoRandomKey: Uint8Array, info: Uint8Array, length: number): Uint8Array
}

export function createHkdf({ hmacSha256 }: Pick<Primitives, 'hmacSha256'>): Hkdf {
  const noSalt = new Uint8Array(HASH_BYTES)
  return {
    extract: (salt, keyMaterial) => hmacSha256(salt.length === 0 ? noSalt : salt, keyMaterial),
    expand(pseudoRandomKey, info, length) {
      if (!Number.isSafeInteger(length) || length < 0 || length > 255 * HASH_BYTES)
        throw new HeddleError('INVALID', `HKDF cannot expand to ${length} bytes`)
      const blocks: Uint8Array[] = []
      let previous = new Uint8Array(0)
      for (let counter = 1; blocks.length * HASH_BYTES < length; counter++) {
        previous = new Uint8Array(hmacSha256(pseudoRandomKey, concatBytes(previous, info, Uint8Array.of(counter))))
        blocks.push(previous)
      }
      const [first] = blocks
      return first !== undefined && length === HASH_BYTES ? first : concatBytes(...blocks).slice(0, length)
    }
  }
}
