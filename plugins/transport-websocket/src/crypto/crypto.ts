/**
 * The few cryptographic operations the handshake needs, so that Node and browsers can each use their own. Also the checks
 * both share: which public keys may stand for a peer, and that an identity's halves belong together.
 */
import { type EndpointIdentity, HeddleError } from '@heddle/core'
import { ed25519 } from '@noble/curves/ed25519.js'
import { sameBytes } from '../bytes.js'

export interface HandshakeCrypto {
  sha256(bytes: Uint8Array): Uint8Array
  /** Imports the secret key once. Throws CONFIG_INVALID. */
  signer(identity: EndpointIdentity): Promise<Signer>
  /** Whether the Ed25519 signature is right (RFC 8032); false for anything malformed. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean>
}

export interface Signer {
  /** A copy of the identity's public key. */
  readonly publicKey: Uint8Array
  /** The Ed25519 signature, 64 bytes. */
  sign(message: Uint8Array): Promise<Uint8Array>
}

/**
 * The identity's public key, copied. `publicKeyOf` derives it from a secret key of 32 bytes; @noble's way costs a tenth of
 * a second the first time. Throws CONFIG_INVALID when the two halves are not one key pair.
 */
export function checkIdentity(
  identity: EndpointIdentity,
  publicKeyOf: (secretKey: Uint8Array) => Uint8Array = ed25519.getPublicKey
): Uint8Array {
  const { publicKey, secretKey } = identity
  if (secretKey.length !== 32 || !sameBytes(publicKey, publicKeyOf(secretKey))) {
    throw new HeddleError(
      'CONFIG_INVALID',
      'the identity given to the WebSocket transport is no Ed25519 key pair: its public key does not belong to its secret key'
    )
  }
  return new Uint8Array(publicKey)
}

/**
 * Whether a public key can stand for one peer. Anyone can make signatures that verify under a key of small order, and some
 * Ed25519 libraries (OpenSSL's among them) accept those.
 */
export function isPeerKey(publicKey: Uint8Array): boolean {
  try {
    return !ed25519.Point.fromBytes(publicKey).isSmallOrder()
  } catch {
    // Not the encoding of a point at all.
    return false
  }
}
