/**
 * The state that members are owed who cannot open what was sealed before they came (SPEC SYNC-013): by who added them, or by
 * who stands in for that. It is sent as a message of this device, and again what arrives late. Paid by `outgoing.ts`.
 */
import { equalBytes } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { EnvelopeKind, Role, StateDutyRecord, StatePayload } from '../wire/index.js'
import type { Incoming } from './incoming.js'
import type { Outbox } from './outbox.js'
import { type Room, report } from './room.js'
import type { Turn } from './store.js'

const stateBytesMax = 15_000_000

export class StateDuty {
  readonly #room: Room
  readonly #incoming: Incoming
  readonly #outbox: Outbox
  #duty: StateDutyRecord | undefined

  constructor(room: Room, incoming: Incoming, outbox: Outbox, stored: StateDutyRecord | undefined) {
    this.#room = room
    this.#incoming = incoming
    this.#outbox = outbox
    this.#duty = stored
  }

  /** Whether somebody is owed the state, or it is not safe yet. */
  get isOpen(): boolean {
    const duty = this.#duty
    return duty !== undefined && (duty.sentVersion.length === 0 || this.#outbox.ownSeq > this.#outbox.safeSeq)
  }

  /** Somebody who came in this epoch or shortly before is owed the state. */
  owe(turn: Turn, addedEpoch: bigint): void {
    this.#put(turn, { addedEpoch, sentVersion: new Uint8Array(0) })
  }

  /** Sends the state to members this device added, and again what arrives late from the epochs they cannot open. */
  async pay(turn: Turn): Promise<void> {
    const duty = this.#duty
    const { group, vector, replica, alarms } = this.#room
    if (duty === undefined || group.epoch < duty.addedEpoch || group.me.role !== Role.ROLE_ADMIN) return
    const first = duty.sentVersion.length === 0
    if (!first && !this.#incoming.takeAppliedBefore(duty.addedEpoch)) return
    const heads = [...vector.heads()].filter(({ member }) => !equalBytes(member, group.memberId))
    const state = first ? replica.doc.snapshot() : replica.doc.diff(duty.sentVersion)
    this.#put(turn, { ...duty, sentVersion: replica.doc.version() })
    if (state.length > stateBytesMax) {
      const message = `the document's state of ${state.length} bytes exceeds the ${stateBytesMax} a message carries: who joins cannot get it`
      report(this.#room, new HeddleError('LIMIT_EXCEEDED', message))
      return
    }
    const kind = first ? EnvelopeKind.ENVELOPE_KIND_STATE : EnvelopeKind.ENVELOPE_KIND_STATE_UPDATE
    const epochAuthenticator = alarms.tagToSay(group.epoch)
    await this.#outbox.seal(turn, kind, StatePayload.encode({ heads, state, epochAuthenticator }))
  }

  #put(turn: Turn, duty: StateDutyRecord): void {
    this.#duty = duty
    turn.put(this.#room.store.key('stateDuty'), StateDutyRecord.encode(duty))
  }
}
