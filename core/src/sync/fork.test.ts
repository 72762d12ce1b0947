import { describe, expect, it } from 'vitest'
import { createCrypto } from '../crypto/index.js'
import { Envelope, EnvelopeHeader, EnvelopeKind, type ForkEvidence } from '../wire/index.js'
import { chainStart, digest, type ParsedEnvelope, parseEnvelope } from './envelope.js'
import { convictedBy, digestOf } from './fork.js'

const crypto = createCrypto((length) => new Uint8Array(length).fill(7))
const seed = new Uint8Array(32).fill(3)
const key = crypto.publicKeyOf(seed)
const group = new Uint8Array(16).fill(1)
const member = new Uint8Array(16).fill(2)

function envelope(change: Partial<EnvelopeHeader>, text: number, secret = seed): ParsedEnvelope {
  const kind = EnvelopeKind.ENVELOPE_KIND_UPDATE
  const previous = chainStart(group, member)
  const header = EnvelopeHeader.encode({ group, epoch: 1n, ctxTag: group, member, seq: 1n, previous, kind, ...change })
  const [senderData, ciphertext] = [new Uint8Array(16), new Uint8Array(16).fill(text)]
  const { signed } = digest(header, senderData, ciphertext)
  return parseEnvelope(Envelope.encode({ header, senderData, ciphertext, signature: crypto.sign(secret, signed) }))
}

const convicted = (a: ParsedEnvelope, b: ParsedEnvelope, change: (evidence: ForkEvidence) => ForkEvidence = (e) => e) =>
  convictedBy(change({ a: digestOf(a), b: digestOf(b) }), group, (_member, _epoch, signed, signature) =>
    crypto.verify(key, signed, signature)
  )

describe('SYNC-025: evidence of a fork', () => {
  const first = envelope({}, 1)

  it('is two envelopes of one number', () => {
    expect(convicted(first, envelope({}, 2))).toEqual(member)
  })

  it('is an envelope that follows another than the one before it', () => {
    expect(convicted(first, envelope({ seq: 2n, previous: envelope({}, 2).hash }, 3))).toEqual(member)
  })

  it('is nothing that fits into one chain', () => {
    expect(convicted(first, first)).toBeUndefined()
    expect(convicted(first, envelope({ seq: 2n, previous: first.hash }, 3))).toBeUndefined()
    expect(convicted(first, envelope({ seq: 3n, previous: first.hash }, 3))).toBeUndefined()
  })

  it('is nothing another could have made', () => {
    expect(convicted(first, envelope({}, 2, new Uint8Array(32).fill(4)))).toBeUndefined()
    expect(convicted(envelope({}, 2, new Uint8Array(32).fill(4)), first)).toBeUndefined()
    expect(convicted(first, envelope({ member: group }, 2))).toBeUndefined()
    expect(convicted(first, envelope({ group: member }, 2))).toBeUndefined()
    const other = envelope({}, 2)
    const swapped = (e: ForkEvidence) => ({ ...e, b: { ...e.b, payloadHash: new Uint8Array(32) } })
    expect(convicted(first, other, swapped)).toBeUndefined()
    const cut = (e: ForkEvidence) => ({ ...e, b: { ...e.b, header: e.b.header.subarray(1) } })
    expect(convicted(first, other, cut)).toBeUndefined()
  })
})
