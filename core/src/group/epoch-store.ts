/**
 * The epochs a member can open messages of, shared by the `MemberGroup` objects of consecutive epochs, so that no ratchet
 * ever exists twice. Collects what has to become durable.
 */
import { HeddleError } from '../errors.js'
import { encodeContext, type MessageEpoch, type SecretTree } from './mls/index.js'
import {
  changedRecords,
  DirtyRecords,
  destroyedRecords,
  endedRecord,
  epochRecord,
  type GroupRecord,
  type SavedState,
  stateRecord
} from './persistence.js'
import type { PublicGroup } from './public-group.js'

const DAY_MS = 86_400_000

/** What is kept of an epoch. Its public group is read from storage when it is first asked for. */
export class RetainedEpoch {
  readonly secretTree: SecretTree
  readonly senderDataSecret: Uint8Array
  endedAtMs: number | undefined
  readonly #readGroup: () => PublicGroup
  #group: PublicGroup | undefined
  #message: MessageEpoch | undefined

  /** Takes over the secrets. */
  constructor(
    secretTree: SecretTree,
    senderDataSecret: Uint8Array,
    readGroup: () => PublicGroup,
    endedAtMs: number | undefined
  ) {
    this.secretTree = secretTree
    this.senderDataSecret = senderDataSecret
    this.endedAtMs = endedAtMs
    this.#readGroup = readGroup
  }

  /** As the epoch was: roster and roles that count for its messages. Throws STORAGE_CORRUPT. */
  get group(): PublicGroup {
    this.#group ??= this.#readGroup()
    return this.#group
  }

  get message(): MessageEpoch {
    if (this.#message === undefined) {
      const { groupId, epoch, state } = this.group
      const { senderDataSecret, secretTree } = this
      this.#message = { groupId, epoch, context: encodeContext(state.context), senderDataSecret, secretTree }
    }
    return this.#message
  }
}

export class EpochStore {
  readonly #epochs: Map<bigint, RetainedEpoch>
  readonly #dirty = new DirtyRecords()
  #current: bigint
  #queue: Promise<unknown> = Promise.resolve()

  constructor(current: bigint, epochs: Map<bigint, RetainedEpoch> = new Map()) {
    this.#current = current
    this.#epochs = epochs
  }

  /** Runs one thing at a time, in the order asked for: ratchets and epochs change under nobody's hands. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work)
    this.#queue = result.catch(() => undefined) // its caller hears of the error
    return result
  }

  /** Begins an epoch, ends the one before, and forgets those the group's policy gives up. */
  enter(epoch: RetainedEpoch, state: SavedState, nowMs: number): void {
    const before = this.#epochs.get(this.#current)
    if (before !== undefined && this.#current !== state.epoch) {
      before.endedAtMs = nowMs
      this.#dirty.add(endedRecord(this.#current, nowMs))
    }
    this.#epochs.set(state.epoch, epoch)
    this.#current = state.epoch
    const { senderDataSecret, secretTree, group } = epoch
    const saved = { senderDataSecret, leaves: secretTree.leaves, group: group.save() }
    this.#dirty.add(stateRecord(state), epochRecord(state.epoch, saved))
    this.expire(nowMs)
  }

  /** Forgets past epochs beyond the number and the days of the current epoch's policy. */
  expire(nowMs: number): void {
    const policy = this.#epochs.get(this.#current)?.group.document.policy
    if (policy === undefined) return
    for (const [epoch, { endedAtMs }] of this.#epochs) {
      const tooOld = this.#current - epoch > BigInt(policy.retainedEpochs)
      const tooLong = endedAtMs !== undefined && nowMs - endedAtMs > policy.retainedDays * DAY_MS
      if (tooOld || tooLong) this.#forget(epoch)
    }
  }

  /** Throws BEHIND for an epoch to come, UNDECRYPTABLE for one that is forgotten or before this member's time. */
  epochOf(epoch: bigint): RetainedEpoch {
    const retained = this.#epochs.get(epoch)
    if (retained !== undefined) return retained
    if (epoch > this.#current)
      throw new HeddleError('BEHIND', `The message is of epoch ${epoch}, this device is at ${this.#current}`)
    throw new HeddleError('UNDECRYPTABLE', `The keys of epoch ${epoch} are gone, or this device never had them`)
  }

  find(epoch: bigint): RetainedEpoch | undefined {
    return this.#epochs.get(epoch)
  }

  /** The groups of the retained epochs, the latest first; each is read from its record only when it is its turn. */
  *groups(): Generator<PublicGroup> {
    for (const [, retained] of [...this.#epochs].sort(([a], [b]) => (a < b ? 1 : -1))) yield retained.group
  }

  takeDirty(): readonly GroupRecord[] {
    for (const [epoch, { secretTree }] of this.#epochs) this.#dirty.add(...changedRecords(epoch, secretTree))
    return this.#dirty.take()
  }

  #forget(epoch: bigint): void {
    const retained = this.#epochs.get(epoch)
    if (retained === undefined || epoch === this.#current) return
    // What is dirty first, so that the deletions come last.
    this.#dirty.add(...changedRecords(epoch, retained.secretTree))
    this.#dirty.add(...destroyedRecords(epoch, retained.secretTree))
    retained.senderDataSecret.fill(0)
    this.#epochs.delete(epoch)
  }
}
