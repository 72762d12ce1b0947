/**
 * Validation of a ratchet tree that came from somebody else (RFC 9420 section 12.4.3.1), in O(n log n) but for a native
 * scan of 4 bytes a node for each key, and safe against indices out of the tree, which make ts-mls' own validation loop
 * for ever. Called for every GroupInfo.
 */
import type { GroupContext } from 'ts-mls/groupContext.js'
import type { ParentNode } from 'ts-mls/parentNode.js'
import { getHpkePublicKey, type Node, type RatchetTree, resolution } from 'ts-mls/ratchetTree.js'
import { directPath, leafWidth, left, type NodeIndex, right, toNodeIndex } from 'ts-mls/treemath.js'
import { equalBytes } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { eachOf } from './each-of.js'
import { ensureValid } from './errors.js'
import { checkLeaf, checkSupports, type LeafRules, requiredCapabilitiesOf } from './leaf.js'
import { TREE_NODES_MAX } from './limits.js'
import { TlsWriter, vectorBytes } from './tls.js'
import {
  below,
  changedSince,
  type HashedTree,
  hashTree,
  hashWithout,
  leafAt,
  leavesOf,
  parentAt,
  rootHash,
  startOf
} from './tree.js'

/** Signatures verified at a time: enough for every core, and little for others to wait for who use the same threads. */
const VERIFYING_MAX = 8
/** Smaller trees are not worth other threads, whose answers come at no time that a simulation's clock knows of. */
const OFF_THREAD_LEAVES_MIN = 64

/** The tree that a group context names by its hash; what is in it is not validated. Throws INVALID. */
export function treeWithHash(
  nodes: RatchetTree,
  treeHash: Uint8Array,
  suite: CipherSuite,
  sha256: CryptoProvider['sha256']
): HashedTree {
  checkStructure(nodes, suite)
  const tree = hashTree(nodes, sha256)
  ensureValid(equalBytes(rootHash(tree), treeHash), 'The tree hash is not that of the group context')
  return tree
}

/** Throws INVALID, BAD_SIGNATURE, or what `rules` throws. */
export async function validateTree(
  tree: HashedTree,
  context: Pick<GroupContext, 'groupId' | 'extensions'>,
  crypto: CryptoProvider,
  suite: CipherSuite,
  rules: LeafRules
): Promise<void> {
  const { nodes } = tree
  checkKeysUnique(tree)
  checkParentHashes(tree, crypto)
  const required = requiredCapabilitiesOf(context.extensions)
  const leaves = leavesOf(nodes)
  checkCredentialsSupported(tree)
  for (const { leaf } of leaves) checkSupports(leaf, context.extensions, required)
  const { groupId } = context
  const verify = leaves.length < OFF_THREAD_LEAVES_MIN ? suite.mls.signature.verify : crypto.verifyOffThread
  await eachOf(leaves, VERIFYING_MAX, ({ index, leaf }) =>
    checkLeaf(leaf, { groupId, leafIndex: index }, suite, rules, verify)
  )
}

/** Every key in the tree occurs once (RFC 9420 section 7.3). Of `before` that is known: only what is new is looked up. */
export function checkKeysUnique(tree: HashedTree, before?: HashedTree): void {
  if (before === undefined) for (const at of tree.nodes.keys()) checkKeysAt(tree, at, at + 1)
  else for (const at of changedSince(tree, before)) checkKeysAt(tree, at, 0)
}

/** The keys of one node are at no other from `first` on. */
function checkKeysAt({ nodes, keyStarts }: HashedTree, at: number, first: number): void {
  const node = nodes[at]
  if (node === undefined) return
  const hpkeKey = getHpkePublicKey(node)
  for (const other of placesOf(keyStarts.hpke, hpkeKey, first)) {
    const same = other === at ? undefined : nodes[other]
    ensureValid(
      same === undefined || !equalBytes(getHpkePublicKey(same), hpkeKey),
      'An encryption key occurs twice in the tree'
    )
  }
  if (node.nodeType !== 'leaf') return
  const { signaturePublicKey } = node.leaf
  for (const other of placesOf(keyStarts.signature, signaturePublicKey, first)) {
    const same = other === at ? undefined : leafAt(nodes, other / 2)
    ensureValid(
      same === undefined || !equalBytes(same.signaturePublicKey, signaturePublicKey),
      'A signature key occurs twice in the tree'
    )
  }
}

/** Where a key may be: keys that nobody has made alike differ in their first four bytes. */
function placesOf(starts: Int32Array, key: Uint8Array, first: number): readonly number[] {
  const places: number[] = []
  const start = startOf(key)
  for (let at = starts.indexOf(start, first); at >= 0; at = starts.indexOf(start, at + 1)) places.push(at)
  return places
}

/** Every member supports the credential types of all (RFC 9420 section 7.3). Of `before` that is known. */
export function checkCredentialsSupported(tree: HashedTree, before?: HashedTree): void {
  if (
    before !== undefined &&
    changedSince(tree, before).every((at) => supportsNoLess(tree.nodes[at], before.nodes[at]))
  )
    return
  const leaves = leavesOf(tree.nodes)
  const types = new Set(leaves.map(({ leaf }) => leaf.credential.credentialType))
  for (const { leaf } of leaves)
    for (const type of types)
      ensureValid(
        leaf.capabilities.credentials.includes(type),
        'A member does not support the credential type of another'
      )
}

/** Whether a node neither brings a credential type nor supports fewer than the one in its place did. */
function supportsNoLess(now: Node | undefined, before: Node | undefined): boolean {
  if (now?.nodeType !== 'leaf') return true
  if (before?.nodeType !== 'leaf') return false
  const supported = now.leaf.capabilities.credentials
  return (
    now.leaf.credential.credentialType === before.leaf.credential.credentialType &&
    before.leaf.capabilities.credentials.every((type) => supported.includes(type))
  )
}

/** Node kinds, and unmerged leaves: ascending, below their node, and unmerged in everything between. */
function checkStructure(nodes: RatchetTree, suite: CipherSuite): void {
  ensureValid(nodes.length > 0 && nodes.length <= TREE_NODES_MAX, `A tree of ${nodes.length} nodes`)
  const width = leafWidth(nodes.length)
  for (const [at, node] of nodes.entries()) {
    if (node === undefined) continue
    ensureValid((node.nodeType === 'leaf') === (at % 2 === 0), 'A leaf in the place of a parent node, or the reverse')
    ensureValid(suite.isHpkeKey(getHpkePublicKey(node)), 'An encryption key in the tree is no HPKE key of the suite')
    if (node.nodeType === 'leaf') {
      ensureValid(node.leaf.signaturePublicKey.length === 32, 'A signature key in the tree is no Ed25519 key')
      continue
    }
    let last = -1
    for (const leafIndex of node.parent.unmergedLeaves) {
      ensureValid(
        leafIndex > last && leafAt(nodes, leafIndex) !== undefined,
        'An unmerged leaf that is not in the tree'
      )
      last = leafIndex
      const path = directPath(toNodeIndex(2 * leafIndex), width)
      const own = path.indexOf(toNodeIndex(at))
      ensureValid(own >= 0, 'An unmerged leaf that is not below its node')
      for (const between of path.slice(0, own))
        ensureValid(
          parentAt(nodes, between)?.unmergedLeaves.includes(leafIndex) ?? true,
          'An unmerged leaf that a node between does not list'
        )
    }
  }
}

/** RFC 9420 section 7.9: the hash that a node below `parent` holds, given the hash of the sibling subtree. */
export function parentHashOf(parent: ParentNode, siblingHash: Uint8Array, crypto: CryptoProvider): Uint8Array {
  const input = [parent.hpkePublicKey, parent.parentHash, siblingHash]
  const writer = new TlsWriter(input.reduce((bytes, { length }) => bytes + vectorBytes(length), 0))
  for (const part of input) writer.vector(part)
  return crypto.sha256(writer.finish())
}

/** RFC 9420 section 7.9.2: every parent node is vouched for by exactly one node below it. */
function checkParentHashes(tree: HashedTree, crypto: CryptoProvider): void {
  for (const at of tree.nodes.keys()) {
    const parent = at % 2 === 1 ? parentAt(tree.nodes, at) : undefined
    if (parent === undefined) continue
    const [l, r] = [left(toNodeIndex(at)), right(toNodeIndex(at))]
    const unmerged = {
      left: below(parent.unmergedLeaves, at, 'left'),
      right: below(parent.unmergedLeaves, at, 'right')
    }
    ensureValid(
      vouches(tree, parent, { child: l, unmerged: unmerged.left, sibling: r, without: unmerged.right }, crypto) ||
        vouches(tree, parent, { child: r, unmerged: unmerged.right, sibling: l, without: unmerged.left }, crypto),
      'A parent hash does not verify'
    )
  }
}

/** Whether a node in the resolution of `child` holds the parent hash of `parent`, and all others there are unmerged. */
function vouches(
  tree: HashedTree,
  parent: ParentNode,
  {
    child,
    unmerged,
    sibling,
    without
  }: { child: NodeIndex; unmerged: ReadonlySet<number>; sibling: NodeIndex; without: ReadonlySet<number> },
  crypto: CryptoProvider
): boolean {
  const found = resolution(tree.nodes, child)
  if (found.length !== unmerged.size + 1) return false
  const [own, ...others] = found.filter((at) => at % 2 === 1 || !unmerged.has(at / 2))
  if (own === undefined || others.length > 0) return false
  const held = heldParentHash(tree.nodes, own)
  return (
    held !== undefined &&
    equalBytes(held, parentHashOf(parent, hashWithout(tree, sibling, without, crypto.sha256), crypto))
  )
}

function heldParentHash(nodes: RatchetTree, at: NodeIndex): Uint8Array | undefined {
  const node = nodes[at]
  if (node?.nodeType === 'parent') return node.parent.parentHash
  return node?.leaf.leafNodeSource === 'commit' ? node.leaf.parentHash : undefined
}
