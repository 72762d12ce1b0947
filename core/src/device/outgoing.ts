/**
 * What this device says (SPEC SYNC): local edits taken from the CRDT and made durable, answers to members that lack
 * something, control messages. The first edit leaves at once; edits made while a message is in flight ride in the next
 * one. Driven by the document's turns; what it says goes into the outbox.
 */
import { compareBytes, readU64 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { ControlPayload, EnvelopeKind, type Head, Payload, type RepairAnswer, Role } from '../wire/index.js'
import { leavingError } from './leaving.js'
import type { Control } from './opening.js'
import type { Outbox } from './outbox.js'
import type { DueAnswer } from './repair.js'
import { closedError, isClosed, mustKeepEdits, putDocument, type Room, report } from './room.js'
import { type SettledLevel, Settling } from './settling.js'
import type { Silenced } from './silenced.js'
import type { StateDuty } from './state-duty.js'
import type { Turn } from './store.js'

/** How long local edits may stay in the CRDT only, while a message is in flight. */
const holdMs = 25
/** Updates sealed into one envelope, unless a single one is larger. */
const payloadBytesTarget = 256 * 1024
const updateBytesMax = 15_500_000
const depsMax = 2048
const updatesMax = 1024

export interface OutgoingParts {
  readonly outbox: Outbox
  readonly stateDuty: StateDuty
  readonly silenced: Silenced
}

export class Outgoing {
  readonly #room: Room
  readonly #outbox: Outbox
  readonly #stateDuty: StateDuty
  readonly #silenced: Silenced
  readonly #settling: Settling
  readonly #unsealed: { readonly entry: bigint; readonly bytes: Uint8Array }[]
  #nextUnsealed: bigint
  #hold: Disposable | undefined
  #mustFlush = false
  /** The first edit that waits is larger than a message can be; nothing may overtake it. */
  #isStuck = false
  readonly #controls: { readonly control: Control; readonly sealed: ((head: Head) => void) | undefined }[] = []
  readonly #answers: DueAnswer[] = []
  #leaveSeq: bigint | undefined
  #saidNoMoreEdits = false

  constructor(
    room: Room,
    { outbox, stateDuty, silenced }: OutgoingParts,
    unsealed: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]
  ) {
    this.#room = room
    this.#outbox = outbox
    this.#stateDuty = stateDuty
    this.#silenced = silenced
    this.#settling = new Settling(outbox)
    this.#unsealed = unsealed.map(({ key, value }) => ({ entry: readU64(key), bytes: value }))
    this.#nextUnsealed = (this.#unsealed.at(-1)?.entry ?? -1n) + 1n
  }

  /** Local edits ride with the next message; a receipt or a timer asks for that turn, more edits need not. */
  get isHolding(): boolean {
    return this.#hold !== undefined
  }

  get unsealedCount(): number {
    return this.#unsealed.length
  }

  /** The request to be removed is on a write quorum of servers. */
  get isLeaveSafe(): boolean {
    return this.#leaveSeq !== undefined && this.#leaveSeq <= this.#outbox.safeSeq
  }

  /**
   * Says something to the members' devices that is no content; readers may, too. It leaves in the next turn in which
   * something can, and is forgotten when the document is closed before. `sealed` hears of its envelope.
   */
  queueControl(control: Control, sealed?: (head: Head) => void): void {
    this.#controls.push({ control, sealed })
    this.#room.wake()
  }

  /** Answers a member that lacks something. */
  queueAnswer(due: DueAnswer): void {
    this.#answers.push(due)
    this.#room.wake()
  }

  /** Takes and seals what may leave now. `online`: some server is there to take it. */
  async step(turn: Turn, online: boolean): Promise<void> {
    const inFlight = this.#outbox.ownSeq > this.#outbox.sentSeq
    const closed = isClosed(this.#room)
    const canSpeak = online && !inFlight && !closed && !this.#room.removed && !this.#room.alarms.isStanding
    const canSeal = canSpeak && this.#mayWrite && !this.#isStuck
    const flushed = canSeal || this.#mustFlush || !online || closed || !this.#mayWrite || this.#isStuck
    // Who asks or edits while this turn seals is served by the next one.
    const asked = flushed ? this.#settling.asked() : []
    if (flushed) {
      this.dispose()
      this.#mustFlush = false
    }
    if (canSeal) {
      await this.#stateDuty.pay(turn)
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
    this.#settling.flushed(turn, asked, this.#unsealed.length === 0 ? this.#outbox.ownSeq : undefined)
    // What is sealed may still become safe; the rest never leaves.
    if (closed)
      turn.after(() =>
        this.#settling.giveUp(closedError(), (one) => one.level !== 'stored' && one.flushed && one.seq === undefined)
      )
    this.#outbox.write(turn)
  }

  /** Servers have more of this device's messages. */
  receipted(): void {
    this.#settling.look()
  }

  /** Resolves when all local edits made before the call have reached the level. */
  async settled(level: SettledLevel): Promise<void> {
    this.#mustFlush = true
    if (this.#isStuck && level !== 'stored')
      throw new HeddleError('LIMIT_EXCEEDED', 'an edit too large for a message holds up those after it')
    this.#room.wake()
    await this.#settling.reach(level)
  }

  /** Nothing goes on: who waits for edits to arrive hears why. */
  giveUp(error: HeddleError): void {
    this.#settling.giveUp(error, () => true)
  }

  /** Nothing leaves any more; what waits only to be stored here still is. */
  giveUpSending(error: HeddleError): void {
    this.#settling.giveUp(error, ({ level }) => level !== 'stored')
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
    const isLate = this.#outbox.takeResend()
    if (isLate || isSaidAgain || this.#room.owesContent) {
      if (this.#room.owesContent) {
        this.#room.owesContent = false
        putDocument(turn, this.#room)
      }
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
    await this.#outbox.seal(
      turn,
      EnvelopeKind.ENVELOPE_KIND_UPDATE,
      Payload.encode({ deps, updates, repair, epochAuthenticator: this.#tagToSay() })
    )
  }

  /** Control messages, and what the others have to know of members who lost the right to write. */
  async #sealControls(turn: Turn): Promise<void> {
    for (const { control, sealed } of this.#controls.splice(0)) {
      const head = await this.#sealControl(turn, control)
      sealed?.(head)
    }
    if (this.#silenced.owesVouching) await this.#sealControl(turn, undefined)
  }

  async #sealControl(turn: Turn, control: Control | undefined): Promise<Head> {
    const deps = this.#takeDeps(turn)
    const head = await this.#outbox.seal(
      turn,
      EnvelopeKind.ENVELOPE_KIND_CONTROL,
      ControlPayload.encode({ deps, control, epochAuthenticator: this.#tagToSay() })
    )
    if (control?.$case === 'leave') this.#leaveSeq = this.#outbox.ownSeq
    return head
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
