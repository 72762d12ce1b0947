/**
 * Proof that a member signed two chains (SPEC SYNC-025): two envelopes of one sender that cannot both be in one chain.
 * Anybody who knows the member's key can check it. Pure; called by the device.
 */
import { equalBytes } from '../bytes.js'
import { type EnvelopeDigest, EnvelopeHeader, type ForkEvidence, WireError } from '../wire/index.js'
import { hashAndSigned, type ParsedEnvelope } from './envelope.js'

/** What the proof needs of an envelope; copies, so that the frame it came in is let go. */
export function digestOf({ headerBytes, signed, signature }: ParsedEnvelope): EnvelopeDigest {
  return { header: headerBytes.slice(), payloadHash: signed.slice(-32), signature: signature.slice() }
}

/**
 * The member that the evidence convicts, or undefined when it convicts nobody. `verify`: whether the member's key made
 * this signature.
 */
export function convictedBy(
  { a, b }: ForkEvidence,
  group: Uint8Array,
  verify: (member: Uint8Array, epoch: bigint, signed: Uint8Array, signature: Uint8Array) => boolean
): Uint8Array | undefined {
  const [one, other] = [read(a), read(b)]
  if (one === undefined || other === undefined) return undefined
  const [x, y] = [one.header, other.header]
  if (!equalBytes(x.group, group) || !equalBytes(y.group, group) || !equalBytes(x.member, y.member)) return undefined
  const sameNumber = x.seq === y.seq && !equalBytes(one.hash, other.hash)
  const otherPredecessor = y.seq === x.seq + 1n && !equalBytes(y.previous, one.hash)
  if (!sameNumber && !otherPredecessor) return undefined
  const signedBoth =
    verify(x.member, x.epoch, one.signed, a.signature) && verify(y.member, y.epoch, other.signed, b.signature)
  return signedBoth ? x.member.slice() : undefined
}

function read({ header, payloadHash }: EnvelopeDigest) {
  try {
    return { header: EnvelopeHeader.decode(header), ...hashAndSigned(header, payloadHash) }
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}
