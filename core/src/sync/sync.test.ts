import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { Envelope, EnvelopeHeader, EnvelopeKind, type Head } from '../wire/index.js'
import { chainStart, digest, type ParsedEnvelope, parseEnvelope, quorumSeq, StateVector, WaitingRoom } from './index.js'

const group = new Uint8Array(16).fill(7)
const memberOf = (n: number): Uint8Array => new Uint8Array(16).fill(n)

/** A sender's chain of `length` envelopes, as it would seal them. */
function chain(member: Uint8Array, length: number, salt = 0): ParsedEnvelope[] {
  const out: ParsedEnvelope[] = []
  let previous = chainStart(group, member)
  for (let seq = 1n; seq <= BigInt(length); seq++) {
    const header = EnvelopeHeader.encode({
      group,
      epoch: 3n,
      ctxTag: new Uint8Array(16).fill(1),
      member,
      seq,
      previous,
      kind: EnvelopeKind.ENVELOPE_KIND_UPDATE
    })
    const senderData = new Uint8Array(28).fill(salt)
    const ciphertext = new Uint8Array(40).fill(Number(seq) & 0xff)
    const envelope = parseEnvelope(
      Envelope.encode({ header, senderData, ciphertext, signature: new Uint8Array(64).fill(9) })
    )
    out.push(envelope)
    previous = envelope.hash
  }
  return out
}

const headOf = ({ header, hash }: ParsedEnvelope): Head => ({ member: header.member, seq: header.seq, hash })

describe('envelopes', () => {
  it('SYNC-002: the hash depends on header, sender data and ciphertext, not on the signature', () => {
    const [one] = chain(memberOf(1), 1) as [ParsedEnvelope]
    const resigned = parseEnvelope(
      Envelope.encode({
        header: one.headerBytes,
        senderData: one.senderData,
        ciphertext: one.ciphertext,
        signature: new Uint8Array(64).fill(1)
      })
    )
    expect(equalBytes(resigned.hash, one.hash)).toBe(true)
    for (const [header, senderData, ciphertext] of [
      [flip(one.headerBytes), one.senderData, one.ciphertext],
      [one.headerBytes, flip(one.senderData), one.ciphertext],
      [one.headerBytes, one.senderData, flip(one.ciphertext)]
    ] as const) {
      expect(equalBytes(digest(header, senderData, ciphertext).hash, one.hash)).toBe(false)
      expect(equalBytes(digest(header, senderData, ciphertext).signed, one.signed)).toBe(false)
    }
  })

  it('SYNC-002: moving a byte from sender data to ciphertext changes the hash', () => {
    const a = digest(new Uint8Array([1]), new Uint8Array([1, 2]), new Uint8Array([3]))
    const b = digest(new Uint8Array([1]), new Uint8Array([1]), new Uint8Array([2, 3]))
    expect(equalBytes(a.hash, b.hash)).toBe(false)
  })

  it('refuses bytes that are no envelope with MALFORMED, whatever they are', () => {
    const [one] = chain(memberOf(1), 1) as [ParsedEnvelope]
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.nat(one.bytes.length - 1).map((length) => one.bytes.slice(0, length)),
          fc.uint8Array({ minLength: 1, maxLength: 9 }).map((tail) => new Uint8Array([...one.bytes, ...tail]))
        ),
        (bytes) => {
          try {
            parseEnvelope(bytes)
          } catch (error) {
            expect(HeddleError.is(error, 'MALFORMED')).toBe(true)
            return
          }
          throw new Error(`accepted ${toHex(bytes)}`)
        }
      )
    )
  })

  it('SYNC-003: chains of different members and documents begin differently', () => {
    expect(equalBytes(chainStart(group, memberOf(1)), chainStart(group, memberOf(2)))).toBe(false)
    expect(equalBytes(chainStart(memberOf(3), memberOf(1)), chainStart(group, memberOf(1)))).toBe(false)
  })
})

describe('succession', () => {
  const own = chain(memberOf(1), 4)
  const forked = chain(memberOf(1), 4, 5)
  const at = (length: number) => new StateVector(own.slice(length - 1, length).map(headOf))

  it('takes the next envelope of the same chain only', () => {
    expect(new StateVector().succession(own[0] as ParsedEnvelope)).toBe('next')
    expect(at(2).succession(own[2] as ParsedEnvelope)).toBe('next')
    expect(at(2).succession(forked[2] as ParsedEnvelope)).toBe('conflict')
  })

  it('tells a repetition, what is long known, a gap and a fork apart', () => {
    expect(at(2).succession(own[1] as ParsedEnvelope)).toBe('duplicate')
    expect(at(2).succession(forked[1] as ParsedEnvelope)).toBe('conflict')
    expect(at(2).succession(own[0] as ParsedEnvelope)).toBe('old')
    expect(at(2).succession(own[3] as ParsedEnvelope)).toBe('gap')
  })

  it('SYNC-004: whatever the order of arrival, only the contiguous prefix is taken, and all of it', () => {
    const senders = [chain(memberOf(1), 8), chain(memberOf(2), 8), chain(memberOf(3), 8)]
    fc.assert(
      fc.property(fc.shuffledSubarray(senders.flat(), { minLength: 1 }), (arrivals) => {
        const vector = new StateVector()
        const waiting = new WaitingRoom()
        const taken: ParsedEnvelope[] = []
        const take = (envelope: ParsedEnvelope): void => {
          const succession = vector.succession(envelope)
          if (succession === 'gap') waiting.add(envelope)
          if (succession !== 'next') return
          vector.advance(headOf(envelope))
          taken.push(envelope)
          const successor = waiting.take(envelope.header.member, envelope.header.seq + 1n)
          if (successor !== undefined) take(successor)
        }
        for (const envelope of arrivals) take(envelope)
        const arrived = new Set(arrivals)
        const expected = senders.flatMap((sender) => {
          const hole = sender.findIndex((envelope) => !arrived.has(envelope))
          return hole < 0 ? sender : sender.slice(0, hole)
        })
        expect(new Set(taken)).toEqual(new Set(expected))
        expect(taken.length).toBe(expected.length)
        expect(waiting.count).toBe(arrivals.length - taken.length)
      })
    )
  })
})

describe('state vectors', () => {
  it('covers exactly what lies at or behind its heads', () => {
    const [a, b] = [chain(memberOf(1), 3), chain(memberOf(2), 3)]
    const vector = new StateVector([headOf(a[1] as ParsedEnvelope)])
    expect(vector.covers([])).toBe(true)
    expect(vector.covers([headOf(a[1] as ParsedEnvelope)])).toBe(true)
    expect(vector.covers([headOf(a[2] as ParsedEnvelope)])).toBe(false)
    expect(vector.covers([headOf(b[0] as ParsedEnvelope)])).toBe(false)
  })

  it('SYNC-012: says each moved head once, never its own, and what a restart left untold', () => {
    const [a, b] = [chain(memberOf(1), 2), chain(memberOf(2), 2)]
    const vector = new StateVector([headOf(a[0] as ParsedEnvelope)], [memberOf(1)])
    vector.advance(headOf(b[0] as ParsedEnvelope))
    expect(vector.takeChanged(memberOf(2), 10).map(({ member }) => toHex(member))).toEqual([toHex(memberOf(1))])
    expect(vector.takeChanged(memberOf(2), 10)).toEqual([])
    vector.advance(headOf(a[1] as ParsedEnvelope))
    vector.advance(headOf(b[1] as ParsedEnvelope))
    expect(vector.takeChanged(memberOf(3), 1)).toHaveLength(1)
    expect(vector.takeChanged(memberOf(3), 10)).toHaveLength(1)
  })
})

describe('quorumSeq', () => {
  it('is the greatest number that a quorum reaches', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt(0n, 50n), { maxLength: 7 }), fc.integer({ min: 1, max: 7 }), (seqs, quorum) => {
        const result = quorumSeq(seqs, quorum)
        const reaching = (n: bigint) => seqs.filter((seq) => seq >= n).length
        if (seqs.length < quorum) expect(result).toBe(0n)
        else {
          expect(reaching(result)).toBeGreaterThanOrEqual(quorum)
          expect(reaching(result + 1n)).toBeLessThan(quorum)
        }
      })
    )
  })
})

describe('the waiting room', () => {
  it('is bounded in number and bytes, and counts a repetition once', () => {
    const envelopes = chain(memberOf(1), 5)
    const size = (envelopes[0] as ParsedEnvelope).bytes.length
    const byCount = new WaitingRoom({ envelopesMax: 2, bytesMax: 1e9 })
    expect(envelopes.map((envelope) => byCount.add(envelope))).toEqual([true, true, false, false, false])
    expect(byCount.add(envelopes[0] as ParsedEnvelope)).toBe(true)
    expect(byCount.count).toBe(2)
    const byBytes = new WaitingRoom({ envelopesMax: 100, bytesMax: 3 * size + 20 })
    expect(envelopes.map((envelope) => byBytes.add(envelope))).toEqual([true, true, true, false, false])
    expect(byBytes.takeAll().map(({ header }) => header.seq)).toEqual([1n, 2n, 3n])
    expect(byBytes.count).toBe(0)
    expect(byBytes.add(envelopes[4] as ParsedEnvelope)).toBe(true)
  })
})

function flip(bytes: Uint8Array): Uint8Array {
  const out = bytes.slice()
  out[out.length - 1] = (out.at(-1) as number) ^ 1
  return out
}
