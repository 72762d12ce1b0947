import { describe, expect, test } from 'vitest'
import type { AcceptRequest, Prepare } from '../wire/index.js'
import { Acceptor, type CheckedPromise, parseAccept, type Statement } from './index.js'
import { honest, type Shell } from './testing/behaviour.js'
import { firstViolation, rough, type Scenario, simulate } from './testing/simulation.js'

const lying: Scenario = { ...rough, servers: 4, faultBound: 1, liars: 1 }

test.each<[string, number, Scenario]>([
  ['devices and servers that crash, on a network that loses, repeats and parts', 1_000, rough],
  ['five servers', 100, { ...rough, servers: 5, devices: 4 }],
  ['one server, one device', 100, { ...rough, servers: 1, devices: 1 }],
  ['a slow disk', 200, { ...rough, fsyncMs: 80 }],
  [
    'many devices in each other’s way, with little else wrong',
    40,
    { ...rough, devices: 8, loss: 0, faultsPerSecond: 0.5 }
  ],
  ['a lying member', 400, { ...rough, intruder: true }],
  ['a lying server among four', 150, lying],
  ['a lying server among five', 100, { ...lying, servers: 5 }],
  ['a lying member with a lying server among five', 100, { ...lying, servers: 5, intruder: true }]
])('one value per slot, no contradiction, and in the end everybody is served: %s', (_, seeds, scenario) => {
  expect(firstViolation(scenario, seeds)).toBeUndefined()
})

// With n = 4 a lying member and a lying server together can hold a slot up, but never decide it twice: liveness against
// both takes five servers.
test('one value per slot, no contradiction: a lying member with a lying server among four', () => {
  const seeds = Array.from({ length: 150 }, (_, i) => i + 1)
  const violations = seeds.map((seed) => simulate(seed, { ...lying, intruder: true, deadlineMs: 8_000 }).violation)
  expect(violations.filter((violation) => violation !== undefined && !violation.startsWith('not live'))).toEqual([])
})

test('the same seed gives the same run, another seed another', () => {
  const seeds = Array.from({ length: 25 }, (_, i) => i + 1)
  const traces = seeds.map((seed) => simulate(seed, { ...rough, intruder: true }).trace)
  expect(seeds.map((seed) => simulate(seed, { ...rough, intruder: true }).trace)).toEqual(traces)
  expect(new Set(traces).size).toBe(seeds.length)
})

/** Lets an Accept through whatever its proof says. */
function inspectWithoutProof(acceptor: Acceptor, request: AcceptRequest): ReturnType<Shell['inspectAccept']> {
  const inspected = acceptor.inspectAccept(request)
  if (inspected.kind !== 'nack') return inspected
  const item = { accept: parseAccept(request.accept), value: request.value, proven: true, repeated: false }
  return { kind: 'verify', checks: [], item }
}

/** Makes the proposer blind to what the promise reports, while the bytes of the proof stay what they are. */
function overlookReport(checked: CheckedPromise): CheckedPromise {
  const { promise } = checked.report
  const blind = { ...promise, value: { ...promise.value, accepted: undefined } }
  return { value: undefined, report: { promise: blind, accept: undefined } }
}

/** Keeps one promise for the whole document: answering for an old slot overwrites that of the open one. */
function overwritePromise(acceptor: Acceptor, prepare: Statement<Prepare>): Acceptor {
  const record = { ...acceptor.record, promised: prepare.value.ballot, promise: new Uint8Array(0) }
  return new Acceptor(acceptor.config, acceptor.server, record)
}

interface Mutant {
  readonly shell: Partial<Shell>
  readonly scenario?: Partial<Scenario>
  /** Within how many seeds it must be caught. */
  readonly seeds: number
  readonly caughtAs: RegExp
}

const ownHands = /voted below|hid a vote|numbered two|reported two|decided twice/

describe('a mistake in driving the room is caught', () => {
  test.each<[string, Mutant]>([
    [
      'a promise leaves before its record is durable',
      { shell: { hasty: ['promise'] }, seeds: 100, caughtAs: ownHands }
    ],
    ['a vote leaves before its record is durable', { shell: { hasty: ['vote'] }, seeds: 100, caughtAs: ownHands }],
    [
      'a duplicate is answered before the first answer’s record is durable',
      { shell: { eager: true }, scenario: { fsyncMs: 60 }, seeds: 100, caughtAs: ownHands }
    ],
    [
      'a proposer ignores what promises report; acceptors check proofs',
      { shell: { seePromise: overlookReport }, seeds: 100, caughtAs: /honest proposal was refused for reason 4/ }
    ],
    [
      'a proposer ignores what promises report; acceptors do not check proofs',
      {
        shell: { seePromise: overlookReport, inspectAccept: inspectWithoutProof },
        seeds: 100,
        caughtAs: /decided twice/
      }
    ],
    [
      'acceptors do not check proofs; a member lies',
      {
        shell: { inspectAccept: inspectWithoutProof },
        scenario: { intruder: true },
        seeds: 100,
        caughtAs: /decided twice/
      }
    ],
    [
      'votes are counted without telling servers apart',
      {
        shell: {
          seeVote: ({ vote }, count, servers) => {
            const server = servers[count % servers.length] ?? vote.value.server
            return { vote: { ...vote, value: { ...vote.value, server } } }
          }
        },
        seeds: 200,
        caughtAs: /without a quorum of votes/
      }
    ],
    [
      'a restarted proposer uses its ballots again',
      { shell: { incarnation: () => 0n }, seeds: 500, caughtAs: /evidence names the honest leaf|refused for reason 3/ }
    ],
    ['one promise is kept for all slots', { shell: { afterStale: overwritePromise }, seeds: 1_000, caughtAs: ownHands }]
  ])('%s', (_, { shell, scenario, seeds, caughtAs }) => {
    const violation = firstViolation({ ...rough, ...scenario, shell: { ...honest, ...shell } }, seeds)
    expect(violation).toMatch(caughtAs)
  })
})
