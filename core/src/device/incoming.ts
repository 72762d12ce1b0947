/**
 * Envelopes from others: in a sender's order, opened, applied to the CRDT in one batch per turn (SPEC SYNC, DEVICE).
 * What comes too early waits; what a server forged is dropped and asked for elsewhere; nothing is applied twice.
 */
import { concatBytes, equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { mayWrite } from '../group/index.js'
import {
  chainBefore,
  digestOf,
  type ParsedEnvelope,
  parseEnvelope,
  type Standings,
  type Succession,
  WaitingRoom
} from '../sync/index.js'
import {
  AppliedRecord,
  ControlPayload,
  type CutProposal,
  type EnvelopeDigest,
  EnvelopeKind,
  type Head,
  NamedRecord,
  Payload,
  type RepairHead,
  Role,
  StandingRecord,
  StatePayload,
  WireError
} from '../wire/index.js'
import { applyMessages, keepLocal, type OpenedMessage } from './applying.js'
import type { Repair } from './repair.js'
import { asHeddleError, headOf, isStrict, type Room, report } from './room.js'
import type { Turn } from './store.js'

/** Arrivals not looked at yet, above which servers are made to wait. */
const arrivalBytesMax = 4 * 1024 * 1024
/** Senders of a document over its lifetime (SPEC SRV-032). */
const sendersMax = 4_000
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

export type Control = NonNullable<ControlPayload['control']>

export interface IncomingHooks {
  /** A server sent what no honest one sends. */
  blame(server: string, error: HeddleError): void
  /** A member's device says something that is no content. Called within a turn; its envelope is `head`. */
  control(control: Control, head: Head, role: Role): void
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
  /** Messages of members who lost the right to write, that count if their chain leads to what was named. */
  readonly #held = new WaitingRoom()
  /** Members of whom what is held is to be looked at in this turn. */
  readonly #unsettled = new Map<string, Uint8Array>()
  readonly #told = new Map<string, bigint>()
  readonly #hooks: IncomingHooks
  readonly #standings: Standings
  readonly #repair: Repair
  /** What the latest envelope of each sender was signed over, for proving a fork. */
  readonly #digests = new Map<string, EnvelopeDigest>()
  /** Silenced members whose head the others have to be told. */
  readonly #owed = new Set<string>()
  /** Members whose messages beyond here were applied and do not count. */
  readonly #retracting: { readonly member: Uint8Array; readonly seq: bigint }[] = []
  /** By sender: the latest of its messages from before this device joined that nothing here covers. */
  readonly #before = new Map<string, ParsedEnvelope>()
  #overdue: Uint8Array[] = []
  /** Senders of whom something is missing, in this turn. */
  #missing: Uint8Array[] = []
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
  /** Oldest epoch of the messages applied since somebody asked. */
  #oldestEpoch: bigint | undefined
  /** Updates opened in this turn and not applied yet, with the head each moves. */
  #opened: OpenedMessage[] = []
  #moved = new Map<string, { readonly head: Head; readonly envelope: ParsedEnvelope | undefined }>()
  /** Senders whose head only a state has told: the epoch of that state, or one that is not before it. */
  readonly #secondHand = new Map<string, bigint>()
  /** Senders of whom this device has opened a message itself: from there on no other member's word moves their chain. */
  readonly #openedOf = new Set<string>()

  /** `mayBeLate`: messages of old epochs may have been applied before a restart without anybody asking. */
  constructor(room: Room, { applied, standings, mayBeLate }: IncomingStart, repair: Repair, hooks: IncomingHooks) {
    this.#hooks = hooks
    this.#room = room
    this.#standings = standings
    this.#repair = repair
    for (const { head, toldSeq, opened } of applied) {
      const member = toHex(head.member)
      this.#told.set(member, toldSeq)
      if (opened) this.#openedOf.add(member)
      else if (room.joinedEpoch > 0n) this.#secondHand.set(member, room.group.epoch)
      if (head.seq > toldSeq && standings.isSilenced(head.member)) this.#owed.add(member)
    }
    for (const member of standings.silenced()) if (this.isBehind(member)) this.#fetchBehind(member)
    this.#oldestEpoch = mayBeLate ? 0n : undefined
  }

  get waiting(): number {
    return this.#waiting.count + this.#held.count
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
    const limit = this.#standings.limitOf(member)
    const isGone = group.public.member(member) === undefined
    const last = isGone && limit !== undefined && limit < seq ? limit : seq
    return last > vector.seqOf(member) && this.#held.peek(member, last) === undefined
  }

  /** Whether more of a member who lost the right to write counts than is here. */
  isBehind(member: Uint8Array): boolean {
    const limit = this.#standings.limitOf(member)
    return limit !== undefined && limit > this.#room.vector.seqOf(member) && !this.#repair.isForked(toHex(member))
  }

  /** Whether something of this member is to come that is not here: what counts of it, or what was before this device joined. */
  misses(member: Uint8Array): boolean {
    const before = this.#before.get(toHex(member))
    return this.isBehind(member) || (before !== undefined && before.header.seq > this.#room.vector.seqOf(member))
  }

  /** It has not come in time. */
  overdue(member: Uint8Array): void {
    this.#overdue.push(member)
    this.#room.wake()
  }

  /** A silenced member's messages are applied here that the others were not told of yet. */
  get owesVouching(): boolean {
    return this.#owed.size > 0
  }

  /** Where a member's chain stood before content that did not count. */
  passedOver(member: Uint8Array): RepairHead | undefined {
    return this.#standings.passedOver(member)
  }

  /** Whether others may be told that this device has all of this member up to its head. */
  mayName(member: Uint8Array): boolean {
    return this.#standings.mayName(member)
  }

  /** This device's own messages did not count after it lost the right to write: it has said their content again. */
  saidAgain(): void {
    this.#standings.clearPassedOver(this.#room.group.memberId)
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
      this.#waiting.drop(member)
      if (isSelf && applied !== undefined && applied.seq > cut.seq) this.#standings.passOver(cut)
      if (isSelf) continue
      const key = toHex(member)
      if (isStrict(group)) this.#retract(member)
      else if (applied !== undefined && applied.seq > (this.#told.get(key) ?? 0n)) this.#owed.add(key)
      if (this.isBehind(member)) this.#fetchBehind(member)
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
        this.#putApplied(turn, retracted.last)
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

  #fetchBehind(member: Uint8Array): void {
    this.#missing.push(member)
    this.#repair.isBehind(member)
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
    this.#standings.strict = isStrict(this.#room.group)
    if (this.#retracting.length > 0) {
      const tainted = await this.#applyRetraction(turn)
      if (tainted !== undefined) return { positions: new Map(), missing: [], tainted }
    }
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
    const unsettled = [...this.#unsettled.values()]
    this.#unsettled.clear()
    for (const member of unsettled) await this.#settleHeld(member)
    for (const [key, { member, seq }] of this.#dropped)
      if (this.#room.vector.seqOf(member) >= seq || this.#repair.isForked(key)) this.#dropped.delete(key)
    if (this.#waiting.count === 0 && this.#dropped.size === 0) this.#overflowed = false
    const tainted = await this.#apply(turn)
    if (this.#retry) this.#room.wake()
    const missing = this.#missing
    this.#missing = []
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
    this.#owed.delete(toHex(head.member))
    // Being told by this device, it was named before a removal that comes now.
    if (this.#standings.strict) this.#standings.name(this.#room.group.memberId, head, head.seq, () => true)
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
    if (this.#isContradicted(envelope, succession)) {
      this.#rebase(envelope)
      return await this.#take(envelope, server)
    }
    if (succession === 'duplicate' || succession === 'old') return
    if (this.#repair.isForked(toHex(member))) return
    if (epoch < joinedEpoch) return this.#noteBefore(envelope)
    if (succession === 'conflict') {
      if (!this.#isGenuine(envelope)) return this.#forged(envelope, server, undefined)
      this.#convict(envelope)
      return
    }
    // Of an epoch whose keys are gone, by one who is no member any more: nobody can say what it is, or open it.
    if (epoch <= group.epoch && this.#keyOf(envelope) === undefined) {
      this.#room.context.log('debug', 'envelope.unknown-sender', { member: toHex(member), seq, epoch })
      return
    }
    if (epoch > headOf(this.#room).epoch) this.sawFutureEpoch = true
    if (epoch > group.epoch && this.#keyOf(envelope) === undefined) {
      // What does not fit, and what a crash loses, is fetched once its sender is known.
      const room = this.#strangers.get(server ?? '') ?? new WaitingRoom(strangersLimits)
      if (room.add(envelope)) this.#strangers.set(server ?? '', room)
      return
    }
    const verdict = epoch <= group.epoch ? this.#standings.judge(member, epoch, seq) : 'counts'
    if (verdict === 'open' && this.#hold(envelope, server)) return
    if (verdict !== 'counts') {
      // Of one that is gone it is fetched again should somebody name it.
      if (group.public.member(member) === undefined) return
      if (succession === 'next') {
        if (!this.#isGenuine(envelope)) return this.#forged(envelope, server, undefined)
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
        if (succession !== 'gap') this.#missing.push(member)
        this.#room.context.log('warn', 'waiting.full', { document: this.#room.id })
      } else if (epoch > group.epoch && (this.nextEpoch === undefined || epoch < this.nextEpoch)) {
        this.nextEpoch = epoch
      }
      if (succession === 'gap') {
        this.#missing.push(member)
        if (this.#held.has(member)) this.#unsettled.set(toHex(member), member)
      }
      return
    }
    if (await this.#open(envelope, succession === 'gap', server)) await this.#takeSuccessor(member, seq)
  }

  /** Sealed before this device joined: the state an admin sends covers it, unless that admin is gone or cannot open it. */
  #noteBefore(envelope: ParsedEnvelope): void {
    const { member, seq } = envelope.header
    if (this.#room.group.public.member(member) === undefined) return
    const known = this.#before.get(toHex(member))
    if (known !== undefined && known.header.seq >= seq) return
    this.#before.set(toHex(member), envelope)
    this.#repair.isBehind(member)
  }

  /** No state has come that covers it: the chain goes on from there, and the members are asked for what it holds. */
  #passBefore(member: Uint8Array): void {
    const envelope = this.#before.get(toHex(member))
    this.#before.delete(toHex(member))
    if (envelope === undefined || envelope.header.seq <= this.#room.vector.seqOf(member) || !this.#isGenuine(envelope))
      return
    this.#repair.lacks(this.#room.vector.position(member))
    this.#advance({ member, seq: envelope.header.seq, hash: envelope.hash.slice() }, [], envelope)
    this.retry()
  }

  /**
   * Whether a member's own message shows that a state was wrong about its chain: it does not follow, or was sealed after
   * what the state says came later.
   */
  #isContradicted(envelope: ParsedEnvelope, succession: Succession): boolean {
    const { member, epoch } = envelope.header
    const toldIn = this.#secondHand.get(toHex(member))
    if (toldIn === undefined || epoch < this.#room.joinedEpoch || this.#repair.isForked(toHex(member))) return false
    return (succession === 'conflict' || (succession === 'old' && epoch > toldIn)) && this.#isGenuine(envelope)
  }

  /** The chain goes on with what the member signed itself, and the members are asked for what came before. */
  #rebase({ header: { member, seq, previous } }: ParsedEnvelope): void {
    const { vector } = this.#room
    this.#secondHand.delete(toHex(member))
    this.#repair.lacks(chainBefore(member))
    if (seq === 1n) vector.forget(member)
    else vector.advance({ member, seq: seq - 1n, hash: previous.slice() })
  }

  /** From here on the member's chain is known by its own word. */
  #noteOpened(member: Uint8Array): void {
    this.#openedOf.add(toHex(member))
    this.#secondHand.delete(toHex(member))
  }

  async #takeSuccessor(member: Uint8Array, seq: bigint): Promise<void> {
    const successor = this.#waiting.take(member, seq + 1n)
    if (successor !== undefined) await this.#take(successor, undefined)
  }

  /** Keeps what counts if its chain leads to what somebody has named. False when there is no room for it. */
  #hold(envelope: ParsedEnvelope, server: string | undefined): boolean {
    if (server !== undefined && !this.#mayWait(envelope, server)) return true
    const { member, seq } = envelope.header
    if (!this.#held.add(envelope)) return false
    this.#unsettled.set(toHex(member), member)
    if (seq > this.#room.vector.seqOf(member) + 1n && this.#held.peek(member, seq - 1n) === undefined)
      this.#missing.push(member)
    return true
  }

  /**
   * Follows a silenced member's chain through what is held: up to the last message that was named, hash and all, it
   * counts. When the member has gone on in a later epoch, the rest of it does not.
   */
  async #settleHeld(member: Uint8Array): Promise<void> {
    const { vector, group } = this.#room
    const chain: ParsedEnvelope[] = []
    let counting = 0
    for (let head = vector.position(member), first = true; ; first = false) {
      const next = this.#held.peek(member, head.seq + 1n)
      if (
        next === undefined ||
        !(first ? vector.succession(next) === 'next' : equalBytes(next.header.previous, head.hash))
      )
        break
      chain.push(next)
      head = { member, seq: next.header.seq, hash: next.hash }
      if (this.#standings.isNamed(head)) counting = chain.length
    }
    const last = chain[counting - 1]
    if (last !== undefined) this.#standings.count({ ...last.header, hash: last.hash })
    const end = chain.at(-1)?.header.seq ?? vector.seqOf(member)
    const goesOn = group.public.member(member) !== undefined && this.#waiting.peek(member, end + 1n) !== undefined
    for (const envelope of chain.slice(0, counting)) {
      this.#held.take(member, envelope.header.seq)
      await this.#take(envelope, undefined)
    }
    for (const envelope of goesOn ? chain.slice(counting) : []) {
      this.#held.take(member, envelope.header.seq)
      this.#passOver(envelope)
    }
    if (goesOn) await this.#takeSuccessor(member, end)
  }

  /** The chain of a present member moves on without what does not count. */
  #passOver(envelope: ParsedEnvelope): void {
    const { member, seq } = envelope.header
    this.#standings.passOver(this.#room.vector.position(member))
    this.#advance({ member, seq, hash: envelope.hash.slice() }, [], envelope)
  }

  /** Opens the next envelope of a sender, or (`begins`) a state to begin its chain with. False when it is not the sender's and the true one must come from elsewhere. */
  async #open(envelope: ParsedEnvelope, begins: boolean, server: string | undefined): Promise<boolean> {
    const { group } = this.#room
    const { member, seq, epoch, kind } = envelope.header
    const head: Head = { member, seq, hash: envelope.hash.slice() }
    try {
      this.#room.alarms.checkContext(envelope.header, group)
      const opened = await group.decrypt({
        epoch,
        aad: envelope.headerBytes,
        senderData: envelope.senderData,
        ciphertext: envelope.ciphertext
      })
      if (!equalBytes(opened.memberId, member)) throw new HeddleError('BAD_SIGNATURE', 'the sender is another member')
      this.#accept(envelope, opened.plaintext, opened.role, head, begins)
      if (this.#oldestEpoch === undefined || epoch < this.#oldestEpoch) this.#oldestEpoch = epoch
    } catch (cause) {
      const error = asHeddleError(cause, 'opening a message')
      if (!this.#isGenuine(envelope)) {
        this.#forged(envelope, server, cause)
        return false
      }
      const problem = new HeddleError(error.code, `message ${seq} of ${toHex(member)}: ${error.message}`, { cause })
      // That it cannot open what was sealed while it was stuck was to be expected, and the app knows that it was.
      if (this.#isOfSkipped(epoch)) this.#room.context.log('debug', 'envelope.skipped-epoch', { epoch, seq })
      else report(this.#room, problem)
      if (error.code === 'FORK') this.#room.alarms.raise(member, epoch, group)
      // The sender did sign it: its chain goes on without what it holds, but does not begin there.
      if (begins) return false
      this.#noteOpened(member)
      if (error.code === 'UNDECRYPTABLE' && kind !== EnvelopeKind.ENVELOPE_KIND_CONTROL)
        this.#repair.lacks(this.#room.vector.position(member))
      this.#advance(head, [], envelope)
    }
    return true
  }

  /** Whether this device has gone past the epoch without ever having its keys. */
  #isOfSkipped(epoch: bigint): boolean {
    const { group } = this.#room
    if (group.publicAt(epoch) !== undefined) return false
    const oldest = epoch - BigInt(group.public.document.policy.retainedEpochs)
    for (let past = epoch - 1n; past >= oldest && past >= 0n; past--)
      if (group.publicAt(past) !== undefined) return true
    return false
  }

  /** What waits for a known member's earlier messages is signed by it: forged ones must not fill the room. */
  #mayWait(envelope: ParsedEnvelope, server: string): boolean {
    if (this.#isGenuine(envelope)) return true
    this.#forged(envelope, server, undefined)
    return false
  }

  #keyOf({ header: { member, epoch } }: ParsedEnvelope): Uint8Array | undefined {
    return this.#room.group.signatureKeyOf(member, epoch)
  }

  #isGenuine(envelope: ParsedEnvelope): boolean {
    const key = this.#keyOf(envelope)
    return key !== undefined && this.#room.crypto.verify(key, envelope.signed, envelope.signature)
  }

  /** The sender signed two chains. What waits of it may belong to the other one. */
  #convict(envelope: ParsedEnvelope): void {
    const { member } = envelope.header
    const a = this.#moved.get(toHex(member))?.envelope
    const digest = a === undefined ? this.#digests.get(toHex(member)) : digestOf(a)
    this.#repair.convict(member, digest && { a: digest, b: digestOf(envelope) })
  }

  /** Nothing more of this sender is taken. */
  freeze(member: Uint8Array): void {
    this.#waiting.drop(member)
    this.#held.drop(member)
  }

  #forged({ header }: ParsedEnvelope, server: string | undefined, cause: unknown): void {
    const error = new HeddleError('BAD_SIGNATURE', `a forged message of member ${toHex(header.member)}`, { cause })
    if (server === undefined) report(this.#room, error)
    else this.#hooks.blame(server, error)
  }

  #accept(envelope: ParsedEnvelope, plaintext: Uint8Array, role: Role, head: Head, begins: boolean): void {
    const { kind, epoch } = envelope.header
    if (!mayWrite(role) && kind !== EnvelopeKind.ENVELOPE_KIND_CONTROL) {
      throw new HeddleError('FORBIDDEN', 'the sender may not write')
    }
    try {
      this.#noteOpened(head.member)
      switch (kind) {
        case EnvelopeKind.ENVELOPE_KIND_UPDATE: {
          const { deps, updates, repair, epochAuthenticator } = Payload.decode(plaintext)
          this.#checkTag(head, epoch, epochAuthenticator)
          this.#advance(head, updates, envelope)
          this.#noteDeps(head.member, deps, epoch)
          if (repair !== undefined) this.#repair.onAnswer(head.member, repair)
          break
        }
        case EnvelopeKind.ENVELOPE_KIND_CONTROL: {
          const { deps, control, epochAuthenticator } = ControlPayload.decode(plaintext)
          this.#checkTag(head, epoch, epochAuthenticator)
          this.#advance(head, [], envelope)
          this.#noteDeps(head.member, deps, epoch)
          if (control !== undefined) this.#hooks.control(control, head, role)
          break
        }
        default:
          this.#acceptState(kind, StatePayload.decode(plaintext), role, head, begins, envelope)
      }
    } catch (cause) {
      if (!(cause instanceof WireError)) throw cause
      throw new HeddleError('MALFORMED', `the payload does not decode: ${cause.message}`, { cause })
    }
  }

  /** The message opened, so its sender has the secrets of this very epoch: no split, but a lie or a fault. */
  #checkTag({ member }: Head, epoch: bigint, tag: Uint8Array | undefined): void {
    if (!this.#room.alarms.contradicts(member, epoch, tag)) return
    const message = `member ${toHex(member)} names another authenticator of epoch ${epoch}: it lies or is broken`
    report(this.#room, new HeddleError('FORK', message))
  }

  /** A member names how far it has applied others: of those who lost the right to write, that much counts. */
  #noteDeps(by: Uint8Array, deps: readonly Head[], epoch: bigint): void {
    const { vector, group } = this.#room
    for (const head of deps) {
      const { member, seq } = head
      // Ids that nobody has would be kept for ever.
      if (vector.get(member) === undefined && !group.wasMember(member)) continue
      if (isStrict(group) && this.#standings.isAfterSilence(member, epoch)) continue
      const isOnChain = () => this.#isOnChain(head)
      if (!this.#standings.name(by, head, vector.seqOf(member), isOnChain) || equalBytes(member, group.memberId))
        continue
      if (this.#held.has(member)) this.#unsettled.set(toHex(member), member)
      if (this.isBehind(member)) this.#fetchBehind(member)
      const missed = this.#standings.takeMissed(member, seq)
      if (missed !== undefined) this.#repair.lacks(missed)
    }
  }

  /** The state is for members who cannot open what came before they joined; to all others it says nothing new. */
  #acceptState(
    kind: EnvelopeKind,
    { heads, state, epochAuthenticator }: StatePayload,
    role: Role,
    head: Head,
    begins: boolean,
    envelope: ParsedEnvelope
  ): void {
    const { vector, group, joinedEpoch } = this.#room
    this.#checkTag(head, envelope.header.epoch, epochAuthenticator)
    if (role !== Role.ROLE_ADMIN) throw new HeddleError('FORBIDDEN', 'only an admin sends the state')
    const mayLead = ({ member }: Head) =>
      joinedEpoch > 0n &&
      !this.#openedOf.has(toHex(member)) &&
      !equalBytes(member, group.memberId) &&
      !equalBytes(member, head.member)
    // Of ids nobody has no more are kept than a document has senders.
    let room = sendersMax - vector.size
    const isKept = ({ member }: Head) => vector.get(member) !== undefined || group.wasMember(member) || room-- > 0
    const ahead = heads.filter((one) => one.seq > vector.seqOf(one.member) && mayLead(one) && isKept(one))
    // An update of the state holds what a joiner cannot open, whoever's chain it belongs to; and one that a sender's chain
    // begins with may hold what the document began with, which is in no message.
    const isDifferent = kind !== EnvelopeKind.ENVELOPE_KIND_STATE || head.seq === 1n
    const isNews = begins || ahead.length > 0 || (joinedEpoch > 0n && isDifferent)
    this.#advance(head, isNews ? [state] : [], envelope)
    for (const known of ahead) {
      this.#advance(known, [], undefined)
      this.#secondHand.set(toHex(known.member), envelope.header.epoch)
    }
    if (ahead.length > 0 || begins) this.retry()
  }

  #advance(head: Head, updates: readonly Uint8Array[], envelope: ParsedEnvelope | undefined): void {
    const key = toHex(head.member)
    this.#room.vector.advance(head)
    this.#moved.set(key, { head, envelope })
    this.#standings.reached(key, head)
    if (updates.length > 0 || this.#standings.strict) this.#opened.push({ updates, head })
    this.applied++
  }

  /** Makes durable how much counts of whom; call it last in a turn. */
  write(turn: Turn): void {
    const { store, replica } = this.#room
    if (this.#standings.strict) replica.settle(turn, (member, seq) => seq <= this.#standings.countedOf(member))
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

  /** Heads and standings become durable with the turn, and the opened messages come into the CRDT. */
  async #apply(turn: Turn): Promise<HeddleError | undefined> {
    const opened = this.#opened
    const moved = this.#moved
    this.#opened = []
    this.#moved = new Map()
    for (const [key, { head, envelope }] of moved) {
      this.#putApplied(turn, head)
      if (envelope === undefined) this.#digests.delete(key)
      else this.#digests.set(key, digestOf(envelope))
    }
    const tainted = await applyMessages(this.#room, turn, opened)
    if (tainted === undefined && moved.size > 0)
      turn.after(() =>
        this.#room.emit({ type: 'applied', messages: opened.filter(({ updates }) => updates.length > 0).length })
      )
    return tainted
  }
}

export interface IncomingStart {
  readonly applied: readonly AppliedRecord[]
  readonly standings: Standings
  readonly mayBeLate: boolean
}
