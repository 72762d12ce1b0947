/** The simulation itself is tested: each mistake a shell could make must be caught within a bounded number of seeds. */
import { expect, test } from 'vitest'
import type { AcceptRequest, Prepare } from '../wire/index.js'
import { Acceptor, type CheckedPromise, parseAccept, type Statement } from './index.js'
import { honest, type Shell } from './testing/behaviour.js'
import { firstViolation, flooded, rough, type Scenario } from './testing/simulation.js'

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

test.each<[string, Mutant]>([
  [
    'a promise leaves before its record is durable',
    { shell: { hasty: ['promise'] }, scenario: { fsyncMs: 60 }, seeds: 100, caughtAs: ownHands }
  ],
  [
    'a vote leaves before its record is durable',
    { shell: { hasty: ['vote'] }, scenario: { fsyncMs: 60 }, seeds: 100, caughtAs: ownHands }
  ],
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
  [
    'Prepares are not held back; a member floods them',
    { shell: {}, scenario: { ...flooded, budget: false }, seeds: 3, caughtAs: /not live/ }
  ],
  [
    'one promise is kept for all slots',
    {
      shell: { afterStale: overwritePromise },
      scenario: { straggling: 0.3, wants: 2 },
      seeds: 1_000,
      caughtAs: ownHands
    }
  ]
])('a mistake in driving the room is caught: %s', (_, { shell, scenario, seeds, caughtAs }) => {
  const violation = firstViolation({ ...rough, ...scenario, shell: { ...honest, ...shell } }, seeds)
  expect(violation).toMatch(caughtAs)
})
