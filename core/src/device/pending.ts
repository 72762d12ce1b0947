/**
 * Commits this device has built for the present slot (SPEC PAXOS-013, DEV-020). Whatever servers say of one, it may have
 * been voted for and be decided later, so each is kept, durably, until the slot is. Called by `changes.ts`.
 */
import { emptyBytes, equalBytes } from '../bytes.js'
import type { BuiltCommit, MemberGroup } from '../group/index.js'
import { signedInput, valueHash } from '../paxos/index.js'
import { PendingCommitRecord, SIGNATURE_LABELS, Value, ValueContent } from '../wire/index.js'
import type { Room } from './room.js'
import type { Turn } from './store.js'

/** Commits of one slot. Each is refused by a quorum before the next is built, so honest servers never see so many. */
const commitsMax = 32

/** What a slot would decide with this commit, signed by the device that built it (SPEC PAXOS-007). */
export function signedValue(group: MemberGroup, { commit, welcome = emptyBytes }: BuiltCommit): Uint8Array {
  const content = ValueContent.encode({ commit, welcome })
  return Value.encode({ content, signature: group.sign(signedInput(SIGNATURE_LABELS.ValueContent, content)) })
}

export class PendingCommits {
  readonly #room: Room
  readonly #commits: Map<bigint, PendingCommitRecord>

  constructor(room: Room, stored: Map<bigint, PendingCommitRecord>) {
    this.#room = room
    this.#commits = stored
  }

  /** No further one may be built in this slot. */
  get isFull(): boolean {
    return this.#commits.size >= commitsMax
  }

  /** The one to propose in this slot: built, and not refused. */
  open(slot: bigint): PendingCommitRecord | undefined {
    return [...this.#commits.values()].find((one) => one.slot === slot && isOpen(one))
  }

  /** The one with this value hash, refused or not. */
  ofHash(hash: Uint8Array): PendingCommitRecord | undefined {
    return [...this.#commits.values()].find(({ value }) => equalBytes(valueHash(value), hash))
  }

  /** Keeps one, durable with the turn: only then may it be proposed. */
  add(turn: Turn, commit: PendingCommitRecord): void {
    const number = ([...this.#commits.keys()].at(-1) ?? -1n) + 1n
    this.#put(turn, number, commit)
  }

  /** The servers refuse the one that is open: it is not proposed any more. Returns the keys of its intents. */
  refuse(turn: Turn, slot: bigint): readonly bigint[] {
    for (const [number, commit] of this.#commits) {
      if (commit.slot !== slot || !isOpen(commit)) continue
      this.#put(turn, number, { ...commit, intents: [], rejoin: false })
      return commit.intents
    }
    return []
  }

  /** The slot is decided. What was built for a later one is from before a restart. */
  clear(turn: Turn, slot: bigint): void {
    for (const [number, commit] of [...this.#commits]) {
      if (commit.slot > slot) continue
      turn.del(this.#room.store.key('pending', number))
      this.#commits.delete(number)
    }
  }

  #put(turn: Turn, number: bigint, commit: PendingCommitRecord): void {
    this.#commits.set(number, commit)
    turn.put(this.#room.store.key('pending', number), PendingCommitRecord.encode(commit))
  }
}

/** Built, and not refused. */
const isOpen = ({ intents, rejoin }: PendingCommitRecord): boolean => intents.length > 0 || rejoin
