/** The handshake's cryptography on node:crypto. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { checkIdentity, type HandshakeCrypto } from './crypto.js'

// Keys go in as JWK: importing PKCS #8 costs eight times as much, and exporting generated keys as JWK can deadlock Node 20.
export const nodeCrypto: HandshakeCrypto = {
  sha256: (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest()),

  async signer(identity) {
    const publicKey = checkIdentity(identity, publicKeyOf)
    const key = importSecretKey(identity.secretKey)
    return { publicKey, sign: async (message) => new Uint8Array(sign(null, message, key)) }
  },

  async verify(publicKey, message, signature) {
    if (publicKey.length !== 32 || signature.length !== 64) return false
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: base64url(publicKey) }, format: 'jwk' })
    return verify(null, message, key, signature)
  }
}

function publicKeyOf(secretKey: Uint8Array): Uint8Array {
  const spki = createPublicKey(importSecretKey(secretKey)).export({ format: 'der', type: 'spki' })
  return new Uint8Array(spki.subarray(-32))
}

/** OpenSSL wants an "x" and does not look at it. */
function importSecretKey(secretKey: Uint8Array): KeyObject {
  const x = base64url(new Uint8Array(32))
  return createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', x, d: base64url(secretKey) }, format: 'jwk' })
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}
