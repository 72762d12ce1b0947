import { expect, test } from 'vitest'
import { Accept, type Ballot, NackReason, Prepare } from '../wire/index.js'
import {
  Acceptor,
  inspectDecided,
  Proposer,
  type ProposerEffect,
  type ProposerEvent,
  roundJumpMax,
  valueHash
} from './index.js'
import { backoffMs, nextRound, retransmitMs } from './pacing.js'
import { ballot, Fixture, value } from './testing/fixture.js'

const slot = new Fixture()
const pulse = { rttMs: 100, jitter: 0.5 }
const mine = (round: number): Ballot => ballot(round, 3, 77)

/** A proposer of leaf 3 that has started, and what it did so far. */
function started(purpose: 'own' | 'finish-only' = 'own', fixture = slot, roundSeen = 0n) {
  const proposer = new Proposer({ config: fixture.config, leaf: 3, incarnation: 77n, roundSeen })
  const first = proposer.handle({ kind: 'start', purpose, ...pulse })
  return { proposer, first }
}

const promised = (proposer: Proposer, server: number, of: Ballot, at?: Ballot, bytes?: Uint8Array, fixture = slot) =>
  proposer.handle({ kind: 'promise', promise: fixture.checkedPromise(server, of, at, bytes), ...pulse })
const voted = (proposer: Proposer, server: number, of: Ballot, bytes: Uint8Array) =>
  proposer.handle({ kind: 'vote', vote: slot.checkedVote(server, of, bytes), ...pulse })
const nacked = (proposer: Proposer, server: number, of: Ballot, over: Ballot | undefined, more: Partial<Nacked> = {}) =>
  proposer.handle({ ...nack(server, of, over, more), ...pulse })

type Nacked = Extract<ProposerEvent, { kind: 'nack' }>['nack']
const nack = (server: number, of: Ballot, over: Ballot | undefined, more: Partial<Nacked>) =>
  ({
    kind: 'nack',
    server: slot.server(server),
    nack: {
      group: slot.config.group,
      slot: 5n,
      ballot: of,
      promised: over,
      reason: NackReason.NACK_REASON_PREEMPTED,
      retryAfterMs: 0,
      ...more
    }
  }) as const

const tick = (proposer: Proposer) => proposer.handle({ kind: 'timer', ...pulse })
const propose = (proposer: Proposer, bytes: Uint8Array) => proposer.handle({ kind: 'propose', value: bytes, ...pulse })

const kinds = (effects: readonly ProposerEffect[]): string[] => effects.map(({ kind }) => kind)
function only<K extends ProposerEffect['kind']>(effects: readonly ProposerEffect[], kind: K) {
  const found = effects.filter((effect) => effect.kind === kind) as Extract<ProposerEffect, { kind: K }>[]
  if (found.length !== 1 || found[0] === undefined)
    throw new Error(`${found.length} effects ${kind}: ${kinds(effects)}`)
  return found[0]
}
const preparedIn = (effects: readonly ProposerEffect[]): Ballot =>
  Prepare.decode(only(effects, 'send-prepare').statement).ballot

test('a slot that is free is decided with the own value', () => {
  const { proposer, first } = started()
  expect(kinds(first)).toEqual(['send-prepare', 'set-timer'])
  expect(only(first, 'send-prepare').to).toEqual(slot.config.servers)
  expect(preparedIn(first)).toEqual(mine(1))
  expect(promised(proposer, 0, mine(1))).toEqual([])
  expect(kinds(promised(proposer, 1, mine(1)))).toEqual(['need-value'])
  const sent = propose(proposer, value('a'))
  expect(kinds(sent)).toEqual(['send-accept', 'set-timer'])
  const accept = only(sent, 'send-accept')
  expect(accept.to).toEqual(slot.config.servers)
  expect(accept.value).toEqual(value('a'))
  expect(Accept.decode(accept.statement)).toMatchObject({ slot: 5n, ballot: mine(1), valueHash: valueHash(value('a')) })
  expect(voted(proposer, 2, mine(1), value('a'))).toEqual([])
  const done = only(voted(proposer, 0, mine(1), value('a')), 'decided')
  expect(done.valueHash).toEqual(valueHash(value('a')))
  slot.verified(inspectDecided(slot.config, done.decided))
  expect(done.decided.value).toEqual(value('a'))
  expect(proposer.done).toBe(true)
  expect(tick(proposer)).toEqual([])
})

test('acceptors accept what a proposer sends', () => {
  const { proposer } = started()
  promised(proposer, 0, mine(1))
  promised(proposer, 1, mine(1))
  const { statement, value: bytes, proof } = only(propose(proposer, value('a')), 'send-accept')
  const accept = slot.sign('Accept', slot.config.leafKey(3) ?? new Uint8Array(0), statement)
  for (const server of slot.config.servers) {
    const acceptor = new Acceptor(slot.config, server)
    const checked = slot.verified(acceptor.inspectAccept({ accept, value: bytes, proof }))
    expect(acceptor.accept(checked, 'valid').reply.kind).toBe('vote')
  }
})

test('what may have been chosen is proposed byte for byte, and no value is asked for', () => {
  const { proposer } = started()
  promised(proposer, 0, mine(1))
  const effects = promised(proposer, 1, mine(1), { ...ballot(1), incarnation: 1n }, value('b'))
  const accept = only(effects, 'send-accept')
  expect(accept.value).toEqual(value('b'))
  expect(accept.proof.map(({ accept: backing }) => backing !== undefined)).toEqual([false, true])
  const done = [0, 1].map((server) => voted(proposer, server, mine(1), value('b')))
  expect(only(done.flat(), 'decided').decided.value).toEqual(value('b'))
})

test('a time-out repeats the same message to those that have not answered, at growing intervals', () => {
  const { proposer, first } = started()
  promised(proposer, 1, mine(1))
  const [again, later] = [tick(proposer), tick(proposer)]
  expect(only(again, 'send-prepare').statement).toEqual(only(first, 'send-prepare').statement)
  expect(only(again, 'send-prepare').to).toEqual([slot.server(0), slot.server(2)])
  expect(only(later, 'set-timer').delayMs).toBeGreaterThan(only(again, 'set-timer').delayMs)
  promised(proposer, 0, mine(1))
  expect(tick(proposer)).toEqual([])
  const sent = only(propose(proposer, value('a')), 'send-accept')
  voted(proposer, 2, mine(1), value('a'))
  const repeated = only(tick(proposer), 'send-accept')
  expect({ ...repeated, to: sent.to }).toEqual(sent)
  expect(repeated.to).toEqual([slot.server(0), slot.server(1)])
})

test('a few Nacks give up nothing while the other servers can still make a quorum', () => {
  const { proposer } = started()
  expect(nacked(proposer, 0, mine(1), ballot(4))).toEqual([])
  promised(proposer, 1, mine(1))
  expect(kinds(promised(proposer, 2, mine(1)))).toEqual(['need-value'])
})

test('when Nacks leave no quorum, the next ballot comes after a backoff and lies above what they named', () => {
  const { proposer } = started()
  nacked(proposer, 0, mine(1), ballot(4))
  const effects = nacked(proposer, 1, mine(1), ballot(6))
  expect(kinds(effects)).toEqual(['set-timer'])
  expect(preparedIn(tick(proposer))).toEqual(mine(7))
})

test('a Nack and then silence lead to a higher ballot too, silence alone does not', () => {
  const { proposer } = started()
  expect(preparedIn(tick(proposer))).toEqual(mine(1))
  nacked(proposer, 0, mine(1), ballot(4))
  expect(kinds(tick(proposer))).toEqual(['set-timer'])
  expect(preparedIn(tick(proposer))).toEqual(mine(5))
})

test('in phase 2 Nacks lead to a higher ballot that proposes the own value again without asking for it', () => {
  const { proposer } = started()
  promised(proposer, 0, mine(1))
  promised(proposer, 1, mine(1))
  propose(proposer, value('a'))
  nacked(proposer, 0, mine(1), ballot(2))
  expect(kinds(nacked(proposer, 1, mine(1), ballot(2)))).toEqual(['set-timer'])
  expect(preparedIn(tick(proposer))).toEqual(mine(3))
  promised(proposer, 0, mine(3))
  expect(only(promised(proposer, 1, mine(3)), 'send-accept').value).toEqual(value('a'))
})

test('the backoff lasts until a quorum is ready, whatever a single server asks for', () => {
  const { proposer } = started()
  nacked(proposer, 0, mine(1), ballot(4), { retryAfterMs: 3_600_000 })
  const effects = nacked(proposer, 1, mine(1), ballot(4), { retryAfterMs: 9_000 })
  expect(only(effects, 'set-timer').delayMs).toBe(9_000)
  const { proposer: other } = started()
  nacked(other, 0, mine(1), ballot(4), { retryAfterMs: 3_600_000 })
  expect(only(tick(other), 'set-timer').delayMs).toBeLessThan(1_000)
})

test('a vote with an absurd round keeps no proposer from beginning within reach of the servers', () => {
  const { proposer, first } = started('own', slot, 9_007_199_254_740_991n)
  expect(preparedIn(first).round).toBe(roundJumpMax)
  promised(proposer, 0, { ...mine(1), round: roundJumpMax })
  expect(kinds(promised(proposer, 1, { ...mine(1), round: roundJumpMax }))).toEqual(['need-value'])
})

test.each<[string, number, Ballot, Ballot | undefined, Partial<Nacked>]>([
  ['for another ballot', 0, mine(2), ballot(9), {}],
  ['for another slot', 0, mine(1), ballot(9), { slot: 4n }],
  ['of a foreign server', 3, mine(1), ballot(9), {}],
  ['that names no higher ballot: a late answer, phase 2 has reached the server', 0, mine(1), mine(1), {}]
])('a Nack has no effect %s', (_, server, of, over, more) => {
  const { proposer } = started()
  nacked(proposer, server, of, over, more)
  expect(preparedIn(tick(proposer))).toEqual(mine(1))
})

test('while either of two values may be chosen, the remaining servers are asked, then the evidence is handed on', () => {
  const { proposer: waiting } = started('own', slot, 1n)
  promised(waiting, 0, mine(2), ballot(1), value('a'))
  const evidence = promised(waiting, 1, mine(2), ballot(1), value('b'))
  expect(kinds(evidence)).toEqual(['evidence'])
  expect(only(evidence, 'evidence').evidence).toMatchObject({ kind: 'accepts', leaf: 0 })
  expect(only(tick(waiting), 'send-prepare').to).toEqual([slot.server(2)])
  expect(only(promised(waiting, 2, mine(2), ballot(1), value('b')), 'send-accept').value).toEqual(value('b'))
})

test('finish-only: completes what was begun, and leaves a free slot alone', () => {
  const { proposer } = started('finish-only', slot, 4n)
  promised(proposer, 0, mine(5))
  expect(only(promised(proposer, 1, mine(5), ballot(4), value('b')), 'send-accept').value).toEqual(value('b'))
  const { proposer: idle } = started('finish-only')
  promised(idle, 0, mine(1))
  expect(promised(idle, 1, mine(1))).toEqual([{ kind: 'abandon' }])
  expect(idle.done).toBe(true)
})

test('a finish-only proposer that is given a purpose of its own on the way asks for a value', () => {
  const { proposer } = started('finish-only')
  promised(proposer, 0, mine(1))
  expect(proposer.handle({ kind: 'start', purpose: 'own', ...pulse })).toEqual([])
  expect(proposer.handle({ kind: 'start', purpose: 'finish-only', ...pulse })).toEqual([])
  expect(promised(proposer, 1, mine(1))).toEqual([{ kind: 'need-value' }])
})

test('late votes for a ballot that was given up decide still', () => {
  const { proposer } = started()
  promised(proposer, 0, mine(1))
  promised(proposer, 1, mine(1))
  propose(proposer, value('a'))
  nacked(proposer, 0, mine(1), ballot(2))
  nacked(proposer, 1, mine(1), ballot(2))
  tick(proposer)
  voted(proposer, 0, mine(1), value('a'))
  expect(kinds(voted(proposer, 1, mine(1), value('a')))).toEqual(['decided'])
})

test('votes of one server do not add up', () => {
  const { proposer } = started()
  promised(proposer, 0, mine(1))
  promised(proposer, 1, mine(1))
  propose(proposer, value('a'))
  expect([1, 2, 3].flatMap(() => voted(proposer, 0, mine(1), value('a')))).toEqual([])
})

test('a decision by others is taken up as soon as a promise brings its value', () => {
  const { proposer } = started('own', slot, 1n)
  voted(proposer, 0, ballot(1), value('b'))
  expect(voted(proposer, 1, ballot(1), value('b'))).toEqual([])
  const done = only(promised(proposer, 0, mine(2), ballot(1), value('b')), 'decided')
  slot.verified(inspectDecided(slot.config, done.decided))
})

test('two promises of one server for one ballot that differ are evidence, a repeated one is nothing', () => {
  const { proposer } = started('own', slot, 1n)
  promised(proposer, 0, mine(2))
  expect(promised(proposer, 0, mine(2))).toEqual([])
  const effects = promised(proposer, 0, mine(2), ballot(1), value('a'))
  expect(only(effects, 'evidence').evidence).toMatchObject({ kind: 'promises', server: slot.server(0) })
})

test('promises for ballots of another proposer do not count', () => {
  const { proposer } = started()
  promised(proposer, 0, ballot(1, 3, 78))
  promised(proposer, 1, ballot(1, 4, 77))
  promised(proposer, 2, mine(2))
  expect(promised(proposer, 0, mine(1))).toEqual([])
})

test('servers that refuse the own value as invalid until no quorum is left end the attempt', () => {
  const { proposer } = started()
  promised(proposer, 0, mine(1))
  promised(proposer, 1, mine(1))
  propose(proposer, value('a'))
  const invalid = { reason: NackReason.NACK_REASON_INVALID_VALUE }
  expect(nacked(proposer, 0, mine(1), mine(1), invalid)).toEqual([])
  expect(nacked(proposer, 1, mine(1), mine(1), invalid)).toEqual([{ kind: 'value-refused' }])
})

test('an adopted value that is refused is not the own one: the slot is tried again', () => {
  const { proposer } = started('own', slot, 1n)
  promised(proposer, 0, mine(2))
  promised(proposer, 1, mine(2), ballot(1), value('b'))
  const invalid = { reason: NackReason.NACK_REASON_INVALID_VALUE }
  nacked(proposer, 0, mine(2), mine(2), invalid)
  expect(kinds(nacked(proposer, 1, mine(2), mine(2), invalid))).toEqual(['set-timer'])
})

/** A proposer whose ballot has this round, because two servers have promised the one before. */
function farAhead(round: bigint): Proposer {
  const { proposer } = started()
  for (const server of [0, 1]) nacked(proposer, server, mine(1), { ...ballot(1), round: round - 1n })
  expect(preparedIn(tick(proposer)).round).toBe(round)
  return proposer
}

test('a server that is left far behind is led up to the ballot step by step', () => {
  const round = 3n * roundJumpMax
  const proposer = farAhead(round)
  const jump = { reason: NackReason.NACK_REASON_ROUND_JUMP }
  let acceptor = new Acceptor(slot.config, slot.server(2))
  let effects = nacked(proposer, 2, { ...mine(1), round }, undefined, jump)
  const rounds: bigint[] = []
  for (let step = 0; step < 3; step++) {
    const { statement, to } = only(effects, 'send-prepare')
    expect(to).toEqual([slot.server(2)])
    const of = Prepare.decode(statement).ballot
    rounds.push(of.round / roundJumpMax)
    const request = { prepare: slot.prepare(of) }
    const outcome = acceptor.prepare(slot.verified(acceptor.inspectPrepare(request)))
    expect(outcome.reply.kind).toBe('promise')
    acceptor = outcome.acceptor
    effects = promised(proposer, 2, of)
  }
  expect(rounds).toEqual([1n, 2n, 3n])
  expect(kinds(promised(proposer, 0, { ...mine(1), round }))).toEqual(['need-value'])
})

test('a server that keeps claiming to be behind is answered once until the timer', () => {
  const proposer = farAhead(3n * roundJumpMax)
  const of = { ...mine(1), round: 3n * roundJumpMax }
  const jump = { reason: NackReason.NACK_REASON_ROUND_JUMP }
  expect(kinds(nacked(proposer, 2, of, undefined, jump))).toEqual(['send-prepare'])
  expect(nacked(proposer, 2, of, undefined, jump)).toEqual([])
  tick(proposer)
  expect(kinds(nacked(proposer, 2, of, undefined, jump))).toEqual(['send-prepare'])
})

test('the next round lies above all that is known, unless that is out of reach of a quorum', () => {
  expect(nextRound([0n, 0n, 0n], 0n, 2, 0n)).toBe(1n)
  expect(nextRound([0n, 0n, 0n], 6n, 2, 0n)).toBe(7n)
  expect(nextRound([3n, 9n, 0n], 0n, 2, 1n)).toBe(10n)
  // One server was pushed, or lies: the round stays within reach of the two others.
  expect(nextRound([0n, 0n, 1n << 52n], 0n, 2, 0n)).toBe(roundJumpMax)
  expect(nextRound([2n * roundJumpMax, 5n, 0n], 0n, 2, 0n)).toBe(5n + roundJumpMax)
  expect(nextRound([0n, 0n, 0n], 0n, 2, 7n)).toBe(8n)
  expect(nextRound([1n, 1n, 1n], 0n, 2, (1n << 53n) - 1n)).toBeUndefined()
})

test('the backoff grows with the failures, from nothing to its bound', () => {
  const at = (jitter: number, failures: number): number => backoffMs({ rttMs: 100, jitter }, failures, 0)
  expect(at(0, 1)).toBe(1)
  const highest = Array.from({ length: 8 }, (_, i) => at(1 - 2 ** -32, i + 1))
  const bounds = [1, 2, 4, 8, 16, 32, 32, 32].map((factor) => 220 + 120 * factor)
  highest.forEach((delayMs, i) => {
    expect(Math.abs(delayMs - (bounds[i] ?? 0))).toBeLessThan(1)
  })
})

test('a message is repeated after four round trips or more, and never later than after five seconds', () => {
  expect(retransmitMs({ rttMs: 100, jitter: 0 }, 0)).toBe(400)
  expect(retransmitMs({ rttMs: 1, jitter: 0 }, 0)).toBe(200)
  expect(retransmitMs({ rttMs: 100, jitter: 0.5 }, 1)).toBe(900)
  expect(retransmitMs({ rttMs: 100, jitter: 0.5 }, 1_000)).toBe(5_000)
})
