/**
 * How a value is sealed: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under the app's key, bound to the key it is stored
 * under, so that whoever can write to the disk cannot give one value for another. The storage and the key check call it.
 *
 *   version (1) ‖ nonce (24) ‖ ciphertext ‖ tag (16)        associated data: "heddle/storage-encrypted" ‖ version ‖ key
 */
import { HeddleError } from '@heddle/core'
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js'

const VERSION = 1
/** So long that random nonces do not meet, however many values one key seals. */
const NONCE_BYTES = 24
const TAG_BYTES = 16
const HEADER_BYTES = 1 + NONCE_BYTES

/** What a sealed value is longer by. */
export const OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES

const label = new TextEncoder().encode('heddle/storage-encrypted')

export class Sealer {
  readonly #key: Uint8Array
  readonly #random: (length: number) => Uint8Array

  /** Copies the key (32 bytes). */
  constructor(key: Uint8Array, random: (length: number) => Uint8Array) {
    this.#key = key.slice()
    this.#random = random
  }

  /** A new array; another one each time. */
  seal(storeKey: Uint8Array, value: Uint8Array): Uint8Array {
    const nonce = this.#random(NONCE_BYTES)
    const sealed = new Uint8Array(value.length + OVERHEAD_BYTES)
    sealed[0] = VERSION
    sealed.set(nonce, 1)
    sealed.set(this.#cipher(nonce, storeKey).encrypt(value), HEADER_BYTES)
    return sealed
  }

  /** A new array. Throws STORAGE_CORRUPT when it was not sealed for this place with this key. */
  unseal(storeKey: Uint8Array, sealed: Uint8Array): Uint8Array {
    if (sealed.length < OVERHEAD_BYTES || sealed[0] !== VERSION) {
      throw corrupt(`a stored value of ${sealed.length} bytes is in no format this version knows`)
    }
    try {
      return this.#cipher(sealed.subarray(1, HEADER_BYTES), storeKey).decrypt(sealed.subarray(HEADER_BYTES))
    } catch (cause) {
      throw corrupt(
        `a stored value of ${sealed.length} bytes does not decrypt: it was changed, or put elsewhere`,
        cause
      )
    }
  }

  #cipher(nonce: Uint8Array, storeKey: Uint8Array) {
    const associated = new Uint8Array(label.length + 1 + storeKey.length)
    associated.set(label)
    associated[label.length] = VERSION
    associated.set(storeKey, label.length + 1)
    return xchacha20poly1305(this.#key, nonce, associated)
  }
}

function corrupt(what: string, cause?: unknown): HeddleError {
  return new HeddleError('STORAGE_CORRUPT', `${what}; restore a backup, or replace this server or device`, { cause })
}
