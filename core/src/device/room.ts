/**
 * What the parts of an open document share. One turn after another changes it, never two at once (`document.ts`), so
 * that no part needs locks.
 */
import type { CryptoProvider } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import type { MemberGroup, PublicGroup } from '../group/index.js'
import type { Context } from '../plugin/index.js'
import type { StateVector } from '../sync/index.js'
import { DocumentRecord, ERRORS, RemovalMode, Role } from '../wire/index.js'
import type { Alarms } from './alarms.js'
import type { Document, DocumentEvent } from './api.js'
import type { VerifyMember } from './identity.js'
import type { LinkPool } from './links.js'
import type { Replica } from './replica.js'
import type { DocumentStore, Turn } from './store.js'

/** What the device does for branches of its documents. */
export interface BranchHost {
  /** Whether it comes along to the branches of others. */
  readonly follows: boolean
  readonly crdtTypes: readonly string[]
  /** Opens a document that has just been stored. */
  open(groupId: Uint8Array): Promise<Document>
}

export interface Room {
  /** Group id, 32 hexadecimal digits. */
  readonly id: string
  readonly groupId: Uint8Array
  /** First epoch of this device: what was sealed before it, the device cannot open. */
  readonly joinedEpoch: bigint
  readonly context: Context
  readonly crypto: CryptoProvider
  readonly pool: LinkPool
  readonly store: DocumentStore
  readonly replica: Replica
  /** Latest envelope applied of every sender, this device's own included. */
  readonly vector: StateVector
  /** Members who are in another epoch than this device. */
  readonly alarms: Alarms
  readonly verifyMember: VerifyMember | undefined
  /** Document that this one began as a branch of. */
  readonly branchOf: Uint8Array | undefined
  readonly branches: BranchHost
  /** Replaced by every decided commit. */
  group: MemberGroup
  /** The present epoch without its keys, when this device cannot process the commits that led there (SPEC DEV-040). */
  followed: PublicGroup | undefined
  /** Least `retainedEpochs` of the epochs since the last one this device has keys of; undefined while it is in that. */
  retainedSince: number | undefined
  /** Set once this device learns that it was removed. */
  removed: boolean
  /** This device has asked to be removed: it takes no more edits. */
  leaving: boolean
  /** This device has joined again: what it holds from before has to be said once more, in one message. */
  owesContent: boolean
  /** Its storage is older than what it has sent (SPEC DEV-008). */
  rolledBack: boolean
  /** When the present epoch was entered, milliseconds since the Unix epoch. */
  epochSinceMs: number
  /** Aborts when the document is disposed of. */
  readonly signal: AbortSignal
  /** Asks for a turn. */
  wake(): void
  emit(event: DocumentEvent): void
}

/** Makes what the room knows of the document as a whole durable with the turn. */
export function putDocument(turn: Turn, { store, group, ...room }: Room): void {
  const { crdtType } = group.public.document
  const epochSinceMs = BigInt(Math.floor(room.epochSinceMs))
  turn.put(store.key('document'), DocumentRecord.encode({ ...room, crdtType, epochSinceMs }))
}

/** Tells app and log of something that went wrong and was contained. */
export function report(room: Room, error: HeddleError): void {
  room.context.log('warn', 'document.problem', { document: room.id, code: error.code, message: error.message })
  room.emit({ type: 'problem', error })
}

/** Codes above are local to a process. */
const wireCodeMax = 99

/** Whether a server has said no to a request, and not for what it will know once it has caught up. */
export function isRefusal({ code, retry }: HeddleError): boolean {
  return ERRORS[code].code <= wireCodeMax && (retry === 'never' || retry === 'after_delay')
}

/** Whether a removed member's last messages count only as far as others build on them (SPEC SYNC-029). */
export function isStrict(group: MemberGroup): boolean {
  return group.public.document.policy.removalMode === RemovalMode.REMOVAL_MODE_STRICT
}

/** Any thrown thing as a HeddleError. */
export function asHeddleError(error: unknown, what: string): HeddleError {
  return HeddleError.is(error)
    ? error
    : new HeddleError('INTERNAL', `${what} failed: ${String(error)}`, { cause: error })
}

/**
 * Whether somebody is a member, or was one as far as this device can tell. A key package is good for one time: by a second
 * one, somebody who has left or was removed would be a member again (SPEC JOIN-003).
 */
export function wasMember({ group, vector }: Pick<Room, 'group' | 'vector'>, memberId: Uint8Array): boolean {
  return vector.get(memberId) !== undefined || group.wasMember(memberId)
}

/** The present epoch, whether this device has its keys or not. */
export const headOf = ({ group, followed }: Pick<Room, 'group' | 'followed'>): PublicGroup => followed ?? group.public

/** An admin has closed the document for a successor: nothing more is sent or changed in it (SPEC GROUP-013). */
export const isClosed = (room: Pick<Room, 'group' | 'followed'>): boolean => headOf(room).reinit !== undefined

export const closedError = (): HeddleError =>
  new HeddleError(
    'FORBIDDEN',
    'an admin has closed this document for good: what is edited stays on this device and is not sent; go on in the document that follows it, or in a new one'
  )

/** For how many epochs members have kept what is of this device's last one, by the policies since. */
export function retainedSince({ group, retainedSince }: Pick<Room, 'group' | 'retainedSince'>): number {
  return retainedSince ?? group.public.document.policy.retainedEpochs
}

/**
 * Whether what is sealed in this device's last epoch could be read by who was removed since, could not by members who were
 * away, or would not count: then it is kept until the device is back.
 */
export function mustKeepEdits(room: Pick<Room, 'group' | 'followed' | 'retainedSince'>): boolean {
  const { group, followed } = room
  if (followed === undefined) return false
  const { roster } = group.public
  const isLate = 2n * (followed.epoch - group.epoch) > BigInt(retainedSince(room))
  const mayWrite = followed.member(group.memberId)?.role !== Role.ROLE_READER
  return isLate || !mayWrite || roster.some(({ memberId }) => followed.member(memberId) === undefined)
}
