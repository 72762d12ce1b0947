/**
 * How a member's secrets lie in storage: one record for the current epoch's keys, one for every retained epoch written
 * once, and small ones for what a message changes. Keys are relative to a prefix that the device gives. The records are
 * this process's own, so damage is STORAGE_CORRUPT.
 *
 * | kind | key after the kind           | value                                          |
 * | ---- | ---------------------------- | ---------------------------------------------- |
 * | 1    |                              | signature key, private keys, key schedule, resumption PSKs of past epochs |
 * | 2    | epoch, 8 bytes               | sender data secret and the public group        |
 * | 3    | epoch                        | when the epoch ended, milliseconds             |
 * | 4    | epoch, node, 4 bytes         | secret of a node of the secret tree            |
 * | 5    | epoch, leaf, 4 bytes         | a sender's ratchet: generation and secret      |
 * | 6    | epoch, leaf, generation      | key and nonce of a message that has not come   |
 */
import { toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import {
  type EpochSecrets,
  ensureValid,
  type MemberState,
  type MessageKey,
  type Ratchet,
  SECRET_BYTES,
  type SecretTree,
  TlsReader,
  TlsWriter,
  vectorBytes
} from './mls/index.js'

/** A change to storage; without a value the record is deleted. */
export interface GroupRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
}

/** A record as it was stored. */
export interface StoredRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

const KIND = { state: 1, epoch: 2, ended: 3, node: 4, ratchet: 5, skipped: 6 } as const
const SAVED_VERSION = 2

/** What the record of the current epoch holds. */
export interface SavedState {
  readonly epoch: bigint
  readonly signatureKey: Uint8Array
  readonly member: MemberState
}

export interface SavedEpoch {
  readonly senderDataSecret: Uint8Array
  /** Leaves of the full tree, blanks included. */
  readonly leaves: number
  /** `PublicGroup.save()`. */
  readonly group: Uint8Array
}

/** A commit of this member that is not decided yet. */
export interface SavedPending {
  /** Epoch and context hash the commit is for. */
  readonly epoch: bigint
  readonly ctx: Uint8Array
  readonly commit: Uint8Array
  /** Context hash of the epoch it begins. */
  readonly nextCtx: Uint8Array
  readonly member: MemberState
  readonly encryptionSecret: Uint8Array
}

/** All that is stored of a group, sorted out. */
export interface LoadedRecords {
  readonly state: SavedState
  readonly epochs: ReadonlyMap<bigint, LoadedEpoch>
}
export interface LoadedEpoch {
  saved: SavedEpoch | undefined
  endedAtMs: number | undefined
  readonly nodes: Map<number, Uint8Array>
  readonly ratchets: Map<number, Ratchet>
}

export function stateRecord({ epoch, signatureKey, member }: SavedState): GroupRecord {
  const writer = new TlsWriter(1024).uint8(SAVED_VERSION).uint64(epoch).vector(signatureKey)
  writeMember(writer, member)
  return { key: Uint8Array.of(KIND.state), value: writer.finish() }
}

export function epochRecord(epoch: bigint, { senderDataSecret, leaves, group }: SavedEpoch): GroupRecord {
  const writer = new TlsWriter(5 + vectorBytes(senderDataSecret.length) + vectorBytes(group.length))
  writer.uint8(SAVED_VERSION).vector(senderDataSecret).uint32(leaves).vector(group)
  return { key: epochKey(KIND.epoch, epoch), value: writer.finish() }
}

export function endedRecord(epoch: bigint, endedAtMs: number): GroupRecord {
  return { key: epochKey(KIND.ended, epoch), value: new TlsWriter(8).uint64(BigInt(endedAtMs)).finish() }
}

/** What messages have changed in the epoch's secret tree since the last call. */
export function changedRecords(epoch: bigint, tree: SecretTree): readonly GroupRecord[] {
  const { nodes, ratchets, skipped } = tree.takeChanges()
  return [
    ...nodes.map(({ node, secret }) => ({ key: epochKey(KIND.node, epoch, node), value: secret })),
    ...ratchets.map(({ leaf, generation, secret }) => ({
      key: epochKey(KIND.ratchet, epoch, leaf),
      value: new TlsWriter(36).uint32(generation).raw(secret).finish()
    })),
    ...skipped.map(({ leaf, generation, key }) => ({
      key: epochKey(KIND.skipped, epoch, leaf, generation),
      value: key && new TlsWriter(48).vector(key.key).vector(key.nonce).finish()
    }))
  ]
}

/** Zeroes the epoch's secrets and tells the records to delete. */
export function destroyedRecords(epoch: bigint, tree: SecretTree): readonly GroupRecord[] {
  const { nodes, ratchets } = tree.destroy()
  const keys = [
    epochKey(KIND.epoch, epoch),
    epochKey(KIND.ended, epoch),
    ...nodes.map((node) => epochKey(KIND.node, epoch, node)),
    ...ratchets.flatMap(({ leaf, skipped }) => [
      epochKey(KIND.ratchet, epoch, leaf),
      ...skipped.map((generation) => epochKey(KIND.skipped, epoch, leaf, generation))
    ])
  ]
  return keys.map((key) => ({ key, value: undefined }))
}

/** Sorts out what was stored. Throws STORAGE_CORRUPT. */
export function readRecords(records: Iterable<StoredRecord>): LoadedRecords {
  return fromStorage('group', () => {
    let state: SavedState | undefined
    const epochs = new Map<bigint, LoadedEpoch>()
    for (const { key, value } of records) {
      const keyReader = new TlsReader(key)
      const kind = keyReader.uint8()
      if (kind === KIND.state) state = readState(value)
      else {
        const epoch = keyReader.uint64()
        let loaded = epochs.get(epoch)
        if (loaded === undefined) {
          loaded = { saved: undefined, endedAtMs: undefined, nodes: new Map(), ratchets: new Map() }
          epochs.set(epoch, loaded)
        }
        readEpochPart(kind, keyReader, value, loaded)
      }
      keyReader.end()
    }
    ensureValid(state !== undefined && epochs.has(state.epoch), 'The record of the current epoch is missing')
    for (const [epoch, { saved }] of epochs) ensureValid(saved !== undefined, `The record of epoch ${epoch} is missing`)
    for (const { ratchets } of epochs.values()) for (const [leaf, ratchet] of ratchets) finishRatchet(leaf, ratchet)
    return { state, epochs }
  })
}

export function savePending({ epoch, ctx, commit, nextCtx, member, encryptionSecret }: SavedPending): Uint8Array {
  const writer = new TlsWriter(commit.length + 1024).uint8(SAVED_VERSION).uint64(epoch).vector(ctx)
  writer.vector(commit).vector(nextCtx).vector(encryptionSecret)
  writeMember(writer, member)
  return writer.finish()
}

/** Throws STORAGE_CORRUPT. */
export function readPending(bytes: Uint8Array): SavedPending {
  return fromStorage('pending commit', () => {
    const reader = new TlsReader(bytes)
    ensureValid(reader.uint8() === SAVED_VERSION, 'Saved by another version')
    const epoch = reader.uint64()
    const ctx = reader.vector()
    const commit = reader.vector()
    const nextCtx = reader.vector()
    const encryptionSecret = reader.vector()
    const member = readMember(reader)
    reader.end()
    return { epoch, ctx, commit, nextCtx, member, encryptionSecret }
  })
}

function readState(value: Uint8Array): SavedState {
  const reader = new TlsReader(value)
  ensureValid(reader.uint8() === SAVED_VERSION, 'Saved by another version')
  const epoch = reader.uint64()
  const signatureKey = reader.vector()
  const member = readMember(reader)
  reader.end()
  return { epoch, signatureKey, member }
}

function readEpochPart(kind: number, key: TlsReader, value: Uint8Array, loaded: LoadedEpoch): void {
  const reader = new TlsReader(value)
  switch (kind) {
    case KIND.epoch:
      ensureValid(reader.uint8() === SAVED_VERSION, 'Saved by another version')
      loaded.saved = { senderDataSecret: reader.vector(), leaves: reader.uint32(), group: reader.vector() }
      break
    case KIND.ended:
      loaded.endedAtMs = Number(reader.uint64())
      break
    case KIND.node:
      loaded.nodes.set(key.uint32(), reader.raw(SECRET_BYTES))
      break
    case KIND.ratchet: {
      const ratchet = ratchetOf(loaded, key.uint32())
      ratchet.generation = reader.uint32()
      ratchet.secret = reader.raw(SECRET_BYTES)
      break
    }
    case KIND.skipped: {
      const ratchet = ratchetOf(loaded, key.uint32())
      const generation = key.uint32()
      ratchet.skipped.set(generation, { generation, key: reader.vector(), nonce: reader.vector() })
      break
    }
    default:
      throw new HeddleError('STORAGE_CORRUPT', `A record of unknown kind ${kind}`)
  }
  reader.end()
}

function ratchetOf({ ratchets }: LoadedEpoch, leaf: number): Ratchet {
  let ratchet = ratchets.get(leaf)
  if (ratchet === undefined) {
    ratchet = { generation: 0, secret: new Uint8Array(0), skipped: new Map() }
    ratchets.set(leaf, ratchet)
  }
  return ratchet
}

function finishRatchet(leaf: number, { secret, skipped }: Ratchet): void {
  ensureValid(secret.length > 0, `The ratchet of leaf ${leaf} is missing`)
  const keys: MessageKey[] = [...skipped.values()].sort((a, b) => a.generation - b.generation)
  skipped.clear()
  for (const key of keys) skipped.set(key.generation, key)
}

function writeMember(writer: TlsWriter, { leafIndex, privateKeys, secrets, resumption }: MemberState): void {
  writer.uint32(leafIndex).uint32(privateKeys.size)
  for (const [node, privateKey] of privateKeys) writer.uint32(node).vector(privateKey)
  writer.vector(secrets.initSecret).vector(secrets.senderDataSecret).vector(secrets.exporterSecret)
  writer.vector(secrets.externalSecret)
  writer.vector(secrets.membershipKey).vector(secrets.resumptionPsk).vector(secrets.epochAuthenticator)
  writer.uint32(resumption.size)
  for (const [epoch, psk] of resumption) writer.uint64(epoch).vector(psk)
}

function readMember(reader: TlsReader): MemberState {
  const leafIndex = reader.uint32()
  const privateKeys = new Map<number, Uint8Array>()
  for (let left = reader.uint32(); left > 0; left--) privateKeys.set(reader.uint32(), reader.vector())
  const secrets: EpochSecrets = {
    initSecret: reader.vector(),
    senderDataSecret: reader.vector(),
    exporterSecret: reader.vector(),
    externalSecret: reader.vector(),
    membershipKey: reader.vector(),
    resumptionPsk: reader.vector(),
    epochAuthenticator: reader.vector()
  }
  const resumption = new Map<bigint, Uint8Array>()
  for (let left = reader.uint32(); left > 0; left--) resumption.set(reader.uint64(), reader.vector())
  return { leafIndex, privateKeys, secrets, resumption }
}

function epochKey(kind: number, epoch: bigint, ...indices: readonly number[]): Uint8Array {
  const writer = new TlsWriter(24).uint8(kind).uint64(epoch)
  for (const index of indices) writer.uint32(index)
  return writer.finish()
}

function fromStorage<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw new HeddleError('STORAGE_CORRUPT', `The stored ${what} does not decode`, { cause })
  }
}

/** Changes not yet taken; of several to one record the last counts. */
export class DirtyRecords {
  readonly #records = new Map<string, GroupRecord>()

  add(...records: readonly GroupRecord[]): void {
    for (const record of records) this.#records.set(toHex(record.key), record)
  }
  take(): readonly GroupRecord[] {
    const records = [...this.#records.values()]
    this.#records.clear()
    return records
  }
}
