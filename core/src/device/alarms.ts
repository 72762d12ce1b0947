/**
 * Whether all devices are in the same epoch (SPEC SYNC-030 to SYNC-032): more than f servers that lie can lead
 * devices into different epochs of one number. Each message names its epoch's context: a difference raises an alarm, and
 * while one stands this device sends nothing. A sender's first message of an epoch holds the epoch's authenticator as well;
 * one that opens and names another is of a sender that lies or is broken, which is told and stops nobody. Driven by
 * `document.ts`, asked by `opening.ts`, `outgoing.ts` and `state-duty.ts`.
 */
import { equalBytes, fromHex, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { MemberGroup } from '../group/index.js'
import { AlarmRecord, type EnvelopeHeader } from '../wire/index.js'
import type { DocumentStore, Turn } from './store.js'

const tagBytes = 8

export class Alarms {
  /** By member id, hexadecimal: epoch of the message that differed. */
  readonly #raised = new Map<string, bigint>()
  readonly #changed = new Set<string>()
  /** First bytes of the authenticators of the epochs this device has been in since the document was opened. */
  readonly #tags = new Map<bigint, Uint8Array>()
  /** Members that named a wrong authenticator. */
  readonly #contradicting = new Set<string>()
  #saidEpoch: bigint | undefined

  constructor(stored: readonly AlarmRecord[]) {
    for (const { member, epoch } of stored) this.#raised.set(toHex(member), epoch)
  }

  /** While true this device sends nothing: what it said might reach one part of the members only, and for good. */
  get isStanding(): boolean {
    return this.#raised.size > 0
  }

  /** Member ids, hexadecimal. */
  get members(): readonly string[] {
    return [...this.#raised.keys()]
  }

  /** The group is in this epoch now. The alarm over a member ends when the member is removed. */
  entered({ epoch, epochAuthenticator, public: group }: MemberGroup): void {
    this.#tags.set(epoch, epochAuthenticator.slice(0, tagBytes))
    const oldest = epoch - BigInt(group.document.policy.retainedEpochs)
    for (const past of this.#tags.keys()) if (past < oldest) this.#tags.delete(past)
    for (const member of this.#raised.keys()) {
      if (group.member(fromHex(member) ?? new Uint8Array(0)) !== undefined) continue
      this.#raised.delete(member)
      this.#changed.add(member)
    }
  }

  /** What the next message says of its epoch; undefined when an earlier one since the document was opened has said it. */
  tagToSay(epoch: bigint): Uint8Array | undefined {
    if (this.#saidEpoch === epoch) return undefined
    this.#saidEpoch = epoch
    return this.#tags.get(epoch)
  }

  /** Throws FORK when a message was sealed in another epoch of its number than this device's. */
  checkContext({ epoch, ctxTag }: EnvelopeHeader, group: MemberGroup): void {
    const ctx = group.publicAt(epoch)?.ctx
    if (ctx !== undefined && !equalBytes(ctx.subarray(0, ctxTag.length), ctxTag)) throw forked(epoch)
  }

  /** Whether a message that opened names another authenticator than its epoch's; told once of each member. */
  contradicts(member: Uint8Array, epoch: bigint, tag: Uint8Array | undefined): boolean {
    const own = this.#tags.get(epoch)
    if (own === undefined || tag === undefined || equalBytes(own, tag)) return false
    const key = toHex(member)
    if (this.#contradicting.has(key)) return false
    this.#contradicting.add(key)
    return true
  }

  /** A message of this member, signed by it, is of another epoch. Nothing happens when it is no member any more. */
  raise(member: Uint8Array, epoch: bigint, group: MemberGroup): void {
    const key = toHex(member)
    if (this.#raised.has(key) || group.public.member(member) === undefined) return
    this.#raised.set(key, epoch)
    this.#changed.add(key)
  }

  /** Makes what has changed durable with the turn. */
  step(turn: Turn, store: DocumentStore): void {
    for (const key of this.#changed) {
      const member = fromHex(key) ?? new Uint8Array(0)
      const epoch = this.#raised.get(key)
      if (epoch === undefined) turn.del(store.key('alarm', member))
      else turn.put(store.key('alarm', member), AlarmRecord.encode({ member, epoch }))
    }
    this.#changed.clear()
  }
}

const forked = (epoch: bigint): HeddleError =>
  new HeddleError(
    'FORK',
    `its sender is in another epoch ${epoch} than this device (the context differs): compare with the member; until one of the two is removed, nothing is sent from here`
  )
