/**
 * What a server keeps and under which keys (SPEC SRV, table of keys): the only file that knows the layout. Reads see what
 * is durable; writes are entries that the caller puts into a batch of the writer.
 *
 * A key is one byte for the kind, for a document's records followed by the group and a second kind, then the parts that
 * order them; numbers are big-endian, so that keys sort as the numbers do.
 */
import { concatBytes, readU64, u64Bytes } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Entry, KeyRange, Storage } from '../plugin/index.js'
import {
  AcceptorRecord,
  type Codec,
  DecidedSlot,
  IdentityRecord,
  MailboxRecord,
  SenderRecord,
  WireError
} from '../wire/index.js'

const kinds = { identity: 1, owner: 2, endpoint: 3, document: 16 } as const
const parts = {
  created: 1,
  group: 2,
  acceptor: 3,
  value: 4,
  decided: 5,
  log: 6,
  index: 7,
  sender: 8,
  mailbox: 9,
  welcome: 10,
  tree: 11
} as const

const groupBytes = 16
const memberBytes = 16
const ctxBytes = 32
const documentPrefixBytes = 1 + groupBytes + 1

/** An envelope as it stands in the log. */
export interface StoredEnvelope {
  readonly position: bigint
  /** Member id of its sender. */
  readonly member: Uint8Array
  /** Canonical bytes of the Envelope. */
  readonly bytes: Uint8Array
}

/** How a document came to this server. */
export interface Beginning {
  /** Context hash of the epoch it was created with. */
  readonly ctx: Uint8Array
  /** First epoch in which this server is, once more, one of the document's; 0 when it is from the beginning. */
  readonly broughtIn: bigint
}

/** Where a joiner's Welcome is. */
export interface WelcomePlace {
  readonly slot: bigint
  /** Last position of the log when the slot was learned. */
  readonly position: bigint
}

// ── The server's own records ─────────────────────────────────────────────────────────────────────────────────────────

const identityKey = Uint8Array.of(kinds.identity)
const ownerKey = Uint8Array.of(kinds.owner)

/** The server's secret key, made with `makeSeed` and stored when there is none. Throws STORAGE_CORRUPT. */
export async function loadIdentity(storage: Storage, makeSeed: () => Uint8Array): Promise<Uint8Array> {
  const stored = await storage.get(identityKey)
  if (stored !== undefined) return decodeStored(IdentityRecord, stored, 'the identity').secretKey
  const secretKey = makeSeed()
  const value = IdentityRecord.encode({ secretKey })
  await storage.commit({ expect: [{ key: identityKey, value: undefined }], put: [{ key: identityKey, value }] })
  return secretKey
}

/** Takes the storage over: whoever wrote with an earlier token fails from now on. Throws STORAGE_CONFLICT in a race. */
export async function takeOwnership(storage: Storage, token: Uint8Array): Promise<Entry> {
  const before = await storage.get(ownerKey)
  const fence = { key: ownerKey, value: token }
  await storage.commit({ expect: [{ key: ownerKey, value: before }], put: [fence] })
  return fence
}

/** Of a device that is a member of a document with this server, by the device's endpoint. */
export function endpointKey(endpointId: Uint8Array, group: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(kinds.endpoint), endpointId, group)
}

// ── A document's records ─────────────────────────────────────────────────────────────────────────────────────────────

/** Reads the records of one document and makes the entries to be written. */
export class DocumentStore {
  readonly #storage: Storage
  readonly #prefix: Uint8Array

  constructor(storage: Storage, group: Uint8Array) {
    this.#storage = storage
    this.#prefix = concatBytes(Uint8Array.of(kinds.document), group, Uint8Array.of(0))
  }

  /** Its presence is that of the document. */
  async readBeginning(): Promise<Beginning | undefined> {
    const value = await this.#storage.get(this.#key(parts.created))
    if (value === undefined) return undefined
    if (value.length !== ctxBytes + 8) throw corrupt('the beginning of a document in storage does not decode')
    return { ctx: value.slice(0, ctxBytes), broughtIn: readU64(value, ctxBytes) }
  }
  beginning({ ctx, broughtIn }: Beginning): Entry {
    return { key: this.#key(parts.created), value: concatBytes(ctx, u64Bytes(broughtIn)) }
  }

  /** Saved public groups, in ascending order of epochs. */
  async readGroups(): Promise<readonly Uint8Array[]> {
    return (await this.#all(this.#range(parts.group))).map(({ value }) => value)
  }
  group(epoch: bigint, saved: Uint8Array): Entry {
    return { key: this.#key(parts.group, u64Bytes(epoch)), value: saved }
  }
  /** The groups of all epochs before this one. */
  groupsBefore(epoch: bigint): KeyRange {
    return { gte: this.#key(parts.group), lt: this.#key(parts.group, u64Bytes(epoch)) }
  }

  async readAcceptor(): Promise<AcceptorRecord | undefined> {
    const stored = await this.#storage.get(this.#key(parts.acceptor))
    return stored && decodeStored(AcceptorRecord, stored, "the acceptor's record")
  }
  acceptor(record: AcceptorRecord): Entry {
    return { key: this.#key(parts.acceptor), value: AcceptorRecord.encode(record) }
  }

  /** An accepted value of the open slot. */
  async readValue(hash: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#storage.get(this.valueKey(hash))
  }
  value(hash: Uint8Array, value: Uint8Array): Entry {
    return { key: this.valueKey(hash), value }
  }
  valueKey(hash: Uint8Array): Uint8Array {
    return this.#key(parts.value, hash)
  }
  allValues(): KeyRange {
    return this.#range(parts.value)
  }

  /**
   * Decided slots from this one on, before `before`, as many as fit; at least one when there is one. None when this one is
   * not here: a server that came later lacks those before.
   */
  async readDecided(from: bigint, before: bigint, itemsMax: number, bytesMax: number): Promise<readonly DecidedSlot[]> {
    if (from >= before) return []
    const slots: DecidedSlot[] = []
    let bytes = 0
    const range = { gte: this.#key(parts.decided, u64Bytes(from)), lt: this.#key(parts.decided, u64Bytes(before)) }
    for await (const page of this.#storage.scan({ ...range, limit: itemsMax }))
      for (const { value } of page) {
        bytes += value.length
        if (slots.length > 0 && bytes > bytesMax) return slots
        const slot = decodeStored(DecidedSlot, value, 'a decided slot')
        if (slot.slot !== from + BigInt(slots.length)) return slots
        slots.push(slot)
      }
    return slots
  }
  decided(slot: DecidedSlot): Entry {
    return { key: this.#key(parts.decided, u64Bytes(slot.slot)), value: DecidedSlot.encode(slot) }
  }

  /** Position of the last envelope of the log, 0 when it is empty. */
  async readLastPosition(): Promise<bigint> {
    for await (const page of this.#storage.scan({ ...this.#range(parts.log), reverse: true, limit: 1 }))
      for (const { key } of page) return readU64(key, documentPrefixBytes)
    return 0n
  }
  /** Envelopes after a position up to another, as many as fit; at least one when there is one. */
  async readLog(
    after: bigint,
    through: bigint,
    itemsMax: number,
    bytesMax: number
  ): Promise<readonly StoredEnvelope[]> {
    if (after >= through) return []
    const found: StoredEnvelope[] = []
    let bytes = 0
    const gte = this.#key(parts.log, u64Bytes(after + 1n))
    const lt = this.#key(parts.log, u64Bytes(through + 1n))
    for await (const page of this.#storage.scan({ gte, lt, limit: itemsMax }))
      for (const { key, value } of page) {
        bytes += value.length
        if (found.length > 0 && bytes > bytesMax) return found
        found.push(storedEnvelope(readU64(key, documentPrefixBytes), value))
      }
    return found
  }
  async readEnvelope(position: bigint): Promise<StoredEnvelope> {
    const value = await this.#storage.get(this.#key(parts.log, u64Bytes(position)))
    if (value === undefined) throw corrupt(`the log has no envelope at position ${position}, but an index names it`)
    return storedEnvelope(position, value)
  }
  /** The log's entry and that of the index by sender. */
  envelope({ position, member, bytes }: StoredEnvelope, seq: bigint): readonly Entry[] {
    return [
      { key: this.#key(parts.log, u64Bytes(position)), value: concatBytes(member, bytes) },
      { key: this.#key(parts.index, member, u64Bytes(seq)), value: u64Bytes(position) }
    ]
  }

  /** Positions of a sender's envelopes from a sequence number on, in order. */
  async readPositions(member: Uint8Array, fromSeq: bigint, max: number): Promise<readonly bigint[]> {
    const positions: bigint[] = []
    const lt = after(this.#key(parts.index, member))
    for await (const page of this.#storage.scan({
      gte: this.#key(parts.index, member, u64Bytes(fromSeq)),
      lt,
      limit: max
    }))
      for (const { value } of page) positions.push(readU64(value))
    return positions
  }

  async readSenders(): Promise<readonly SenderRecord[]> {
    const entries = await this.#all(this.#range(parts.sender))
    return entries.map(({ value }) => decodeStored(SenderRecord, value, "a sender's record"))
  }
  sender(record: SenderRecord): Entry {
    return { key: this.#key(parts.sender, record.head.member), value: SenderRecord.encode(record) }
  }

  async readMailboxes(): Promise<readonly (readonly [id: Uint8Array, record: MailboxRecord])[]> {
    const entries = await this.#all(this.#range(parts.mailbox))
    return entries.map(({ key, value }) => [
      key.slice(documentPrefixBytes),
      decodeStored(MailboxRecord, value, 'a mailbox')
    ])
  }
  mailbox(id: Uint8Array, record: MailboxRecord): Entry {
    return { key: this.mailboxKey(id), value: MailboxRecord.encode(record) }
  }
  mailboxKey(id: Uint8Array): Uint8Array {
    return this.#key(parts.mailbox, id)
  }

  async readWelcome(keyPackageRef: Uint8Array): Promise<WelcomePlace | undefined> {
    const value = await this.#storage.get(this.#key(parts.welcome, keyPackageRef))
    return value && { slot: readU64(value), position: readU64(value, 8) }
  }
  welcome(keyPackageRef: Uint8Array, { slot, position }: WelcomePlace): Entry {
    return { key: this.#key(parts.welcome, keyPackageRef), value: concatBytes(u64Bytes(slot), u64Bytes(position)) }
  }

  /** The ratchet tree of the epoch that a slot began, where its commit added somebody. */
  async readTree(slot: bigint): Promise<Uint8Array> {
    const tree = await this.#storage.get(this.#key(parts.tree, u64Bytes(slot)))
    if (tree === undefined) throw corrupt(`slot ${slot} has a Welcome in storage and no ratchet tree`)
    return tree
  }
  tree(slot: bigint, tree: Uint8Array): Entry {
    return { key: this.#key(parts.tree, u64Bytes(slot)), value: tree }
  }

  #key(part: number, ...rest: readonly Uint8Array[]): Uint8Array {
    const key = concatBytes(this.#prefix, ...rest)
    key[documentPrefixBytes - 1] = part
    return key
  }
  #range(part: number): KeyRange {
    return { gte: this.#key(part), lt: this.#key(part + 1) }
  }
  async #all(range: KeyRange): Promise<readonly Entry[]> {
    const entries: Entry[] = []
    for await (const page of this.#storage.scan(range)) entries.push(...page)
    return entries
  }
}

function storedEnvelope(position: bigint, value: Uint8Array): StoredEnvelope {
  return { position, member: value.subarray(0, memberBytes), bytes: value.subarray(memberBytes) }
}

/** First key beyond all that begin with this prefix, which ends below 0xff bytes only. */
function after(prefix: Uint8Array): Uint8Array {
  const end = prefix.slice()
  for (let i = end.length - 1; i >= 0; i--) {
    const byte = end[i] ?? 0
    if (byte < 0xff) {
      end[i] = byte + 1
      return end.subarray(0, i + 1)
    }
  }
  throw new HeddleError('INTERNAL', 'no key lies beyond this prefix')
}

function decodeStored<T>(codec: Codec<T>, bytes: Uint8Array, what: string): T {
  try {
    return codec.decode(bytes)
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw corrupt(`${what} in storage does not decode`, cause)
  }
}

function corrupt(message: string, cause?: unknown): HeddleError {
  return new HeddleError(
    'STORAGE_CORRUPT',
    `${message}; restore a backup under a new identity, or replace the server`,
    {
      cause
    }
  )
}
