/**
 * State vectors: the latest envelope known of every sender. Servers keep one for what they have stored, devices one for
 * what they have applied (SPEC SYNC). All operations are O(1) per sender touched.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { Head, RepairHead } from '../wire/index.js'
import { chainStart, type ParsedEnvelope } from './envelope.js'

/** How an envelope stands to a sender's chain. */
export type Succession =
  /** It is the next one. */
  | 'next'
  /** It is the head itself, again. */
  | 'duplicate'
  /** Its number lies below the head; whether it is the same envelope must be looked up. */
  | 'old'
  /** Envelopes before it are missing. */
  | 'gap'
  /** Its number or its predecessor is taken by another envelope: the sender, or somebody with its key, forked. */
  | 'conflict'

export class StateVector {
  readonly #heads = new Map<string, Head>()
  readonly #changed = new Set<string>()

  /** `untold`: members whose head the next `takeChanged` returns although it does not move any more. */
  constructor(heads: Iterable<Head> = [], untold: Iterable<Uint8Array> = []) {
    for (const head of heads) this.#heads.set(toHex(head.member), head)
    for (const member of untold) this.#changed.add(toHex(member))
  }

  /** Members with a head. */
  get size(): number {
    return this.#heads.size
  }

  get(member: Uint8Array): Head | undefined {
    return this.#heads.get(toHex(member))
  }

  /** Where the member's chain stands: its head, or number 0 and zeros. */
  position(member: Uint8Array): RepairHead {
    return this.get(member) ?? chainBefore(member)
  }

  /** Sequence number of the member's head, 0 when it has none. */
  seqOf(member: Uint8Array): bigint {
    return this.get(member)?.seq ?? 0n
  }

  heads(): IterableIterator<Head> {
    return this.#heads.values()
  }

  /** Compares an envelope with the chain of its sender. */
  succession(envelope: ParsedEnvelope): Succession {
    const { group, member, seq, previous } = envelope.header
    const head = this.get(member)
    const headSeq = head?.seq ?? 0n
    if (seq > headSeq + 1n) return 'gap'
    if (seq === headSeq + 1n) return equalBytes(previous, head?.hash ?? chainStart(group, member)) ? 'next' : 'conflict'
    if (seq === headSeq) return equalBytes(envelope.hash, head?.hash ?? envelope.hash) ? 'duplicate' : 'conflict'
    return 'old'
  }

  /** Moves a sender's head. The caller has checked the succession. */
  advance(head: Head): void {
    const key = toHex(head.member)
    this.#heads.set(key, head)
    this.#changed.add(key)
  }

  /** The member's chain begins anew. */
  forget(member: Uint8Array): void {
    const key = toHex(member)
    this.#heads.delete(key)
    this.#changed.delete(key)
  }

  /** Whether every head is at or behind this vector's. */
  covers(heads: Iterable<Head>): boolean {
    for (const head of heads) if (this.seqOf(head.member) < head.seq) return false
    return true
  }

  /** Heads that moved since the last call, but for `except`'s own: the `deps` of the next payload. At most `max`. */
  takeChanged(except: Uint8Array, max: number): Head[] {
    const own = toHex(except)
    const out: Head[] = []
    for (const key of this.#changed) {
      if (out.length >= max) break
      this.#changed.delete(key)
      const head = this.#heads.get(key)
      if (key !== own && head !== undefined) out.push(head)
    }
    return out
  }
}

/** The position in a member's chain before its first envelope. */
export function chainBefore(member: Uint8Array): RepairHead {
  return { member, seq: 0n, hash: new Uint8Array(32) }
}

/** The greatest number that at least `quorum` of the numbers reach; 0 when too few are given. */
export function quorumSeq(seqs: readonly bigint[], quorum: number): bigint {
  const descending = [...seqs].sort((a, b) => (a < b ? 1 : a > b ? -1 : 0))
  return descending[quorum - 1] ?? 0n
}
