/**
 * UpdatePath (RFC 9420 sections 7.4 to 7.6 and 7.9): making one, applying its public half to the tree as every observer
 * does, and opening its secret half as a member does. Called by `stage-commit.ts` and `member-state.ts`.
 */
import { deriveSecret } from 'ts-mls/crypto/kdf.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import { type LeafNodeCommit, signLeafNodeCommit } from 'ts-mls/leafNode.js'
import { filteredDirectPathAndCopathResolution, getHpkePublicKey, type RatchetTree } from 'ts-mls/ratchetTree.js'
import { directPath, isAncestor, leafWidth, toLeafIndex, toNodeIndex } from 'ts-mls/treemath.js'
import type { UpdatePath, UpdatePathNode } from 'ts-mls/updatePath.js'
import { equalBytes } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { HeddleError } from '../../errors.js'
import { encodeContext } from './codec.js'
import { ensureValid } from './errors.js'
import { label } from './kdf.js'
import { TlsWriter, vectorBytes } from './tls.js'
import { type HashedTree, hashAt, hashTree, leafAt, rootHash, siblingBelow } from './tree.js'
import { parentHashOf } from './tree-validation.js'

const NO_PARENT_HASH = new Uint8Array(0)
const UPDATE_PATH_NODE = label('UpdatePathNode')

/** A node of the filtered direct path and the nodes its path secret is encrypted to, upwards from the leaf. */
export interface PathStep {
  readonly nodeIndex: number
  readonly recipients: readonly number[]
}

/** The filtered direct path of a leaf; leaves in `added` get their secrets by Welcome and are no recipients. */
export function pathSteps(nodes: RatchetTree, leafIndex: number, added: readonly number[]): readonly PathStep[] {
  const welcomed = new Set(added.map((index) => 2 * index))
  return filteredDirectPathAndCopathResolution(toLeafIndex(leafIndex), nodes).map(({ nodeIndex, resolution }) => ({
    nodeIndex,
    recipients: resolution.filter((at) => !welcomed.has(at))
  }))
}

/** Applies the public half. `tree` is the tree after the proposals. Throws INVALID. */
export function applyUpdatePath(
  tree: HashedTree,
  committer: number,
  path: UpdatePath,
  steps: readonly PathStep[],
  crypto: CryptoProvider
): HashedTree {
  ensureValid(path.nodes.length === steps.length, 'The update path has not the length of the filtered direct path')
  for (const [i, { recipients }] of steps.entries()) {
    const node = path.nodes[i]
    ensureValid(
      node?.encryptedPathSecret.length === recipients.length,
      'The update path has not one ciphertext for every recipient'
    )
  }
  const publicKeys = path.nodes.map(({ hpkePublicKey }) => hpkePublicKey)
  const { nodes, leafParentHash } = setPath(tree, committer, steps, publicKeys, crypto)
  ensureValid(
    equalBytes(leafParentHash, path.leafNode.parentHash),
    'The parent hash in the leaf is not that of the update path'
  )
  nodes[2 * committer] = { nodeType: 'leaf', leaf: path.leafNode }
  return hashTree(nodes, crypto.sha256, tree)
}

export interface CreatedPath {
  readonly path: UpdatePath
  readonly tree: HashedTree
  /** Path secrets by node index: what a joiner below that node is told. */
  readonly pathSecrets: ReadonlyMap<number, Uint8Array>
  /** New private keys by node index, the leaf's included. */
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
  readonly commitSecret: Uint8Array
}

/**
 * Makes an UpdatePath for the committer's leaf. `context` is the context of the new epoch but for tree hash and
 * transcript hash; `extensions` of the leaf stay as they are.
 */
export async function createUpdatePath(
  tree: HashedTree,
  committer: number,
  context: GroupContext,
  steps: readonly PathStep[],
  signatureKey: Uint8Array,
  crypto: CryptoProvider,
  suite: CipherSuite
): Promise<CreatedPath> {
  const { mls } = suite
  const leaf = leafAt(tree.nodes, committer)
  ensureValid(leaf !== undefined, 'The committer has no leaf')
  let secret = crypto.randomBytes(mls.kdf.size)
  const leafKeys = await nodeKeys(secret, suite)
  const privateKeys = new Map([[2 * committer, leafKeys.privateKey]])
  const pathSecrets = new Map<number, Uint8Array>()
  const publicKeys: Uint8Array[] = []
  for (const { nodeIndex } of steps) {
    secret = await deriveSecret(secret, 'path', mls.kdf)
    const keys = await nodeKeys(secret, suite)
    pathSecrets.set(nodeIndex, secret)
    privateKeys.set(nodeIndex, keys.privateKey)
    publicKeys.push(keys.publicKey)
  }
  const commitSecret = await deriveSecret(secret, 'path', mls.kdf)

  const { nodes, leafParentHash } = setPath(tree, committer, steps, publicKeys, crypto)
  const leafNode: LeafNodeCommit = withoutPlace(
    await signLeafNodeCommit(
      {
        leafNodeSource: 'commit',
        hpkePublicKey: leafKeys.publicKey,
        signaturePublicKey: leaf.signaturePublicKey,
        credential: leaf.credential,
        capabilities: leaf.capabilities,
        extensions: leaf.extensions,
        parentHash: leafParentHash,
        groupId: context.groupId,
        leafIndex: committer
      },
      signatureKey,
      mls.signature
    )
  )
  nodes[2 * committer] = { nodeType: 'leaf', leaf: leafNode }
  const next = hashTree(nodes, crypto.sha256, tree)
  const info = encryptContext(context, next)
  const pathNodes: UpdatePathNode[] = []
  for (const [i, { nodeIndex, recipients }] of steps.entries()) {
    const pathSecret = pathSecrets.get(nodeIndex)
    const hpkePublicKey = publicKeys[i]
    if (pathSecret === undefined || hpkePublicKey === undefined) throw new RangeError('path without secret')
    const encryptedPathSecret = []
    for (const at of recipients) {
      const key = await mls.hpke.importPublicKey(publicKeyAt(tree.nodes, at))
      const { enc, ct } = await mls.hpke.seal(key, pathSecret, info)
      encryptedPathSecret.push({ kemOutput: enc, ciphertext: ct })
    }
    pathNodes.push({ hpkePublicKey, encryptedPathSecret })
  }
  return { path: { leafNode, nodes: pathNodes }, tree: next, pathSecrets, privateKeys, commitSecret }
}

export interface OpenedPath {
  /** New private keys by node index. */
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
  readonly commitSecret: Uint8Array
}

/**
 * Opens the secret half of another member's path with the private keys this member has. `tree` is the tree with the path
 * applied, `context` that of the new epoch but for the transcript hash. Throws INVALID when the secrets do not fit the
 * public keys, UNDECRYPTABLE when they cannot be opened.
 */
export async function openUpdatePath(
  tree: HashedTree,
  me: number,
  path: UpdatePath,
  steps: readonly PathStep[],
  privateKeysBefore: ReadonlyMap<number, Uint8Array>,
  context: GroupContext,
  suite: CipherSuite
): Promise<OpenedPath> {
  const first = steps.findIndex(({ nodeIndex }) => isAbove(tree.nodes, nodeIndex, me))
  const shared = steps[first]
  const ciphertexts = path.nodes[first]?.encryptedPathSecret
  ensureValid(shared !== undefined && ciphertexts !== undefined, 'The update path has no node above this member')
  for (const [i, at] of shared.recipients.entries()) {
    const privateKey = privateKeysBefore.get(at)
    const sealed = ciphertexts[i]
    if (privateKey === undefined || sealed === undefined) continue
    const { hpke } = suite.mls
    const key = await hpke.importPrivateKey(privateKey)
    const secret = await hpke.open(key, sealed.kemOutput, sealed.ciphertext, encryptContext(context, tree))
    ensureValid(secret.length === suite.mls.kdf.size, 'A path secret has not the length of the hash')
    return followPath(tree.nodes, steps.slice(first), secret, suite)
  }
  throw new HeddleError('UNDECRYPTABLE', 'The update path is not encrypted to any key this member has')
}

/**
 * Private keys and commit secret from a path secret at the first of `steps` upwards, which is zeroed; each key must fit the
 * public key in the tree (RFC 9420 section 7.5). Throws INVALID.
 */
export async function followPath(
  nodes: RatchetTree,
  steps: readonly PathStep[],
  pathSecret: Uint8Array,
  suite: CipherSuite
): Promise<OpenedPath> {
  const privateKeys = new Map<number, Uint8Array>()
  let secret = pathSecret
  for (const [i, { nodeIndex }] of steps.entries()) {
    if (i > 0) secret = await nextPathSecret(secret, suite)
    const keys = await nodeKeys(secret, suite)
    ensureValid(
      equalBytes(keys.publicKey, publicKeyAt(nodes, nodeIndex)),
      'A path secret does not fit the public key in the tree'
    )
    privateKeys.set(nodeIndex, keys.privateKey)
  }
  return { privateKeys, commitSecret: await nextPathSecret(secret, suite) }
}

/** Zeroes the secret it derives from. */
async function nextPathSecret(secret: Uint8Array, { mls }: CipherSuite): Promise<Uint8Array> {
  const next = await deriveSecret(secret, 'path', mls.kdf)
  secret.fill(0)
  return next
}

/** EncryptContext of path secrets (RFC 9420 section 5.1.3), the same for all recipients. `tree` is that of the new epoch. */
function encryptContext(context: GroupContext, tree: HashedTree): Uint8Array {
  const encoded = encodeContext({ ...context, treeHash: rootHash(tree) })
  const writer = new TlsWriter(vectorBytes(UPDATE_PATH_NODE.length) + vectorBytes(encoded.length))
  return writer.vector(UPDATE_PATH_NODE).vector(encoded).finish()
}

/** Whether the node lies on the direct path of the leaf. */
export function isAbove(nodes: RatchetTree, nodeIndex: number, leafIndex: number): boolean {
  return isAncestor(toNodeIndex(2 * leafIndex), toNodeIndex(nodeIndex), nodes.length)
}

/** The tree with the direct path blanked and the new keys on the filtered one; the leaf is still the old one. */
function setPath(
  tree: HashedTree,
  committer: number,
  steps: readonly PathStep[],
  publicKeys: readonly Uint8Array[],
  crypto: CryptoProvider
): { nodes: RatchetTree; leafParentHash: Uint8Array } {
  const nodes = tree.nodes.slice()
  for (const at of directPath(toNodeIndex(2 * committer), leafWidth(nodes.length))) nodes[at] = undefined
  let parentHash: Uint8Array = NO_PARENT_HASH
  for (const [i, { nodeIndex }] of [...steps.entries()].reverse()) {
    const hpkePublicKey = publicKeys[i]
    if (hpkePublicKey === undefined) throw new RangeError('path without public key')
    const parent = { hpkePublicKey, parentHash, unmergedLeaves: [] }
    nodes[nodeIndex] = { nodeType: 'parent', parent }
    parentHash = parentHashOf(parent, hashAt(tree, siblingBelow(nodeIndex, committer)), crypto)
  }
  return { nodes, leafParentHash: parentHash }
}

async function nodeKeys(
  pathSecret: Uint8Array,
  { mls }: CipherSuite
): Promise<{ publicKey: Uint8Array; privateKey: Uint8Array }> {
  const nodeSecret = await deriveSecret(pathSecret, 'node', mls.kdf)
  const { publicKey, privateKey } = await mls.hpke.deriveKeyPair(nodeSecret)
  nodeSecret.fill(0)
  return {
    publicKey: await mls.hpke.exportPublicKey(publicKey),
    privateKey: await mls.hpke.exportPrivateKey(privateKey)
  }
}

function publicKeyAt(nodes: RatchetTree, at: number): Uint8Array {
  const node = nodes[at]
  ensureValid(node !== undefined, `Node ${at} of the tree is blank`)
  return getHpkePublicKey(node)
}

/** ts-mls leaves group id and leaf index, which are signed but not part of a LeafNode, on what it signed. */
function withoutPlace(leaf: LeafNodeCommit): LeafNodeCommit {
  const { hpkePublicKey, signaturePublicKey, credential, capabilities, extensions, parentHash, signature } = leaf
  return {
    leafNodeSource: 'commit',
    hpkePublicKey,
    signaturePublicKey,
    credential,
    capabilities,
    extensions,
    parentHash,
    signature
  }
}
