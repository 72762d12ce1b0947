/**
 * Members who lost the right to write (SPEC SYNC-020 to SYNC-024, SYNC-029): how much of what they sent counts, what of it
 * is held until its chain leads to a head that was named, what the others have to be told, and what is taken back. The
 * rule itself is `sync/standing.ts`; `incoming.ts` asks here what becomes of a message, `opening.ts` tells whom a message
 * names, `outgoing.ts` asks whom it may name.
 */
import { concatBytes, equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type ParsedEnvelope, type Standings, type Verdict, WaitingRoom } from '../sync/index.js'
import { type CutProposal, type Head, NamedRecord, type RepairHead, StandingRecord } from '../wire/index.js'
import { keepLocal } from './applying.js'
import type { Chains } from './chains.js'
import type { Repair } from './repair.js'
import { isStrict, type Room } from './room.js'
import type { Turn } from './store.js'

export class Silenced {
  readonly #room: Room
  readonly #chains: Chains
  readonly #repair: Repair
  readonly #standings: Standings
  /** Messages that count if their chain leads to what was named. */
  readonly #held = new WaitingRoom()
  /** Members of whom what is held is to be looked at in this turn. */
  readonly #unsettled = new Map<string, Uint8Array>()
  /** Members whose head the others have to be told. */
  readonly #owed = new Set<string>()
  /** Members whose messages beyond here were applied and do not count. */
  readonly #retracting: { readonly member: Uint8Array; readonly seq: bigint }[] = []

  constructor(room: Room, chains: Chains, repair: Repair, standings: Standings) {
    this.#room = room
    this.#chains = chains
    this.#repair = repair
    this.#standings = standings
    for (const member of standings.silenced()) {
      if (room.vector.seqOf(member) > chains.toldSeqOf(member)) this.#owed.add(toHex(member))
      if (this.isBehind(member)) this.#fetchBehind(member)
    }
  }

  /** The commit of this slot, by the member `by`, took the right to write of some members (SPEC SYNC-020). */
  silence(slot: bigint, by: Uint8Array, cuts: readonly CutProposal[]): void {
    const { vector, group } = this.#room
    for (const cut of cuts) {
      const { member } = cut
      const isSelf = equalBytes(member, group.memberId)
      const applied = vector.get(member)
      this.#standings.silence(slot, by, cut, applied?.seq ?? 0n, {
        ownCounts: !isSelf && !isStrict(group),
        isOnChain: () => isSelf || this.#isOnChain(cut)
      })
      if (isSelf && applied !== undefined && applied.seq > cut.seq) this.#standings.passOver(cut)
      if (isSelf) continue
      if (isStrict(group)) this.#retract(member)
      else if (applied !== undefined && applied.seq > this.#chains.toldSeqOf(member)) this.#owed.add(toHex(member))
      if (this.isBehind(member)) this.#fetchBehind(member)
    }
  }

  /** Begins a turn. An error when messages were taken back: once the turn is durable, the document must end. */
  async step(turn: Turn): Promise<HeddleError | undefined> {
    this.#standings.strict = isStrict(this.#room.group)
    return this.#retracting.length > 0 ? await this.#applyRetraction(turn) : undefined
  }

  /** Whether messages may have to be taken back, so that each is marked, one that holds nothing as well. */
  get isStrict(): boolean {
    return this.#standings.strict
  }

  /** What becomes of a message, beyond the order of its chain. */
  judge({ header: { member, epoch, seq } }: ParsedEnvelope): Verdict {
    return epoch <= this.#room.group.epoch ? this.#standings.judge(member, epoch, seq) : 'counts'
  }

  /** Number up to which messages of a member who has no right to write are awaited; undefined: all of them. */
  limitOf(member: Uint8Array): bigint | undefined {
    return this.#standings.limitOf(member)
  }

  /** Whether more of a member who lost the right to write counts than is here. */
  isBehind(member: Uint8Array): boolean {
    const limit = this.limitOf(member)
    return limit !== undefined && limit > this.#room.vector.seqOf(member) && !this.#repair.isForked(toHex(member))
  }

  /** Where a member's chain stood before content that did not count. */
  passedOver(member: Uint8Array): RepairHead | undefined {
    return this.#standings.passedOver(member)
  }

  /** Whether others may be told that this device has all of this member up to its head. */
  mayName(member: Uint8Array): boolean {
    return this.#standings.mayName(member)
  }

  /** Messages are applied here that the others were not told of yet. */
  get owesVouching(): boolean {
    return this.#owed.size > 0
  }

  /** Notes, durably with the turn, that others were told of this head as a dependency. */
  noteTold(turn: Turn, head: Head): void {
    this.#owed.delete(toHex(head.member))
    // Being told by this device, it was named before a removal that comes now.
    if (this.isStrict) this.#standings.name(this.#room.group.memberId, head, head.seq, () => true)
    this.#chains.noteTold(turn, head)
  }

  /** This device's own messages did not count after it lost the right to write: it has said their content again. */
  saidAgain(): void {
    this.#standings.clearPassedOver(this.#room.group.memberId)
  }

  /** A member names how far it has applied others: of those who lost the right to write, that much counts. */
  noteDeps(by: Uint8Array, deps: readonly Head[], epoch: bigint): void {
    const { vector, group } = this.#room
    for (const head of deps) {
      const { member, seq } = head
      // Ids that nobody has would be kept for ever.
      if (vector.get(member) === undefined && !group.wasMember(member)) continue
      if (isStrict(group) && this.#standings.isAfterSilence(member, epoch)) continue
      const isOnChain = () => this.#isOnChain(head)
      if (!this.#standings.name(by, head, vector.seqOf(member), isOnChain) || equalBytes(member, group.memberId))
        continue
      this.lookAgain(member)
      if (this.isBehind(member)) this.#fetchBehind(member)
      const missed = this.#standings.takeMissed(member, seq)
      if (missed !== undefined) this.#repair.lacks(missed)
    }
  }

  /** Messages that are held. */
  get heldCount(): number {
    return this.#held.count
  }

  /** Whether the member's message of this number is held. */
  holds(member: Uint8Array, seq: bigint): boolean {
    return this.#held.peek(member, seq) !== undefined
  }

  /** Keeps what counts if its chain leads to what somebody has named. False when there is no room for it. */
  hold(envelope: ParsedEnvelope): boolean {
    const { member, seq } = envelope.header
    if (!this.#held.add(envelope)) return false
    this.lookAgain(member)
    if (seq > this.#room.vector.seqOf(member) + 1n && !this.holds(member, seq - 1n)) this.#chains.noteMissing(member)
    return true
  }

  /** Something may let what is held of this member count. */
  lookAgain(member: Uint8Array): void {
    if (this.#held.has(member)) this.#unsettled.set(toHex(member), member)
  }

  /** Members of whom what is held may count now. */
  takeUnsettled(): readonly Uint8Array[] {
    const unsettled = [...this.#unsettled.values()]
    this.#unsettled.clear()
    return unsettled
  }

  /**
   * Follows the member's chain through what is held: up to the last message that was named, hash and all, it counts. The
   * messages stay held until each is released.
   */
  follow(member: Uint8Array): {
    readonly counting: readonly ParsedEnvelope[]
    readonly beyond: readonly ParsedEnvelope[]
  } {
    const { vector } = this.#room
    const chain: ParsedEnvelope[] = []
    let counting = 0
    for (let head = vector.position(member); ; ) {
      const next = this.#held.peek(member, head.seq + 1n)
      if (next === undefined) break
      const follows =
        chain.length === 0 ? vector.succession(next) === 'next' : equalBytes(next.header.previous, head.hash)
      if (!follows) break
      chain.push(next)
      head = { member, seq: next.header.seq, hash: next.hash }
      if (this.#standings.isNamed(head)) counting = chain.length
    }
    const last = chain[counting - 1]
    if (last !== undefined) this.#standings.count({ ...last.header, hash: last.hash })
    return { counting: chain.slice(0, counting), beyond: chain.slice(counting) }
  }

  release({ header: { member, seq } }: ParsedEnvelope): void {
    this.#held.take(member, seq)
  }

  /** The chain of a present member is about to move on without a message that does not count. */
  passOver(member: Uint8Array): void {
    this.#standings.passOver(this.#room.vector.position(member))
  }

  /** A chain has come to this head. */
  reached(head: Head): void {
    this.#standings.reached(toHex(head.member), head)
  }

  /** Nothing more of this member is taken. */
  drop(member: Uint8Array): void {
    this.#held.drop(member)
  }

  /** Makes durable how much counts of whom; call it last in a turn. */
  write(turn: Turn): void {
    const { store, replica } = this.#room
    if (this.isStrict) replica.settle(turn, (member, seq) => seq <= this.#standings.countedOf(member))
    const { standings, names } = this.#standings.takeChanges()
    for (const { member, record } of standings) {
      if (record === undefined) turn.del(store.key('standing', member))
      else turn.put(store.key('standing', member), StandingRecord.encode(record))
    }
    for (const { member, by, record } of names) {
      if (record === undefined) turn.del(store.key('named', concatBytes(member, by)))
      else turn.put(store.key('named', concatBytes(member, by)), NamedRecord.encode(record))
    }
  }

  /** Takes back what does not count of a member whose messages are applied here (SPEC SYNC-029). */
  #retract(member: Uint8Array): void {
    const seq = this.#standings.countedOf(member)
    if (this.#room.vector.seqOf(member) > seq) this.#retracting.push({ member, seq })
  }

  /** The log without what was taken back; the live document still has it and must end. */
  async #applyRetraction(turn: Turn): Promise<HeddleError | undefined> {
    const { replica, store, vector, id } = this.#room
    let taken = false
    for (const { member, seq } of this.#retracting.splice(0)) {
      const retracted = replica.retract(turn, member, seq)
      if (retracted === undefined) continue
      taken = true
      if (retracted.last !== undefined) {
        vector.advance(retracted.last)
        this.#chains.put(turn, retracted.last)
      } else {
        vector.forget(member)
        turn.del(store.key('applied', member))
      }
    }
    if (!taken) return undefined
    const local = replica.peek()
    if (local !== undefined) await keepLocal(this.#room, turn, local)
    const message = `edits of a removed member were taken back from document ${id}: close the document and open it again`
    return new HeddleError('CRDT_TAINTED', message)
  }

  /** Whether this head is one that the member's chain has come past here. Asked in strict mode, where that is marked. */
  #isOnChain({ member, seq, hash }: RepairHead): boolean {
    const marked = this.#room.replica.markOf(member, seq) ?? this.#room.vector.get(member)
    return marked === undefined || marked.seq !== seq || equalBytes(marked.hash, hash)
  }

  /** The servers are asked for it first, and then the members. */
  #fetchBehind(member: Uint8Array): void {
    this.#chains.noteMissing(member)
    this.#repair.isBehind(member)
  }
}
