/**
 * The selection rule (SPEC PAXOS): which value a ballot may propose, given a quorum of promises for it. The proposer
 * evaluates it to choose, every acceptor evaluates it again before it votes, so a proposer that ignores it gets no vote.
 */
import type { Accept, AcceptedReport, BackedPromise, Ballot } from '../wire/index.js'
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
  const [candidate, rival] = mayBeChosen(config, reports)
  if (rival !== undefined) return { kind: 'wait' }
  if (candidate !== undefined) return { kind: 'adopt', valueHash: candidate }
  // Nothing was or can be chosen. Where no server lies, a single value at the top is still the one to take: it helps its
  // proposer. Where one may lie, it could be a value that no honest server ever accepts.
  const [single, second] = atTop(reports)
  const helpful = config.faultBound === 0 && second === undefined ? single : undefined
  return helpful === undefined ? { kind: 'free' } : { kind: 'adopt', valueHash: helpful }
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

/**
 * The values that may have been, or may yet be, chosen below the ballot: all that is consistent with what was heard, with
 * up to f of the reports being lies and the unheard having voted for anything. An honest server accepts a value only with
 * a proof that no other was chosen below, so its report (y, v) rules out every other value below y; and had it voted for
 * a chosen value, it would report that value still. Therefore a value v is chosen only if the honest reports of v that no
 * honest report of another value lies above, the unheard and the liars together make a quorum. The signed Accept behind
 * a report shows that the value was proposed, not that its proof was good; only the honesty of its acceptor shows that.
 * The price: with fewer than 5f servers, two values that single servers accepted can both stay possible for as long as
 * f servers are silent.
 */
function mayBeChosen(config: SlotConfig, reports: readonly Report[]): readonly Uint8Array[] {
  const unheard = config.servers.length - reports.length
  const accepted = reports.map(({ promise }) => promise.value.accepted)
  const found = new Map<string, Uint8Array>()
  for (const lies of subsets(reports.length, config.faultBound)) {
    const honest = accepted.flatMap((report, i) => (report === undefined || lies.includes(i) ? [] : [report]))
    for (const { valueHash } of honest) {
      const others = highest(honest.filter((other) => !equalBytes(other.valueHash, valueHash)))
      const upheld = honest.filter(
        (report) => equalBytes(report.valueHash, valueHash) && compareBallots(report.ballot, others) >= 0
      )
      if (upheld.length + unheard + lies.length >= quorum(config)) found.set(toHex(valueHash), valueHash)
    }
  }
  return [...found.values()]
}

/** The distinct values reported at the highest reported ballot. */
function atTop(reports: readonly Report[]): readonly Uint8Array[] {
  const accepted = reports.flatMap(({ promise }) => promise.value.accepted ?? [])
  const top = highest(accepted)
  const values = accepted.filter(({ ballot }) => equalBallots(ballot, top)).map(({ valueHash }) => valueHash)
  return values.filter((value, i) => !values.slice(0, i).some((earlier) => equalBytes(earlier, value)))
}

function highest(reports: readonly AcceptedReport[]): Ballot | undefined {
  let top: Ballot | undefined
  for (const { ballot } of reports) if (compareBallots(ballot, top) > 0) top = ballot
  return top
}

/** Every set of up to `sizeMax` of the numbers below `count`. */
function subsets(count: number, sizeMax: number): readonly (readonly number[])[] {
  let last: readonly (readonly number[])[] = [[]]
  const out = [...last]
  for (let size = 1; size <= sizeMax; size++) {
    last = last.flatMap((set) =>
      Array.from({ length: count }, (_, i) => i)
        .filter((i) => i > (set.at(-1) ?? -1))
        .map((i) => [...set, i])
    )
    out.push(...last)
  }
  return out
}
