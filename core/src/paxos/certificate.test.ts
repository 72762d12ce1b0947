import { expect, test } from 'vitest'
import { type DecidedSlot, Vote } from '../wire/index.js'
import { inspectDecided, inspectVote, Learner, quorum } from './index.js'
import { ballot, Fixture, value } from './testing/fixture.js'
import { serverKey } from './testing/simulation.js'

const slot = new Fixture()
const v = value('a')
const decidedBy = (votes: DecidedSlot['certificate']['votes']): DecidedSlot => ({
  slot: 5n,
  value: v,
  certificate: { votes }
})

const reasonOf = (decided: DecidedSlot): string => {
  const inspected = inspectDecided(slot.config, decided)
  return inspected.kind === 'bad' ? inspected.reason : 'sound'
}

test.each([
  [1, 0, 1],
  [3, 0, 2],
  [4, 1, 3],
  [5, 0, 3],
  [5, 1, 4],
  [7, 2, 5]
])('of %i servers with %i lying, %i decide', (servers, faultBound, expected) => {
  expect(quorum(new Fixture(servers, faultBound).config)).toBe(expected)
})

test('a quorum of equal votes of distinct servers is a certificate, and every signature of it is to be verified', () => {
  const decided = decidedBy([slot.vote(0, ballot(1), v), slot.vote(2, ballot(1), v)])
  const inspected = inspectDecided(slot.config, decided)
  if (inspected.kind === 'bad') throw new Error(inspected.reason)
  expect(inspected.checks.map(({ publicKey }) => publicKey)).toEqual([serverKey(0), serverKey(2)])
  expect(inspected.checks.map(({ label }) => label)).toEqual(['heddle/1 vote', 'heddle/1 vote'])
  expect(inspected.checks.every((check) => slot.notary.verify(check))).toBe(true)
  expect(inspected.item.value).toEqual(v)
  expect(reasonOf(decidedBy([0, 1, 2].map((server) => slot.vote(server, ballot(1), v))))).toBe('sound')
})

test('a forged vote is left for the verifier to find', () => {
  const forged = { ...slot.vote(1, ballot(1), v), signature: new Uint8Array(64) }
  const inspected = inspectDecided(slot.config, decidedBy([slot.vote(0, ballot(1), v), forged]))
  if (inspected.kind === 'bad') throw new Error(inspected.reason)
  expect(inspected.checks.map((check) => slot.notary.verify(check))).toEqual([true, false])
})

const [one, two] = [slot.vote(0, ballot(1), v), slot.vote(1, ballot(1), v)]
test.each<[string, DecidedSlot, RegExp]>([
  ['too few votes', decidedBy([one]), /fewer than a quorum/],
  ['one server twice', decidedBy([one, one]), /of one server/],
  ['one server twice beside a quorum', decidedBy([one, two, two]), /of one server/],
  ['two ballots', decidedBy([one, slot.vote(1, ballot(2), v)]), /two ballots/],
  ['two incarnations', decidedBy([one, slot.vote(1, ballot(1, 0, 2), v)]), /two ballots/],
  ['another value in a vote', decidedBy([one, slot.vote(1, ballot(1), value('b'))]), /another value/],
  ['another value than voted for', { ...decidedBy([one, two]), value: value('b') }, /another value/],
  ['a foreign server', decidedBy([one, slot.vote(3, ballot(1), v)]), /no acceptor/],
  ['a foreign server beside a quorum', decidedBy([one, two, slot.vote(3, ballot(1), v)]), /no acceptor/],
  ['another context', decidedBy([one, slot.vote(1, ballot(1), v, { ctx: new Uint8Array(32) })]), /another document/],
  ['another slot in a vote', decidedBy([one, slot.vote(1, ballot(1), v, { slot: 4n })]), /another document/],
  ['another document', decidedBy([one, slot.vote(1, ballot(1), v, { group: new Uint8Array(16) })]), /another document/],
  ['another slot', { ...decidedBy([one, two]), slot: 6n }, /decided slot is 6/],
  ['no vote at all', decidedBy([]), /fewer than a quorum/],
  ['bytes that are no vote', decidedBy([one, { statement: Uint8Array.of(1), signature: new Uint8Array(64) }]), /decode/]
])('a certificate with %s is refused', (_, decided, reason) => {
  expect(reasonOf(decided)).toMatch(reason)
})

test('a vote that is not in its canonical form is refused', () => {
  const { statement, signature } = one
  const padded = Uint8Array.from([...statement, 0x40, 0x00])
  expect(Vote.decode(statement).slot).toBe(5n)
  expect(inspectVote(slot.config, { statement: padded, signature }).kind).toBe('bad')
})

test('a learner certifies at a quorum of distinct servers, once, with a certificate that anyone can check', () => {
  const learner = new Learner(slot.config)
  expect([learner.sawVotes, learner.roundMax]).toEqual([false, 0n])
  expect(learner.add(slot.checkedVote(0, ballot(4), v))).toEqual([])
  expect(learner.add(slot.checkedVote(0, ballot(4), v))).toEqual([])
  expect([learner.sawVotes, learner.certified, learner.roundMax]).toEqual([true, false, 4n])
  const [effect] = learner.add(slot.checkedVote(1, ballot(4), v))
  if (effect?.kind !== 'certificate') throw new Error('no certificate')
  expect(reasonOf(decidedBy(effect.certificate.votes))).toBe('sound')
  expect(learner.certified).toBe(true)
  expect(learner.add(slot.checkedVote(2, ballot(4), v))).toEqual([])
})

test('a learner counts neither across ballots nor across values', () => {
  const learner = new Learner(slot.config)
  expect(learner.add(slot.checkedVote(0, ballot(1), v))).toEqual([])
  expect(learner.add(slot.checkedVote(1, ballot(2), v))).toEqual([])
  expect(learner.add(slot.checkedVote(2, ballot(1), value('b')))).toEqual([])
  expect(learner.certified).toBe(false)
})

test('a vote of another slot or of a foreign server does not count, whoever claims to have checked it', () => {
  const learner = new Learner(slot.config)
  const later = new Fixture(3, 0, 6n)
  const foreign = new Fixture(4)
  learner.add(slot.checkedVote(0, ballot(1), v))
  learner.add(later.checkedVote(1, ballot(1), v))
  learner.add(foreign.checkedVote(3, ballot(1), v))
  expect(learner.certified).toBe(false)
})

test('two votes of one server in one ballot are evidence, and both count', () => {
  const learner = new Learner(slot.config)
  learner.add(slot.checkedVote(0, ballot(1), v))
  const [effect] = learner.add(slot.checkedVote(0, ballot(1), value('b')))
  expect(effect).toEqual({
    kind: 'evidence',
    evidence: { kind: 'votes', server: serverKey(0), first: one, second: slot.vote(0, ballot(1), value('b')) }
  })
  expect(learner.add(slot.checkedVote(1, ballot(1), value('b')))).toMatchObject([{ kind: 'certificate' }])
})

test('what a server can make a learner keep is bounded', () => {
  const learner = new Learner(slot.config)
  for (let round = 1; round <= 1_000; round++) learner.add(slot.checkedVote(0, ballot(round), v))
  expect(learner.add(slot.checkedVote(1, ballot(500), v))).toEqual([])
  expect(learner.add(slot.checkedVote(1, ballot(1_000), v))).toMatchObject([{ kind: 'certificate' }])
})
