/**
 * The proof at the beginning of every connection: the client signs the relay's challenge with the Ed25519 key that is its
 * EndpointId (iroh's protos/handshake.rs). iroh's shortcut over exported TLS key material is not taken: a proxy may end the
 * TLS connection, and a client that is challenged all the same answers.
 */
import { createPublicKey, verify } from 'node:crypto'
import { HeddleError } from '@heddle/core'
import { blake3 } from '@noble/hashes/blake3.js'
import { ENDPOINT_ID_BYTES, FRAME, malformed } from './frames.js'

const SIGNATURE_BYTES = 64
/** Type, key, the signature's length as postcard writes it (one byte), signature. */
const CLIENT_AUTH_BYTES = 1 + ENDPOINT_ID_BYTES + 1 + SIGNATURE_BYTES
const SIGNATURE_AT = CLIENT_AUTH_BYTES - SIGNATURE_BYTES
const DERIVATION_CONTEXT = new TextEncoder().encode('iroh-relay handshake v1 challenge signature')

/**
 * The points of small order, in every encoding, without the sign bit. Anyone can make signatures that verify under them, and
 * OpenSSL accepts those (iroh's own relay does not).
 */
const SMALL_ORDER_KEYS: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'
])

/**
 * The EndpointId that a ClientAuth frame proves; 32 bytes owned by the caller. Throws MALFORMED when it is no such frame,
 * UNAUTHENTICATED when the signature is not that key's over this challenge.
 */
export function provenEndpointId(frame: Uint8Array, challenge: Uint8Array): Uint8Array {
  if (
    frame[0] !== FRAME.clientAuth ||
    frame.length !== CLIENT_AUTH_BYTES ||
    frame[SIGNATURE_AT - 1] !== SIGNATURE_BYTES
  ) {
    throw malformed(`${frame.length} bytes that are no proof of its key where one was due`)
  }
  // A copy: it stays for as long as the client, and the frame is a view of all that was read with it.
  const endpointId = new Uint8Array(frame.subarray(1, 1 + ENDPOINT_ID_BYTES))
  if (!isSigned(endpointId, signedMessage(challenge), frame.subarray(SIGNATURE_AT))) {
    throw new HeddleError('UNAUTHENTICATED', 'the signature is not that of the endpoint it names')
  }
  return endpointId
}

/** What is signed: BLAKE3 in its key-derivation mode over the challenge, 32 bytes. */
export function signedMessage(challenge: Uint8Array): Uint8Array {
  return blake3(challenge, { context: DERIVATION_CONTEXT })
}

function isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const unsigned = Buffer.from(publicKey)
  unsigned[31] = (unsigned[31] ?? 0) & 0x7f
  if (SMALL_ORDER_KEYS.has(unsigned.toString('hex'))) return false
  const x = Buffer.from(publicKey).toString('base64url')
  // Any 32 bytes make a key object; one that is no point of the curve verifies nothing.
  return verify(null, message, createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }), signature)
}
