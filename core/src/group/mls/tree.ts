/**
 * The ratchet tree with its tree hashes (RFC 9420 sections 7.7 and 7.8). Trees are never changed in place; a new one takes
 * over the hash of every subtree it shares with the one before, so a commit hashes O(log n) nodes.
 */
import { encode } from 'ts-mls/codec/tlsEncoder.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import type { ParentNode } from 'ts-mls/parentNode.js'
import type { Node, RatchetTree } from 'ts-mls/ratchetTree.js'
import { leafNodeHashInputEncoder, parentNodeHashInputEncoder } from 'ts-mls/treeHash.js'
import { isLeaf, leafWidth, left, type NodeIndex, right, root, toNodeIndex } from 'ts-mls/treemath.js'
import type { CryptoProvider } from '../../crypto/index.js'

type Sha256 = CryptoProvider['sha256']

export interface HashedTree {
  /** Full tree, blanks undefined; even indices are leaves. Never changed. */
  readonly nodes: RatchetTree
  /** Tree hash of the subtree below every node. */
  readonly hashes: readonly Uint8Array[]
}

export interface LeafEntry {
  readonly index: number
  readonly leaf: LeafNode
}

/** The leaf, or undefined when it is blank or the index is out of the tree: safe for any number. */
export function leafAt(nodes: RatchetTree, leafIndex: number): LeafNode | undefined {
  if (!Number.isSafeInteger(leafIndex) || leafIndex < 0 || 2 * leafIndex >= nodes.length) return undefined
  const node = nodes[2 * leafIndex]
  return node?.nodeType === 'leaf' ? node.leaf : undefined
}

/** The parent node, or undefined when it is blank or none. */
export function parentAt(nodes: RatchetTree, nodeIndex: number): ParentNode | undefined {
  const node = nodes[nodeIndex]
  return node?.nodeType === 'parent' ? node.parent : undefined
}

/** All leaves that are not blank, by ascending index. */
export function leavesOf(nodes: RatchetTree): readonly LeafEntry[] {
  const leaves: LeafEntry[] = []
  for (let index = 0; 2 * index < nodes.length; index++) {
    const leaf = leafAt(nodes, index)
    if (leaf !== undefined) leaves.push({ index, leaf })
  }
  return leaves
}

export function rootOf(nodes: RatchetTree): NodeIndex {
  return root(leafWidth(nodes.length))
}

export function rootHash(tree: HashedTree): Uint8Array {
  return hashAt(tree, rootOf(tree.nodes))
}

export function hashAt(tree: HashedTree, nodeIndex: number): Uint8Array {
  const hash = tree.hashes[nodeIndex]
  if (hash === undefined) throw new RangeError(`no tree hash at node ${nodeIndex}`)
  return hash
}

/** Hashes the tree, taking over the hash of every subtree that `previous` has at the same place. */
export function hashTree(nodes: RatchetTree, sha256: Sha256, previous?: HashedTree): HashedTree {
  const hashes = new Array<Uint8Array>(nodes.length)
  const kept = (at: NodeIndex) =>
    previous !== undefined && at < previous.nodes.length && previous.nodes[at] === nodes[at]
      ? previous.hashes[at]
      : undefined
  const visit = (at: NodeIndex): Uint8Array => {
    let hash = kept(at)
    if (isLeaf(at)) hash ??= sha256(leafHashInput(nodes[at], at))
    else {
      const [l, r] = [left(at), right(at)]
      const [leftHash, rightHash] = [visit(l), visit(r)]
      if (previous?.hashes[l] !== leftHash || previous.hashes[r] !== rightHash) hash = undefined
      hash ??= sha256(parentHashInput(parentAt(nodes, at), leftHash, rightHash))
    }
    hashes[at] = hash
    return hash
  }
  visit(rootOf(nodes))
  return { nodes, hashes }
}

/** Tree hash of a subtree as it was before the leaves in `without` were added (RFC 9420 section 7.9). */
export function hashWithout(tree: HashedTree, at: NodeIndex, without: ReadonlySet<number>, sha256: Sha256): Uint8Array {
  if (without.size === 0) return hashAt(tree, at)
  if (isLeaf(at)) return sha256(leafHashInput(without.has(at / 2) ? undefined : tree.nodes[at], at))
  const parent = parentAt(tree.nodes, at)
  const before = parent && {
    ...parent,
    unmergedLeaves: parent.unmergedLeaves.filter((leafIndex) => !without.has(leafIndex))
  }
  const leftHash = hashWithout(tree, left(at), below(without, at, 'left'), sha256)
  const rightHash = hashWithout(tree, right(at), below(without, at, 'right'), sha256)
  return sha256(parentHashInput(before, leftHash, rightHash))
}

/** Those of the leaves that lie on one side of a node. */
export function below(leafIndices: Iterable<number>, at: number, side: 'left' | 'right'): ReadonlySet<number> {
  const found = new Set<number>()
  for (const leafIndex of leafIndices) if (2 * leafIndex < at === (side === 'left')) found.add(leafIndex)
  return found
}

/** The child of `at` that is not on the way to the leaf. */
export function siblingBelow(at: number, leafIndex: number): NodeIndex {
  return 2 * leafIndex < at ? right(toNodeIndex(at)) : left(toNodeIndex(at))
}

const encodeLeafInput = encode(leafNodeHashInputEncoder)
const encodeParentInput = encode(parentNodeHashInputEncoder)

function leafHashInput(node: Node | undefined, at: NodeIndex): Uint8Array {
  const leafNode = node?.nodeType === 'leaf' ? node.leaf : undefined
  return encodeLeafInput({ nodeType: 'leaf', leafIndex: at / 2, leafNode })
}
function parentHashInput(parentNode: ParentNode | undefined, leftHash: Uint8Array, rightHash: Uint8Array): Uint8Array {
  return encodeParentInput({ nodeType: 'parent', parentNode, leftHash, rightHash })
}
