/**
 * What is known of the senders' chains beside their heads (SPEC SYNC-012, SYNC-014, SYNC-017): whether this device has
 * opened something of a sender itself or knows its head from a state only, what was sealed before this device joined, and
 * how far the others were told. Asked by `incoming.ts`, `opening.ts` and `silenced.ts`; it makes heads durable for them.
 */
import { equalBytes, toHex } from '../bytes.js'
import { chainBefore, type ParsedEnvelope, type Succession } from '../sync/index.js'
import { AppliedRecord, type Head } from '../wire/index.js'
import type { Repair } from './repair.js'
import type { Room } from './room.js'
import type { Turn } from './store.js'

/** Senders of a document over its lifetime (SPEC SRV-032). */
const sendersMax = 4_000

export class Chains {
  readonly #room: Room
  readonly #repair: Repair
  /** By sender: number up to which the others were told of its messages as dependencies. */
  readonly #told = new Map<string, bigint>()
  /** Senders of whom this device has opened a message itself: from there on no other member's word moves their chain. */
  readonly #opened = new Set<string>()
  /** Senders whose head only a state has told: the epoch of that state, or one that is not before it. */
  readonly #secondHand = new Map<string, bigint>()
  /** By sender: the latest of its messages from before this device joined that nothing here covers. */
  readonly #before = new Map<string, ParsedEnvelope>()
  #missing: Uint8Array[] = []

  constructor(room: Room, repair: Repair, applied: readonly AppliedRecord[]) {
    this.#room = room
    this.#repair = repair
    for (const { head, toldSeq, opened } of applied) {
      const member = toHex(head.member)
      this.#told.set(member, toldSeq)
      if (opened) this.#opened.add(member)
      else if (room.joinedEpoch > 0n) this.#secondHand.set(member, room.group.epoch)
    }
  }

  /** Number up to which the others were told of this sender's messages. */
  toldSeqOf(member: Uint8Array): bigint {
    return this.#told.get(toHex(member)) ?? 0n
  }

  /** Notes, durably with the turn, that others were told of this head as a dependency. */
  noteTold(turn: Turn, head: Head): void {
    this.#told.set(toHex(head.member), head.seq)
    this.put(turn, head)
  }

  /** Makes a head durable together with what is known of its chain. */
  put(turn: Turn, head: Head): void {
    const record = { head, toldSeq: this.toldSeqOf(head.member), opened: this.#opened.has(toHex(head.member)) }
    turn.put(this.#room.store.key('applied', head.member), AppliedRecord.encode(record))
  }

  /** Something of this sender is missing; the servers are to be asked for it after the turn. */
  noteMissing(member: Uint8Array): void {
    this.#missing.push(member)
  }

  /** Senders of whom something was found to be missing since the last call. */
  takeMissing(): readonly Uint8Array[] {
    const missing = this.#missing
    this.#missing = []
    return missing
  }

  /** From here on the sender's chain is known by its own word. */
  noteOpened(member: Uint8Array): void {
    this.#opened.add(toHex(member))
    this.#secondHand.delete(toHex(member))
  }

  /**
   * The heads of a state, by the member `by`, that are ahead and that this device may go by: hearsay moves no chain that it
   * knows itself.
   */
  hearsayIn(heads: readonly Head[], by: Uint8Array): Head[] {
    const { vector, group, joinedEpoch } = this.#room
    const mayLead = ({ member }: Head) =>
      joinedEpoch > 0n &&
      !this.#opened.has(toHex(member)) &&
      !equalBytes(member, group.memberId) &&
      !equalBytes(member, by)
    // Of ids nobody has no more are kept than a document has senders.
    let left = sendersMax - vector.size
    const isKept = ({ member }: Head) => vector.get(member) !== undefined || group.wasMember(member) || left-- > 0
    return heads.filter((one) => one.seq > vector.seqOf(one.member) && mayLead(one) && isKept(one))
  }

  /** The sender's head is what a state of this epoch says. */
  noteHearsay(member: Uint8Array, epoch: bigint): void {
    this.#secondHand.set(toHex(member), epoch)
  }

  /**
   * Whether a member's own message shows that a state was wrong about its chain: it does not follow, or was sealed after
   * what the state says came later.
   */
  contradicts(envelope: ParsedEnvelope, succession: Succession): boolean {
    const { member, epoch } = envelope.header
    const toldIn = this.#secondHand.get(toHex(member))
    if (toldIn === undefined || epoch < this.#room.joinedEpoch || this.#repair.isForked(toHex(member))) return false
    return (succession === 'conflict' || (succession === 'old' && epoch > toldIn)) && isGenuine(this.#room, envelope)
  }

  /** The chain goes on with what the member signed itself, and the members are asked for what came before. */
  rebase({ header: { member, seq, previous } }: ParsedEnvelope): void {
    const { vector } = this.#room
    this.#secondHand.delete(toHex(member))
    this.#repair.lacks(chainBefore(member))
    if (seq === 1n) vector.forget(member)
    else vector.advance({ member, seq: seq - 1n, hash: previous.slice() })
  }

  /** Sealed before this device joined: the state an admin sends covers it, unless that admin is gone or cannot open it. */
  noteBefore(envelope: ParsedEnvelope): void {
    const { member, seq } = envelope.header
    if (this.#room.group.public.member(member) === undefined) return
    const known = this.#before.get(toHex(member))
    if (known !== undefined && known.header.seq >= seq) return
    this.#before.set(toHex(member), envelope)
    this.#repair.isBehind(member)
  }

  /** Whether something of this sender came from before this device joined that nothing here covers. */
  isBefore(member: Uint8Array): boolean {
    const before = this.#before.get(toHex(member))
    return before !== undefined && before.header.seq > this.#room.vector.seqOf(member)
  }

  /** No state has come that covers it: the latest such message, behind which the chain goes on. It is forgotten here. */
  takeBefore(member: Uint8Array): ParsedEnvelope | undefined {
    const envelope = this.isBefore(member) ? this.#before.get(toHex(member)) : undefined
    this.#before.delete(toHex(member))
    return envelope !== undefined && isGenuine(this.#room, envelope) ? envelope : undefined
  }
}

/** The key that a message's sender signs with in its epoch; undefined for who is unknown there. */
export function senderKeyOf({ group }: Room, { header: { member, epoch } }: ParsedEnvelope): Uint8Array | undefined {
  return group.signatureKeyOf(member, epoch)
}

/** Whether a message is signed by whom it names as its sender. */
export function isGenuine(room: Room, envelope: ParsedEnvelope): boolean {
  const key = senderKeyOf(room, envelope)
  return key !== undefined && room.crypto.verify(key, envelope.signed, envelope.signature)
}
