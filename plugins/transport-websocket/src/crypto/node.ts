/** The handshake's cryptography on node:crypto. */
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { checkIdentity, type HandshakeCrypto } from './crypto.js'

// Keys go in as JWK: importing PKCS #8 costs eight times as much, and exporting generated keys as JWK can deadlock Node 20.
export const nodeCrypto: HandshakeCrypto = {
  sha256: (bytes) => new Uint8Array(createHash('sha256').update(bytes).digest()),

  async signer(identity) {
    const publicKey = checkIdentity(identity)
    const key = createPrivateKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: base64url(publicKey), d: base64url(identity.secretKey) },
      format: 'jwk'
    })
    return { publicKey, sign: async (message) => new Uint8Array(sign(null, message, key)) }
  },

  async verify(publicKey, message, signature) {
    if (publicKey.length !== 32 || signature.length !== 64) return false
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: base64url(publicKey) }, format: 'jwk' })
    return verify(null, message, key, signature)
  }
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url')
}
