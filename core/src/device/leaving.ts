/**
 * Leaving a document (SPEC GROUP-023): MLS lets nobody commit its own removal, so the device tells the admins' devices that
 * it goes, and whichever of them hears it first removes it. This file is both sides of that. Called by the document.
 */
import { compareBytes, equalBytes } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { Role } from '../wire/index.js'
import type { Changes } from './changes.js'
import type { Intent } from './intents.js'
import type { Outgoing } from './outgoing.js'
import { putDocument, type Room } from './room.js'
import type { Turn } from './store.js'

/** How much later than the one before it each further admin's device sets about removing a member that leaves. */
const rankMs = 3_000

export type LeaveUntil = 'requested' | 'removed'

interface Waiter {
  readonly until: LeaveUntil
  readonly resolve: () => void
  readonly reject: (error: HeddleError) => void
}

export class Leaving {
  readonly #room: Room
  readonly #changes: Changes
  readonly #outgoing: Outgoing
  #asked = false
  #waiters: Waiter[] = []
  /** Members whose devices have said, in this turn, that they leave. */
  #leavers: Uint8Array[] = []

  constructor(room: Room, changes: Changes, outgoing: Outgoing) {
    this.#room = room
    this.#changes = changes
    this.#outgoing = outgoing
    // Whether it was said before the restart is not stored; the admins do not mind hearing it twice.
    if (room.leaving && !room.removed) outgoing.queueControl({ $case: 'leave', value: {} })
  }

  /** Asks to be removed. Throws FORBIDDEN for the only admin. */
  async leave(until: LeaveUntil): Promise<void> {
    if (this.#isOnlyAdmin) throw onlyAdminError()
    // What was edited before is taken, and goes first.
    await this.#outgoing.settled('stored')
    this.#asked = true
    this.#room.wake()
    await new Promise<void>((resolve, reject) => this.#waiters.push({ until, resolve, reject }))
  }

  /** Another member's device says that it leaves. Called within a turn, before `step`. */
  heard(member: Uint8Array): void {
    this.#leavers.push(member)
  }

  /** Takes effect, durably. Call it after local edits were taken. */
  step(turn: Turn): void {
    for (const member of this.#leavers.splice(0)) this.#remove(turn, member)
    if (this.#asked && !this.#room.leaving) {
      this.#room.leaving = true
      putDocument(turn, this.#room)
      turn.after(() => this.#outgoing.queueControl({ $case: 'leave', value: {} }))
    }
    this.#asked = false
    // A turn that has nothing to store stays one: what it says of the servers' logs waits for the next that has.
    if (this.#waiters.length > 0) turn.after(() => this.check())
  }

  /** The group is at a new epoch. */
  advanced(turn: Turn): void {
    if (!this.#room.leaving || !this.#isOnlyAdmin) return
    // The other admins have gone first; somebody has to stay.
    this.#room.leaving = false
    putDocument(turn, this.#room)
    turn.after(() => this.giveUp(onlyAdminError()))
  }

  /** Tells who waits what has been reached. */
  check(): void {
    const { removed, leaving } = this.#room
    const requested = leaving && this.#outgoing.isLeaveSafe
    const reached = (until: LeaveUntil) => removed || (until === 'requested' && requested)
    const done = this.#waiters.filter(({ until }) => reached(until))
    this.#waiters = this.#waiters.filter(({ until }) => !reached(until))
    for (const { resolve } of done) resolve()
  }

  giveUp(error: HeddleError): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error)
  }

  get #isOnlyAdmin(): boolean {
    const { group } = this.#room
    const admins = group.public.roster.filter(({ role }) => role === Role.ROLE_ADMIN)
    return admins.length === 1 && group.me.role === Role.ROLE_ADMIN
  }

  /** Every admin's device keeps that durably; they set about it one after the other, so as not to contend. */
  #remove(turn: Turn, member: Uint8Array): void {
    const { group, pool } = this.#room
    if (group.me.role !== Role.ROLE_ADMIN || group.public.member(member) === undefined) return
    const isKept = ({ $case, value }: Intent) => $case === 'remove' && value.leaves && equalBytes(value.member, member)
    if (this.#changes.has(isKept)) return
    const admins = group.public.roster
      .filter(({ role, memberId }) => role === Role.ROLE_ADMIN && !equalBytes(memberId, member))
      .map(({ memberId }) => memberId)
      .sort(compareBytes)
    // Not always the same one goes first.
    const first = (member[0] ?? 0) % admins.length
    const own = admins.findIndex((memberId) => equalBytes(memberId, group.memberId))
    const rank = (own - first + admins.length) % admins.length
    const delayMs = rank === 0 ? 0 : rankMs * (rank + 0.5 * pool.random())
    this.#changes.add(turn, { $case: 'remove', value: { member, leaves: true } }, delayMs)
  }
}

export const leavingError = (): HeddleError =>
  new HeddleError('FORBIDDEN', 'this device is leaving the document and takes no more edits and changes')

const onlyAdminError = (): HeddleError =>
  new HeddleError('FORBIDDEN', 'the only admin cannot leave: make another member admin first')
