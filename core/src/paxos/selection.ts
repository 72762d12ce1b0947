/**
 * The selection rule (SPEC PAXOS): which value a ballot may propose, given a quorum of promises for it. The proposer
 * evaluates it to choose, every acceptor evaluates it again before it votes, so a proposer that ignores it gets no vote.
 */
import type { BackedPromise, Ballot } from '../wire/index.js'
import { equalBytes, toHex } from '../bytes.js'
import { compareBallots, equalBallots } from './ballot.js'
import { bindsTo, isServer, quorum, type SlotConfig } from './config.js'
import {
  type Bad,
  checkOf,
  orBad,
  parseAccept,
  parsePromise,
  type PromiseStatement,
  type SignatureCheck,
  type Statement,
  type ToVerify
} from './statement.js'
import type { Accept } from '../wire/index.js'

/** A promise with the Accept behind what it reports, both decoded. */
export interface Report {
  readonly promise: Statement<PromiseStatement>
  readonly accept: Statement<Accept> | undefined
}

export type Selection =
  /** Nothing was or can be chosen below the ballot: any value may be proposed. */
  | { readonly kind: 'free' }
  /** Only this value may be proposed. */
  | { readonly kind: 'adopt'; readonly valueHash: Uint8Array }
  /** One of several values may have been chosen: promises of the remaining servers are needed. */
  | { readonly kind: 'wait' }
  | Bad

/**
 * Decides from verified reports. `bad` when they are no quorum of distinct servers of the configuration that promised
 * exactly this ballot, or one reports something at or above it or without the Accept that backs it.
 */
export function select(config: SlotConfig, ballot: Ballot, reports: readonly Report[]): Selection {
  const fault = faultOf(config, ballot, reports)
  if (fault !== undefined) return { kind: 'bad', reason: fault }
  const tally = tallyTop(reports)
  const [only] = tally
  if (only === undefined) return { kind: 'free' }
  // A single value at the top is safe however few report it: it may stand there because it was chosen further below.
  if (tally.length === 1) return { kind: 'adopt', valueHash: only.valueHash }
  // Two values in one ballot: its owner signed two Accepts, each with a proof, so nothing else was chosen below the top
  // and only the top itself matters. A value could have been chosen there if those that may have voted for it, the
  // unheard and the lying included, make a quorum.
  const unheard = config.servers.length - reports.length
  const candidates = tally.filter(({ count }) => count + unheard + config.faultBound >= quorum(config))
  const [candidate] = candidates
  if (candidate === undefined) return { kind: 'free' }
  return candidates.length === 1 ? { kind: 'adopt', valueHash: candidate.valueHash } : { kind: 'wait' }
}

/** Decodes a promise and checks that it and its backing are about this slot and say the same. */
export function inspectReport(config: SlotConfig, backed: BackedPromise): ToVerify<Report> | Bad {
  const parsed = orBad(() => ({
    promise: parsePromise(backed.promise),
    accept: backed.accept === undefined ? undefined : parseAccept(backed.accept)
  }))
  if ('kind' in parsed) return parsed
  const { promise, accept } = parsed
  const { server, ballot } = promise.value
  if (!bindsTo(config, promise.value)) return bad('the promise is for another document, slot or context')
  if (!isServer(config, server)) return bad('the promise is of a server that is no acceptor of this slot')
  const fault = reportFault(config, ballot, parsed)
  if (fault !== undefined) return bad(fault)
  const checks: SignatureCheck[] = [checkOf('Promise', server, promise)]
  if (accept !== undefined) {
    const key = config.leafKey(accept.value.ballot.leaf)
    if (key === undefined) return bad('the reported ballot is of a leaf that is not in the group')
    checks.push(checkOf('Accept', key, accept))
  }
  return { kind: 'verify', checks, item: parsed }
}

const bad = (reason: string): Bad => ({ kind: 'bad', reason })

function faultOf(config: SlotConfig, ballot: Ballot, reports: readonly Report[]): string | undefined {
  const seen = new Set<string>()
  for (const report of reports) {
    const { value } = report.promise
    if (!bindsTo(config, value)) return 'a promise is for another document, slot or context'
    if (!isServer(config, value.server)) return 'a promise is of a server that is no acceptor of this slot'
    if (seen.has(toHex(value.server))) return 'two promises are of one server'
    seen.add(toHex(value.server))
    const fault = reportFault(config, ballot, report)
    if (fault !== undefined) return fault
  }
  return seen.size < quorum(config) ? 'the promises are fewer than a quorum' : undefined
}

/** What is wrong with a report for `ballot` by itself. */
function reportFault(config: SlotConfig, ballot: Ballot, { promise, accept }: Report): string | undefined {
  const reported = promise.value.accepted
  if (!equalBallots(promise.value.ballot, ballot)) return 'a promise is for another ballot'
  if (reported === undefined) return accept === undefined ? undefined : 'an Accept backs a promise that reports none'
  if (compareBallots(reported.ballot, ballot) >= 0) return 'a promise reports a ballot that is not below its own'
  if (accept === undefined) return 'a promise reports a value without the Accept behind it'
  if (!bindsTo(config, accept.value)) return 'the backing Accept is for another document, slot or context'
  if (!equalBallots(accept.value.ballot, reported.ballot)) return 'the backing Accept is of another ballot'
  if (!equalBytes(accept.value.valueHash, reported.valueHash)) return 'the backing Accept is for another value'
  return undefined
}

/** The distinct values reported at the highest reported ballot, with how many report each. */
function tallyTop(reports: readonly Report[]): readonly { readonly valueHash: Uint8Array; readonly count: number }[] {
  const accepted = reports.flatMap(({ promise }) => promise.value.accepted ?? [])
  let top: Ballot | undefined
  for (const { ballot } of accepted) if (compareBallots(ballot, top) > 0) top = ballot
  const tally = new Map<string, { readonly valueHash: Uint8Array; count: number }>()
  for (const { ballot, valueHash } of accepted) {
    if (!equalBallots(ballot, top)) continue
    const entry = tally.get(toHex(valueHash)) ?? { valueHash, count: 0 }
    entry.count++
    tally.set(toHex(valueHash), entry)
  }
  return [...tally.values()]
}
