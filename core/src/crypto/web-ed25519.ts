/**
 * Ed25519 through WebCrypto, with imported keys cached: an order of magnitude faster than JavaScript in a browser. Where
 * the platform lacks the algorithm it is found out once and JavaScript does the work. Called by `web.ts`.
 */
import { concatBytes, toHex } from '../bytes.js'

const KEYS_CACHED = 1024
// PKCS #8 wrapping of a raw Ed25519 seed (RFC 8410 section 7); WebCrypto imports no raw private key.
const PKCS8_PREFIX = Uint8Array.of(0x30, 46, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 34, 4, 32)

interface SyncEd25519 {
  sign(seed: Uint8Array, message: Uint8Array): Uint8Array
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
}

export interface AsyncEd25519 {
  sign(seed: Uint8Array, message: Uint8Array): Promise<Uint8Array>
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean>
}

/** WebCrypto's Ed25519, or `fallback` where there is none. */
export function webEd25519(fallback: SyncEd25519): AsyncEd25519 {
  const subtle = globalThis.crypto?.subtle
  type Key = Awaited<ReturnType<typeof subtle.importKey>>
  const publicKeys = new Map<string, Promise<Key>>()
  // By identity: a seed must not live on in a string.
  const privateKeys = new WeakMap<Uint8Array, Promise<Key>>()
  let supported: Promise<boolean> | undefined

  const isSupported = (): Promise<boolean> => {
    supported ??=
      subtle === undefined
        ? Promise.resolve(false)
        : importSeed(new Uint8Array(32)).then(
            () => true,
            () => false
          )
    return supported
  }
  const importSeed = (seed: Uint8Array): Promise<Key> =>
    subtle.importKey('pkcs8', ownBuffer(concatBytes(PKCS8_PREFIX, seed)), 'Ed25519', false, ['sign'])

  return {
    async sign(seed, message) {
      if (!(await isSupported())) return fallback.sign(seed, message)
      let key = privateKeys.get(seed)
      if (key === undefined) {
        key = importSeed(seed)
        privateKeys.set(seed, key)
      }
      return new Uint8Array(await subtle.sign('Ed25519', await key, ownBuffer(message)))
    },
    async verify(publicKey, message, signature) {
      if (!(await isSupported())) return fallback.verify(publicKey, message, signature)
      const id = toHex(publicKey)
      let key = publicKeys.get(id)
      if (key === undefined) {
        key = subtle.importKey('raw', ownBuffer(publicKey), 'Ed25519', false, ['verify'])
        for (const oldest of publicKeys.keys()) {
          if (publicKeys.size < KEYS_CACHED) break
          publicKeys.delete(oldest)
        }
        publicKeys.set(id, key)
      }
      try {
        return await subtle.verify('Ed25519', await key, ownBuffer(signature), ownBuffer(message))
      } catch {
        publicKeys.delete(id)
        return false // the key is no curve point
      }
    }
  }
}

/** WebCrypto takes no view on shared memory, and the types say so. */
function ownBuffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes)
}
