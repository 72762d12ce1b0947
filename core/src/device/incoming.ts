/**
 * Envelopes from others: in a sender's order, opened, applied to the CRDT in one batch per turn (SPEC SYNC, DEVICE).
 * What comes too early waits; what a server forged is dropped and asked for elsewhere; nothing is applied twice.
 */
import { equalBytes, readU64, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type ParsedEnvelope, parseEnvelope, WaitingRoom } from '../sync/index.js'
import { AppliedRecord, EnvelopeKind, type Head, Payload, Role, StatePayload, WireError } from '../wire/index.js'
import { asHeddleError, type Room, report } from './room.js'
import type { Turn } from './store.js'

/** Arrivals not looked at yet, above which servers are made to wait. */
const arrivalBytesMax = 4 * 1024 * 1024
/** What may wait of senders this device does not know yet, per server: nobody can tell whether it is theirs. */
const strangersLimits = { envelopesMax: 256, bytesMax: 4 * 1024 * 1024 }
const conflictsMax = 1024

/** What came from a server and was not looked at yet. */
export interface Arrival {
  /** Server it came from, hexadecimal. */
  readonly server: string
  readonly envelopes: readonly Uint8Array[]
  /** The server's log is known up to here once these are applied. */
  readonly throughPosition?: bigint
}

/** What a turn took in. */
export interface Taken {
  /** How far the logs of the servers are known now. */
  readonly positions: Map<string, bigint>
  /** Senders of whom something is missing. */
  readonly missing: readonly Uint8Array[]
  /** A message broke the live CRDT. The good ones are logged all the same: once that is durable, the document must end. */
  readonly tainted: HeddleError | undefined
}

export class Incoming {
  /** Messages applied since the document was opened. */
  applied = 0
  /** An envelope of an epoch this device has not reached came by. */
  sawFutureEpoch = false
  /** Oldest epoch of what waits for its commit. */
  nextEpoch: bigint | undefined
  readonly #room: Room
  readonly #waiting = new WaitingRoom()
  readonly #told = new Map<string, bigint>()
  readonly #blame: (server: string, error: HeddleError) => void
  #arrivals: Arrival[] = []
  #arrivalBytes = 0
  #release: (() => void)[] = []
  /** By server: envelopes of senders that no epoch reached so far knows. */
  readonly #strangers = new Map<string, WaitingRoom>()
  /** By sender: the latest of its messages for which there was no room. */
  readonly #dropped = new Map<string, Head>()
  /** Senders that signed two messages of one number, or two chains. */
  readonly #forked = new Set<string>()
  readonly #conflicts = new Set<string>()
  #retry = false
  /** Something had no room to wait: what the servers' logs hold has to be read again from where it is durable. */
  #overflowed = false
  /** Oldest epoch of the messages applied since somebody asked. */
  #oldestEpoch: bigint | undefined
  /** Updates opened in this turn and not applied yet, with the head each moves. */
  #opened: OpenedMessage[] = []
  #moved = new Map<string, Head>()
  /** Senders of whom this device has opened a message itself: from there on no other member's word moves their chain. */
  readonly #openedOf = new Set<string>()

  /**
   * `mayBeLate`: messages of old epochs may have been applied before a restart without anybody asking. `blame`: a server
   * sent what no honest one sends.
   */
  constructor(
    room: Room,
    applied: readonly AppliedRecord[],
    mayBeLate: boolean,
    blame: (server: string, error: HeddleError) => void
  ) {
    this.#blame = blame
    this.#room = room
    for (const { head, toldSeq, opened } of applied) {
      const member = toHex(head.member)
      this.#told.set(member, toldSeq)
      if (opened) this.#openedOf.add(member)
    }
    this.#oldestEpoch = mayBeLate ? 0n : undefined
  }

  get waiting(): number {
    return this.#waiting.count
  }

  /** Whether something of this sender waits for what came before it. */
  isWaitingFor(member: Uint8Array): boolean {
    const dropped = this.#dropped.get(toHex(member))
    return this.#waiting.has(member) || (dropped !== undefined && dropped.seq > this.#room.vector.seqOf(member))
  }

  /** Whether this sender was seen to sign two chains: what servers say they have of it may never be had here. */
  isForked(member: Uint8Array): boolean {
    return this.#forked.has(toHex(member))
  }

  /** Takes what came; resolves, when it is much, once it is looked at. */
  add(arrival: Arrival): void | Promise<void> {
    this.#arrivals.push(arrival)
    for (const { length } of arrival.envelopes) this.#arrivalBytes += length
    this.#room.wake()
    if (this.#arrivalBytes > arrivalBytesMax) return new Promise((resolve) => this.#release.push(resolve))
  }

  /** Lets go whoever waits for arrivals to be looked at. */
  release(): void {
    this.#arrivalBytes = 0
    for (const resolve of this.#release.splice(0)) resolve()
  }

  /** A server's connection has ended: what it told of unknown senders is of no use. */
  forgetStrangers(server: string): void {
    this.#strangers.delete(server)
  }

  /** The group has moved on: what waited for that is tried again in the next turn. */
  retry(): void {
    if (this.#waiting.count > 0 || this.#strangers.size > 0) this.#retry = true
  }

  /** Takes in all that has arrived. */
  async step(turn: Turn): Promise<Taken> {
    const arrivals = this.#arrivals
    this.#arrivals = []
    this.release()
    const missing: Uint8Array[] = []
    const positions = new Map<string, bigint>()
    if (this.#retry) {
      this.#retry = false
      this.nextEpoch = undefined
      for (const envelope of this.#waiting.takeAll()) await this.#take(envelope, undefined, missing)
      const strangers = [...this.#strangers]
      this.#strangers.clear()
      for (const [server, room] of strangers)
        for (const envelope of room.takeAll()) await this.#take(envelope, server, missing)
    }
    for (const { server, envelopes, throughPosition } of arrivals) {
      for (const bytes of envelopes) {
        const envelope = this.#parse(bytes, server)
        if (envelope !== undefined) await this.#take(envelope, server, missing)
      }
      if (throughPosition !== undefined && !this.#overflowed) positions.set(server, throughPosition)
    }
    for (const [key, { member, seq }] of this.#dropped)
      if (this.#room.vector.seqOf(member) >= seq || this.#forked.has(key)) this.#dropped.delete(key)
    if (this.#waiting.count === 0 && this.#dropped.size === 0) this.#overflowed = false
    const tainted = await this.#apply(turn)
    if (this.#retry) this.#room.wake()
    return { positions, missing, tainted }
  }

  /** Whether, since the last call, messages of an epoch before this one were applied. */
  takeAppliedBefore(epoch: bigint): boolean {
    const oldest = this.#oldestEpoch
    this.#oldestEpoch = undefined
    return oldest !== undefined && oldest < epoch
  }

  /** Notes that others were told of this head as a dependency. */
  noteTold(turn: Turn, head: Head): void {
    this.#told.set(toHex(head.member), head.seq)
    this.#putApplied(turn, head)
  }

  /** Makes a head durable together with what others were told of it. */
  #putApplied(turn: Turn, head: Head): void {
    const member = toHex(head.member)
    const record = { head, toldSeq: this.#told.get(member) ?? 0n, opened: this.#openedOf.has(member) }
    turn.put(this.#room.store.key('applied', head.member), AppliedRecord.encode(record))
  }

  #parse(bytes: Uint8Array, server: string): ParsedEnvelope | undefined {
    try {
      const envelope = parseEnvelope(bytes)
      if (equalBytes(envelope.header.group, this.#room.groupId)) return envelope
      throw new HeddleError('MALFORMED', `an envelope of another document came for ${this.#room.id}`)
    } catch (error) {
      const { code, message } = asHeddleError(error, 'decoding an envelope')
      this.#blame(server, new HeddleError(code, `server ${server.slice(0, 8)} sent a bad envelope: ${message}`))
      return undefined
    }
  }

  /** `server`: who sent it; undefined for one that has waited. */
  async #take(envelope: ParsedEnvelope, server: string | undefined, missing: Uint8Array[]): Promise<void> {
    const { vector, group, joinedEpoch } = this.#room
    const { member, seq, epoch, kind } = envelope.header
    if (equalBytes(member, group.memberId)) return
    const succession = vector.succession(envelope)
    if (succession === 'duplicate' || succession === 'old') return
    // Sealed before this device joined: the state an admin sends covers it.
    if (epoch < joinedEpoch) return
    if (succession === 'conflict') {
      if (!this.#isGenuine(envelope)) return this.#forged(envelope, server, undefined)
      this.#noteFork(member, seq)
      return
    }
    // Of an epoch whose keys are gone, by one who is no member any more: nobody can say what it is, or open it.
    if (epoch <= group.epoch && this.#keyOf(envelope) === undefined) {
      this.#room.context.log('debug', 'envelope.unknown-sender', { member: toHex(member), seq, epoch })
      return
    }
    if (epoch > group.epoch) this.sawFutureEpoch = true
    if (epoch > group.epoch && this.#keyOf(envelope) === undefined) {
      // What does not fit, and what a crash loses, is fetched once its sender is known.
      const room = this.#strangers.get(server ?? '') ?? new WaitingRoom(strangersLimits)
      if (room.add(envelope)) this.#strangers.set(server ?? '', room)
      return
    }
    const mayBegin = joinedEpoch > 0n && kind === EnvelopeKind.ENVELOPE_KIND_STATE && vector.get(member) === undefined
    if ((succession === 'gap' && !mayBegin) || epoch > group.epoch) {
      if (server !== undefined && !this.#mayWait(envelope, server)) return
      if (succession === 'gap' && this.isForked(member)) {
        missing.push(member)
        return
      }
      if (!this.#waiting.add(envelope)) {
        this.#overflowed = true
        const dropped = this.#dropped.get(toHex(member))
        if (dropped === undefined || dropped.seq < seq)
          this.#dropped.set(toHex(member), { member, seq, hash: envelope.hash })
        if (succession !== 'gap') missing.push(member)
        this.#room.context.log('warn', 'waiting.full', { document: this.#room.id })
      } else if (epoch > group.epoch && (this.nextEpoch === undefined || epoch < this.nextEpoch)) {
        this.nextEpoch = epoch
      }
      if (succession === 'gap') missing.push(member)
      return
    }
    if (await this.#open(envelope, succession === 'gap', server)) await this.#takeSuccessor(member, seq, missing)
  }

  async #takeSuccessor(member: Uint8Array, seq: bigint, missing: Uint8Array[]): Promise<void> {
    const successor = this.#waiting.take(member, seq + 1n)
    if (successor !== undefined) await this.#take(successor, undefined, missing)
  }

  /** Opens the next envelope of a sender, or (`begins`) a state to begin its chain with. False when it is not the sender's and the true one must come from elsewhere. */
  async #open(envelope: ParsedEnvelope, begins: boolean, server: string | undefined): Promise<boolean> {
    const { group } = this.#room
    const { member, seq, epoch, kind } = envelope.header
    const head: Head = { member, seq, hash: envelope.hash.slice() }
    try {
      const opened = await group.decrypt({
        epoch,
        aad: envelope.headerBytes,
        senderData: envelope.senderData,
        ciphertext: envelope.ciphertext
      })
      if (!equalBytes(opened.memberId, member)) throw new HeddleError('BAD_SIGNATURE', 'the sender is another member')
      this.#accept(kind, opened.plaintext, opened.role, head, begins)
      if (this.#oldestEpoch === undefined || epoch < this.#oldestEpoch) this.#oldestEpoch = epoch
    } catch (cause) {
      const error = asHeddleError(cause, 'opening a message')
      if (!this.#isGenuine(envelope)) {
        this.#forged(envelope, server, cause)
        return false
      }
      report(this.#room, new HeddleError(error.code, `message ${seq} of ${toHex(member)}: ${error.message}`, { cause }))
      // The sender did sign it: its chain goes on without what it holds, but does not begin there.
      if (begins) return false
      this.#openedOf.add(toHex(member))
      this.#advance(head, [])
    }
    return true
  }

  /** What waits for a known member's earlier messages is signed by it: forged ones must not fill the room. */
  #mayWait(envelope: ParsedEnvelope, server: string): boolean {
    if (this.#isGenuine(envelope)) return true
    this.#forged(envelope, server, undefined)
    return false
  }

  /** The sender's signature key. It stays the same as long as it is a member, so the present one serves for any epoch. */
  #keyOf({ header: { member, epoch } }: ParsedEnvelope): Uint8Array | undefined {
    const { group } = this.#room
    return group.public.member(member)?.signaturePublicKey ?? group.signatureKeyOf(member, epoch)
  }

  #isGenuine(envelope: ParsedEnvelope): boolean {
    const key = this.#keyOf(envelope)
    return key !== undefined && this.#room.crypto.verify(key, envelope.signed, envelope.signature)
  }

  /** What waits of the sender may belong to the other chain, and would wait for ever. */
  #noteFork(member: Uint8Array, seq: bigint): void {
    const key = toHex(member)
    const conflict = `${key} ${seq}`
    this.#forked.add(key)
    this.#waiting.drop(member)
    if (this.#conflicts.has(conflict) || this.#conflicts.size >= conflictsMax) return
    this.#conflicts.add(conflict)
    report(this.#room, new HeddleError('SEQUENCE_CONFLICT', `two messages ${seq} of member ${key}`))
  }

  #forged({ header }: ParsedEnvelope, server: string | undefined, cause: unknown): void {
    const error = new HeddleError('BAD_SIGNATURE', `a forged message of member ${toHex(header.member)}`, { cause })
    if (server === undefined) report(this.#room, error)
    else this.#blame(server, error)
  }

  #accept(kind: EnvelopeKind, plaintext: Uint8Array, role: Role, head: Head, begins: boolean): void {
    if (role !== Role.ROLE_ADMIN && role !== Role.ROLE_EDITOR) {
      throw new HeddleError('FORBIDDEN', 'the sender may not write')
    }
    try {
      this.#openedOf.add(toHex(head.member))
      if (kind === EnvelopeKind.ENVELOPE_KIND_UPDATE) this.#advance(head, Payload.decode(plaintext).updates)
      else this.#acceptState(kind, StatePayload.decode(plaintext), role, head, begins)
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause
      throw new HeddleError('MALFORMED', `the payload does not decode: ${cause.message}`, { cause })
    }
  }

  /** The state is for members who cannot open what came before they joined; to all others it says nothing new. */
  #acceptState(kind: EnvelopeKind, { heads, state }: StatePayload, role: Role, head: Head, begins: boolean): void {
    const { vector, group, joinedEpoch } = this.#room
    if (role !== Role.ROLE_ADMIN) throw new HeddleError('FORBIDDEN', 'only an admin sends the state')
    const mayLead = ({ member }: Head) =>
      joinedEpoch > 0n &&
      !this.#openedOf.has(toHex(member)) &&
      !equalBytes(member, group.memberId) &&
      !equalBytes(member, head.member)
    const ahead = heads.filter((one) => one.seq > vector.seqOf(one.member) && mayLead(one))
    // An update of the state holds what a joiner cannot open, whoever's chain it belongs to.
    const isNews = begins || ahead.length > 0 || (joinedEpoch > 0n && kind !== EnvelopeKind.ENVELOPE_KIND_STATE)
    this.#advance(head, isNews ? [state] : [])
    for (const known of ahead) this.#advance(known, [])
    if (ahead.length > 0 || begins) this.retry()
  }

  #advance(head: Head, updates: readonly Uint8Array[]): void {
    this.#room.vector.advance(head)
    this.#moved.set(toHex(head.member), head)
    if (updates.length > 0) this.#opened.push({ updates, head })
    this.applied++
  }

  /** One batch into the CRDT; when it refuses, each message by itself, so that one bad message costs only itself. */
  async #apply(turn: Turn): Promise<HeddleError | undefined> {
    const opened = this.#opened
    const moved = this.#moved
    this.#opened = []
    this.#moved = new Map()
    for (const head of moved.values()) this.#putApplied(turn, head)
    const { replica } = this.#room
    // Should a message break the CRDT, nothing can be taken out of it any more.
    const local = opened.length > 0 ? replica.peek() : undefined
    const logged = new Set<OpenedMessage>()
    try {
      replica.apply(
        turn,
        opened.flatMap(({ updates }) => updates)
      )
    } catch (error) {
      if (HeddleError.is(error, 'CRDT_TAINTED')) return await this.#applyBroken(turn, opened, logged, local)
      if (!HeddleError.is(error, 'CRDT_MALFORMED')) throw error
      for (const message of opened) {
        try {
          replica.apply(turn, message.updates)
          logged.add(message)
        } catch (cause) {
          if (HeddleError.is(cause, 'CRDT_TAINTED')) return await this.#applyBroken(turn, opened, logged, local)
          if (!HeddleError.is(cause, 'CRDT_MALFORMED')) throw cause
          this.#reportRefused(message.head, cause)
        }
      }
    }
    if (moved.size > 0) {
      const messages = opened.length
      turn.after(() => this.#room.emit({ type: 'applied', messages }))
    }
    return undefined
  }

  /** The live CRDT is broken: its log takes the messages that do not break it, and the local edits it was left with. */
  async #applyBroken(
    turn: Turn,
    opened: readonly OpenedMessage[],
    logged: ReadonlySet<OpenedMessage>,
    local: Uint8Array | undefined
  ): Promise<HeddleError> {
    const { replica, store, id } = this.#room
    const errors = await replica.sift(opened.map(({ updates }) => updates))
    for (const [i, message] of opened.entries()) {
      const error = errors[i]
      if (error !== undefined) this.#reportRefused(message.head, error)
      else if (!logged.has(message)) replica.record(turn, message.updates)
    }
    if (local !== undefined) {
      const last = (await store.entries('unsealed')).at(-1)
      replica.record(turn, [local])
      turn.put(store.key('unsealed', last === undefined ? 0n : readU64(last.key) + 1n), local)
    }
    const message = `another member's message broke document ${id} in memory; it is left out: close the document and open it again`
    return new HeddleError('CRDT_TAINTED', message)
  }

  #reportRefused({ member, seq }: Head, cause: HeddleError): void {
    const message = `message ${seq} of ${toHex(member)} holds an update the CRDT refuses: ${cause.message}`
    report(this.#room, new HeddleError('CRDT_MALFORMED', message, { cause }))
  }
}

/** Updates of one message, and the head it moves. */
interface OpenedMessage {
  readonly updates: readonly Uint8Array[]
  readonly head: Head
}
