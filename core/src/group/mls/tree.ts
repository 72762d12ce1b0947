/**
 * The ratchet tree with its tree hashes (RFC 9420 sections 7.7 and 7.8). Trees are never changed in place; a new one takes
 * over the hash of every subtree it shares with the one before, so a commit hashes O(log n) nodes.
 */
import type { LeafNode } from 'ts-mls/leafNode.js'
import type { ParentNode } from 'ts-mls/parentNode.js'
import { getHpkePublicKey, type Node, type RatchetTree } from 'ts-mls/ratchetTree.js'
import { isLeaf, leafWidth, left, type NodeIndex, parent, right, root, toNodeIndex } from 'ts-mls/treemath.js'
import type { CryptoProvider } from '../../crypto/index.js'
import { NODE_TYPE, nodeBytes } from './node-codec.js'
import { TlsWriter } from './tls.js'

type Sha256 = CryptoProvider['sha256']

export interface HashedTree {
  /** Full tree, blanks undefined; even indices are leaves. Never changed. */
  readonly nodes: RatchetTree
  /** Tree hash of the subtree below every node; in trees made of one another, the same array for the same subtree. */
  readonly hashes: readonly Uint8Array[]
  /** First four bytes of the HPKE key of every node and of the signature key of every leaf, 0 for none: to find keys by. */
  readonly keyStarts: { readonly hpke: Int32Array; readonly signature: Int32Array }
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

/** Indices at which the tree differs from the one before, by identity: nodes are never changed in place. */
export function changedNodes(nodes: RatchetTree, before: RatchetTree | undefined): readonly number[] {
  const changed: number[] = []
  const shared = before === undefined ? 0 : Math.min(nodes.length, before.length)
  for (let at = 0; at < nodes.length; at++) if (at >= shared || nodes[at] !== before?.[at]) changed.push(at)
  return changed
}

/**
 * `changedNodes` of hashed trees, without a look at what they share: of a tree made of `before` by commits it finds what
 * these have touched.
 */
export function changedSince(tree: HashedTree, before: HashedTree): readonly number[] {
  const changed: number[] = []
  const visit = (at: NodeIndex): void => {
    if (tree.hashes[at] === before.hashes[at]) return
    if (!isLeaf(at)) visit(left(at))
    if (at >= before.nodes.length || tree.nodes[at] !== before.nodes[at]) changed.push(at)
    if (!isLeaf(at)) visit(right(at))
  }
  visit(rootOf(tree.nodes))
  return changed
}

/** Hashes the tree, taking over the hash of every subtree that `previous` has at the same place. */
export function hashTree(nodes: RatchetTree, sha256: Sha256, previous?: HashedTree): HashedTree {
  if (nodes === previous?.nodes) return previous
  const hashes: (Uint8Array | undefined)[] = previous?.hashes.slice(0, nodes.length) ?? []
  hashes.length = nodes.length
  const keyStarts = {
    hpke: resized(previous?.keyStarts.hpke, nodes.length),
    signature: resized(previous?.keyStarts.signature, nodes.length)
  }
  // An index has the same subtree below it in trees of any width, so only nodes above a change need a new hash.
  const top = rootOf(nodes)
  const width = leafWidth(nodes.length)
  for (const changed of changedNodes(nodes, previous?.nodes)) {
    const node = nodes[changed]
    keyStarts.hpke[changed] = node === undefined ? 0 : startOf(getHpkePublicKey(node))
    keyStarts.signature[changed] = node?.nodeType === 'leaf' ? startOf(node.leaf.signaturePublicKey) : 0
    let at = toNodeIndex(changed)
    while (hashes[at] !== undefined && at !== top) {
      hashes[at] = undefined
      at = parent(at, width)
    }
    hashes[at] = undefined
  }
  const visit = (at: NodeIndex): Uint8Array => {
    let hash = hashes[at]
    if (hash === undefined) {
      hash = sha256(
        isLeaf(at)
          ? leafHashInput(nodes[at], at)
          : parentHashInput(parentNodeAt(nodes, at), visit(left(at)), visit(right(at)))
      )
      hashes[at] = hash
    }
    return hash
  }
  visit(top)
  return { nodes, hashes: hashes as Uint8Array[], keyStarts }
}

function resized(starts: Int32Array | undefined, length: number): Int32Array {
  if (starts?.length === length) return starts.slice()
  const copy = new Int32Array(length)
  if (starts !== undefined) copy.set(starts.subarray(0, length))
  return copy
}

/** What `keyStarts` holds of a key. */
export function startOf(key: Uint8Array): number {
  return (key[0] ?? 0) | ((key[1] ?? 0) << 8) | ((key[2] ?? 0) << 16) | ((key[3] ?? 0) << 24)
}

/** Tree hash of a subtree as it was before the leaves in `without` were added (RFC 9420 section 7.9). */
export function hashWithout(tree: HashedTree, at: NodeIndex, without: ReadonlySet<number>, sha256: Sha256): Uint8Array {
  if (without.size === 0) return hashAt(tree, at)
  if (isLeaf(at)) return sha256(leafHashInput(without.has(at / 2) ? undefined : tree.nodes[at], at))
  const node = parentAt(tree.nodes, at)
  const before = node && parentWithout(node, without)
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

function parentWithout(parent: ParentNode, without: ReadonlySet<number>): Node {
  const unmergedLeaves = parent.unmergedLeaves.filter((leafIndex) => !without.has(leafIndex))
  return { nodeType: 'parent', parent: { ...parent, unmergedLeaves } }
}

function parentNodeAt(nodes: RatchetTree, at: number): Node | undefined {
  const node = nodes[at]
  return node?.nodeType === 'parent' ? node : undefined
}

/** TreeHashInput of a leaf. */
function leafHashInput(node: Node | undefined, at: NodeIndex): Uint8Array {
  const bytes = node?.nodeType === 'leaf' ? nodeBytes(node) : undefined
  const writer = new TlsWriter((bytes?.length ?? 0) + 8).uint8(NODE_TYPE.leaf).uint32(at / 2)
  return optional(writer, bytes).finish()
}

/** TreeHashInput of a parent node. */
function parentHashInput(node: Node | undefined, leftHash: Uint8Array, rightHash: Uint8Array): Uint8Array {
  const bytes = node && nodeBytes(node)
  const writer = new TlsWriter((bytes?.length ?? 0) + 72).uint8(NODE_TYPE.parent)
  return optional(writer, bytes).vector(leftHash).vector(rightHash).finish()
}

function optional(writer: TlsWriter, bytes: Uint8Array | undefined): TlsWriter {
  return bytes === undefined ? writer.uint8(0) : writer.uint8(1).raw(bytes)
}
