import fc from 'fast-check'
import { expect, test } from 'vitest'
import { equalBytes } from '../bytes.js'
import {
  AcceptorRecord,
  type AcceptRequest,
  type Ballot,
  NackReason,
  Promise as PromiseCodec,
  Vote
} from '../wire/index.js'
import { compareBallots, equalBallots } from './ballot.js'
import { Acceptor, type AcceptorOutcome, roundJumpMax, type SlotConfig, valueHash } from './index.js'
import { ballot, Fixture, value } from './testing/fixture.js'

const slot = new Fixture()
const fresh = (record?: AcceptorRecord): Acceptor => new Acceptor(slot.config, slot.server(0), record)

function prepare(acceptor: Acceptor, of: Ballot): AcceptorOutcome {
  const inspected = acceptor.inspectPrepare({ prepare: slot.prepare(of) })
  return inspected.kind === 'verify' ? acceptor.prepare(slot.verified(inspected)) : refusedBy(acceptor, inspected)
}

/** An Accept with a proof in which nobody reports anything. */
function acceptRequest(of: Ballot, bytes: Uint8Array): AcceptRequest {
  const proof = [0, 1].map((server) => slot.backed(server, of))
  return { accept: slot.accept(of, bytes, proof), value: bytes, proof }
}

function accept(
  acceptor: Acceptor,
  of: Ballot,
  bytes: Uint8Array,
  verdict: 'valid' | 'invalid' = 'valid'
): AcceptorOutcome {
  const inspected = acceptor.inspectAccept(acceptRequest(of, bytes))
  return inspected.kind === 'verify'
    ? acceptor.accept(slot.verified(inspected), verdict)
    : refusedBy(acceptor, inspected)
}

type Refused = Extract<AcceptorOutcome['reply'], { kind: 'refused' }>['refusal']
const refusedBy = (acceptor: Acceptor, refusal: Refused): AcceptorOutcome => ({
  acceptor,
  record: undefined,
  value: undefined,
  reply: { kind: 'refused', refusal },
  evidence: undefined
})
const nackOf = (outcome: AcceptorOutcome): number | undefined =>
  outcome.reply.kind === 'refused' && outcome.reply.refusal.kind === 'nack'
    ? outcome.reply.refusal.nack.reason
    : undefined

const promiseIn = (outcome: AcceptorOutcome): ReturnType<typeof PromiseCodec.decode> => {
  if (outcome.reply.kind !== 'promise') throw new Error(`a ${outcome.reply.kind} in place of a promise`)
  return PromiseCodec.decode(outcome.reply.statement)
}

test('a promise binds document, slot and context, and its record says so before it leaves', () => {
  const outcome = prepare(fresh(), ballot(1))
  const { group, ctx } = slot.config
  expect(promiseIn(outcome)).toEqual({
    group,
    slot: 5n,
    ctx,
    ballot: ballot(1),
    server: slot.server(0),
    accepted: undefined,
    statementSeq: 1n
  })
  expect(outcome.record).toMatchObject({ slot: 5n, promised: ballot(1), statementSeq: 1n })
  expect(outcome.acceptor.record).toEqual(outcome.record)
})

test('a vote is for the value and ballot of the Accept, and value and Accept become durable with it', () => {
  const { acceptor } = prepare(fresh(), ballot(1))
  const outcome = accept(acceptor, ballot(1), value('a'))
  if (outcome.reply.kind !== 'vote') throw new Error('no vote')
  const vote = Vote.decode(outcome.reply.statement)
  expect(vote).toMatchObject({ slot: 5n, ballot: ballot(1), valueHash: valueHash(value('a')), statementSeq: 2n })
  expect(outcome.value).toEqual(value('a'))
  expect(outcome.record?.accept).toEqual(acceptRequest(ballot(1), value('a')).accept)
})

test('a later promise reports what was accepted, with the Accept behind it', () => {
  const first = accept(fresh(), ballot(1), value('a'))
  const outcome = prepare(first.acceptor, ballot(2))
  expect(promiseIn(outcome).accepted).toEqual({ ballot: ballot(1), valueHash: valueHash(value('a')) })
  expect(outcome.reply).toMatchObject({
    accept: acceptRequest(ballot(1), value('a')).accept,
    valueHash: valueHash(value('a'))
  })
})

test('a record survives its encoding and the acceptor goes on from it', () => {
  const { acceptor } = accept(prepare(fresh(), ballot(1)).acceptor, ballot(1), value('a'))
  const again = fresh(AcceptorRecord.decode(AcceptorRecord.encode(acceptor.record)))
  expect(again.record).toEqual(acceptor.record)
  expect(promiseIn(prepare(again, ballot(2))).accepted?.ballot).toEqual(ballot(1))
})

test('a repeated Prepare or Accept gets the same bytes, after a restart too, and changes nothing', () => {
  const promised = prepare(fresh(), ballot(1))
  for (const acceptor of [promised.acceptor, fresh(promised.record)]) {
    const again = prepare(acceptor, ballot(1))
    expect(again.reply).toEqual(promised.reply)
    expect(again.record).toBeUndefined()
  }
  const voted = accept(promised.acceptor, ballot(1), value('a'))
  for (const acceptor of [voted.acceptor, fresh(voted.record)]) {
    const again = accept(acceptor, ballot(1), value('a'), 'invalid')
    expect(again.reply).toEqual(voted.reply)
    expect(again.record).toBeUndefined()
    expect(prepare(acceptor, ballot(1)).reply).toEqual(promised.reply)
  }
})

test('an Accept that repeats one needs neither its proof nor its value checked again', () => {
  const { acceptor } = accept(fresh(), ballot(1), value('a'))
  const inspected = acceptor.inspectAccept({ ...acceptRequest(ballot(1), value('a')), proof: [] })
  expect(inspected).toMatchObject({ kind: 'verify', item: { repeated: true } })
})

test('a promise that reports a value that has since been replaced is not repeated', () => {
  const first = accept(fresh(), ballot(1), value('a'))
  const second = prepare(first.acceptor, ballot(2))
  const proof = [slot.backed(0, ballot(2), ballot(1), value('a')), slot.backed(1, ballot(2))]
  const request = { accept: slot.accept(ballot(2), value('a'), proof), value: value('a'), proof }
  const { acceptor } = second.acceptor.accept(slot.verified(second.acceptor.inspectAccept(request)), 'valid')
  expect(acceptor.record.accepted?.ballot).toEqual(ballot(2))
  expect(nackOf(prepare(acceptor, ballot(2)))).toBe(NackReason.NACK_REASON_PREEMPTED)
})

test('what lies below the promise is refused, naming the promise', () => {
  const { acceptor } = prepare(fresh(), ballot(5))
  for (const outcome of [prepare(acceptor, ballot(4, 8)), accept(acceptor, ballot(4, 8), value('a'))])
    expect(outcome.reply).toEqual({
      kind: 'refused',
      refusal: {
        kind: 'nack',
        nack: {
          group: slot.config.group,
          slot: 5n,
          ballot: ballot(4, 8),
          promised: ballot(5),
          reason: NackReason.NACK_REASON_PREEMPTED,
          retryAfterMs: 0
        }
      }
    })
  expect(nackOf(prepare(acceptor, ballot(5, 1)))).toBeUndefined()
})

test('a Prepare may jump by 2^16 rounds and no further; an Accept may, for a quorum has promised its ballot', () => {
  const far = { ...ballot(1), round: roundJumpMax + 1n }
  expect(nackOf(prepare(fresh(), far))).toBe(NackReason.NACK_REASON_ROUND_JUMP)
  const stepped = prepare(fresh(), { ...far, round: roundJumpMax })
  expect(stepped.reply.kind).toBe('promise')
  expect(prepare(stepped.acceptor, { ...far, round: 2n * roundJumpMax }).reply.kind).toBe('promise')
  expect(nackOf(prepare(stepped.acceptor, { ...far, round: 2n * roundJumpMax + 1n }))).toBe(
    NackReason.NACK_REASON_ROUND_JUMP
  )
  expect(accept(fresh(), far, value('a')).reply.kind).toBe('vote')
})

test('two values in one ballot: the second is refused and both signed Accepts are evidence', () => {
  const { acceptor } = accept(fresh(), ballot(1, 4), value('a'))
  const outcome = accept(acceptor, ballot(1, 4), value('b'))
  expect(nackOf(outcome)).toBe(NackReason.NACK_REASON_EQUIVOCATION)
  expect(outcome.evidence).toEqual({
    kind: 'accepts',
    leaf: 4,
    first: acceptRequest(ballot(1, 4), value('a')).accept,
    second: acceptRequest(ballot(1, 4), value('b')).accept
  })
  expect(outcome.record).toBeUndefined()
})

test('a value that breaks a rule gets no vote and leaves no trace', () => {
  const outcome = accept(fresh(), ballot(1), value('a'), 'invalid')
  expect(nackOf(outcome)).toBe(NackReason.NACK_REASON_INVALID_VALUE)
  expect([outcome.record, outcome.value]).toEqual([undefined, undefined])
})

const of = ballot(9)
const adopting = [slot.backed(0, of), slot.backed(1, of, ballot(3), value('a'))]
const silent = [slot.backed(0, of), slot.backed(1, of)]
const withProof = (proof: AcceptRequest['proof'], bytes = value('b')): AcceptRequest => ({
  accept: slot.accept(of, bytes, proof),
  value: bytes,
  proof
})
const undecided = [slot.backed(0, of, ballot(3), value('a')), slot.backed(1, of, ballot(3), value('c'))]
test.each<[string, AcceptRequest]>([
  ['no quorum', withProof(silent.slice(0, 1))],
  ['one server twice', withProof([...silent, ...silent.slice(0, 1)])],
  ['promises for another ballot', withProof([0, 1].map((server) => slot.backed(server, ballot(8))))],
  ['another value than it leaves open', withProof(adopting)],
  ['a choice that is still open', withProof(undecided, value('a'))],
  [
    'a report without backing',
    withProof(
      adopting.map(({ promise }) => ({ promise, accept: undefined })),
      value('a')
    )
  ],
  ['other promises than the Accept names', { ...withProof(silent), proof: [slot.backed(0, of), slot.backed(2, of)] }],
  ['a promise that was left out after signing', { ...withProof(adopting), proof: silent }]
])('an Accept is refused at once whose proof has %s', (_, request) => {
  const inspected = fresh().inspectAccept(request)
  expect(inspected).toMatchObject({ kind: 'nack', nack: { reason: NackReason.NACK_REASON_PROOF } })
})

test('an Accept that adopts what its proof demands is accepted, and all of the proof is to be verified', () => {
  const inspected = fresh().inspectAccept(withProof(adopting, value('a')))
  if (inspected.kind !== 'verify') throw new Error(inspected.kind)
  expect(inspected.checks.map(({ label }) => label.slice(9))).toEqual(['accept', 'promise', 'promise', 'accept'])
  expect(fresh().accept(slot.verified(inspected), 'valid').reply.kind).toBe('vote')
})

test('an Accept behind several promises is verified once', () => {
  const proof = [0, 1, 2].map((server) => slot.backed(server, of, ballot(3), value('a')))
  const inspected = fresh().inspectAccept(withProof(proof, value('a')))
  if (inspected.kind !== 'verify') throw new Error(inspected.kind)
  expect(inspected.checks.map(({ label }) => label.slice(9))).toEqual([
    'accept',
    'promise',
    'accept',
    'promise',
    'promise'
  ])
})

test('a value that is not what the Accept names is malformed', () => {
  const inspected = fresh().inspectAccept({ ...acceptRequest(ballot(1), value('a')), value: value('b') })
  expect(inspected.kind).toBe('malformed')
})

test('bytes that do not decode are malformed', () => {
  const { statement, signature } = slot.prepare(ballot(1))
  expect(fresh().inspectPrepare({ prepare: { statement: statement.slice(1), signature } }).kind).toBe('malformed')
  const { accept: signed, value: bytes, proof } = acceptRequest(ballot(1), value('a'))
  const cut = { statement: signed.statement.slice(0, -1), signature }
  expect(fresh().inspectAccept({ accept: cut, value: bytes, proof }).kind).toBe('malformed')
})

test('where a request stands is told in this order: document, slot, membership of the server, context, leaf', () => {
  const removed = (config: Partial<SlotConfig>): Acceptor =>
    new Acceptor({ ...slot.config, servers: [1, 2, 3].map((i) => new Fixture(4).server(i)), ...config }, slot.server(0))
  const ask = (acceptor: Acceptor, twist: Parameters<Fixture['prepare']>[1], leaf = 0): unknown =>
    acceptor.inspectPrepare({ prepare: slot.prepare(ballot(1, leaf), twist) })
  const other = { ctx: new Uint8Array(32) }
  expect(ask(removed({}), { group: new Uint8Array(16), slot: 4n })).toEqual({ kind: 'wrong-document' })
  expect(ask(removed({}), { slot: 4n, ...other })).toEqual({ kind: 'stale', fromSlot: 4n })
  expect(ask(removed({}), { slot: 6n, ...other })).toEqual({ kind: 'behind', slot: 5n })
  expect(ask(removed({}), other)).toEqual({ kind: 'not-mine', slot: 5n })
  expect(ask(fresh(), other, 9)).toEqual({ kind: 'fork', slot: 5n })
  expect(ask(fresh(), {}, 9)).toEqual({ kind: 'not-a-member', slot: 5n })
  expect(ask(fresh(), {})).toMatchObject({ kind: 'verify' })
})

test('what was inspected is checked again when the state has moved meanwhile', () => {
  const start = fresh()
  const prepared = slot.verified(start.inspectPrepare({ prepare: slot.prepare(ballot(1)) }))
  const proposed = slot.verified(start.inspectAccept(acceptRequest(ballot(1), value('a'))))
  const rival = slot.verified(start.inspectAccept(acceptRequest(ballot(1), value('b'))))
  const higher = prepare(start, ballot(2)).acceptor
  expect(nackOf(higher.prepare(prepared))).toBe(NackReason.NACK_REASON_PREEMPTED)
  expect(nackOf(higher.accept(proposed, 'valid'))).toBe(NackReason.NACK_REASON_PREEMPTED)
  const voted = start.accept(proposed, 'valid').acceptor
  expect(nackOf(voted.accept(rival, 'valid'))).toBe(NackReason.NACK_REASON_EQUIVOCATION)
  const advanced = start.advance({ ...slot.config, slot: 6n })
  expect(advanced.prepare(prepared).reply).toEqual({ kind: 'refused', refusal: { kind: 'stale', fromSlot: 5n } })
  expect(advanced.accept(proposed, 'valid').record).toBeUndefined()
})

test('a repetition inspected on state that never became durable is not taken for proven', () => {
  const { acceptor } = accept(fresh(), ballot(1), value('a'))
  const repeated = slot.verified(acceptor.inspectAccept(acceptRequest(ballot(1), value('a'))))
  expect(nackOf(fresh().accept(repeated, 'valid'))).toBe(NackReason.NACK_REASON_PROOF)
})

test('the next slot begins without promise and vote, but statement numbers go on', () => {
  const { acceptor } = accept(prepare(fresh(), ballot(7)).acceptor, ballot(7), value('a'))
  const next = new Fixture(3, 0, 6n)
  const advanced = acceptor.advance(next.config)
  expect(advanced.record).toMatchObject({ slot: 6n, promised: undefined, accepted: undefined, statementSeq: 2n })
  const inspected = advanced.inspectPrepare({ prepare: next.prepare(ballot(1)) })
  const outcome = advanced.prepare(next.verified(inspected))
  expect(promiseIn(outcome)).toMatchObject({ slot: 6n, ballot: ballot(1), accepted: undefined, statementSeq: 3n })
  expect(() => acceptor.advance(new Fixture(3, 0, 7n).config)).toThrow(/cannot advance/)
})

test('a record of an earlier slot counts as advanced, one of a later slot means that decided slots are lost', () => {
  const { record } = prepare(fresh(), ballot(1))
  expect(new Acceptor(new Fixture(3, 0, 9n).config, slot.server(0), record).record).toMatchObject({
    slot: 9n,
    promised: undefined,
    statementSeq: 1n
  })
  expect(() => new Acceptor(new Fixture(3, 0, 4n).config, slot.server(0), record)).toThrow(/slot 5/)
})

const action = fc.record({
  kind: fc.constantFrom('prepare', 'accept', 'restart', 'crash'),
  round: fc.integer({ min: 1, max: 4 }),
  leaf: fc.integer({ min: 0, max: 1 }),
  name: fc.constantFrom('a', 'b')
})

test('whatever it is asked, an acceptor never votes below a promise it gave, nor contradicts itself, across restarts', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 25 }), (actions) => {
      let acceptor = fresh()
      let durable: AcceptorRecord | undefined
      const said: Said[] = []
      let highest: Ballot | undefined
      for (const { kind, round, leaf, name } of actions) {
        const of = ballot(round, leaf)
        if (kind === 'restart') acceptor = fresh(durable)
        if (kind === 'restart') continue
        const outcome = kind === 'prepare' ? prepare(acceptor, of) : accept(acceptor, of, value(name))
        // A crash comes before the record is durable: then the reply does not leave either.
        if (kind === 'crash') acceptor = fresh(durable)
        if (kind === 'crash') continue
        if (outcome.record !== undefined) durable = AcceptorRecord.decode(AcceptorRecord.encode(outcome.record))
        acceptor = outcome.acceptor
        if (outcome.reply.kind === 'refused') continue
        const now = saidIn(outcome.reply.kind, outcome.reply.statement)
        expect(compareBallots(now.value.ballot, highest)).toBeGreaterThanOrEqual(0)
        highest = now.value.ballot
        said.push(now)
        for (const earlier of said) expect(contradicts(earlier, now)).toBe(false)
      }
    }),
    { numRuns: 300, seed: 1 }
  )
})

interface Said {
  readonly bytes: Uint8Array
  readonly vote: boolean
  readonly value: { readonly ballot: Ballot; readonly statementSeq: bigint }
}

const saidIn = (kind: 'promise' | 'vote', bytes: Uint8Array): Said => ({
  bytes,
  vote: kind === 'vote',
  value: kind === 'vote' ? Vote.decode(bytes) : PromiseCodec.decode(bytes)
})

/** One number for two statements, or two votes or two promises for one ballot. */
function contradicts(a: Said, b: Said): boolean {
  if (a.vote === b.vote && equalBytes(a.bytes, b.bytes)) return false
  if (a.value.statementSeq === b.value.statementSeq) return true
  return a.vote === b.vote && equalBallots(a.value.ballot, b.value.ballot)
}
