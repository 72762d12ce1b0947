/**
 * A group of any size in its steady state, without the many commits that lead there: all leaves are in the tree, members
 * have renewed their keys until no parent node is blank, and every member's state can be had. Trees, hashes, signatures
 * and secrets are those that a real group would have; only its history was left out.
 */

import type { CryptoProvider } from 'heddle'
import type { CiphersuiteImpl } from 'ts-mls/crypto/ciphersuite.js'
import { deriveSecret } from 'ts-mls/crypto/kdf.js'
import { createConfirmationTag } from 'ts-mls/framedContent.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import { initializeKeySchedule, type KeySchedule } from 'ts-mls/keySchedule.js'
import type {
  EpochSecrets,
  GroupRooms,
  HashedTree,
  MemberGroup,
  MemberState,
  OwnKeyPackage,
  PublicGroup,
  StoredRecord
} from './rooms.js'

/** Epoch the group is in. */
const EPOCH = 1n

export interface LargeGroupParts {
  readonly rooms: GroupRooms
  readonly crypto: CryptoProvider
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
}

export class LargeGroup {
  readonly context: GroupContext
  readonly tree: HashedTree
  readonly confirmationTag: Uint8Array
  readonly keySchedule: KeySchedule
  readonly #parts: LargeGroupParts
  readonly #keyPackages: readonly OwnKeyPackage[]
  /** Of every node that is not blank. */
  readonly #privateKeys: ReadonlyMap<number, Uint8Array>
  readonly #encryptionSecret: Uint8Array

  private constructor(
    parts: LargeGroupParts,
    keyPackages: readonly OwnKeyPackage[],
    { tree, privateKeys }: FilledTree,
    { context, confirmationTag, keySchedule, encryptionSecret }: Epoch
  ) {
    this.#parts = parts
    this.#keyPackages = keyPackages
    this.#privateKeys = privateKeys
    this.#encryptionSecret = encryptionSecret
    this.tree = tree
    this.context = context
    this.confirmationTag = confirmationTag
    this.keySchedule = keySchedule
  }

  /** A group of so many members; the first is admin, the others are editors. */
  static async make(members: number, parts: LargeGroupParts): Promise<LargeGroup> {
    const keyPackages: OwnKeyPackage[] = []
    for (let i = 0; i < members; i++) keyPackages.push(await newKeyPackage(parts))
    const groupId = parts.crypto.randomBytes(16)
    const filled = await fillTree(keyPackages, groupId, parts)
    const [founder] = keyPackages
    if (founder === undefined) throw new RangeError('a group without members')
    return new LargeGroup(parts, keyPackages, filled, await firstEpoch(groupId, founder, filled.tree, parts))
  }

  get size(): number {
    return this.#keyPackages.length
  }

  /** Ed25519 seed of the member. */
  signatureKeyOf(leafIndex: number): Uint8Array {
    const key = this.#keyPackages[leafIndex]?.signatureKey
    if (key === undefined) throw new RangeError(`there is no leaf ${leafIndex}`)
    return key
  }

  /** HPKE private keys the member knows, copies by node index. */
  privateKeysOf(leafIndex: number): Map<number, Uint8Array> {
    const above = this.#parts.rooms.updatePaths.isAbove
    const { nodes } = this.tree
    return new Map(
      [...this.#privateKeys]
        .filter(([node]) => node === 2 * leafIndex || (node % 2 === 1 && above(nodes, node, leafIndex)))
        .map(([node, key]) => [node, key.slice()])
    )
  }

  /** What the member has of the epoch beside the secret tree, copies. */
  stateOf(leafIndex: number): MemberState {
    const privateKeys = this.privateKeysOf(leafIndex)
    return { leafIndex, privateKeys, secrets: copied(this.keySchedule), resumption: new Map() }
  }

  /** Root of the secret tree, a copy. */
  encryptionSecret(): Uint8Array {
    return this.#encryptionSecret.slice()
  }

  /** A member's group, loaded from the records it would have stored; a new one for every call. */
  member(leafIndex: number): MemberGroup {
    const { rooms, crypto, now } = this.#parts
    return rooms.group.MemberGroup.load(this.recordsOf(leafIndex), { crypto, now })
  }

  /** What the member has stored of the group. */
  recordsOf(leafIndex: number): readonly StoredRecord[] {
    const { rooms, crypto } = this.#parts
    const { persistence, engine } = rooms
    const leaves = (this.tree.nodes.length + 1) / 2
    const secretTree = engine.SecretTree.start(leaves, this.encryptionSecret(), crypto, crypto.suite(1))
    const { senderDataSecret } = this.keySchedule
    const records = [
      persistence.stateRecord({
        epoch: EPOCH,
        signatureKey: this.signatureKeyOf(leafIndex),
        member: this.stateOf(leafIndex)
      }),
      persistence.epochRecord(EPOCH, { senderDataSecret, leaves, group: this.observer().save() }),
      ...persistence.changedRecords(EPOCH, secretTree)
    ]
    return records.flatMap(({ key, value }) => (value === undefined ? [] : [{ key, value }]))
  }

  /** The group as a server has it. */
  observer(): PublicGroup {
    const { rooms, crypto } = this.#parts
    const { context, tree, confirmationTag } = this
    return rooms.group.PublicGroup.of({ context, tree, confirmationTag }, { crypto })
  }
}

/** A key package of a device that is in no group yet. */
export function newKeyPackage({ rooms, crypto, now }: LargeGroupParts): Promise<OwnKeyPackage> {
  const device = { endpointId: crypto.randomBytes(32), crdtTypes: ['yjs/1'] }
  return rooms.group.generateKeyPackage({ crypto, device, nowMs: now() })
}

interface FilledTree {
  readonly tree: HashedTree
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
}

/** All leaves, and above them the nodes that every second member's update path leaves. */
async function fillTree(
  keyPackages: readonly OwnKeyPackage[],
  groupId: Uint8Array,
  { rooms, crypto }: LargeGroupParts
): Promise<FilledTree> {
  const width = 2 ** Math.ceil(Math.log2(keyPackages.length))
  const nodes: HashedTree['nodes'] = new Array(2 * width - 1).fill(undefined)
  const privateKeys = new Map<number, Uint8Array>()
  for (const [i, { keyPackage, secrets }] of keyPackages.entries()) {
    nodes[2 * i] = { nodeType: 'leaf', leaf: keyPackage.leafNode }
    privateKeys.set(2 * i, secrets.leafKey)
  }
  const suite = crypto.suite(1)
  let tree = rooms.tree.hashTree(nodes, crypto.sha256)
  for (const [leafIndex, { signatureKey }] of keyPackages.entries()) {
    if (leafIndex % 2 === 1) continue
    // Nobody has to open this path, so it is sealed to nobody.
    const steps = rooms.updatePaths
      .pathSteps(tree.nodes, leafIndex, [])
      .map(({ nodeIndex }) => ({ nodeIndex, recipients: [] }))
    const context = { ...emptyContext, groupId, cipherSuite: suite.mls.name }
    const made = await rooms.updatePaths.createUpdatePath(tree, leafIndex, context, steps, signatureKey, crypto, suite)
    tree = made.tree
    for (const [node, key] of made.privateKeys) privateKeys.set(node, key)
  }
  return { tree, privateKeys }
}

interface Epoch {
  readonly context: GroupContext
  readonly confirmationTag: Uint8Array
  readonly keySchedule: KeySchedule
  readonly encryptionSecret: Uint8Array
}

async function firstEpoch(
  groupId: Uint8Array,
  founder: OwnKeyPackage,
  tree: HashedTree,
  { rooms, crypto }: LargeGroupParts
): Promise<Epoch> {
  const { Role } = rooms.wire
  const { mls } = crypto.suite(1)
  const member = rooms.group.memberIdOf(crypto, groupId, founder.keyPackage.leafNode.signaturePublicKey)
  const context: GroupContext = {
    ...emptyContext,
    cipherSuite: mls.name,
    groupId,
    epoch: EPOCH,
    treeHash: rooms.engine.rootHash(tree),
    confirmedTranscriptHash: crypto.randomBytes(32),
    extensions: rooms.extensions.writeGroupExtensions({
      document: {
        crdtType: 'yjs/1',
        protocolVersion: 1,
        policy: { retainedEpochs: 8, retainedDays: 14, removalMode: 1, rotationHours: 0 }
      },
      servers: {
        servers: [{ id: new Uint8Array(32).fill(1), addresses: ['mem://server'] }],
        faultBound: 0,
        version: 0n
      },
      roles: { roles: [{ member, role: Role.ROLE_ADMIN }], defaultRole: Role.ROLE_EDITOR }
    })
  }
  const epochSecret = crypto.randomBytes(32)
  const keySchedule = await initializeKeySchedule(epochSecret, mls.kdf)
  return {
    context,
    keySchedule,
    confirmationTag: await confirmationTagOf(keySchedule, context, mls),
    encryptionSecret: await deriveSecret(epochSecret, 'encryption', mls.kdf)
  }
}

function confirmationTagOf(
  { confirmationKey }: KeySchedule,
  { confirmedTranscriptHash }: GroupContext,
  { hash }: CiphersuiteImpl
): Promise<Uint8Array> {
  return createConfirmationTag(confirmationKey, confirmedTranscriptHash, hash)
}

const emptyContext = {
  version: 'mls10',
  epoch: 0n,
  treeHash: new Uint8Array(0),
  confirmedTranscriptHash: new Uint8Array(0),
  extensions: []
} satisfies Partial<GroupContext>

/** The secrets of the epoch, each a copy. */
function copied(schedule: KeySchedule): EpochSecrets {
  const { confirmationKey: _, ...kept } = schedule
  return Object.fromEntries(Object.entries(kept).map(([name, secret]) => [name, secret.slice()])) as typeof kept
}
