/**
 * Where a device keeps what: the only file of the room that knows the layout of keys. Records are defined in
 * proto/heddle/v1/store.proto. A `Turn` collects what one turn of a document changes, so that it becomes durable as a whole.
 */
import { concatBytes, emptyBytes, equalBytes, fromHex, readU64, toHex, u64Bytes, utf8 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Batch, Entry, KeyRange, Storage } from '../plugin/index.js'
import {
  AlarmRecord,
  AppliedRecord,
  type Codec,
  DecidedSlot,
  DocumentRecord,
  FollowRecord,
  ForkRecord,
  IdentityRecord,
  IntentRecord,
  InviteRecord,
  JoinRecord,
  LackRecord,
  NamedRecord,
  PendingCommitRecord,
  ServerProgressRecord,
  StandingRecord,
  StateDutyRecord,
  WireError
} from '../wire/index.js'

/** Kinds of records of one document; the letter stands between the group id and the rest of the key. */
const kinds = {
  document: 'm',
  group: 'g',
  applied: 'a',
  server: 's',
  log: 'l',
  snapshot: 'L',
  unsealed: 'u',
  own: 'o',
  decided: 'c',
  pending: 'p',
  intent: 'n',
  invite: 'v',
  stateDuty: 'S',
  standing: 'r',
  named: 'w',
  lack: 'k',
  fork: 'f',
  tail: 't',
  alarm: 'A',
  genesis: 'G',
  follow: 'b'
} as const
export type RecordKind = keyof typeof kinds
export const recordKinds = Object.keys(kinds) as readonly RecordKind[]

/** The document and what was written in it. All else is of the member that this device was. */
const keptWhenLeaving: ReadonlySet<RecordKind> = new Set(['document', 'log', 'snapshot', 'unsealed'])

const identityKey = utf8('i')
const ownerKey = utf8('o')
const documentPrefix = utf8('d')
const joinPrefix = utf8('j')
const groupBytes = 16

/** What one turn changes. Later puts win over earlier ones of the same key. */
export class Turn {
  readonly #changes = new Map<string, { readonly key: Uint8Array; readonly value: Uint8Array | undefined }>()
  readonly #ranges: KeyRange[] = []
  readonly #after: (() => void)[] = []

  get isEmpty(): boolean {
    return this.#changes.size === 0 && this.#ranges.length === 0 && this.#after.length === 0
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#changes.set(toHex(key), { key, value })
  }

  /** `put` of a value that is overwritten with zeros once it is durable. */
  putSecret(key: Uint8Array, value: Uint8Array): void {
    this.put(key, value)
    this.after(() => value.fill(0))
  }

  del(key: Uint8Array): void {
    this.#changes.set(toHex(key), { key, value: undefined })
  }

  /** Undoes a put or del of this turn. */
  forget(key: Uint8Array): void {
    this.#changes.delete(toHex(key))
  }

  /** Takes effect before the turn's puts. */
  delRange(range: KeyRange): void {
    this.#ranges.push(range)
  }

  /** Runs once the turn is durable, in the order added. */
  after(callback: () => void): void {
    this.#after.push(callback)
  }

  /** Makes the turn durable and runs what waits for that. */
  async commit(storage: Storage): Promise<void> {
    const put: Entry[] = []
    const del: Uint8Array[] = []
    for (const { key, value } of this.#changes.values()) {
      if (value === undefined) del.push(key)
      else put.push({ key, value })
    }
    if (put.length > 0 || del.length > 0 || this.#ranges.length > 0) {
      await storage.commit({ put, del, delRange: this.#ranges } satisfies Batch)
    }
    for (const callback of this.#after) callback()
  }
}

/**
 * Takes a device's storage for this process: every later batch of another process that opened it before fails, so that
 * two processes never use one key or sequence number twice. The last to open it wins.
 */
export async function takeOwnership(storage: Storage, token: Uint8Array): Promise<Storage> {
  await storage.commit({ put: [{ key: ownerKey, value: token }] })
  const isOwner = { key: ownerKey, value: token }
  return {
    get: (key) => storage.get(key),
    scan: (range, signal) => storage.scan(range, signal),
    commit: async (batch) => {
      try {
        await storage.commit({ ...batch, expect: [...(batch.expect ?? []), isOwner] })
      } catch (cause) {
        const owner = HeddleError.is(cause, 'STORAGE_CONFLICT') ? await storage.get(ownerKey) : token
        if (owner !== undefined && equalBytes(owner, token)) throw cause
        throw new HeddleError('STORAGE_CONFLICT', 'another process has opened the storage of this device; use one', {
          cause
        })
      }
    },
    [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose]()
  }
}

/** Decodes a record of this device's own storage. Throws STORAGE_CORRUPT. */
export function decodeRecord<T>(codec: Codec<T>, bytes: Uint8Array, what: string): T {
  try {
    return codec.decode(bytes)
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new HeddleError('STORAGE_CORRUPT', `the stored ${what} does not decode: ${cause.message}`, { cause })
  }
}

/** Every entry of a range, in key order. */
export async function readAll(storage: Storage, range: KeyRange): Promise<Entry[]> {
  const out: Entry[] = []
  for await (const page of storage.scan(range)) for (const entry of page) out.push(entry)
  return out
}

/** What belongs to the device and not to one document. */
export const deviceStore = {
  async identity(storage: Storage): Promise<IdentityRecord | undefined> {
    const bytes = await storage.get(identityKey)
    return bytes && decodeRecord(IdentityRecord, bytes, 'identity of the device')
  },

  async createIdentity(storage: Storage, record: IdentityRecord): Promise<void> {
    await storage.commit({
      expect: [{ key: identityKey, value: undefined }],
      put: [{ key: identityKey, value: IdentityRecord.encode(record) }]
    })
  },

  /** Group ids of all documents, without a read of more than one record each. */
  async documents(storage: Storage): Promise<Uint8Array[]> {
    const out: Uint8Array[] = []
    let gte = documentPrefix
    const lt = next(documentPrefix)
    for (;;) {
      let first: Uint8Array | undefined
      for await (const page of storage.scan({ gte, lt, limit: 1 })) first = page[0]?.key
      if (first === undefined) return out
      const group = first.slice(1, 1 + groupBytes)
      const store = new DocumentStore(storage, group)
      if ((await storage.get(store.key('document'))) !== undefined) out.push(group)
      gte = next(concatBytes(documentPrefix, group))
    }
  },

  joinKey: (group: Uint8Array, mailbox: Uint8Array): Uint8Array => concatBytes(joinPrefix, group, mailbox),

  async join(storage: Storage, key: Uint8Array): Promise<JoinRecord | undefined> {
    const bytes = await storage.get(key)
    return bytes && decodeRecord(JoinRecord, bytes, 'join request')
  }
}

/** Keys and reads of one document. */
export class DocumentStore {
  readonly storage: Storage
  readonly #prefix: Uint8Array

  constructor(storage: Storage, group: Uint8Array) {
    this.storage = storage
    this.#prefix = concatBytes(documentPrefix, group)
  }

  key(kind: RecordKind, suffix: Uint8Array | bigint = emptyBytes): Uint8Array {
    return concatBytes(this.#prefix, utf8(kinds[kind]), typeof suffix === 'bigint' ? u64Bytes(suffix) : suffix)
  }

  /** All records of the document. */
  everything(): KeyRange {
    return { gte: this.#prefix, lt: next(this.#prefix) }
  }

  /** All records of a kind, or those whose number lies in [from, to). */
  range(kind: RecordKind, from?: bigint, to?: bigint): KeyRange {
    return {
      gte: from === undefined ? this.key(kind) : this.key(kind, from),
      lt: to === undefined ? next(this.key(kind)) : this.key(kind, to)
    }
  }

  /** Entries of a kind, their keys without what comes before the suffix. */
  async entries(kind: RecordKind, from?: bigint, to?: bigint): Promise<Entry[]> {
    const skip = this.key(kind).length
    return (await readAll(this.storage, this.range(kind, from, to))).map(({ key, value }) => ({
      key: key.slice(skip),
      value
    }))
  }

  /** What the group room wants stored, and what it wants forgotten. Takes over the values: they are secrets. */
  putGroup(turn: Turn, records: readonly { readonly key: Uint8Array; readonly value: Uint8Array | undefined }[]): void {
    for (const { key, value } of records) {
      if (value === undefined) turn.del(this.key('group', key))
      else turn.putSecret(this.key('group', key), value)
    }
  }

  /** Forgets what this device was in the document; what was written in it, and what was not sent, stays. */
  leave(turn: Turn): void {
    for (const kind of recordKinds) if (!keptWhenLeaving.has(kind)) turn.delRange(this.range(kind))
  }

  async document(): Promise<DocumentRecord | undefined> {
    const bytes = await this.storage.get(this.key('document'))
    return bytes && decodeRecord(DocumentRecord, bytes, 'document record')
  }

  async applied(): Promise<AppliedRecord[]> {
    return (await this.entries('applied')).map(({ value }) => decodeRecord(AppliedRecord, value, 'applied record'))
  }

  async servers(): Promise<Map<string, ServerProgressRecord>> {
    const entries = await this.entries('server')
    return new Map(entries.map(({ key, value }) => [toHex(key), decodeRecord(ServerProgressRecord, value, 'progress')]))
  }

  async pending(): Promise<Map<bigint, PendingCommitRecord>> {
    const entries = await this.entries('pending')
    const decoded = ({ value }: Entry) => decodeRecord(PendingCommitRecord, value, 'pending commit')
    return new Map(entries.map((entry) => [readU64(entry.key), decoded(entry)]))
  }

  async standings(): Promise<StandingRecord[]> {
    return (await this.entries('standing')).map(({ value }) => decodeRecord(StandingRecord, value, 'standing'))
  }

  async names(): Promise<NamedRecord[]> {
    return (await this.entries('named')).map(({ value }) => decodeRecord(NamedRecord, value, 'named head'))
  }

  async lacks(): Promise<LackRecord[]> {
    return (await this.entries('lack')).map(({ value }) => decodeRecord(LackRecord, value, 'lack'))
  }

  async alarms(): Promise<AlarmRecord[]> {
    return (await this.entries('alarm')).map(({ value }) => decodeRecord(AlarmRecord, value, 'alarm'))
  }

  async forks(): Promise<ForkRecord[]> {
    return (await this.entries('fork')).map(({ value }) => decodeRecord(ForkRecord, value, 'fork'))
  }

  async intents(): Promise<Map<bigint, IntentRecord>> {
    const entries = await this.entries('intent')
    return new Map(entries.map(({ key, value }) => [readU64(key), decodeRecord(IntentRecord, value, 'intent')]))
  }

  async invites(): Promise<Map<string, InviteRecord>> {
    const entries = await this.entries('invite')
    return new Map(entries.map(({ key, value }) => [toHex(key), decodeRecord(InviteRecord, value, 'invite')]))
  }

  async follows(): Promise<FollowRecord[]> {
    return (await this.entries('follow')).map(({ value }) => decodeRecord(FollowRecord, value, 'branch to follow'))
  }

  /** Decided slots from this one on. */
  async decided(from: bigint): Promise<DecidedSlot[]> {
    const entries = await this.entries('decided', from)
    return entries.map(({ value }) => decodeRecord(DecidedSlot, value, 'decided slot'))
  }

  async stateDuty(): Promise<StateDutyRecord | undefined> {
    const bytes = await this.storage.get(this.key('stateDuty'))
    return bytes && decodeRecord(StateDutyRecord, bytes, 'state duty')
  }
}

/** A document id as users see it. Throws CONFIG_INVALID. */
export function parseDocumentId(id: string): Uint8Array {
  const group = fromHex(id)
  if (group?.length !== groupBytes) {
    throw new HeddleError('CONFIG_INVALID', `"${id}" is not a document id: 32 hexadecimal digits are expected`)
  }
  return group
}

/** The first key after all that begin with `prefix`. */
function next(prefix: Uint8Array): Uint8Array {
  const out = prefix.slice()
  for (let i = out.length - 1; i >= 0; i--) {
    const byte = out[i] as number
    if (byte < 0xff) {
      out[i] = byte + 1
      return out.subarray(0, i + 1)
    }
  }
  throw new RangeError('no key follows a prefix of 0xff bytes')
}
