import fc from 'fast-check'
import { expect, test } from 'vitest'
import { equalBytes, toHex } from '../bytes.js'
import { compareBallots } from './ballot.js'
import { inspectReport, quorum, type Report, type Selection, select, valueHash } from './index.js'
import { ballot, Fixture, value } from './testing/fixture.js'

/** A report in short: the round (owned by leaf 0) and the name of the value accepted in it, or nothing. */
type Short = readonly [round: number, name: string] | null

/** What the rule says of the reports of the first servers. */
function selectFrom(slot: Fixture, shorts: readonly Short[], round = 9): string {
  const reports = shorts.map((short, index) => reportOf(slot, index, round, short))
  return told(select(slot.config, ballot(round), reports))
}

const reportOf = (slot: Fixture, index: number, round: number, short: Short): Report =>
  short === null
    ? slot.report(index, ballot(round))
    : slot.report(index, ballot(round), ballot(short[0]), value(short[1]))

const told = (selection: Selection): string => {
  if (selection.kind !== 'adopt') return selection.kind === 'bad' ? selection.reason : selection.kind
  const name = ['a', 'b', 'c'].find((one) => equalBytes(valueHash(value(one)), selection.valueHash))
  return `adopt ${name}`
}

test.each<[string, readonly Short[], string]>([
  ['nothing reported: any value', [null, null], 'free'],
  ['one value reported: that one', [[1, 'a'], null], 'adopt a'],
  [
    'values at two ballots: the higher one',
    [
      [1, 'a'],
      [2, 'b']
    ],
    'adopt b'
  ],
  // The first draft counted votes for a single value at the top too and found it free: a was chosen at 1 by both.
  ['a single value at the top that too few hold there', [[2, 'a'], [1, 'a'], null], 'adopt a'],
  ['the same with every server heard and the others holding nothing', [[2, 'a'], null, null], 'adopt a'],
  [
    'two values in one ballot, the third server unheard: either may be chosen',
    [
      [1, 'a'],
      [1, 'b']
    ],
    'wait'
  ],
  [
    'two values in one ballot, one of them held by two',
    [
      [1, 'a'],
      [1, 'b'],
      [1, 'b']
    ],
    'adopt b'
  ],
  ['two values in one ballot, all heard, neither chosen', [[1, 'a'], [1, 'b'], null], 'free'],
  [
    'two values in one ballot below another',
    [
      [1, 'a'],
      [1, 'b'],
      [2, 'a']
    ],
    'adopt a'
  ]
])('three servers, none lying: %s', (_, shorts, expected) => {
  expect(selectFrom(new Fixture(), shorts)).toBe(expected)
})

test.each<[string, readonly Short[], string]>([
  ['nothing reported', [null, null, null], 'free'],
  ['one value reported, which the unheard and a liar may have chosen', [[1, 'a'], null, null], 'adopt a'],
  ['one value reported with all heard: even with a liar it is not chosen', [[1, 'a'], null, null, null], 'free'],
  // A member signs an Accept that no proof allows, and a server reports it without having accepted anything.
  [
    'a lone report above a chosen value may be a lie',
    [
      [2, 'b'],
      [1, 'a'],
      [1, 'a']
    ],
    'wait'
  ],
  [
    'the same with all heard: the lie cannot be the chosen value',
    [
      [2, 'b'],
      [1, 'a'],
      [1, 'a'],
      [1, 'a']
    ],
    'adopt a'
  ],
  [
    'two reports cannot both be lies',
    [
      [2, 'b'],
      [2, 'b'],
      [1, 'a']
    ],
    'adopt b'
  ]
])('four servers, one lying: %s', (_, shorts, expected) => {
  expect(selectFrom(new Fixture(4, 1), shorts)).toBe(expected)
})

const slot = new Fixture()
const good = slot.report(0, ballot(9))
test.each<[string, readonly Report[], RegExp]>([
  ['fewer than a quorum', [good], /fewer than a quorum/],
  ['one server twice', [good, good], /of one server/],
  ['another ballot', [good, slot.report(1, ballot(8))], /another ballot/],
  ['another incarnation', [good, slot.report(1, ballot(9, 0, 2))], /another ballot/],
  ['a foreign server', [good, new Fixture(4).report(3, ballot(9))], /no acceptor/],
  ['another slot', [good, new Fixture(3, 0, 6n).report(1, ballot(9))], /another document/],
  [
    'a report without backing',
    [good, { ...slot.report(1, ballot(9), ballot(1), value('a')), accept: undefined }],
    /without/
  ]
])('a proof is refused for %s', (_, reports, reason) => {
  expect(told(select(slot.config, ballot(9), reports))).toMatch(reason)
})

const of = ballot(9)
const at = ballot(3)
const hash = valueHash(value('a'))
test.each<[string, ReturnType<Fixture['backed']>, RegExp]>([
  ['a ballot that is not below its own', slot.backed(0, of, of, value('a')), /not below its own/],
  ['no backing', { ...slot.backed(0, of, at, value('a')), accept: undefined }, /without the Accept/],
  [
    'the backing of another ballot',
    { ...slot.backed(0, of, at, value('a')), accept: slot.accept(ballot(2), value('a')) },
    /another ballot/
  ],
  [
    'the backing of another value',
    { ...slot.backed(0, of, at, value('a')), accept: slot.accept(at, value('b')) },
    /another value/
  ],
  [
    'the backing of another slot',
    { ...slot.backed(0, of, at, value('a')), accept: slot.accept(at, value('a'), [], { slot: 4n }) },
    /another document/
  ],
  [
    'the backing of a blank leaf',
    {
      promise: slot.promise(0, of, { ballot: ballot(3, 9), valueHash: hash }),
      accept: slot.accept(ballot(3, 9), value('a'))
    },
    /not in the group/
  ],
  ['backing for nothing', { promise: slot.promise(0, of), accept: slot.accept(at, value('a')) }, /reports none/]
])('a promise is refused that reports with %s', (_, backed, reason) => {
  const inspected = inspectReport(slot.config, backed)
  expect(inspected.kind === 'bad' ? inspected.reason : 'sound').toMatch(reason)
})

test('a backed promise is verified under the keys of its server and of the leaf behind what it reports', () => {
  const inspected = inspectReport(slot.config, slot.backed(0, of, ballot(3, 4), value('a')))
  if (inspected.kind === 'bad') throw new Error(inspected.reason)
  expect(inspected.checks.map(({ label }) => label)).toEqual(['heddle/1 promise', 'heddle/1 accept'])
  expect(inspected.checks.map(({ publicKey }) => publicKey)).toEqual([slot.server(0), slot.config.leafKey(4)])
})

/** Every world of votes below the ballot: the value each server votes for in each round, or none. */
const rounds = [1, 2]
const names = ['a', 'b']

type Votes = readonly (string | null)[]
const histories: readonly Votes[] = rounds.reduce<Votes[]>(
  (all, _) => all.flatMap((history) => [null, ...names].map((name) => [...history, name])),
  [[]]
)

/**
 * Brute force over all worlds: which values can be chosen in one where at most f servers lie, everyone else reports its
 * last vote, and votes only for what is safe. `heard[i]` is the report of server i; the rest were not heard.
 */
function choosable(servers: number, faultBound: number, heard: readonly Short[]): ReadonlySet<string> {
  const need = quorum(new Fixture(servers, faultBound).config)
  const found = new Set<string>()
  const search = (world: readonly Votes[], liars: readonly number[]): void => {
    if (world.length < servers) {
      const report = heard[world.length]
      const isLiar = liars.includes(world.length)
      for (const history of histories)
        if (report === undefined || isLiar || tells(history, report)) search([...world, history], liars)
      return
    }
    const chosen = rounds.map((_, r) =>
      names.filter((name) => world.filter((votes) => votes[r] === name).length >= need)
    )
    const safe = world.every(
      (votes, i) =>
        liars.includes(i) ||
        votes.every(
          (vote, r) =>
            vote === null ||
            chosen
              .slice(0, r)
              .flat()
              .every((c) => c === vote)
        )
    )
    if (safe) for (const name of chosen.flat()) found.add(name)
  }
  for (const liars of sets(servers, faultBound)) search([], liars)
  return found
}

const tells = (history: Votes, report: Short): boolean => {
  const last = history.findLastIndex((vote) => vote !== null)
  return report === null ? last < 0 : last === report[0] - 1 && history[last] === report[1]
}

const sets = (count: number, sizeMax: number): readonly (readonly number[])[] =>
  sizeMax === 0 ? [[]] : [[], ...Array.from({ length: count }, (_, i) => [i])]

const anyReport: fc.Arbitrary<Short> = fc.option(
  fc.tuple(fc.constantFrom(...rounds), fc.constantFrom(...names)) as fc.Arbitrary<readonly [number, string]>
)

test.each([
  [3, 0, 300],
  [4, 1, 60]
])('of %i servers, %i lying, the rule never lets go of a value that may be chosen', (servers, faultBound, numRuns) => {
  const fixture = new Fixture(servers, faultBound)
  const need = quorum(fixture.config)
  const known = new Map<string, ReadonlySet<string>>()
  fc.assert(
    fc.property(fc.array(anyReport, { minLength: need, maxLength: servers }), (heard) => {
      const key = JSON.stringify(heard)
      const may = known.get(key) ?? choosable(servers, faultBound, heard)
      known.set(key, may)
      const said = selectFrom(fixture, heard)
      if (said === 'free') expect([...may]).toEqual([])
      else if (said === 'wait') expect(may.size).toBeGreaterThan(1)
      else expect([...may, said.slice(-1)].every((name) => said === `adopt ${name}`)).toBe(true)
    }),
    { numRuns, seed: 1 }
  )
})

test('the first draft of the rule, which counted votes for a single value too, lets go of a chosen value', () => {
  const heard: readonly Short[] = [[2, 'a'], [1, 'a'], null]
  expect([...choosable(3, 0, heard)]).toEqual(['a'])
  expect(firstDraft(new Fixture(), heard)).toBe('free')
  expect(selectFrom(new Fixture(), heard)).toBe('adopt a')
})

test('where a server may lie, a lone report at the top does not outweigh what may be chosen below', () => {
  const heard: readonly Short[] = [
    [2, 'b'],
    [1, 'a'],
    [1, 'a']
  ]
  expect([...choosable(4, 1, heard)].sort()).toEqual(['a', 'b'])
  expect([...choosable(4, 1, [...heard, [1, 'a']])]).toEqual(['a'])
})

/** Free whenever too few hold any value at the top for it to have been chosen there. */
function firstDraft(fixture: Fixture, heard: readonly Short[]): string {
  const reports = heard.map((short, index) => reportOf(fixture, index, 9, short))
  const accepted = reports.flatMap(({ promise }) => promise.value.accepted ?? [])
  const top = accepted
    .map((report) => report.ballot)
    .sort(compareBallots)
    .at(-1)
  const tally = new Map<string, number>()
  for (const report of accepted)
    if (compareBallots(report.ballot, top) === 0)
      tally.set(toHex(report.valueHash), (tally.get(toHex(report.valueHash)) ?? 0) + 1)
  const unheard = fixture.config.servers.length - heard.length
  return [...tally.values()].some((count) => count + unheard >= quorum(fixture.config)) ? 'adopt' : 'free'
}
