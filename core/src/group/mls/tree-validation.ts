/**
 * Validation of a ratchet tree that came from somebody else (RFC 9420 section 12.4.3.1), in O(n log n) and safe against
 * indices out of the tree, which make ts-mls' own validation loop for ever. Called for every GroupInfo.
 */
import { encode } from 'ts-mls/codec/tlsEncoder.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import { parentHashInputEncoder } from 'ts-mls/parentHash.js'
import type { ParentNode } from 'ts-mls/parentNode.js'
import { getHpkePublicKey, type Node, type RatchetTree, resolution } from 'ts-mls/ratchetTree.js'
import { directPath, leafWidth, left, type NodeIndex, right, toNodeIndex } from 'ts-mls/treemath.js'
import { equalBytes } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { ensureValid } from './errors.js'
import { checkLeaf, checkSupports, type LeafRules, requiredCapabilitiesOf } from './leaf.js'
import { TREE_NODES_MAX } from './limits.js'
import {
  below,
  changedNodes,
  type HashedTree,
  hashTree,
  hashWithout,
  leafAt,
  leavesOf,
  parentAt,
  rootHash
} from './tree.js'

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
  checkKeysUnique(nodes)
  checkParentHashes(tree, crypto)
  const required = requiredCapabilitiesOf(context.extensions)
  const leaves = leavesOf(nodes)
  checkCredentialsSupported(nodes)
  for (const { leaf } of leaves) checkSupports(leaf, context.extensions, required)
  for (const { index, leaf } of leaves)
    await checkLeaf(leaf, { groupId: context.groupId, leafIndex: index }, suite, rules)
}

/** Every key in the tree occurs once (RFC 9420 section 7.3). Of `before` that is known: only what is new is looked up. */
export function checkKeysUnique(nodes: RatchetTree, before?: RatchetTree): void {
  const encryptionKeys = new KeySet()
  const signatureKeys = new KeySet()
  const fresh = new Set<Node>()
  for (const at of changedNodes(nodes, before)) {
    const node = nodes[at]
    if (node === undefined) continue
    fresh.add(node)
    ensureValid(encryptionKeys.add(getHpkePublicKey(node)), 'An encryption key occurs twice in the tree')
    if (node.nodeType === 'leaf')
      ensureValid(signatureKeys.add(node.leaf.signaturePublicKey), 'A signature key occurs twice in the tree')
  }
  if (before === undefined || fresh.size === 0) return
  for (const node of nodes) {
    if (node === undefined || fresh.has(node)) continue
    ensureValid(!encryptionKeys.has(getHpkePublicKey(node)), 'An encryption key occurs twice in the tree')
    if (node.nodeType === 'leaf')
      ensureValid(!signatureKeys.has(node.leaf.signaturePublicKey), 'A signature key occurs twice in the tree')
  }
}

/** Every member supports the credential types of all (RFC 9420 section 7.3). Of `before` that is known. */
export function checkCredentialsSupported(nodes: RatchetTree, before?: RatchetTree): void {
  const types = credentialTypes(nodes)
  const known = before === undefined ? new Set() : credentialTypes(before)
  const isKnown = [...types].every((type) => known.has(type))
  for (const at of isKnown ? changedNodes(nodes, before) : nodes.keys()) {
    const leaf = at % 2 === 0 ? leafAt(nodes, at / 2) : undefined
    if (leaf === undefined) continue
    for (const type of types)
      ensureValid(
        leaf.capabilities.credentials.includes(type),
        'A member does not support the credential type of another'
      )
  }
}

function credentialTypes(nodes: RatchetTree): ReadonlySet<LeafNode['credential']['credentialType']> {
  const types = new Set<LeafNode['credential']['credentialType']>()
  for (let at = 0; at < nodes.length; at += 2) {
    const node = nodes[at]
    if (node?.nodeType === 'leaf') types.add(node.leaf.credential.credentialType)
  }
  return types
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

const encodeParentHashInput = encode(parentHashInputEncoder)

/** RFC 9420 section 7.9: the hash that a node below `parent` holds, given the hash of the sibling subtree. */
export function parentHashOf(parent: ParentNode, siblingHash: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.sha256(
    encodeParentHashInput({
      encryptionKey: parent.hpkePublicKey,
      parentHash: parent.parentHash,
      originalSiblingTreeHash: siblingHash
    })
  )
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

/** Byte arrays by their first four bytes, which are different for keys that nobody has made alike. */
class KeySet {
  readonly #keys = new Map<number, Uint8Array[]>()

  /** False when it was in it. */
  add(key: Uint8Array): boolean {
    const start = startOf(key)
    const alike = this.#keys.get(start)
    if (alike === undefined) this.#keys.set(start, [key])
    else if (alike.some((one) => equalBytes(one, key))) return false
    else alike.push(key)
    return true
  }
  has(key: Uint8Array): boolean {
    return this.#keys.get(startOf(key))?.some((one) => equalBytes(one, key)) ?? false
  }
}

function startOf(key: Uint8Array): number {
  return (key[0] ?? 0) | ((key[1] ?? 0) << 8) | ((key[2] ?? 0) << 16) | ((key[3] ?? 0) << 24)
}
