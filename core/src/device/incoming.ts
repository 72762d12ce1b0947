/**
 * Envelopes from others (SPEC SYNC, DEVICE): what arrives is brought into each sender's order and opened. What comes too
 * early waits; what a server forged is dropped and asked for elsewhere; nothing is applied twice. Filled by `following.ts`
 * and `gaps.ts`, emptied once in every turn of the document.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type ParsedEnvelope, parseEnvelope, WaitingRoom } from '../sync/index.js'
import { type CutProposal, EnvelopeKind, type Head } from '../wire/index.js'
import { type Chains, isGenuine, senderKeyOf } from './chains.js'
import { Opening, type OpeningHooks, type OpeningParts } from './opening.js'
import type { Repair } from './repair.js'
import { asHeddleError, headOf, type Room, report } from './room.js'
import type { Silenced } from './silenced.js'
import type { Turn } from './store.js'

/** Arrivals not looked at yet, above which servers are made to wait. */
const arrivalBytesMax = 4 * 1024 * 1024
/** What may wait of senders this device does not know yet, per server: nobody can tell whether it is theirs. */
const strangersLimits = { envelopesMax: 256, bytesMax: 4 * 1024 * 1024 }

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

export interface IncomingHooks extends Pick<OpeningHooks, 'control'> {
  /** A server sent what no honest one sends. */
  blame(server: string, error: HeddleError): void
}

export class Incoming {
  /** An envelope of an epoch this device has not reached came by. */
  sawFutureEpoch = false
  /** Oldest epoch of what waits for its commit. */
  nextEpoch: bigint | undefined
  readonly #room: Room
  readonly #hooks: IncomingHooks
  readonly #chains: Chains
  readonly #silenced: Silenced
  readonly #repair: Repair
  readonly #opening: Opening
  readonly #waiting = new WaitingRoom()
  #overdue: Uint8Array[] = []
  #arrivals: Arrival[] = []
  #arrivalBytes = 0
  #release: (() => void)[] = []
  /** By server: envelopes of senders that no epoch reached so far knows. */
  readonly #strangers = new Map<string, WaitingRoom>()
  /** By sender: the latest of its messages for which there was no room. */
  readonly #dropped = new Map<string, Head>()
  #retry = false
  /** Something had no room to wait: what the servers' logs hold has to be read again from where it is durable. */
  #overflowed = false

  constructor(room: Room, parts: OpeningParts, hooks: IncomingHooks) {
    this.#room = room
    this.#hooks = hooks
    this.#chains = parts.chains
    this.#silenced = parts.silenced
    this.#repair = parts.repair
    this.#opening = new Opening(room, parts, {
      control: (control, head, role) => hooks.control(control, head, role),
      movedOthers: () => this.retry()
    })
  }

  /** Messages applied since the document was opened. */
  get applied(): number {
    return this.#opening.applied
  }

  get waiting(): number {
    return this.#waiting.count + this.#silenced.heldCount
  }

  /** Whether something of this sender waits for what came before it. */
  isWaitingFor(member: Uint8Array): boolean {
    const dropped = this.#dropped.get(toHex(member))
    return this.#waiting.has(member) || (dropped !== undefined && dropped.seq > this.#room.vector.seqOf(member))
  }

  /** Whether a message of this member and number is to be had and to be taken. */
  isAwaited({ member, seq }: Head): boolean {
    const { vector, group } = this.#room
    if (equalBytes(member, group.memberId) || this.#repair.isForked(toHex(member))) return false
    const limit = this.#silenced.limitOf(member)
    const isGone = group.public.member(member) === undefined
    const last = isGone && limit !== undefined && limit < seq ? limit : seq
    return last > vector.seqOf(member) && !this.#silenced.holds(member, last)
  }

  /** Nothing has brought what came before this device joined, or what counts of a member who lost the right to write. */
  overdue(member: Uint8Array): void {
    this.#overdue.push(member)
    this.#room.wake()
  }

  /** The commit of this slot, by the member `by`, took the right to write of some members (SPEC SYNC-020). */
  silence(slot: bigint, by: Uint8Array, cuts: readonly CutProposal[]): void {
    this.#silenced.silence(slot, by, cuts)
    for (const { member } of cuts) this.#waiting.drop(member)
  }

  /** Nothing more of this sender is taken. */
  freeze(member: Uint8Array): void {
    this.#waiting.drop(member)
    this.#silenced.drop(member)
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
    const retracted = await this.#silenced.step(turn)
    if (retracted !== undefined) return { positions: new Map(), missing: [], tainted: retracted }
    const arrivals = this.#arrivals
    this.#arrivals = []
    this.release()
    const positions = new Map<string, bigint>()
    for (const member of this.#overdue.splice(0)) this.#passBefore(member)
    if (this.#retry) {
      this.#retry = false
      this.nextEpoch = undefined
      for (const envelope of this.#waiting.takeAll()) await this.#take(envelope, undefined)
      const strangers = [...this.#strangers]
      this.#strangers.clear()
      for (const [server, room] of strangers) for (const envelope of room.takeAll()) await this.#take(envelope, server)
    }
    for (const { server, envelopes, throughPosition } of arrivals) {
      for (const bytes of envelopes) {
        const envelope = this.#parse(bytes, server)
        if (envelope !== undefined) await this.#take(envelope, server)
      }
      if (throughPosition !== undefined && !this.#overflowed) positions.set(server, throughPosition)
    }
    for (const member of this.#silenced.takeUnsettled()) await this.#settleHeld(member)
    for (const [key, { member, seq }] of this.#dropped)
      if (this.#room.vector.seqOf(member) >= seq || this.#repair.isForked(key)) this.#dropped.delete(key)
    if (this.#waiting.count === 0 && this.#dropped.size === 0) this.#overflowed = false
    const tainted = await this.#opening.apply(turn)
    if (this.#retry) this.#room.wake()
    return { positions, missing: this.#chains.takeMissing(), tainted }
  }

  /** Whether, since the last call, messages of an epoch before this one were applied. */
  takeAppliedBefore(epoch: bigint): boolean {
    return this.#opening.takeAppliedBefore(epoch)
  }

  #parse(bytes: Uint8Array, server: string): ParsedEnvelope | undefined {
    try {
      const envelope = parseEnvelope(bytes)
      if (equalBytes(envelope.header.group, this.#room.groupId)) return envelope
      throw new HeddleError('MALFORMED', `an envelope of another document came for ${this.#room.id}`)
    } catch (error) {
      const { code, message } = asHeddleError(error, 'decoding an envelope')
      this.#hooks.blame(server, new HeddleError(code, `server ${server.slice(0, 8)} sent a bad envelope: ${message}`))
      return undefined
    }
  }

  /** `server`: who sent it; undefined for one that has waited. */
  async #take(envelope: ParsedEnvelope, server: string | undefined): Promise<void> {
    const { vector, group, joinedEpoch } = this.#room
    const { member, seq, epoch, kind } = envelope.header
    if (equalBytes(member, group.memberId)) return
    const succession = vector.succession(envelope)
    if (this.#chains.contradicts(envelope, succession)) {
      this.#chains.rebase(envelope)
      return await this.#take(envelope, server)
    }
    if (succession === 'duplicate' || succession === 'old') return
    if (this.#repair.isForked(toHex(member))) return
    if (epoch < joinedEpoch) return this.#chains.noteBefore(envelope)
    if (succession === 'conflict') {
      if (!isGenuine(this.#room, envelope)) return this.#forged(envelope, server, undefined)
      // What waits of it may belong to the other chain.
      return this.#repair.convict(member, this.#opening.evidenceBy(envelope))
    }
    // Of an epoch whose keys are gone, by one who is no member any more: nobody can say what it is, or open it.
    if (epoch <= group.epoch && senderKeyOf(this.#room, envelope) === undefined) {
      this.#room.context.log('debug', 'envelope.unknown-sender', { member: toHex(member), seq, epoch })
      return
    }
    if (epoch > headOf(this.#room).epoch) this.sawFutureEpoch = true
    if (epoch > group.epoch && senderKeyOf(this.#room, envelope) === undefined) {
      // What does not fit, and what a crash loses, is fetched once its sender is known.
      const room = this.#strangers.get(server ?? '') ?? new WaitingRoom(strangersLimits)
      if (room.add(envelope)) this.#strangers.set(server ?? '', room)
      return
    }
    const verdict = this.#silenced.judge(envelope)
    if (verdict === 'open') {
      if (server !== undefined && !this.#mayWait(envelope, server)) return
      if (this.#silenced.hold(envelope)) return
    }
    if (verdict !== 'counts') {
      // Of one that is gone it is fetched again should somebody name it.
      if (group.public.member(member) === undefined) return
      if (succession === 'next') {
        if (!isGenuine(this.#room, envelope)) return this.#forged(envelope, server, undefined)
        this.#passOver(envelope)
        return await this.#takeSuccessor(member, seq)
      }
    }
    const mayBegin = joinedEpoch > 0n && kind === EnvelopeKind.ENVELOPE_KIND_STATE && vector.get(member) === undefined
    if ((succession === 'gap' && !mayBegin) || epoch > group.epoch) {
      if (server !== undefined && !this.#mayWait(envelope, server)) return
      if (!this.#waiting.add(envelope)) {
        this.#overflowed = true
        const dropped = this.#dropped.get(toHex(member))
        if (dropped === undefined || dropped.seq < seq)
          this.#dropped.set(toHex(member), { member, seq, hash: envelope.hash })
        if (succession !== 'gap') this.#chains.noteMissing(member)
        this.#room.context.log('warn', 'waiting.full', { document: this.#room.id })
      } else if (epoch > group.epoch && (this.nextEpoch === undefined || epoch < this.nextEpoch)) {
        this.nextEpoch = epoch
      }
      if (succession === 'gap') {
        this.#chains.noteMissing(member)
        this.#silenced.lookAgain(member)
      }
      return
    }
    const opened = await this.#opening.open(envelope, succession === 'gap')
    if (opened.outcome === 'forged') this.#forged(envelope, server, opened.cause)
    if (opened.outcome === 'taken') await this.#takeSuccessor(member, seq)
  }

  /** No state has come that covers it: the chain goes on from there, and the members are asked for what it holds. */
  #passBefore(member: Uint8Array): void {
    const envelope = this.#chains.takeBefore(member)
    if (envelope === undefined) return
    this.#repair.lacks(this.#room.vector.position(member))
    this.#opening.skip(envelope)
    this.retry()
  }

  async #takeSuccessor(member: Uint8Array, seq: bigint): Promise<void> {
    const successor = this.#waiting.take(member, seq + 1n)
    if (successor !== undefined) await this.#take(successor, undefined)
  }

  /**
   * Takes what counts of what is held of a silenced member. When the member has gone on in a later epoch, its chain moves
   * on without the rest.
   */
  async #settleHeld(member: Uint8Array): Promise<void> {
    const { vector, group } = this.#room
    const { counting, beyond } = this.#silenced.follow(member)
    const end = (beyond.at(-1) ?? counting.at(-1))?.header.seq ?? vector.seqOf(member)
    const goesOn = group.public.member(member) !== undefined && this.#waiting.peek(member, end + 1n) !== undefined
    for (const envelope of counting) {
      this.#silenced.release(envelope)
      await this.#take(envelope, undefined)
    }
    if (!goesOn) return
    for (const envelope of beyond) {
      this.#silenced.release(envelope)
      this.#passOver(envelope)
    }
    await this.#takeSuccessor(member, end)
  }

  /** The chain of a present member moves on without what does not count. */
  #passOver(envelope: ParsedEnvelope): void {
    this.#silenced.passOver(envelope.header.member)
    this.#opening.skip(envelope)
  }

  /** What waits for a known member's earlier messages is signed by it: forged ones must not fill the room. */
  #mayWait(envelope: ParsedEnvelope, server: string): boolean {
    if (isGenuine(this.#room, envelope)) return true
    this.#forged(envelope, server, undefined)
    return false
  }

  #forged({ header }: ParsedEnvelope, server: string | undefined, cause: unknown): void {
    const error = new HeddleError('BAD_SIGNATURE', `a forged message of member ${toHex(header.member)}`, { cause })
    if (server === undefined) report(this.#room, error)
    else this.#hooks.blame(server, error)
  }
}
