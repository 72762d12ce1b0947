/**
 * One message after another, decrypted, decoded and accepted (SPEC SYNC): its sender's chain moves to it, what it says of
 * others is noted, and at the end of the turn what the messages hold goes into the CRDT in one batch and their heads are
 * stored. Called by `incoming.ts`, which knows their order.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { mayWrite } from '../group/index.js'
import { digestOf, type ParsedEnvelope } from '../sync/index.js'
import {
  ControlPayload,
  type EnvelopeDigest,
  EnvelopeKind,
  type ForkEvidence,
  type Head,
  Payload,
  Role,
  StatePayload,
  WireError
} from '../wire/index.js'
import { applyMessages, type OpenedMessage } from './applying.js'
import { type Chains, isGenuine } from './chains.js'
import type { Repair } from './repair.js'
import { asHeddleError, type Room, report } from './room.js'
import type { Silenced } from './silenced.js'
import type { Turn } from './store.js'

export type Control = NonNullable<ControlPayload['control']>

/** What became of a message. */
export type OpenOutcome =
  /** Its sender's chain goes on from it, whether its content could be used or not. */
  | { readonly outcome: 'taken' }
  /** It is not the sender's: the true one must come from elsewhere. */
  | { readonly outcome: 'forged'; readonly cause: unknown }
  /** A state that its sender's chain was to begin with, and that is none. */
  | { readonly outcome: 'not-begun' }

export interface OpeningParts {
  readonly chains: Chains
  readonly silenced: Silenced
  readonly repair: Repair
  /** Messages of old epochs may have been applied before a restart without anybody asking. */
  readonly mayBeLate: boolean
}

export interface OpeningHooks {
  /** A member's device says something that is no content. Called within a turn; its envelope is `head`. */
  control(control: Control, head: Head, role: Role): void
  /** A state has moved chains: what waits for earlier messages of theirs may be next now. */
  movedOthers(): void
}

export class Opening {
  /** Messages applied since the document was opened. */
  applied = 0
  readonly #room: Room
  readonly #chains: Chains
  readonly #silenced: Silenced
  readonly #repair: Repair
  readonly #hooks: OpeningHooks
  /** What the latest envelope of each sender was signed over, for proving a fork. */
  readonly #digests = new Map<string, EnvelopeDigest>()
  /** Oldest epoch of the messages applied since somebody asked. */
  #oldestEpoch: bigint | undefined
  /** Updates opened in this turn and not applied yet, with the head each moves. */
  #opened: OpenedMessage[] = []
  #moved = new Map<string, { readonly head: Head; readonly envelope: ParsedEnvelope | undefined }>()

  constructor(room: Room, { chains, silenced, repair, mayBeLate }: OpeningParts, hooks: OpeningHooks) {
    this.#room = room
    this.#chains = chains
    this.#silenced = silenced
    this.#repair = repair
    this.#hooks = hooks
    this.#oldestEpoch = mayBeLate ? 0n : undefined
  }

  /** Opens the next envelope of a sender, or (`begins`) a state to begin its chain with. */
  async open(envelope: ParsedEnvelope, begins: boolean): Promise<OpenOutcome> {
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
      if (!isGenuine(this.#room, envelope)) return { outcome: 'forged', cause }
      const problem = new HeddleError(error.code, `message ${seq} of ${toHex(member)}: ${error.message}`, { cause })
      // That it cannot open what was sealed while it was stuck was to be expected, and the app knows that it was.
      if (this.#isOfSkipped(epoch)) this.#room.context.log('debug', 'envelope.skipped-epoch', { epoch, seq })
      else report(this.#room, problem)
      if (error.code === 'FORK') this.#room.alarms.raise(member, epoch, group)
      // The sender did sign it: its chain goes on without what it holds, but does not begin there.
      if (begins) return { outcome: 'not-begun' }
      this.#chains.noteOpened(member)
      if (error.code === 'UNDECRYPTABLE' && kind !== EnvelopeKind.ENVELOPE_KIND_CONTROL)
        this.#repair.lacks(this.#room.vector.position(member))
      this.#advance(head, [], envelope)
    }
    return { outcome: 'taken' }
  }

  /** The sender's chain goes on behind a message without what it holds. */
  skip(envelope: ParsedEnvelope): void {
    const { member, seq } = envelope.header
    this.#advance({ member, seq, hash: envelope.hash.slice() }, [], envelope)
  }

  /** With this envelope of theirs the sender signed two chains. Undefined when the other one is not at hand to prove it. */
  evidenceBy(envelope: ParsedEnvelope): ForkEvidence | undefined {
    const key = toHex(envelope.header.member)
    const a = this.#moved.get(key)?.envelope
    const digest = a === undefined ? this.#digests.get(key) : digestOf(a)
    return digest && { a: digest, b: digestOf(envelope) }
  }

  /** Heads become durable with the turn, and the opened messages come into the CRDT. */
  async apply(turn: Turn): Promise<HeddleError | undefined> {
    const opened = this.#opened
    const moved = this.#moved
    this.#opened = []
    this.#moved = new Map()
    for (const [key, { head, envelope }] of moved) {
      this.#chains.put(turn, head)
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

  /** Whether, since the last call, messages of an epoch before this one were applied. */
  takeAppliedBefore(epoch: bigint): boolean {
    const oldest = this.#oldestEpoch
    this.#oldestEpoch = undefined
    return oldest !== undefined && oldest < epoch
  }

  #accept(envelope: ParsedEnvelope, plaintext: Uint8Array, role: Role, head: Head, begins: boolean): void {
    const { kind, epoch } = envelope.header
    if (!mayWrite(role) && kind !== EnvelopeKind.ENVELOPE_KIND_CONTROL) {
      throw new HeddleError('FORBIDDEN', 'the sender may not write')
    }
    try {
      this.#chains.noteOpened(head.member)
      switch (kind) {
        case EnvelopeKind.ENVELOPE_KIND_UPDATE: {
          const { deps, updates, repair, epochAuthenticator } = Payload.decode(plaintext)
          this.#checkTag(head, epoch, epochAuthenticator)
          this.#advance(head, updates, envelope)
          this.#silenced.noteDeps(head.member, deps, epoch)
          if (repair !== undefined) this.#repair.onAnswer(head.member, repair)
          break
        }
        case EnvelopeKind.ENVELOPE_KIND_CONTROL: {
          const { deps, control, epochAuthenticator } = ControlPayload.decode(plaintext)
          this.#checkTag(head, epoch, epochAuthenticator)
          this.#advance(head, [], envelope)
          this.#silenced.noteDeps(head.member, deps, epoch)
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

  /** The state is for members who cannot open what came before they joined; to all others it says nothing new. */
  #acceptState(
    kind: EnvelopeKind,
    { heads, state, epochAuthenticator }: StatePayload,
    role: Role,
    head: Head,
    begins: boolean,
    envelope: ParsedEnvelope
  ): void {
    const { joinedEpoch } = this.#room
    this.#checkTag(head, envelope.header.epoch, epochAuthenticator)
    if (role !== Role.ROLE_ADMIN) throw new HeddleError('FORBIDDEN', 'only an admin sends the state')
    const ahead = this.#chains.hearsayIn(heads, head.member)
    // An update of the state holds what a joiner cannot open, whoever's chain it belongs to; and one that a sender's chain
    // begins with may hold what the document began with, which is in no message.
    const isDifferent = kind !== EnvelopeKind.ENVELOPE_KIND_STATE || head.seq === 1n
    const isNews = begins || ahead.length > 0 || (joinedEpoch > 0n && isDifferent)
    this.#advance(head, isNews ? [state] : [], envelope)
    for (const known of ahead) {
      this.#advance(known, [], undefined)
      this.#chains.noteHearsay(known.member, envelope.header.epoch)
    }
    if (ahead.length > 0 || begins) this.#hooks.movedOthers()
  }

  #advance(head: Head, updates: readonly Uint8Array[], envelope: ParsedEnvelope | undefined): void {
    this.#room.vector.advance(head)
    this.#moved.set(toHex(head.member), { head, envelope })
    this.#silenced.reached(head)
    if (updates.length > 0 || this.#silenced.isStrict) this.#opened.push({ updates, head })
    this.applied++
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
}
