import { expect, test } from 'vitest'
import { toHex } from '../bytes.js'
import { compareBallots } from './ballot.js'
import { quorum, type Report, type Selection, type SlotConfig } from './index.js'
import { explore, type Model } from './testing/explorer.js'

const three: Model = { servers: 3, faultBound: 0, ballots: 3 }
const four: Model = { servers: 4, faultBound: 1, ballots: 2 }

test.each<[string, Model, number]>([
  ['three servers, three ballots', three, 12_560],
  ['the same with a lying member', { ...three, lyingLeaf: 1 }, 71_041],
  ['four servers, one lying, two ballots', { ...four, lyingServer: true }, 4_048],
  ['the same with a lying member', { ...four, lyingServer: true, lyingLeaf: 1 }, 38_624]
])('in no order of messages are two values chosen: %s', (_, model, states) => {
  expect(explore(model)).toEqual({ states, violationAt: undefined })
})

test.each<[string, Model]>([
  ['acceptors that do not look at proofs, and a lying member', { ...three, lyingLeaf: 1, withoutProofs: true }],
  ['more lying servers than the fault bound', { ...three, ballots: 2, lyingServer: true }],
  ['the first draft of the rule, and a lying member', { ...three, lyingLeaf: 1, rule: firstDraft }]
])('the exploration finds two chosen values for %s', (_, model) => {
  expect(explore(model).violationAt).toBeGreaterThan(0)
})

/** Counts votes at the top even for a single value there, though it may have been chosen further below. */
function firstDraft(config: SlotConfig, _: unknown, reports: readonly Report[]): Selection {
  const unheard = config.servers.length - reports.length
  const able = topOf(reports).filter(({ count }) => count + unheard + config.faultBound >= quorum(config))
  const [one, other] = able
  if (one === undefined) return { kind: 'free' }
  return other === undefined ? { kind: 'adopt', valueHash: one.valueHash } : { kind: 'wait' }
}

interface Held {
  readonly valueHash: Uint8Array
  readonly count: number
}

function topOf(reports: readonly Report[]): readonly Held[] {
  const accepted = reports.flatMap(({ promise }) => promise.value.accepted ?? [])
  const top = accepted
    .map((report) => report.ballot)
    .sort(compareBallots)
    .at(-1)
  const tally = new Map<string, Held>()
  for (const { ballot, valueHash } of accepted)
    if (compareBallots(ballot, top) === 0)
      tally.set(toHex(valueHash), { valueHash, count: (tally.get(toHex(valueHash))?.count ?? 0) + 1 })
  return [...tally.values()]
}
