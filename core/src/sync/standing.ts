/**
 * Rule R (SPEC SYNC-020 to SYNC-023): how much of a member's messages counts once a commit has taken its right to write.
 * What counts is the longest prefix of its chain that ends where the commit's Cut or another member's message says, so
 * that every device with the same messages has the same document, and nothing applied is ever taken back. Pure; called by
 * the device.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { CutProposal, Head, NamedRecord, RepairHead, StandingRecord } from '../wire/index.js'

/** What a device does with a message of a member, beyond the order of its chain. */
export type Verdict =
  /** It counts. */
  | 'counts'
  /** Something further on was named: it counts if the chain leads there. */
  | 'open'
  /** Nobody has named it so far. */
  | 'beyond'

interface Standing {
  readonly member: Uint8Array
  /** Number up to which what this device has, or has found to lead to what was named, counts. */
  counted: bigint
  /** By who named it, hexadecimal: the furthest head of the member, as long as it is ahead of this device. */
  readonly ahead: Map<string, NamedRecord>
  silencedSlot: bigint | undefined
  passedOver: RepairHead | undefined
}

/** What is to be stored, or without a record deleted. */
export interface StandingChanges {
  readonly standings: readonly { readonly member: Uint8Array; readonly record: StandingRecord | undefined }[]
  readonly names: readonly {
    readonly member: Uint8Array
    readonly by: Uint8Array
    readonly record: NamedRecord | undefined
  }[]
}

export class Standings {
  /**
   * In strict mode what this device has applied does not count by itself, so everything that is named has to be
   * remembered.
   */
  strict = false
  readonly #members = new Map<string, Standing>()
  readonly #dirty = new Set<string>()
  readonly #dirtyNames = new Map<string, { readonly member: Uint8Array; readonly by: Uint8Array }>()

  constructor(records: Iterable<StandingRecord> = [], names: Iterable<NamedRecord> = []) {
    for (const { member, counted, silenced, silencedSlot, passedOver } of records)
      this.#members.set(toHex(member), {
        member,
        counted,
        ahead: new Map(),
        silencedSlot: silenced ? silencedSlot : undefined,
        passedOver
      })
    for (const name of names) this.#of(name.head.member).ahead.set(toHex(name.by), name)
    this.#dirty.clear()
  }

  /** What becomes of a message of this member and epoch. */
  judge(member: Uint8Array, epoch: bigint, seq: bigint): Verdict {
    const standing = this.#members.get(toHex(member))
    const slot = standing?.silencedSlot
    if (standing === undefined || slot === undefined || epoch > slot || seq <= standing.counted) return 'counts'
    return seq <= furthest(standing) ? 'open' : 'beyond'
  }

  /** Sequence number up to which messages of a member who has no right to write are awaited; undefined: all of them. */
  limitOf(member: Uint8Array): bigint | undefined {
    const standing = this.#members.get(toHex(member))
    return standing?.silencedSlot === undefined ? undefined : furthest(standing)
  }

  /** Number up to which the member's messages are known to count, should its right to write be taken. */
  countedOf(member: Uint8Array): bigint {
    return this.#members.get(toHex(member))?.counted ?? 0n
  }

  /** Members whose right to write a commit has taken. */
  silenced(): readonly Uint8Array[] {
    return [...this.#members.values()].flatMap(({ member, silencedSlot }) =>
      silencedSlot === undefined ? [] : [member]
    )
  }

  /** Whether the commit of some slot took this member's right to write. */
  isSilenced(member: Uint8Array): boolean {
    return this.#members.get(toHex(member))?.silencedSlot !== undefined
  }

  /** Whether a message of this epoch was sealed after the commit that took the member's right to write. */
  isAfterSilence(member: Uint8Array, epoch: bigint): boolean {
    const slot = this.#members.get(toHex(member))?.silencedSlot
    return slot !== undefined && epoch > slot
  }

  /**
   * A message of the member `by` names how far it has applied another one; nobody has a say on its own messages.
   * `appliedSeq`: how far this device has; `isOnChain`: whether the head is one that it came past. True when more of a
   * silenced member may count than before.
   */
  name(by: Uint8Array, head: RepairHead, appliedSeq: bigint, isOnChain: () => boolean): boolean {
    if (equalBytes(by, head.member)) return false
    const standing = this.#members.get(toHex(head.member))
    const silenced = standing?.silencedSlot !== undefined
    const isAhead = head.seq > appliedSeq
    if (!isAhead && !silenced && !this.strict) return false
    if (head.seq <= (standing?.counted ?? 0n)) return false
    if (isAhead) return this.#setAhead(by, head) && silenced
    if (this.strict && isOnChain()) this.#count(head.member, head.seq)
    return silenced
  }

  /** Whether somebody has named exactly this. */
  isNamed({ member, seq, hash }: RepairHead): boolean {
    const ahead = this.#members.get(toHex(member))?.ahead.values() ?? []
    for (const { head } of ahead) if (head.seq === seq && equalBytes(head.hash, hash)) return true
    return false
  }

  /** The member's chain has been found to lead to a head that was named: everything up to it counts. */
  count({ member, seq }: RepairHead): void {
    this.#count(member, seq)
  }

  /** The member's chain has come to this head here: what was named up to there need not be remembered. */
  reached(member: string, { seq, hash }: Head): void {
    const standing = this.#members.get(member)
    if (standing === undefined || standing.ahead.size === 0) return
    for (const { by, head } of standing.ahead.values()) {
      if (head.seq > seq) continue
      this.#forgetName(standing, by)
      const isOther = head.seq === seq && !equalBytes(head.hash, hash)
      if (this.strict && standing.silencedSlot === undefined && !isOther) this.#count(standing.member, head.seq)
    }
    this.#dirty.add(member)
  }

  /**
   * The commit of this slot, by the member `by`, took the right to write of the one it cuts. `appliedSeq`: how far this
   * device has that one; `ownCounts`: and whether that counts by itself; `isOnChain`: whether the Cut is a head that it
   * came past.
   */
  silence(
    slot: bigint,
    by: Uint8Array,
    cut: CutProposal,
    appliedSeq: bigint,
    { ownCounts, isOnChain }: { readonly ownCounts: boolean; readonly isOnChain: () => boolean }
  ): void {
    const { member, seq, hash } = cut
    const standing = this.#of(member)
    standing.silencedSlot = slot
    if (ownCounts) this.#count(member, appliedSeq)
    if (seq > appliedSeq) this.#setAhead(by, { member, seq, hash })
    else if (isOnChain()) this.#count(member, seq)
  }

  /** A message of a present member does not count: its chain moves on without the content. `position`: where it stood. */
  passOver(position: RepairHead): void {
    const standing = this.#of(position.member)
    standing.passedOver ??= position
  }

  /**
   * Where the chain stood before what was passed over, when that may count by now, `seq` having been named; it is
   * forgotten here.
   */
  takeMissed(member: Uint8Array, seq: bigint): RepairHead | undefined {
    const passedOver = this.passedOver(member)
    if (passedOver === undefined || seq <= passedOver.seq) return undefined
    this.#of(member).passedOver = undefined
    return passedOver
  }

  /** The member said again itself what was passed over. */
  clearPassedOver(member: Uint8Array): void {
    if (!this.mayName(member)) this.#of(member).passedOver = undefined
  }

  /** Where the member's chain stood before what was passed over. */
  passedOver(member: Uint8Array): RepairHead | undefined {
    return this.#members.get(toHex(member))?.passedOver
  }

  /** Whether this device may name the member's head to others: not when it lacks content before it. */
  mayName(member: Uint8Array): boolean {
    return this.passedOver(member) === undefined
  }

  /** What changed since the last call. */
  takeChanges(): StandingChanges {
    const standings = [...this.#dirty].flatMap((key) => {
      const standing = this.#members.get(key)
      if (standing === undefined) return []
      const { member, counted, silencedSlot, passedOver, ahead } = standing
      const silenced = silencedSlot !== undefined
      const isPlain = counted === 0n && !silenced && passedOver === undefined
      if (isPlain && ahead.size === 0) this.#members.delete(key)
      const record = { member, counted, silenced, silencedSlot: silencedSlot ?? 0n, passedOver }
      return [{ member, record: isPlain ? undefined : record }]
    })
    const names = [...this.#dirtyNames.values()].map(({ member, by }) => {
      return { member, by, record: this.#members.get(toHex(member))?.ahead.get(toHex(by)) }
    })
    this.#dirty.clear()
    this.#dirtyNames.clear()
    return { standings, names }
  }

  #count(member: Uint8Array, seq: bigint): void {
    const standing = this.#of(member)
    if (seq <= standing.counted) return
    standing.counted = seq
    for (const { by, head } of standing.ahead.values()) if (head.seq <= seq) this.#forgetName(standing, by)
  }

  /** One head for each who names: nobody can push out what another has said. */
  #setAhead(by: Uint8Array, head: RepairHead): boolean {
    const standing = this.#of(head.member)
    if (head.seq <= (standing.ahead.get(toHex(by))?.head.seq ?? 0n)) return false
    const name = { by: by.slice(), head }
    standing.ahead.set(toHex(by), name)
    this.#touchName(standing, name.by)
    return true
  }

  #forgetName(standing: Standing, by: Uint8Array): void {
    standing.ahead.delete(toHex(by))
    this.#touchName(standing, by)
  }

  #touchName({ member }: Standing, by: Uint8Array): void {
    this.#dirtyNames.set(`${toHex(member)} ${toHex(by)}`, { member, by })
  }

  #of(member: Uint8Array): Standing {
    const key = toHex(member)
    let standing = this.#members.get(key)
    if (standing === undefined) {
      const own = member.slice()
      standing = { member: own, counted: 0n, ahead: new Map(), silencedSlot: undefined, passedOver: undefined }
      this.#members.set(key, standing)
    }
    this.#dirty.add(key)
    return standing
  }
}

/** The greatest number that counts or that somebody has named. */
function furthest({ counted, ahead }: Standing): bigint {
  let seq = counted
  for (const { head } of ahead.values()) if (head.seq > seq) seq = head.seq
  return seq
}

/** Whether two positions of one member's chain are the same. */
export function samePosition(a: RepairHead, b: RepairHead): boolean {
  return a.seq === b.seq && (a.seq === 0n || equalBytes(a.hash, b.hash))
}
