/**
 * The proposer of one slot (SPEC PAXOS): drives a value to a decision, its own when the slot is free, otherwise the one
 * that may have been chosen already, byte for byte. Called by the device, which verifies, signs, sends and keeps time.
 *
 * A time-out repeats the same message; only a Nack leads to a higher ballot. What comes out as an effect is to be done in
 * order; `set-timer` replaces the timer before it.
 */
import { equalBytes, toHex } from '../bytes.js'
import {
  Accept,
  type BackedPromise,
  type Ballot,
  type Certificate,
  type DecidedSlot,
  type Nack,
  NackReason,
  Prepare
} from '../wire/index.js'
import { equalBallots, compareBallots, roundJumpMax } from './ballot.js'
import type { CheckedVote } from './certificate.js'
import { assertConfig, isServer, quorum, type SlotConfig } from './config.js'
import type { Evidence } from './evidence.js'
import { Learner } from './learner.js'
import { backoffMs, nextRound, type Pulse, quorumDelayMs, retransmitMs } from './pacing.js'
import type { CheckedPromise } from './promise.js'
import { select } from './selection.js'
import { toSigned } from './statement.js'
import { proofHash, valueHash } from './value.js'

export interface ProposerOptions {
  readonly config: SlotConfig
  /** This device's leaf at the slot's epoch. */
  readonly leaf: number
  /**
   * Random 53 bits, drawn anew for every Proposer, also for a second one in the same slot and process: a ballot must
   * never be used for two values, and the incarnation is what tells the ballots of two proposers of one leaf apart.
   */
  readonly incarnation: bigint
  /** Highest round seen in the slot, e.g. `learner.roundMax`; the first ballot lies above it if servers may follow. */
  readonly roundSeen?: bigint
}

/** `own`: a value of this device is wanted. `finish-only`: only what others left undecided is to be completed. */
export type Purpose = 'own' | 'finish-only'

export type ProposerEvent =
  /** Begins; or, while it runs, `own` turns a finish-only proposer into one with a value of its own. */
  | ({ readonly kind: 'start'; readonly purpose: Purpose } & Pulse)
  /** A promise whose checks (`inspectPromise`) have succeeded. */
  | ({ readonly kind: 'promise'; readonly promise: CheckedPromise } & Pulse)
  /** A vote whose checks (`inspectVote`) have succeeded, an answer or news. */
  | ({ readonly kind: 'vote'; readonly vote: CheckedVote } & Pulse)
  /** A Nack that came on the connection to `server`. */
  | ({ readonly kind: 'nack'; readonly server: Uint8Array; readonly nack: Nack } & Pulse)
  /** Answers `need-value`: canonical bytes of a Value that is durable on this device. Kept by the proposer. */
  | ({ readonly kind: 'propose'; readonly value: Uint8Array } & Pulse)
  /** The timer of the last `set-timer` went off. */
  | ({ readonly kind: 'timer' } & Pulse)

export type ProposerEffect =
  /** Sign `statement` (the same bytes again when repeated) and send it to these servers. */
  | { readonly kind: 'send-prepare'; readonly to: readonly Uint8Array[]; readonly statement: Uint8Array }
  /** The slot is free: build the commit now, make it durable, then answer with `propose`. Asked at most once. */
  | { readonly kind: 'need-value' }
  /** Sign `statement` and send it with value and proof to these servers. */
  | {
      readonly kind: 'send-accept'
      readonly to: readonly Uint8Array[]
      readonly statement: Uint8Array
      readonly value: Uint8Array
      readonly proof: readonly BackedPromise[]
    }
  | { readonly kind: 'set-timer'; readonly delayMs: number }
  /** Done. Whether the value is this device's own is said by its hash, never by the ballot. */
  | { readonly kind: 'decided'; readonly decided: DecidedSlot; readonly valueHash: Uint8Array }
  /** Finish-only, and nothing can have been chosen: there is nothing to finish. */
  | { readonly kind: 'abandon' }
  /** So many servers refuse this device's value as breaking a rule that no quorum is left for it. Done. */
  | { readonly kind: 'value-refused' }
  | { readonly kind: 'evidence'; readonly evidence: Evidence }

/** Values kept for late votes; a lying member can make every ballot adopt another one. */
const proposedMax = 4

type Phase = 'idle' | 'preparing' | 'building' | 'accepting' | 'backing-off' | 'done'

interface Proposal {
  readonly value: Uint8Array
  readonly valueHash: Uint8Array
  readonly statement: Uint8Array
  readonly proof: readonly BackedPromise[]
}

export class Proposer {
  readonly config: SlotConfig
  readonly #leaf: number
  readonly #incarnation: bigint
  readonly #roundSeen: bigint
  readonly #learner: Learner
  /** Highest round each server is known to have promised. */
  readonly #known = new Map<string, bigint>()
  /** Values sent in Accepts of this slot, by hash: a late vote may decide a ballot that was given up. */
  readonly #proposed = new Map<string, Uint8Array>()
  #phase: Phase = 'idle'
  #purpose: Purpose = 'finish-only'
  #own: Uint8Array | undefined
  #ballot: Ballot
  #failures = 0
  #repeats = 0
  #promises = new Map<string, CheckedPromise>()
  #nacks = new Map<string, Nack>()
  #voted = new Set<string>()
  #proposal: Proposal | undefined
  /** Rounds to which stragglers were led in this ballot, since it was last repeated. */
  #steps = new Map<string, bigint>()
  /** A quorum has voted, for a value whose bytes may not have come yet. */
  #certified: { readonly certificate: Certificate; readonly valueHash: Uint8Array } | undefined

  constructor({ config, leaf, incarnation, roundSeen = 0n }: ProposerOptions) {
    assertConfig(config)
    this.config = config
    this.#leaf = leaf
    this.#incarnation = incarnation
    this.#ballot = { round: 0n, leaf, incarnation }
    this.#roundSeen = roundSeen
    this.#learner = new Learner(config)
  }

  /** Decided, abandoned or refused: further events have no effect. */
  get done(): boolean {
    return this.#phase === 'done'
  }

  handle(event: ProposerEvent): readonly ProposerEffect[] {
    if (this.#phase === 'done') return []
    switch (event.kind) {
      case 'start':
        return this.#start(event.purpose, event)
      case 'promise':
        return this.#onPromise(event.promise, event)
      case 'vote':
        return this.#onVote(event.vote)
      case 'nack':
        return this.#onNack(event.server, event.nack, event)
      case 'propose':
        return this.#onValue(event.value, event)
      case 'timer':
        return this.#onTimer(event)
    }
  }

  #start(purpose: Purpose, pulse: Pulse): readonly ProposerEffect[] {
    if (purpose === 'own') this.#purpose = 'own'
    return this.#phase === 'idle' ? this.#nextBallot(pulse) : []
  }

  #nextBallot(pulse: Pulse): readonly ProposerEffect[] {
    const known = this.config.servers.map((server) => this.#known.get(toHex(server)) ?? 0n)
    const round = nextRound(known, this.#roundSeen, quorum(this.config), this.#ballot.round)
    if (round === undefined) return []
    this.#ballot = { round, leaf: this.#leaf, incarnation: this.#incarnation }
    this.#phase = 'preparing'
    this.#repeats = 0
    this.#promises = new Map()
    this.#nacks = new Map()
    this.#voted = new Set()
    this.#proposal = undefined
    return this.#send(pulse)
  }

  #onPromise(checked: CheckedPromise, pulse: Pulse): readonly ProposerEffect[] {
    const { promise } = checked.report
    const { server, ballot } = promise.value
    if (!isServer(this.config, server)) return []
    this.#raiseKnown(server, ballot.round)
    const decided = checked.value === undefined ? [] : this.#decide(checked.value)
    if (decided.length > 0) return decided
    const key = toHex(server)
    if (this.#phase !== 'preparing') return []
    if (!equalBallots(ballot, this.#ballot)) return this.#steps.has(key) ? this.#step(server, ballot) : []
    const earlier = this.#promises.get(key)
    if (earlier !== undefined) return contradiction(earlier, checked)
    this.#promises.set(key, checked)
    this.#nacks.delete(key)
    return this.#choose(pulse)
  }

  /** Phase 1 is complete as soon as the promises so far allow a choice. */
  #choose(pulse: Pulse): readonly ProposerEffect[] {
    const promises = [...this.#promises.values()]
    const reports = promises.map((promise) => promise.report)
    if (reports.length < quorum(this.config)) return []
    const evidence = doubleAccepts(promises)
    const selection = select(this.config, this.#ballot, reports)
    if (selection.kind === 'bad' || selection.kind === 'wait') return evidence
    if (selection.kind === 'adopt') {
      const adopted = promises.find(({ report }) =>
        sameHash(report.promise.value.accepted?.valueHash, selection.valueHash)
      )
      return adopted?.value === undefined ? evidence : [...evidence, ...this.#propose(adopted.value, pulse)]
    }
    if (this.#own !== undefined) return [...evidence, ...this.#propose(this.#own, pulse)]
    if (this.#purpose === 'finish-only') {
      this.#phase = 'done'
      return [...evidence, { kind: 'abandon' }]
    }
    this.#phase = 'building'
    return [...evidence, { kind: 'need-value' }]
  }

  #onValue(value: Uint8Array, pulse: Pulse): readonly ProposerEffect[] {
    this.#own = value.slice()
    return this.#phase === 'building' ? this.#propose(this.#own, pulse) : []
  }

  #propose(value: Uint8Array, pulse: Pulse): readonly ProposerEffect[] {
    const { group, slot, ctx } = this.config
    const reports = [...this.#promises.values()].map((promise) => promise.report)
    const hash = valueHash(value)
    const statement = Accept.encode({
      group,
      slot,
      ctx,
      ballot: this.#ballot,
      valueHash: hash,
      proofHash: proofHash(reports.map((report) => report.promise))
    })
    const proof = reports.map(({ promise, accept }) => ({
      promise: toSigned(promise),
      accept: accept === undefined ? undefined : toSigned(accept)
    }))
    this.#proposal = { value, valueHash: hash, statement, proof }
    this.#remember(hash, value)
    this.#phase = 'accepting'
    this.#repeats = 0
    this.#nacks = new Map()
    return this.#send(pulse)
  }

  #onVote(checked: CheckedVote): readonly ProposerEffect[] {
    const { server, ballot } = checked.vote.value
    if (equalBallots(ballot, this.#ballot)) this.#voted.add(toHex(server))
    const effects: ProposerEffect[] = []
    for (const effect of this.#learner.add(checked)) {
      if (effect.kind === 'evidence') {
        effects.push(effect)
        continue
      }
      this.#certified = effect
      // Others may have decided a value that has not come here yet: a promise of this ballot or a higher one brings it.
      const value = this.#proposed.get(toHex(effect.valueHash))
      if (value !== undefined) effects.push(...this.#decide(value))
    }
    return effects
  }

  /** Done, if this is the value a quorum has voted for. */
  #decide(value: Uint8Array): readonly ProposerEffect[] {
    if (this.#certified === undefined || !equalBytes(valueHash(value), this.#certified.valueHash)) return []
    const { certificate, valueHash: hash } = this.#certified
    this.#phase = 'done'
    return [{ kind: 'decided', decided: { slot: this.config.slot, value, certificate }, valueHash: hash }]
  }

  #onNack(server: Uint8Array, nack: Nack, pulse: Pulse): readonly ProposerEffect[] {
    if (!isServer(this.config, server) || nack.slot !== this.config.slot) return []
    if (nack.promised !== undefined) this.#raiseKnown(server, nack.promised.round)
    if (!this.#waits() || !equalBallots(nack.ballot, this.#ballot)) return []
    if (nack.reason === NackReason.NACK_REASON_ROUND_JUMP) return this.#step(server, nack.promised)
    // A late answer to a Prepare of this ballot, whose phase 2 has reached the server: nobody preempted it.
    if (nack.reason === NackReason.NACK_REASON_PREEMPTED && compareBallots(nack.promised, this.#ballot) <= 0) return []
    const key = toHex(server)
    if (this.#phase === 'accepting' && this.#voted.has(key)) return []
    if (this.#phase === 'preparing' && this.#promises.has(key)) return []
    this.#nacks.set(key, nack)
    // Unsigned, so a few Nacks alone give nothing up: the others can still make a quorum. The timer has the last word.
    if (this.config.servers.length - this.#nacks.size >= quorum(this.config)) return []
    return this.#giveUp(pulse)
  }

  #giveUp(pulse: Pulse): readonly ProposerEffect[] {
    const invalid = [...this.#nacks.values()].filter(({ reason }) => reason === NackReason.NACK_REASON_INVALID_VALUE)
    const own = this.#own !== undefined && sameHash(this.#proposal?.valueHash, valueHash(this.#own))
    if (own && this.config.servers.length - invalid.length < quorum(this.config)) {
      this.#phase = 'done'
      return [{ kind: 'value-refused' }]
    }
    this.#failures++
    this.#phase = 'backing-off'
    const delaysMs = this.config.servers.map((server) => this.#nacks.get(toHex(server))?.retryAfterMs ?? 0)
    const retryAfterMs = quorumDelayMs(delaysMs, quorum(this.config))
    return [{ kind: 'set-timer', delayMs: backoffMs(pulse, this.#failures, retryAfterMs) }]
  }

  #onTimer(pulse: Pulse): readonly ProposerEffect[] {
    if (this.#phase === 'backing-off') return this.#nextBallot(pulse)
    if (!this.#waits()) return []
    if (this.#nacks.size > 0) return this.#giveUp(pulse)
    this.#repeats++
    return this.#send(pulse)
  }

  /** Sends the message of the phase to the servers that have not answered it, and sets the timer to do it again. */
  #send(pulse: Pulse): readonly ProposerEffect[] {
    this.#steps = new Map()
    const timer = { kind: 'set-timer', delayMs: retransmitMs(pulse, this.#repeats) } as const
    if (this.#phase === 'preparing') {
      const to = this.config.servers.filter((server) => !this.#promises.has(toHex(server)))
      return [{ kind: 'send-prepare', to, statement: this.#prepare(this.#ballot) }, timer]
    }
    if (this.#proposal === undefined) return []
    const to = this.config.servers.filter((server) => !this.#voted.has(toHex(server)))
    const { statement, value, proof } = this.#proposal
    return [{ kind: 'send-accept', to, statement, value, proof }, timer]
  }

  /**
   * Leads a server whose promise lies too far below this ballot up to it, by ballots that are never proposed in: without
   * that a straggler could not take part, and a quorum may need it.
   */
  #step(server: Uint8Array, promised: Ballot | undefined): readonly ProposerEffect[] {
    if (this.#phase !== 'preparing' || compareBallots(promised, this.#ballot) >= 0) return []
    const key = toHex(server)
    const reach = (promised?.round ?? 0n) + roundJumpMax
    // A server that does not get on is asked again by the timer, not at the rate at which it answers.
    if (reach < (this.#steps.get(key) ?? 0n) + roundJumpMax) return []
    this.#steps.set(key, reach)
    const ballot = reach < this.#ballot.round ? { ...this.#ballot, round: reach } : this.#ballot
    return [{ kind: 'send-prepare', to: [server], statement: this.#prepare(ballot) }]
  }

  #prepare(ballot: Ballot): Uint8Array {
    const { group, slot, ctx } = this.config
    return Prepare.encode({ group, slot, ctx, ballot })
  }

  #remember(hash: Uint8Array, value: Uint8Array): void {
    this.#proposed.set(toHex(hash), value)
    const [oldest] = this.#proposed.keys()
    if (this.#proposed.size > proposedMax && oldest !== undefined) this.#proposed.delete(oldest)
  }

  #waits(): boolean {
    return this.#phase === 'preparing' || this.#phase === 'accepting'
  }

  #raiseKnown(server: Uint8Array, round: bigint): void {
    const key = toHex(server)
    if (round > (this.#known.get(key) ?? 0n)) this.#known.set(key, round)
  }
}

const sameHash = (a: Uint8Array | undefined, b: Uint8Array): boolean => a !== undefined && equalBytes(a, b)

/** Two promises of one server for one ballot: a repetition, or proof that it lies. */
function contradiction(first: CheckedPromise, second: CheckedPromise): readonly ProposerEffect[] {
  const [a, b] = [first.report.promise, second.report.promise]
  const [one, other] = [a.value.accepted, b.value.accepted]
  if (equalBallots(one?.ballot, other?.ballot) && equalBytes(one?.valueHash ?? none, other?.valueHash ?? none))
    return []
  return [
    {
      kind: 'evidence',
      evidence: { kind: 'promises', server: a.value.server, first: toSigned(a), second: toSigned(b) }
    }
  ]
}

const none = new Uint8Array(0)

/** Accepts behind the newest promise that contradict those behind the others: their leaf proposed two values at once. */
function doubleAccepts(promises: readonly CheckedPromise[]): readonly ProposerEffect[] {
  const second = promises.at(-1)?.report.accept
  if (second === undefined) return []
  const first = promises
    .map(({ report }) => report.accept)
    .find(
      (accept) =>
        accept !== undefined &&
        equalBallots(accept.value.ballot, second.value.ballot) &&
        !equalBytes(accept.value.valueHash, second.value.valueHash)
    )
  if (first === undefined) return []
  const { leaf } = second.value.ballot
  return [{ kind: 'evidence', evidence: { kind: 'accepts', leaf, first: toSigned(first), second: toSigned(second) } }]
}
