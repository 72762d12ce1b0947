/**
 * Envelopes: how a sealed message is hashed, chained and signed (SPEC SYNC). An envelope is encoded once, by its sender;
 * servers and other devices store, forward and upload these bytes again. Called by the device when it seals and opens,
 * and by the server when it stores.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes, utf8 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { Envelope, EnvelopeHeader, WireError } from '../wire/index.js'

/** An envelope that decodes, with what is computed from it. The byte arrays may be views of `bytes`. */
export interface ParsedEnvelope {
  /** The bytes as they came. */
  readonly bytes: Uint8Array
  readonly header: EnvelopeHeader
  readonly headerBytes: Uint8Array
  readonly senderData: Uint8Array
  readonly ciphertext: Uint8Array
  readonly signature: Uint8Array
  /** What the signature is over, its label included. */
  readonly signed: Uint8Array
  /** Identifies the envelope in its sender's chain; does not depend on the signature. */
  readonly hash: Uint8Array
}

const signatureLabel = utf8('heddle/1 envelope\0')
const payloadLabel = utf8('heddle/1 payload\0')
const hashLabel = utf8('heddle/1 envelope hash\0')
const chainLabel = utf8('heddle/1 chain\0')

/** Decodes an envelope from a peer. Throws MALFORMED. */
export function parseEnvelope(bytes: Uint8Array): ParsedEnvelope {
  try {
    const { header: headerBytes, senderData, ciphertext, signature } = Envelope.decode(bytes)
    const header = EnvelopeHeader.decode(headerBytes)
    return {
      bytes,
      header,
      headerBytes,
      senderData,
      ciphertext,
      signature,
      ...digest(headerBytes, senderData, ciphertext)
    }
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new HeddleError('MALFORMED', `an envelope does not decode: ${cause.message}`, { cause })
  }
}

/** What a sender signs, and the hash its next envelope names as `previous`. */
export function digest(
  headerBytes: Uint8Array,
  senderData: Uint8Array,
  ciphertext: Uint8Array
): { readonly signed: Uint8Array; readonly hash: Uint8Array } {
  return hashAndSigned(headerBytes, sha256(concatBytes(payloadLabel, lengthPrefix(senderData), senderData, ciphertext)))
}

/** The same from the hash of the payload. */
export function hashAndSigned(
  headerBytes: Uint8Array,
  payloadHash: Uint8Array
): { readonly signed: Uint8Array; readonly hash: Uint8Array } {
  const content = concatBytes(lengthPrefix(headerBytes), headerBytes, payloadHash)
  return { signed: concatBytes(signatureLabel, content), hash: sha256(concatBytes(hashLabel, content)) }
}

/** `previous` of a sender's first envelope. */
export function chainStart(group: Uint8Array, member: Uint8Array): Uint8Array {
  return sha256(concatBytes(chainLabel, group, member))
}

function lengthPrefix(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, bytes.length)
  return out
}
