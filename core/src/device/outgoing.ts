/**
 * Local edits on their way out (SPEC SYNC): taken from the CRDT, made durable, sealed into envelopes, uploaded to every
 * server, receipted. The first edit leaves at once; edits made while a message is in flight ride in the next one.
 */
import { compareBytes, equalBytes, readU64, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { quorum, signedInput, slotConfigOf } from '../paxos/index.js'
import { chainStart, digest, parseEnvelope, quorumSeq } from '../sync/index.js'
import {
  ControlPayload,
  Envelope,
  EnvelopeHeader,
  EnvelopeKind,
  type Head,
  Payload,
  Receipt,
  type RepairAnswer,
  Role,
  type ServerEntry,
  SIGNATURE_LABELS,
  type Signed,
  StateDutyRecord,
  StatePayload
} from '../wire/index.js'
import type { Incoming } from './incoming.js'
import { leavingError } from './leaving.js'
import type { Control } from './opening.js'
import type { DueAnswer } from './repair.js'
import { mustKeepEdits, type Room, report } from './room.js'
import type { Silenced } from './silenced.js'
import type { Turn } from './store.js'

/** How long local edits may stay in the CRDT only, while a message is in flight. */
const holdMs = 25
/** Updates sealed into one envelope, unless a single one is larger. */
const payloadBytesTarget = 256 * 1024
const updateBytesMax = 15_500_000
const stateBytesMax = 15_000_000
const depsMax = 2048
const updatesMax = 1024

/** A message of this device that some server has not receipted. */
interface OwnEnvelope {
  readonly bytes: Uint8Array
  readonly epoch: bigint
  /** Before everything for one of an earlier session: when it was sealed is not stored. */
  readonly sealedAtMs: number
  readonly hash: Uint8Array
}

export interface OutgoingStart {
  readonly unsealed: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]
  readonly own: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]
  /** By server id. */
  readonly receipted: ReadonlyMap<string, bigint>
  readonly stateDuty: StateDutyRecord | undefined
}

export class Outgoing {
  /** Bytes of all envelopes sealed since the document was opened. */
  sealedBytes = 0
  readonly #room: Room
  readonly #incoming: Incoming
  readonly #silenced: Silenced
  readonly #unsealed: { readonly entry: bigint; readonly bytes: Uint8Array }[]
  readonly #own = new Map<bigint, OwnEnvelope>()
  readonly #receipted: Map<string, bigint>
  readonly #onDurable: () => void
  readonly #onSafe: () => void
  #nextUnsealed: bigint
  /** Latest message made durable here, which may be uploaded. */
  #durableSeq: bigint
  #hold: Disposable | undefined
  #mustFlush = false
  /** Everything has to be said once more in the present epoch. */
  #resend = false
  /** The first edit that waits is larger than a message can be; nothing may overtake it. */
  #isStuck = false
  #stateDuty: StateDutyRecord | undefined
  readonly #controls: Control[] = []
  readonly #answers: DueAnswer[] = []
  #leaveSeq: bigint | undefined
  #saidNoMoreEdits = false
  #settling: Settling[] = []
  #safeSeq = 0n

  constructor(
    room: Room,
    incoming: Incoming,
    silenced: Silenced,
    start: OutgoingStart,
    on: { readonly durable: () => void; readonly safe: () => void }
  ) {
    this.#room = room
    this.#incoming = incoming
    this.#silenced = silenced
    this.#onDurable = on.durable
    this.#onSafe = on.safe
    this.#unsealed = start.unsealed.map(({ key, value }) => ({ entry: readU64(key), bytes: value }))
    this.#nextUnsealed = (this.#unsealed.at(-1)?.entry ?? -1n) + 1n
    for (const { key, value } of start.own) {
      const { header, hash } = parseEnvelope(value)
      this.#own.set(readU64(key), { bytes: value, epoch: header.epoch, sealedAtMs: Number.NEGATIVE_INFINITY, hash })
    }
    this.#receipted = new Map(start.receipted)
    this.#stateDuty = start.stateDuty
    this.#durableSeq = this.ownSeq
    this.#safeSeq = this.safeSeq
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

  /** Local edits ride with the next message; a receipt or a timer asks for that turn, more edits need not. */
  get isHolding(): boolean {
    return this.#hold !== undefined
  }

  get unsealedCount(): number {
    return this.#unsealed.length
  }

  receiptedSeq(server: Uint8Array | string): bigint {
    return this.#receipted.get(typeof server === 'string' ? server : toHex(server)) ?? 0n
  }

  /** The request to be removed is on a write quorum of servers. */
  get isLeaveSafe(): boolean {
    return this.#leaveSeq !== undefined && this.#leaveSeq <= this.safeSeq
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

  /** Whether somebody is owed the state, or it is not safe yet. */
  get owesState(): boolean {
    const duty = this.#stateDuty
    return duty !== undefined && (duty.sentVersion.length === 0 || this.ownSeq > this.safeSeq)
  }

  /** A message arrived so late that its content has to be said again, and has not been yet. */
  get owesResend(): boolean {
    return this.#resend
  }

  /** Somebody who came in this epoch or shortly before is owed the state: by who added it, or who stands in for that. */
  oweState(turn: Turn, addedEpoch: bigint): void {
    this.#stateDuty = { addedEpoch, sentVersion: new Uint8Array(0) }
    turn.put(this.#room.store.key('stateDuty'), StateDutyRecord.encode(this.#stateDuty))
  }

  /**
   * Says something to the members' devices that is no content; readers may, too. It leaves in the next turn in which
   * something can, and is forgotten when the document is closed before.
   */
  queueControl(control: Control): void {
    this.#controls.push(control)
    this.#room.wake()
  }

  /** Answers a member that lacks something. */
  queueAnswer(due: DueAnswer): void {
    this.#answers.push(due)
    this.#room.wake()
  }

  /** Takes and seals what may leave now. `online`: some server is there to take it. */
  async step(turn: Turn, online: boolean): Promise<void> {
    const inFlight = this.ownSeq > this.sentSeq
    const canSpeak = online && !inFlight && !this.#room.removed && !this.#room.alarms.isStanding
    const canSeal = canSpeak && this.#mayWrite && !this.#isStuck
    const before = this.ownSeq
    const flushed = canSeal || this.#mustFlush || !online || !this.#mayWrite || this.#isStuck
    // Who asks or edits while this turn seals is served by the next one.
    const asked = flushed ? [...this.#settling] : []
    if (flushed) {
      this.dispose()
      this.#mustFlush = false
    }
    if (canSeal) {
      await this.#payState(turn)
      await this.#sealUpdates(turn)
      for (const due of this.#answers.splice(0)) await this.#sealAnswer(turn, due)
    } else if (flushed) {
      this.#flushUnsealed(turn)
    } else {
      this.#hold ??= this.#room.context.clock.setTimer(holdMs, () => {
        this.#hold = undefined
        this.#mustFlush = true
        this.#room.wake()
      })
    }
    if (canSpeak) await this.#sealControls(turn)
    this.#settleFlushed(turn, asked)
    if (this.ownSeq > before) {
      this.#dropReceipted(turn)
      const seq = this.ownSeq
      turn.after(() => {
        this.#durableSeq = seq
        this.#onDurable()
      })
    }
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

  /** Resolves when all local edits made before the call have reached the level. */
  settled(level: Settling['level']): Promise<void> {
    this.#mustFlush = true
    return new Promise((resolve, reject) => {
      if (this.#isStuck && level !== 'stored') {
        reject(new HeddleError('LIMIT_EXCEEDED', 'an edit too large for a message holds up those after it'))
        return
      }
      this.#settling.push({ level, resolve, reject, flushed: false, seq: undefined })
      this.#room.wake()
    })
  }

  /** Nothing goes on: who waits for edits to arrive hears why. */
  giveUp(error: HeddleError): void {
    for (const { reject } of this.#settling.splice(0)) reject(error)
  }

  /** Nothing leaves any more; what waits only to be stored here still is. */
  giveUpSending(error: HeddleError): void {
    const given = this.#settling.filter(({ level }) => level !== 'stored')
    this.#settling = this.#settling.filter(({ level }) => level === 'stored')
    for (const { reject } of given) reject(error)
  }

  dispose(): void {
    this.#hold?.[Symbol.dispose]()
    this.#hold = undefined
  }

  /** What a reader edits stays here until it may write, and sometimes what a device edits that lost the group's keys. */
  get #mayWrite(): boolean {
    const { group, removed } = this.#room
    return !removed && group.me.role !== Role.ROLE_READER && !mustKeepEdits(this.#room)
  }

  /** Local changes become durable without being sealed: nobody is there to take them, or a message is in flight. */
  #flushUnsealed(turn: Turn): void {
    const bytes = this.#takeLocal(turn)
    if (bytes !== undefined) this.#keepUnsealed(turn, bytes)
  }

  /** Local edits since the last turn. What is edited after leaving is neither stored nor sent. */
  #takeLocal(turn: Turn): Uint8Array | undefined {
    const { leaving, replica } = this.#room
    if (!leaving) return replica.flush(turn)
    if (!this.#saidNoMoreEdits && replica.peek() !== undefined) {
      this.#saidNoMoreEdits = true
      report(this.#room, leavingError())
    }
    return undefined
  }

  #keepUnsealed(turn: Turn, bytes: Uint8Array): void {
    const entry = this.#nextUnsealed++
    this.#unsealed.push({ entry, bytes })
    turn.put(this.#room.store.key('unsealed', entry), bytes)
  }

  async #sealUpdates(turn: Turn): Promise<void> {
    const tooLarge = this.#unsealed.findIndex(({ bytes }) => bytes.length > updateBytesMax)
    const waiting = this.#unsealed.splice(0, tooLarge < 0 ? this.#unsealed.length : tooLarge)
    for (const { entry } of waiting) turn.del(this.#room.store.key('unsealed', entry))
    const updates = waiting.map(({ bytes }) => bytes)
    const fresh = this.#takeLocal(turn)
    if (fresh !== undefined && fresh.length <= updateBytesMax && tooLarge < 0) updates.push(fresh)
    else if (fresh !== undefined) this.#keepUnsealed(turn, fresh)
    if (this.#unsealed.length > 0) this.#getStuck(this.#unsealed[0]?.bytes.length ?? 0)
    // What this device wrote before it lost the right to write, and did not count, counts now.
    const isSaidAgain = !this.#silenced.mayName(this.#room.group.memberId)
    if (isSaidAgain) this.#silenced.saidAgain()
    if (this.#resend || isSaidAgain) {
      this.#resend = false
      const state = this.#room.replica.doc.snapshot()
      if (state.length <= updateBytesMax) updates.push(state)
      else report(this.#room, new HeddleError('LIMIT_EXCEEDED', 'what came too late is too large to be said again'))
    }
    for (const batch of inPayloads(updates)) await this.#sealPayload(turn, batch)
  }

  /** Later edits build on this one: sent without it, they would be of no use to anybody. */
  #getStuck(bytes: number): void {
    this.#isStuck = true
    const message = `an edit of ${bytes} bytes exceeds the ${updateBytesMax} a message carries; it and what follows stay on this device`
    const error = new HeddleError('LIMIT_EXCEEDED', message)
    report(this.#room, error)
    this.giveUpSending(error)
  }

  async #sealPayload(turn: Turn, updates: readonly Uint8Array[], repair?: RepairAnswer): Promise<void> {
    const deps = this.#takeDeps(turn)
    await this.#seal(
      turn,
      EnvelopeKind.ENVELOPE_KIND_UPDATE,
      Payload.encode({ deps, updates, repair, epochAuthenticator: this.#tagToSay() })
    )
  }

  /** Control messages, and what the others have to know of members who lost the right to write. */
  async #sealControls(turn: Turn): Promise<void> {
    for (const control of this.#controls.splice(0)) await this.#sealControl(turn, control)
    if (this.#silenced.owesVouching) await this.#sealControl(turn, undefined)
  }

  async #sealControl(turn: Turn, control: Control | undefined): Promise<void> {
    const deps = this.#takeDeps(turn)
    await this.#seal(
      turn,
      EnvelopeKind.ENVELOPE_KIND_CONTROL,
      ControlPayload.encode({ deps, control, epochAuthenticator: this.#tagToSay() })
    )
    if (control?.$case === 'leave') this.#leaveSeq = this.ownSeq
  }

  async #sealAnswer(turn: Turn, { version, answer }: DueAnswer): Promise<void> {
    const { replica } = this.#room
    let difference: Uint8Array
    try {
      difference = version.length === 0 ? replica.doc.snapshot() : replica.doc.diff(version)
    } catch (error) {
      if (!HeddleError.is(error, 'CRDT_MALFORMED')) throw error
      return report(this.#room, new HeddleError('CRDT_MALFORMED', 'a member asks for repair with a bad state vector'))
    }
    if (difference.length <= updateBytesMax) return await this.#sealPayload(turn, [difference], answer)
    report(this.#room, new HeddleError('LIMIT_EXCEEDED', 'what a member lacks is too large for a message'))
  }

  #tagToSay(): Uint8Array | undefined {
    return this.#room.alarms.tagToSay(this.#room.group.epoch)
  }

  /** Heads of others that this device has applied and not told of. */
  #takeDeps(turn: Turn): Head[] {
    const changed = this.#room.vector.takeChanged(this.#room.group.memberId, depsMax)
    const deps = changed.filter(({ member }) => this.#silenced.mayName(member))
    for (const head of deps) this.#silenced.noteTold(turn, head)
    return deps.sort((a, b) => compareBytes(a.member, b.member))
  }

  /** Sends the state to members this device added, and again what arrives late from the epochs they cannot open. */
  async #payState(turn: Turn): Promise<void> {
    const duty = this.#stateDuty
    const { group, vector, replica, store } = this.#room
    if (duty === undefined || group.epoch < duty.addedEpoch || group.me.role !== Role.ROLE_ADMIN) return
    const first = duty.sentVersion.length === 0
    if (!first && !this.#incoming.takeAppliedBefore(duty.addedEpoch)) return
    const heads = [...vector.heads()].filter(({ member }) => !equalBytes(member, group.memberId))
    const state = first ? replica.doc.snapshot() : replica.doc.diff(duty.sentVersion)
    this.#stateDuty = { ...duty, sentVersion: replica.doc.version() }
    turn.put(store.key('stateDuty'), StateDutyRecord.encode(this.#stateDuty))
    if (state.length > stateBytesMax) {
      const message = `the document's state of ${state.length} bytes exceeds the ${stateBytesMax} a message carries: who joins cannot get it`
      report(this.#room, new HeddleError('LIMIT_EXCEEDED', message))
      return
    }
    const kind = first ? EnvelopeKind.ENVELOPE_KIND_STATE : EnvelopeKind.ENVELOPE_KIND_STATE_UPDATE
    await this.#seal(turn, kind, StatePayload.encode({ heads, state, epochAuthenticator: this.#tagToSay() }))
  }

  /** Encrypts, chains and signs one message; it and the used-up key become durable with the turn. */
  async #seal(turn: Turn, kind: EnvelopeKind, payload: Uint8Array): Promise<void> {
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
    turn.put(store.key('own', seq), bytes)
    this.#silenced.noteTold(turn, head)
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
      this.#onSafe()
      this.#room.emit({ type: 'safe', seq })
    }
    this.#settle()
  }

  /** Once this turn is durable, the edits that `settled` was asked about are; their message's number is known when sealed. */
  #settleFlushed(turn: Turn, waiting: readonly Settling[]): void {
    if (waiting.length === 0) return
    const seq = this.#unsealed.length === 0 ? this.ownSeq : undefined
    turn.after(() => {
      for (const one of waiting) {
        one.flushed = true
        one.seq ??= seq
      }
      this.#settle()
    })
  }

  #settle(): void {
    const reached = ({ level, flushed, seq }: Settling) =>
      flushed && (level === 'stored' || (seq !== undefined && seq <= (level === 'safe' ? this.safeSeq : this.sentSeq)))
    const done = this.#settling.filter(reached)
    if (done.length === 0) return
    this.#settling = this.#settling.filter((one) => !done.includes(one))
    for (const { resolve } of done) resolve()
  }
}

interface Settling {
  readonly level: 'stored' | 'sent' | 'safe'
  readonly resolve: () => void
  readonly reject: (error: HeddleError) => void
  flushed: boolean
  seq: bigint | undefined
}

/** Updates in order, as many to a payload as fit. */
function inPayloads(updates: readonly Uint8Array[]): Uint8Array[][] {
  const out: Uint8Array[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const update of updates) {
    const last = out.at(-1)
    if (last === undefined || bytes + update.length > payloadBytesTarget || last.length === updatesMax) {
      out.push([update])
      bytes = update.length
    } else {
      last.push(update)
      bytes += update.length
    }
  }
  return out
}
