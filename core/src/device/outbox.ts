/**
 * This device's own messages (SPEC SYNC-002, SYNC-003, SYNC-006, SYNC-015): sealed, chained and signed, kept durably until
 * every server of the document has receipted them, and how far they are sent and safe. Filled by `outgoing.ts` and
 * `state-duty.ts`, emptied by `uploading.ts`.
 */
import { equalBytes, readU64, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { quorum, signedInput, slotConfigOf } from '../paxos/index.js'
import { chainStart, digest, parseEnvelope, quorumSeq } from '../sync/index.js'
import {
  Envelope,
  EnvelopeHeader,
  type EnvelopeKind,
  type Head,
  Receipt,
  type ServerEntry,
  SIGNATURE_LABELS,
  type Signed
} from '../wire/index.js'
import type { Room } from './room.js'
import type { Silenced } from './silenced.js'
import type { Turn } from './store.js'

/** A message of this device that some server has not receipted. */
interface OwnEnvelope {
  readonly bytes: Uint8Array
  readonly epoch: bigint
  /** Before everything for one of an earlier session: when it was sealed is not stored. */
  readonly sealedAtMs: number
  readonly hash: Uint8Array
}

export interface OutboxStart {
  readonly own: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]
  /** By server id. */
  readonly receipted: ReadonlyMap<string, bigint>
}

export interface OutboxHooks {
  /** There is something new to upload. */
  durable(): void
  /** More of this device's messages are on a write quorum of servers. */
  safe(): void
  /** Servers have more of this device's messages, or the document has other servers. */
  receipted(): void
}

export class Outbox {
  /** Bytes of all envelopes sealed since the document was opened. */
  sealedBytes = 0
  readonly #room: Room
  readonly #silenced: Silenced
  readonly #hooks: OutboxHooks
  readonly #own = new Map<bigint, OwnEnvelope>()
  readonly #receipted: Map<string, bigint>
  /** Latest message made durable here, which may be uploaded. */
  #durableSeq: bigint
  #safeSeq: bigint
  /** Something was sealed in this turn. */
  #hasSealed = false
  /** Everything has to be said once more in the present epoch. */
  #resend = false

  constructor(room: Room, silenced: Silenced, { own, receipted }: OutboxStart, hooks: OutboxHooks) {
    this.#room = room
    this.#silenced = silenced
    this.#hooks = hooks
    for (const { key, value } of own) {
      const { header, hash } = parseEnvelope(value)
      this.#own.set(readU64(key), { bytes: value, epoch: header.epoch, sealedAtMs: Number.NEGATIVE_INFINITY, hash })
    }
    this.#receipted = new Map(receipted)
    this.#durableSeq = this.ownSeq
    this.#safeSeq = this.safeSeq
  }

  /** Encrypts, chains and signs one message; it and the used-up key become durable with the turn. */
  async seal(turn: Turn, kind: EnvelopeKind, payload: Uint8Array): Promise<Head> {
    const { group, groupId, vector, store } = this.#room
    const member = group.memberId
    const previous = vector.get(member)
    const seq = (previous?.seq ?? 0n) + 1n
    const header = EnvelopeHeader.encode({
      group: groupId,
      epoch: group.epoch,
      ctxTag: group.public.ctx.subarray(0, 16),
      member,
      seq,
      previous: previous?.hash ?? chainStart(groupId, member),
      kind
    })
    const { senderData, ciphertext } = await group.encrypt(payload, header)
    const { signed, hash } = digest(header, senderData, ciphertext)
    const bytes = Envelope.encode({ header, senderData, ciphertext, signature: group.sign(signed) })
    this.sealedBytes += bytes.length
    this.#own.set(seq, { bytes, epoch: group.epoch, sealedAtMs: this.#room.context.clock.now(), hash })
    const head: Head = { member, seq, hash }
    vector.advance(head)
    this.#hasSealed = true
    turn.put(store.key('own', seq), bytes)
    this.#silenced.noteTold(turn, head)
    return head
  }

  /** What the turn has sealed is uploaded once it is durable; call it when the turn has sealed all. */
  write(turn: Turn): void {
    if (!this.#hasSealed) return
    this.#hasSealed = false
    this.#dropReceipted(turn)
    const seq = this.ownSeq
    turn.after(() => {
      this.#durableSeq = seq
      this.#hooks.durable()
    })
  }

  /** Sequence number of this device's latest message. */
  get ownSeq(): bigint {
    return this.#room.vector.seqOf(this.#room.group.memberId)
  }

  get durableSeq(): bigint {
    return this.#durableSeq
  }

  /** This device's messages up to here are on a write quorum of servers. */
  get safeSeq(): bigint {
    const { servers } = this.#room.group.public
    return quorumSeq(
      servers.servers.map(({ id }) => this.receiptedSeq(id)),
      quorum(slotConfigOf(this.#room.group.public))
    )
  }

  /** This device's messages up to here are on one server at least. */
  get sentSeq(): bigint {
    let max = 0n
    for (const { id } of this.#room.group.public.servers.servers) {
      const seq = this.receiptedSeq(id)
      if (seq > max) max = seq
    }
    return max
  }

  receiptedSeq(server: Uint8Array | string): bigint {
    return this.#receipted.get(typeof server === 'string' ? server : toHex(server)) ?? 0n
  }

  /**
   * The document has other servers. A new one is not given what all of the old ones had: it is as if it had it, since
   * whoever lacks that gets it elsewhere.
   */
  serversChanged(before: readonly ServerEntry[], present: readonly ServerEntry[]): void {
    const everywhere = quorumSeq(
      before.map(({ id }) => this.receiptedSeq(id)),
      before.length
    )
    const isNew = ({ id }: ServerEntry) => before.every((old) => !equalBytes(old.id, id))
    for (const { id } of present.filter(isNew))
      if (this.receiptedSeq(id) < everywhere) this.#receipted.set(toHex(id), everywhere)
    this.#announceSafe()
  }

  /** A message arrived so late that its content has to be said again, and has not been yet. */
  get owesResend(): boolean {
    return this.#resend
  }

  /** Whether that is so; it is about to be done. */
  takeResend(): boolean {
    const resend = this.#resend
    this.#resend = false
    return resend
  }

  /** Envelopes of this device after `seq`, up to about `bytesMax`; at least one when there is any. */
  envelopesAfter(seq: bigint, bytesMax: number): Uint8Array[] {
    const out: Uint8Array[] = []
    let bytes = 0
    // What every server has is not kept; without this a new server would cost a look at all of the past.
    const [oldest = this.#durableSeq + 1n] = this.#own.keys()
    for (let next = oldest > seq ? oldest : seq + 1n; next <= this.#durableSeq; next++) {
      const envelope = this.#own.get(next)
      if (envelope === undefined) continue
      bytes += envelope.bytes.length
      if (out.length > 0 && bytes > bytesMax) break
      out.push(envelope.bytes)
      if (out.length === 1024) break
    }
    return out
  }

  /** Checks a server's receipt and counts it. Throws BAD_SIGNATURE, MALFORMED, SEQUENCE_CONFLICT. */
  takeReceipt(server: Uint8Array, { statement, signature }: Signed): void {
    const receipt = Receipt.decode(statement)
    const { crypto, groupId, group } = this.#room
    const head = receipt.head as Head
    if (!equalBytes(receipt.group, groupId) || !equalBytes(receipt.server, server)) {
      throw new HeddleError('BAD_SIGNATURE', 'a receipt for another document or from another server')
    }
    if (!equalBytes(head.member, group.memberId)) return
    if (!crypto.verify(server, signedInput(SIGNATURE_LABELS.Receipt, statement), signature)) {
      throw new HeddleError('BAD_SIGNATURE', 'the signature of a receipt does not verify')
    }
    const own = this.#own.get(head.seq)
    if (head.seq > this.ownSeq || (own !== undefined && !equalBytes(own.hash, head.hash))) {
      throw new HeddleError('SEQUENCE_CONFLICT', `the server holds another message ${head.seq} of this device`)
    }
    const key = toHex(server)
    if (head.seq <= this.receiptedSeq(key)) return
    const safeBefore = this.safeSeq
    this.#receipted.set(key, head.seq)
    if (this.#becameSafeTooLate(safeBefore)) this.#resend = true
    this.#announceSafe()
    this.#room.wake()
  }

  /** Whether messages that just became safe were sealed so long ago that some who see them now have lost the keys. */
  #becameSafeTooLate(safeBefore: bigint): boolean {
    const { group, context } = this.#room
    const { retainedEpochs, retainedDays } = group.public.document.policy
    const oldest = group.epoch - BigInt(retainedEpochs)
    // Half of the time, for clocks differ and others need some to come back.
    const sinceMs = context.clock.now() - (retainedDays * 86_400_000) / 2
    for (let seq = safeBefore + 1n; seq <= this.safeSeq; seq++) {
      const own = this.#own.get(seq)
      if (own === undefined || own.epoch === group.epoch) continue
      if (own.epoch <= oldest || own.sealedAtMs < sinceMs) return true
    }
    return false
  }

  /** Forgets messages that every server of the document has receipted. */
  #dropReceipted(turn: Turn): void {
    const { servers } = this.#room.group.public.servers
    const everywhere = quorumSeq(
      servers.map(({ id }) => this.receiptedSeq(id)),
      servers.length
    )
    for (const seq of this.#own.keys()) {
      if (seq > everywhere) break
      this.#own.delete(seq)
      turn.del(this.#room.store.key('own', seq))
    }
  }

  #announceSafe(): void {
    const seq = this.safeSeq
    if (seq > this.#safeSeq) {
      this.#safeSeq = seq
      this.#hooks.safe()
      this.#room.emit({ type: 'safe', seq })
    }
    this.#hooks.receipted()
  }
}
