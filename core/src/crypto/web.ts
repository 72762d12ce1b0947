/**
 * The provider for browsers: noble hashes, curves and ciphers, and WebCrypto's Ed25519 where there is one for what MLS
 * signs and verifies. Selected by the imports map of core/package.json (`#crypto`); it imports nothing of Node.
 */
import { gcm } from '@noble/ciphers/aes.js'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { bytesToNumberLE } from '@noble/curves/utils.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { concatBytes, equalBytes } from '../bytes.js'
import { createProvider } from './provider.js'
import type { CryptoProvider, Primitives } from './types.js'
import { webEd25519 } from './web-ed25519.js'

/** `random` must return fresh, cryptographically secure bytes; with a seeded one every result replays. */
export function createWebCrypto(random: (length: number) => Uint8Array): CryptoProvider {
  return createProvider(createPrimitives(), random)
}
export { createWebCrypto as createCrypto }

function createPrimitives(): Primitives {
  const ed25519Sign = (seed: Uint8Array, message: Uint8Array) => ed25519.sign(message, seed)
  const ed25519Async = webEd25519({ sign: ed25519Sign, verify: verifyEd25519 })
  return {
    sha256: (data) => sha256(data),
    hmacSha256: (key, data) => hmac(sha256, key, data),
    x25519: (secretKey) => ({
      publicKey: x25519.getPublicKey(secretKey),
      agree: (publicKey) => x25519.getSharedSecret(secretKey, publicKey)
    }),
    ed25519Sign,
    ed25519Verify: verifyEd25519,
    ed25519Public: (seed) => ed25519.getPublicKey(seed),
    ed25519Async,
    // WebCrypto's own threads do it.
    ed25519VerifyOffThread: ed25519Async.verify,
    aesGcm: {
      seal: (key, nonce, associatedData, plaintext) => gcm(key, nonce, associatedData).encrypt(plaintext),
      open: (key, nonce, associatedData, ciphertext) => gcm(key, nonce, associatedData).decrypt(ciphertext)
    },
    chaCha20Poly1305: {
      seal: (key, nonce, associatedData, plaintext) => chacha20poly1305(key, nonce, associatedData).encrypt(plaintext),
      open: (key, nonce, associatedData, ciphertext) => chacha20poly1305(key, nonce, associatedData).decrypt(ciphertext)
    }
  }
}

/**
 * RFC 8032 section 5.1.7 without the cofactor, exactly as OpenSSL and BoringSSL verify. noble's own `verify` multiplies by
 * the cofactor, so a member could sign a message that opens on one platform and not on another.
 */
function verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const { Point } = ed25519
  const order = Point.Fn.ORDER
  const r = signature.subarray(0, 32)
  const s = bytesToNumberLE(signature.subarray(32))
  if (s >= order) return false
  try {
    const key = Point.fromBytes(publicKey, true)
    const challenge = bytesToNumberLE(sha512(concatBytes(r, publicKey, message))) % order
    const expected = Point.BASE.multiplyUnsafe(s).subtract(key.multiplyUnsafe(challenge))
    return equalBytes(expected.toBytes(), r)
  } catch {
    return false // the key is no curve point
  }
}
