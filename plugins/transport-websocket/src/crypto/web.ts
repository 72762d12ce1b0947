/**
 * The handshake's cryptography in browsers: WebCrypto's Ed25519 where there is one, @noble's where there is not (older
 * browsers, and pages that are no secure context).
 */
import { ed25519 } from '@noble/curves/ed25519.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { checkIdentity, type HandshakeCrypto, type Signer } from './crypto.js'

/** Part of `globalThis.crypto.subtle` that is used. */
type Subtle = Pick<typeof crypto.subtle, 'importKey' | 'sign' | 'verify'>

/** `subtle` is undefined outside secure contexts. */
export function webCrypto(subtle: Subtle | undefined): HandshakeCrypto {
  return {
    sha256: (bytes) => sha256(bytes),

    async signer(identity) {
      const publicKey = checkIdentity(identity)
      const secretKey = new Uint8Array(identity.secretKey)
      const native = await nativeSigner(subtle, publicKey, secretKey)
      return native ?? { publicKey, sign: async (message) => ed25519.sign(message, secretKey) }
    },

    async verify(publicKey, message, signature) {
      if (publicKey.length !== 32 || signature.length !== 64) return false
      if (subtle !== undefined) {
        const key = await subtle
          .importKey('raw', new Uint8Array(publicKey), 'Ed25519', false, ['verify'])
          .catch(() => undefined) // This browser knows no Ed25519.
        if (key !== undefined) {
          return subtle.verify('Ed25519', key, new Uint8Array(signature), new Uint8Array(message))
        }
      }
      return ed25519.verify(signature, message, publicKey, { zip215: false })
    }
  }
}

async function nativeSigner(
  subtle: Subtle | undefined,
  publicKey: Uint8Array,
  secretKey: Uint8Array
): Promise<Signer | undefined> {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: base64url(publicKey), d: base64url(secretKey) }
  const key = await subtle?.importKey('jwk', jwk, 'Ed25519', false, ['sign']).catch(() => undefined) // As above.
  if (subtle === undefined || key === undefined) return undefined
  return {
    publicKey,
    sign: async (message) => new Uint8Array(await subtle.sign('Ed25519', key, new Uint8Array(message)))
  }
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}
