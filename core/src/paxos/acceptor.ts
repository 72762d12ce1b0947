/**
 * The acceptor of one document's open slot (SPEC PAXOS). It is a value: a step returns the acceptor to go on with, the
 * record that must be durable before the reply leaves, and the reply. Called by the server, which verifies signatures,
 * validates values, stores and signs.
 *
 * The caller takes steps one at a time per document and goes on with `outcome.acceptor` only once `outcome.record` is
 * durable: then no reply, not even to a duplicate, speaks of state that a crash can undo.
 */
import { emptyBytes, equalBytes } from '../bytes.js'
import { HeddleError } from '../errors.js'
import {
  type Accept,
  type AcceptorRecord,
  type AcceptRequest,
  type Ballot,
  type Nack,
  NackReason,
  type Prepare,
  type PrepareRequest,
  Promise as PromiseCodec,
  type Signed,
  Vote
} from '../wire/index.js'
import { compareBallots, equalBallots, jumpsTooFar } from './ballot.js'
import { assertConfig, isServer, type SlotConfig } from './config.js'
import type { Evidence } from './evidence.js'
import { inspectReport, type Report, select } from './selection.js'
import {
  checkOf,
  distinctChecks,
  orBad,
  parseAccept,
  parsePrepare,
  type SignatureCheck,
  type Statement,
  type ToVerify,
  toSigned
} from './statement.js'
import { proofHash, valueHash } from './value.js'

/** Why a request gets neither promise nor vote. */
export type Refusal =
  /** Answer with a Problem MALFORMED. */
  | { readonly kind: 'malformed'; readonly reason: string }
  /** The request is for another document than this acceptor's: the caller looked up the wrong one. */
  | { readonly kind: 'wrong-document' }
  /** The slot is decided: answer with the decided slots from it on. */
  | { readonly kind: 'stale'; readonly fromSlot: bigint }
  /** This acceptor has not learned the slots from `slot` on: answer with a Problem BEHIND. */
  | { readonly kind: 'behind'; readonly slot: bigint }
  /** This server is no acceptor of the slot. */
  | { readonly kind: 'not-mine'; readonly slot: bigint }
  /** The proposer holds another GroupContext for the slot: answer with a Problem FORK. */
  | { readonly kind: 'fork'; readonly slot: bigint }
  /** The ballot's leaf is blank: answer with a Problem NOT_A_MEMBER. */
  | { readonly kind: 'not-a-member'; readonly slot: bigint }
  /** Answer with this frame. */
  | { readonly kind: 'nack'; readonly nack: Nack }

/** A Prepare that was decoded and bounded. */
export interface CheckedPrepare {
  readonly prepare: Statement<Prepare>
}

/** An Accept that was decoded and bounded, with its value. */
export interface CheckedAccept {
  readonly accept: Statement<Accept>
  /** Canonical bytes of the Value, a view of the request; its hash is the Accept's. */
  readonly value: Uint8Array
  /** Whether the proof allows the value; not evaluated when this acceptor has accepted in the very ballot. */
  readonly proven: boolean
  /** This value is accepted in this ballot already: it was validated then, and the vote is repeated whatever the verdict. */
  readonly repeated: boolean
}

/** What the caller found out about a value: MLS public processing, roles, proposals. */
export type ValueVerdict = 'valid' | 'invalid'

export type AcceptorReply =
  /** Sign `statement`; attach `accept` and, when there is a `valueHash`, the stored value of that hash. */
  | {
      readonly kind: 'promise'
      readonly statement: Uint8Array
      readonly accept: Signed | undefined
      readonly valueHash: Uint8Array | undefined
    }
  /** Sign `statement`; send it to the proposer and to every subscriber. */
  | { readonly kind: 'vote'; readonly statement: Uint8Array }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

export interface AcceptorOutcome {
  /** The acceptor to go on with, once `record` is durable. */
  readonly acceptor: Acceptor
  /** To be durable before the reply leaves; undefined when nothing changed. */
  readonly record: AcceptorRecord | undefined
  /** To be stored under its hash in the same batch as `record`. */
  readonly value: Uint8Array | undefined
  readonly reply: AcceptorReply
  readonly evidence: Evidence | undefined
}

export class Acceptor {
  readonly config: SlotConfig
  /** Id of this server. */
  readonly server: Uint8Array
  readonly record: AcceptorRecord

  /**
   * `record` is what was stored last, or undefined for a new document. A record of an earlier slot than the
   * configuration's is taken as advanced; one of a later slot throws STORAGE_CORRUPT: decided slots are missing.
   */
  constructor(config: SlotConfig, server: Uint8Array, record?: AcceptorRecord) {
    assertConfig(config)
    if (record !== undefined && record.slot > config.slot)
      throw new HeddleError(
        'STORAGE_CORRUPT',
        `the acceptor's record is for slot ${record.slot}, but the decided slots end before ${config.slot}`
      )
    this.config = config
    this.server = server
    this.record = record?.slot === config.slot ? record : emptyRecord(config.slot, record?.statementSeq ?? 0n)
  }

  /** Decodes a Prepare and says what to verify before `prepare`, or refuses it at once. Changes nothing. */
  inspectPrepare(request: PrepareRequest): ToVerify<CheckedPrepare> | Refusal {
    const prepare = orBad(() => parsePrepare(request.prepare))
    if ('kind' in prepare) return { kind: 'malformed', reason: prepare.reason }
    const place = this.#place(prepare.value)
    if ('kind' in place) return place
    const refusal = this.#refusePrepare(prepare.value.ballot)
    if (refusal !== undefined) return refusal
    return { kind: 'verify', checks: [checkOf('Prepare', place.key, prepare)], item: { prepare } }
  }

  /** Phase 1. All checks of `inspectPrepare` have succeeded, on this acceptor or on an earlier one of the document. */
  prepare({ prepare }: CheckedPrepare): AcceptorOutcome {
    const { ballot } = prepare.value
    const place = this.#place(prepare.value)
    const refusal = 'kind' in place ? place : this.#refusePrepare(ballot)
    if (refusal !== undefined) return this.#refused(refusal)
    if (equalBallots(ballot, this.record.promised)) return this.#unchanged(this.#promiseReply(this.record))
    const statementSeq = this.record.statementSeq + 1n
    const promise = PromiseCodec.encode({
      ...this.#binding(),
      ballot,
      server: this.server,
      accepted: this.record.accepted,
      statementSeq
    })
    const record = { ...this.record, promised: ballot, statementSeq, promise }
    return { ...this.#moved(record), reply: this.#promiseReply(record) }
  }

  /**
   * Decodes an Accept with its value and proof and says what to verify before `accept`, or refuses it at once. Changes
   * nothing. When the item is not `repeated`, its value must be validated too.
   */
  inspectAccept(request: AcceptRequest): ToVerify<CheckedAccept> | Refusal {
    const accept = orBad(() => parseAccept(request.accept))
    if ('kind' in accept) return { kind: 'malformed', reason: accept.reason }
    const place = this.#place(accept.value)
    if ('kind' in place) return place
    const { ballot } = accept.value
    const refusal = this.#refuseAccept(ballot)
    if (refusal !== undefined) return refusal
    if (!equalBytes(valueHash(request.value), accept.value.valueHash))
      return { kind: 'malformed', reason: 'the value of an AcceptRequest does not have the hash its Accept names' }
    const checks = [checkOf('Accept', place.key, accept)]
    const item = { accept, value: request.value }
    // Accepted in this ballot already: a repetition, or two values in one ballot, which the signature alone proves.
    if (equalBallots(ballot, this.record.accepted?.ballot)) {
      const repeated = equalBytes(accept.value.valueHash, this.record.accepted?.valueHash ?? emptyBytes)
      return { kind: 'verify', checks, item: { ...item, proven: false, repeated } }
    }
    const proof = this.#inspectProof(request, accept.value, ballot)
    if (proof === undefined) return this.#nack(ballot, NackReason.NACK_REASON_PROOF)
    return {
      kind: 'verify',
      checks: distinctChecks([...checks, ...proof]),
      item: { ...item, proven: true, repeated: false }
    }
  }

  /** Phase 2. All checks of `inspectAccept` have succeeded, and the caller has validated the value. */
  accept(checked: CheckedAccept, verdict: ValueVerdict): AcceptorOutcome {
    const { accept } = checked
    const { ballot } = accept.value
    const place = this.#place(accept.value)
    const refusal = 'kind' in place ? place : this.#refuseAccept(ballot)
    if (refusal !== undefined) return this.#refused(refusal)
    if (equalBallots(ballot, this.record.accepted?.ballot)) return this.#acceptAgain(accept, ballot)
    if (!checked.proven) return this.#refused(this.#nack(ballot, NackReason.NACK_REASON_PROOF))
    if (verdict !== 'valid') return this.#refused(this.#nack(ballot, NackReason.NACK_REASON_INVALID_VALUE))
    const statementSeq = this.record.statementSeq + 1n
    const accepted = { ballot, valueHash: accept.value.valueHash }
    const vote = Vote.encode({ ...this.#binding(), ...accepted, server: this.server, statementSeq })
    // A promise that reports an older value cannot be repeated: the Accept behind that value is not kept any longer.
    const repeatable = equalBallots(ballot, this.record.promised) && this.record.accepted === undefined
    const promise = repeatable ? this.record.promise : emptyBytes
    const record = { ...this.record, promised: ballot, accepted, accept: toSigned(accept), statementSeq, promise, vote }
    return { ...this.#moved(record), value: checked.value, reply: { kind: 'vote', statement: vote } }
  }

  /**
   * The acceptor of the next slot, after `config.slot - 1` was decided. Its `record` must become durable in the batch
   * that stores the decided slot, or later with the first reply; never before.
   */
  advance(config: SlotConfig): Acceptor {
    if (config.slot !== this.config.slot + 1n || !equalBytes(config.group, this.config.group))
      throw new HeddleError('INTERNAL', `an acceptor of slot ${this.config.slot} cannot advance to ${config.slot}`)
    return new Acceptor(config, this.server, this.record)
  }

  #binding(): { readonly group: Uint8Array; readonly slot: bigint; readonly ctx: Uint8Array } {
    const { group, slot, ctx } = this.config
    return { group, slot, ctx }
  }

  /** The order matters: a removed server that is behind must say so, or nobody would ever tell it that it was removed. */
  #place(statement: Prepare | Accept): { readonly key: Uint8Array } | Refusal {
    const { group, slot, ctx } = this.config
    if (!equalBytes(statement.group, group)) return { kind: 'wrong-document' }
    if (statement.slot < slot) return { kind: 'stale', fromSlot: statement.slot }
    if (statement.slot > slot) return { kind: 'behind', slot }
    if (!isServer(this.config, this.server)) return { kind: 'not-mine', slot }
    if (!equalBytes(statement.ctx, ctx)) return { kind: 'fork', slot }
    const key = this.config.leafKey(statement.ballot.leaf)
    return key === undefined ? { kind: 'not-a-member', slot } : { key }
  }

  #refusePrepare(ballot: Ballot): Refusal | undefined {
    const { promised, promise } = this.record
    const order = compareBallots(ballot, promised)
    // Equal without a promise to repeat: the ballot is in phase 2 here, its proposer does not wait for promises.
    if (order < 0 || (order === 0 && promise.length === 0)) return this.#nack(ballot, NackReason.NACK_REASON_PREEMPTED)
    return jumpsTooFar(ballot, promised) ? this.#nack(ballot, NackReason.NACK_REASON_ROUND_JUMP) : undefined
  }

  /** No bound on the jump: the proof shows that a quorum promised the ballot, so a straggler may follow at once. */
  #refuseAccept(ballot: Ballot): Refusal | undefined {
    const preempted = compareBallots(ballot, this.record.promised) < 0
    return preempted ? this.#nack(ballot, NackReason.NACK_REASON_PREEMPTED) : undefined
  }

  #nack(ballot: Ballot, reason: NackReason): Refusal {
    const { group, slot } = this.config
    return { kind: 'nack', nack: { group, slot, ballot, promised: this.record.promised, reason, retryAfterMs: 0 } }
  }

  /** The signatures behind a proof, or undefined when it does not allow the value. */
  #inspectProof(request: AcceptRequest, accept: Accept, ballot: Ballot): readonly SignatureCheck[] | undefined {
    const reports: Report[] = []
    const checks: SignatureCheck[] = []
    for (const backed of request.proof) {
      const inspected = inspectReport(this.config, backed)
      if (inspected.kind === 'bad') return undefined
      reports.push(inspected.item)
      checks.push(...inspected.checks)
    }
    const hash = proofHash(reports.map((report) => report.promise))
    if (!equalBytes(hash, accept.proofHash)) return undefined
    const selection = select(this.config, ballot, reports)
    if (selection.kind === 'free') return checks
    return selection.kind === 'adopt' && equalBytes(selection.valueHash, accept.valueHash) ? checks : undefined
  }

  #acceptAgain(accept: Statement<Accept>, ballot: Ballot): AcceptorOutcome {
    const { accepted, accept: first, vote } = this.record
    if (equalBytes(accept.value.valueHash, accepted?.valueHash ?? emptyBytes))
      return this.#unchanged({ kind: 'vote', statement: vote })
    const refused = this.#refused(this.#nack(ballot, NackReason.NACK_REASON_EQUIVOCATION))
    if (first === undefined) return refused
    return { ...refused, evidence: { kind: 'accepts', leaf: ballot.leaf, first, second: toSigned(accept) } }
  }

  #promiseReply(record: AcceptorRecord): AcceptorReply {
    const reported = record.accepted !== undefined && !equalBallots(record.accepted.ballot, record.promised)
    return {
      kind: 'promise',
      statement: record.promise,
      accept: reported ? record.accept : undefined,
      valueHash: reported ? record.accepted?.valueHash : undefined
    }
  }

  #refused = (refusal: Refusal): AcceptorOutcome => this.#unchanged({ kind: 'refused', refusal })

  #unchanged(reply: AcceptorReply): AcceptorOutcome {
    return { acceptor: this, record: undefined, value: undefined, reply, evidence: undefined }
  }

  #moved(record: AcceptorRecord): Omit<AcceptorOutcome, 'reply'> {
    const acceptor = new Acceptor(this.config, this.server, record)
    return { acceptor, record, value: undefined, evidence: undefined }
  }
}

const emptyRecord = (slot: bigint, statementSeq: bigint): AcceptorRecord => ({
  slot,
  promised: undefined,
  accepted: undefined,
  accept: undefined,
  statementSeq,
  promise: emptyBytes,
  vote: emptyBytes
})
