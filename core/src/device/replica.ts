/**
 * The CRDT document of this device together with its stored form: a snapshot and the log of updates since (SPEC DEVICE).
 * The log is written update by update; when it outgrows the snapshot, the two become a new snapshot, so that the cost of
 * an edit does not depend on the document's age.
 */
import { concatBytes, equalBytes, readU64, toHex, u64Bytes } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { CrdtBackend, CrdtDoc } from '../plugin/index.js'
import type { Head } from '../wire/index.js'
import { type Sifted, sift } from './sift.js'
import type { DocumentStore, Turn } from './store.js'

const compactionBytesMin = 256 * 1024
const compactionEntriesMin = 512

export class Replica {
  readonly doc: CrdtDoc
  readonly #store: DocumentStore
  readonly #backend: CrdtBackend
  readonly #actor: Uint8Array
  /** What `flush` took and the turn has not made durable yet. */
  #flushed: Uint8Array | undefined
  #nextEntry: bigint
  #snapshotBytes: number
  #logBytes: number
  #logEntries: number
  /** Entries that may have to be taken back, the oldest first; only where members are removed strictly. */
  #tail: TailEntry[]

  private constructor(
    doc: CrdtDoc,
    store: DocumentStore,
    backend: CrdtBackend,
    actor: Uint8Array,
    loaded: StoredState
  ) {
    this.doc = doc
    this.#store = store
    this.#backend = backend
    this.#actor = actor
    this.#nextEntry = loaded.nextEntry
    this.#snapshotBytes = loaded.snapshot?.length ?? 0
    this.#logBytes = loaded.log.reduce((sum, { update }) => sum + update.length, 0)
    this.#logEntries = loaded.log.length
    this.#tail = [...loaded.tail]
  }

  /** Opens the stored document. `actor` is fresh for every session. Throws STORAGE_CORRUPT. */
  static async open(store: DocumentStore, backend: CrdtBackend, actor: Uint8Array): Promise<Replica> {
    const loaded = await readState(store)
    const doc = await backend.open({
      actor,
      updates: loaded.log.map(({ update }) => update),
      ...(loaded.snapshot === undefined ? {} : { snapshot: loaded.snapshot })
    })
    return new Replica(doc, store, backend, actor, loaded)
  }

  /** Applies others' updates as one batch and logs them. Throws what the backend throws; then nothing is logged. */
  apply(turn: Turn, updates: readonly Uint8Array[]): void {
    if (updates.length === 0) return
    this.doc.apply(updates)
    this.record(turn, updates)
  }

  /** `count` entries of the log from `entry` on are a member's message, which may have to be taken back (SPEC SYNC-029). */
  mark(turn: Turn, entry: bigint, count: number, head: Head): void {
    this.#tail.push({ entry, count: BigInt(count), head, settled: false })
    turn.put(this.#tailKey(head), concatBytes(u64Bytes(entry), u64Bytes(BigInt(count)), head.hash))
  }

  /** The marked message of this number. */
  markOf(member: Uint8Array, seq: bigint): Head | undefined {
    return this.#tail.find(({ head }) => head.seq === seq && equalBytes(head.member, member))?.head
  }

  #tailKey({ member, seq }: Head): Uint8Array {
    return this.#store.key('tail', concatBytes(member, u64Bytes(seq)))
  }

  /** Number of the next entry of the log. */
  get nextEntry(): bigint {
    return this.#nextEntry
  }

  /** Forgets which entries could be taken back, where they cannot any more, but for the last of each member. */
  settle(turn: Turn, isSettled: (member: Uint8Array, seq: bigint) => boolean): void {
    const settled = this.#tail.filter((one) => {
      one.settled ||= isSettled(one.head.member, one.head.seq)
      return one.settled
    })
    const last = new Map(settled.map((one) => [toHex(one.head.member), one]))
    const gone = new Set(settled.filter((one) => last.get(toHex(one.head.member)) !== one))
    if (gone.size === 0) return
    for (const { head } of gone) turn.del(this.#tailKey(head))
    this.#tail = this.#tail.filter((one) => !gone.has(one))
  }

  /**
   * Takes a member's messages beyond a number out of the log; the live document still has them and must end. Undefined
   * when there is nothing to take back; `last`: the head of the last message that stays, if it is known.
   */
  retract(turn: Turn, member: Uint8Array, beyondSeq: bigint): { readonly last: Head | undefined } | undefined {
    const marked = this.#tail.filter(({ head }) => equalBytes(head.member, member))
    const gone = marked.filter(({ head }) => head.seq > beyondSeq)
    if (!gone.some(({ count }) => count > 0n)) return undefined
    for (const { entry, count, head } of gone) {
      turn.del(this.#tailKey(head))
      for (let i = entry; i < entry + count; i++) turn.del(this.#store.key('log', i))
    }
    this.#tail = this.#tail.filter((one) => !gone.includes(one))
    return { last: marked.filter(({ head }) => head.seq <= beyondSeq).at(-1)?.head }
  }

  /** Logs updates without applying them here: those of a document that is broken and will be opened from its log. */
  record(turn: Turn, updates: readonly Uint8Array[]): void {
    for (const update of updates) this.#log(turn, update)
  }

  /**
   * Finds out what breaks the CRDT, on scratch documents opened from storage: these messages, each a list of updates, one
   * after the other, or something logged before that had waited for one of them.
   */
  async sift(messages: readonly (readonly Uint8Array[])[]): Promise<Sifted> {
    const stored = await readState(this.#store)
    const open = (updates: readonly (readonly Uint8Array[])[]) =>
      this.#backend.open({
        // Not the live document's: that one may have written what is in storage.
        actor: this.#actor.map((byte) => byte ^ 0xff),
        updates: updates.flat(),
        ...(stored.snapshot === undefined ? {} : { snapshot: stored.snapshot })
      })
    return await sift(
      stored.log.map(({ entry, update }) => ({ source: entry, updates: [update] })),
      messages.map((updates, source) => ({ source, updates })),
      open
    )
  }

  /** What was logged at this place breaks the CRDT: the place stays, so that it means nothing else. */
  blank(turn: Turn, entry: bigint): void {
    turn.put(this.#store.key('log', entry), new Uint8Array(0))
  }

  /** Local changes that no turn has taken yet; they stay to be taken. */
  peek(): Uint8Array | undefined {
    return this.doc.flush()?.bytes
  }

  /** Takes the local changes since the last call and logs them; undefined when there are none. */
  flush(turn: Turn): Uint8Array | undefined {
    const flushed = this.doc.flush()
    if (flushed === undefined) return undefined
    this.#log(turn, flushed.bytes)
    this.#flushed = flushed.bytes
    turn.after(() => {
      this.#flushed = undefined
      flushed.confirm()
    })
    return flushed.bytes
  }

  /**
   * Replaces snapshot and log by a new snapshot when the log has outgrown it. Call it last in a turn. It waits while the
   * CRDT holds local changes no turn has taken: stored as a part of the state, they would never be sent after a crash.
   */
  compact(turn: Turn): void {
    if (this.#logEntries < compactionEntriesMin || this.#tail.some(({ settled, count }) => !settled && count > 0n))
      return
    if (this.#logBytes < Math.max(compactionBytesMin, this.#snapshotBytes)) return
    const local = this.peek()
    if (local !== undefined && (this.#flushed === undefined || !equalBytes(local, this.#flushed))) return
    const snapshot = this.doc.snapshot()
    turn.delRange(this.#store.range('log', 0n, this.#nextEntry))
    turn.put(this.#store.key('snapshot'), concatBytes(u64Bytes(this.#nextEntry), snapshot))
    for (let entry = this.#nextEntry - BigInt(this.#logEntries); entry < this.#nextEntry; entry++) {
      turn.forget(this.#store.key('log', entry))
    }
    this.#snapshotBytes = snapshot.length
    this.#logBytes = 0
    this.#logEntries = 0
  }

  /** All that it holds, local changes included, as the stored snapshot that another document of this device begins with. */
  copy(): Uint8Array {
    return concatBytes(u64Bytes(0n), this.doc.snapshot())
  }

  #log(turn: Turn, update: Uint8Array): void {
    turn.put(this.#store.key('log', this.#nextEntry++), update)
    this.#logBytes += update.length
    this.#logEntries++
  }
}

/** `count` entries of the log, from `entry` on, are the message of a member that this head ends. */
interface TailEntry {
  readonly entry: bigint
  readonly count: bigint
  readonly head: Head
  /** It cannot be taken back any more: its head says where the chain ends when what follows is. */
  settled: boolean
}

interface StoredState {
  readonly tail: readonly TailEntry[]
  readonly snapshot: Uint8Array | undefined
  readonly log: readonly { readonly entry: bigint; readonly update: Uint8Array }[]
  readonly nextEntry: bigint
}

async function readState(store: DocumentStore): Promise<StoredState> {
  const stored = await store.storage.get(store.key('snapshot'))
  if (stored !== undefined && stored.length < 8)
    throw new HeddleError('STORAGE_CORRUPT', 'the stored snapshot is too short')
  const entries = await store.entries('log')
  const tail = (await store.entries('tail')).map(({ key, value }) => ({
    entry: readU64(value),
    count: readU64(value, 8),
    head: { member: key.slice(0, 16), seq: readU64(key, 16), hash: value.slice(16) },
    settled: false
  }))
  const last = entries.at(-1)
  const snapshotEnd = stored === undefined ? 0n : readU64(stored)
  return {
    tail,
    snapshot: stored?.subarray(8),
    log: entries.flatMap(({ key, value }) => (value.length === 0 ? [] : [{ entry: readU64(key), update: value }])),
    nextEntry: last === undefined ? snapshotEnd : readU64(last.key) + 1n
  }
}
