/**
 * The provider for Node, Deno and Bun: node:crypto, synchronous, with imported keys cached. It is what makes a message
 * cost 100 µs instead of a millisecond. Selected by the imports map of core/package.json (`#crypto`).
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hash,
  type KeyObject,
  sign,
  verify
} from 'node:crypto'
import { concatBytes } from '../bytes.js'
import { createProvider } from './provider.js'
import type { Aead, CryptoProvider, Primitives } from './types.js'

const PUBLIC_KEYS_CACHED = 4096
const TAG_BYTES = 16
/** u-coordinate 9, RFC 7748 section 4.1: a Diffie-Hellman with it gives the public key. */
const X25519_BASE_POINT = Uint8Array.of(9, ...new Uint8Array(31))

/** `random` must return fresh, cryptographically secure bytes; with a seeded one every result replays. */
export function createNodeCrypto(random: (length: number) => Uint8Array): CryptoProvider {
  return createProvider(createPrimitives(), random)
}
export { createNodeCrypto as createCrypto }

function createPrimitives(): Primitives {
  const publicKeys = new KeyCache(PUBLIC_KEYS_CACHED)
  // By identity, so that no key outlives its seed and no seed lives on in a string.
  const privateKeys = new WeakMap<Uint8Array, KeyObject>()
  const sha256 = (data: Uint8Array) => plain(hash('sha256', data, 'buffer'))
  const publicKey = (curve: Curve, raw: Uint8Array) =>
    publicKeys.get(curve + binaryString(raw), () => importPublic(curve, raw))
  const signatureKey = (seed: Uint8Array) => {
    let key = privateKeys.get(seed)
    if (key === undefined) {
      key = importPrivate('Ed25519', seed)
      privateKeys.set(seed, key)
    }
    return key
  }
  const basePoint = importPublic('X25519', X25519_BASE_POINT)

  return {
    sha256,
    hmacSha256: (key, data) => plain(createHmac('sha256', key).update(data).digest()),
    // Not cached: these keys are used once or twice, and must not outlive what their owner has zeroed.
    x25519(secret) {
      const privateKey = importPrivate('X25519', secret)
      return {
        publicKey: plain(diffieHellman({ privateKey, publicKey: basePoint })),
        agree: (point) => plain(diffieHellman({ privateKey, publicKey: publicKey('X25519', point) }))
      }
    },
    ed25519Sign: (seed, message) => plain(sign(null, message, signatureKey(seed))),
    ed25519Verify(key, message, signature) {
      try {
        return verify(null, message, publicKey('Ed25519', key), signature)
      } catch {
        return false // the key is no curve point
      }
    },
    ed25519VerifyOffThread: (key, message, signature) =>
      new Promise((resolve) => {
        try {
          verify(null, message, publicKey('Ed25519', key), signature, (error, right) =>
            resolve(error === null && right)
          )
        } catch {
          resolve(false) // the key is no curve point
        }
      }),
    ed25519Public: (seed) =>
      plain(createPublicKey(signatureKey(seed)).export({ format: 'der', type: 'spki' })).slice(-32),
    aesGcm: aead((key) => (key.length === 16 ? 'aes-128-gcm' : 'aes-256-gcm')),
    chaCha20Poly1305: aead(() => 'chacha20-poly1305')
  }
}

type Curve = 'X25519' | 'Ed25519'

/** The keys used last; a `Map` iterates in the order of insertion, so the first is the oldest. */
class KeyCache {
  readonly #keys = new Map<string, KeyObject>()
  readonly #capacity: number

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get(id: string, importKey: () => KeyObject): KeyObject {
    let key = this.#keys.get(id)
    if (key === undefined) {
      key = importKey()
      for (const oldest of this.#keys.keys()) {
        if (this.#keys.size < this.#capacity) break
        this.#keys.delete(oldest)
      }
    } else this.#keys.delete(id)
    this.#keys.set(id, key)
    return key
  }
}

// JWK, because OpenSSL's DER decoder costs eight times as much. The private key's "x" is required and not used.
function importPublic(curve: Curve, raw: Uint8Array): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: curve, x: base64url(raw) }, format: 'jwk' })
}
function importPrivate(curve: Curve, raw: Uint8Array): KeyObject {
  return createPrivateKey({ key: { kty: 'OKP', crv: curve, d: base64url(raw), x: UNUSED_X }, format: 'jwk' })
}
const UNUSED_X = base64url(new Uint8Array(32))

function aead(algorithmOf: (key: Uint8Array) => 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305'): Aead {
  // The three share one signature in node:crypto; the types know only the GCM one for a union.
  const algorithm = (key: Uint8Array) => algorithmOf(key) as 'aes-128-gcm'
  const options = { authTagLength: TAG_BYTES }
  return {
    seal(key, nonce, associatedData, plaintext) {
      const cipher = createCipheriv(algorithm(key), key, nonce, options)
      if (associatedData.length > 0) cipher.setAAD(associatedData)
      return concatBytes(cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
    },
    open(key, nonce, associatedData, ciphertext) {
      const decipher = createDecipheriv(algorithm(key), key, nonce, options)
      if (associatedData.length > 0) decipher.setAAD(associatedData)
      decipher.setAuthTag(ciphertext.subarray(-TAG_BYTES))
      const plaintext = decipher.update(ciphertext.subarray(0, -TAG_BYTES))
      return concatBytes(plaintext, decipher.final())
    }
  }
}

function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
}
function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}
function binaryString(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}
