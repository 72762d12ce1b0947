/**
 * The waiting room of a device: envelopes that came before what they need, be it their sender's earlier envelope or the
 * commit that begins their epoch (SPEC SYNC). Bounded in number and bytes; nothing is dropped for having been tried often.
 */
import { toHex } from '../bytes.js'
import type { ParsedEnvelope } from './envelope.js'

export interface WaitingLimits {
  readonly envelopesMax: number
  readonly bytesMax: number
}

export const waitingLimits: WaitingLimits = { envelopesMax: 10_000, bytesMax: 64 * 1024 * 1024 }

export class WaitingRoom {
  readonly #bySender = new Map<string, Map<bigint, ParsedEnvelope>>()
  readonly #limits: WaitingLimits
  #count = 0
  #bytes = 0

  constructor(limits: WaitingLimits = waitingLimits) {
    this.#limits = limits
  }

  get count(): number {
    return this.#count
  }

  /** Keeps an envelope. False when the room is full: it has to be fetched again later. */
  add(envelope: ParsedEnvelope): boolean {
    const { member, seq } = envelope.header
    const key = toHex(member)
    const sender = this.#bySender.get(key) ?? new Map<bigint, ParsedEnvelope>()
    if (sender.has(seq)) return true
    if (this.#count >= this.#limits.envelopesMax || this.#bytes + envelope.bytes.length > this.#limits.bytesMax)
      return false
    this.#bySender.set(key, sender)
    sender.set(seq, envelope)
    this.#count++
    this.#bytes += envelope.bytes.length
    return true
  }

  /** Whether anything of this sender waits. */
  has(member: Uint8Array): boolean {
    return this.#bySender.has(toHex(member))
  }

  /** A sender's envelope with this number, which stays in the room. */
  peek(member: Uint8Array, seq: bigint): ParsedEnvelope | undefined {
    return this.#bySender.get(toHex(member))?.get(seq)
  }

  /** Takes a sender's envelope with this number out of the room. */
  take(member: Uint8Array, seq: bigint): ParsedEnvelope | undefined {
    const key = toHex(member)
    const sender = this.#bySender.get(key)
    const envelope = sender?.get(seq)
    if (sender === undefined || envelope === undefined) return undefined
    sender.delete(seq)
    if (sender.size === 0) this.#bySender.delete(key)
    this.#count--
    this.#bytes -= envelope.bytes.length
    return envelope
  }

  /** Forgets everything of this sender. */
  drop(member: Uint8Array): void {
    const key = toHex(member)
    for (const { bytes } of this.#bySender.get(key)?.values() ?? []) {
      this.#count--
      this.#bytes -= bytes.length
    }
    this.#bySender.delete(key)
  }

  /** Takes everything out, in the order of each sender's sequence: for another try after the state has changed. */
  takeAll(): ParsedEnvelope[] {
    const out = [...this.#bySender.values()].flatMap((sender) =>
      [...sender.values()].sort((a, b) => Number(a.header.seq - b.header.seq))
    )
    this.#bySender.clear()
    this.#count = 0
    this.#bytes = 0
    return out
  }
}
