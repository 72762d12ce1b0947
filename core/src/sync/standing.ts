/**
 * Rule R (SPEC SYNC-020 to SYNC-023): how much of a member's messages counts once a commit has taken its right to write.
 * What counts is the longest prefix that the commit's Cut or a remaining member's message names, so that every device
 * with the same messages has the same document, and nothing applied is ever taken back. Pure; called by the device.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { CutProposal, Head, RepairHead, StandingRecord } from '../wire/index.js'

/** What a device does with a message of a member, beyond the order of its chain. */
export type Verdict =
  /** It counts. */
  | 'counts'
  /** Nobody has named it so far. */
  | 'beyond'

interface Standing {
  readonly member: Uint8Array
  named: RepairHead | undefined
  silencedSlot: bigint | undefined
  passedOver: RepairHead | undefined
}

export class Standings {
  /**
   * In strict mode what this device has applied does not count by itself, so everything that is named has to be
   * remembered.
   */
  strict = false
  readonly #members = new Map<string, Standing>()
  readonly #dirty = new Set<string>()

  constructor(records: Iterable<StandingRecord> = []) {
    for (const { member, named, silenced, silencedSlot, passedOver } of records)
      this.#members.set(toHex(member), {
        member,
        named,
        silencedSlot: silenced ? silencedSlot : undefined,
        passedOver
      })
  }

  /** Whether a message of this member and epoch counts. */
  judge(member: Uint8Array, epoch: bigint, seq: bigint): Verdict {
    const standing = this.#members.get(toHex(member))
    const slot = standing?.silencedSlot
    if (slot === undefined || epoch > slot) return 'counts'
    return seq <= (standing?.named?.seq ?? 0n) ? 'counts' : 'beyond'
  }

  /** Sequence number up to which messages of a member who has no right to write are awaited; undefined: all of them. */
  limitOf(member: Uint8Array): bigint | undefined {
    const standing = this.#members.get(toHex(member))
    return standing?.silencedSlot === undefined ? undefined : (standing.named?.seq ?? 0n)
  }

  /** How far the member's messages are named, by others or by this device. */
  named(member: Uint8Array): RepairHead | undefined {
    return this.#members.get(toHex(member))?.named
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
   * Another member's message names how far it has applied a third one. `appliedSeq`: how far this device has. True when
   * more of a silenced member counts than before.
   */
  name(head: RepairHead, appliedSeq: bigint): boolean {
    const key = toHex(head.member)
    const standing = this.#members.get(key)
    const silenced = standing?.silencedSlot !== undefined
    const isNeeded = silenced || this.strict || head.seq > appliedSeq
    if (head.seq <= (standing?.named?.seq ?? 0n) || !isNeeded) return false
    this.#of(head.member).named = head
    return silenced
  }

  /** The member's chain has come this far here: what was named up to there need not be remembered while it may write. */
  reached(member: string, seq: bigint): void {
    const standing = this.#members.get(member)
    if (this.strict || standing?.named === undefined || standing.silencedSlot !== undefined || standing.named.seq > seq)
      return
    standing.named = undefined
    this.#dirty.add(member)
  }

  /** The commit of this slot took the member's right to write; `applied` is this device's head of it. */
  silence(slot: bigint, { member, seq, hash }: CutProposal, applied: Head | undefined): void {
    const standing = this.#of(member)
    standing.silencedSlot = slot
    for (const head of [{ member, seq, hash }, applied])
      if (head !== undefined && head.seq > (standing.named?.seq ?? 0n)) standing.named = head
  }

  /** A message of a present member does not count: its chain moves on without the content. `position`: where it stood. */
  passOver(position: RepairHead): void {
    const standing = this.#of(position.member)
    standing.passedOver ??= position
  }

  /** Where the chain stood before what was passed over, when that counts by now; it is forgotten here. */
  takeMissed(member: Uint8Array): RepairHead | undefined {
    const standing = this.#members.get(toHex(member))
    const { passedOver, named } = standing ?? {}
    if (standing === undefined || passedOver === undefined || (named?.seq ?? 0n) <= passedOver.seq) return undefined
    this.#of(member).passedOver = undefined
    return passedOver
  }

  /** The member said again itself what was passed over. */
  clearPassedOver(member: Uint8Array): void {
    if (!this.mayName(member)) this.#of(member).passedOver = undefined
  }

  /** Whether this device may name the member's head to others: not when it lacks content before it. */
  mayName(member: Uint8Array): boolean {
    return this.#members.get(toHex(member))?.passedOver === undefined
  }

  /** Members whose record changed since the last call; without a record it is to be deleted. */
  takeChanges(): { readonly member: Uint8Array; readonly record: StandingRecord | undefined }[] {
    const out = [...this.#dirty].flatMap((key) => {
      const standing = this.#members.get(key)
      if (standing === undefined) return []
      const { member, named, silencedSlot, passedOver } = standing
      const isPlain = named === undefined && silencedSlot === undefined && passedOver === undefined
      if (isPlain) this.#members.delete(key)
      const silenced = silencedSlot !== undefined
      return [
        {
          member,
          record: isPlain ? undefined : { member, named, silenced, silencedSlot: silencedSlot ?? 0n, passedOver }
        }
      ]
    })
    this.#dirty.clear()
    return out
  }

  #of(member: Uint8Array): Standing {
    const key = toHex(member)
    let standing = this.#members.get(key)
    if (standing === undefined) {
      standing = { member: member.slice(), named: undefined, silencedSlot: undefined, passedOver: undefined }
      this.#members.set(key, standing)
    }
    this.#dirty.add(key)
    return standing
  }
}

/** Whether two positions of one member's chain are the same. */
export function samePosition(a: RepairHead, b: RepairHead): boolean {
  return a.seq === b.seq && (a.seq === 0n || equalBytes(a.hash, b.hash))
}
