/**
 * Encoding of the ratchet tree (RFC 9420 section 12.4.3.3), node by node. Nodes are never changed, and a commit touches
 * few of them: the bytes of each are kept for as long as it is in use, so that storing, sending and hashing a large tree
 * encode only what is new. Called by `tree.ts` and `codec.ts`.
 */
import { decodeNode, encodeNode, extendRatchetTree, type Node, type RatchetTree } from 'ts-mls/ratchetTree.js'
import { equalBytes } from '../../bytes.js'
import { ensure, typedSync } from './errors.js'
import { GROUP_INFO_BYTES_MAX, TREE_NODES_MAX } from './limits.js'
import { TlsReader, TlsWriter } from './tls.js'

/** A memo of a pure function: whether it remembers can only be told by the clock. */
const bytesOfNodes = new WeakMap<Node, Uint8Array>()

/** The Node structure, its type first. Not to be changed. */
export function nodeBytes(node: Node): Uint8Array {
  let bytes = bytesOfNodes.get(node)
  if (bytes === undefined) {
    bytes = encodeNode(node)
    bytesOfNodes.set(node, bytes)
  }
  return bytes
}

/** Without the blank nodes at its end. */
export function encodeTree(nodes: RatchetTree): Uint8Array {
  const { count, length } = extentOf(nodes)
  const writer = new TlsWriter(length + 4).vectorLength(length)
  for (let at = 0; at < count; at++) {
    const node = nodes[at]
    writer.uint8(node === undefined ? 0 : 1)
    if (node !== undefined) writer.raw(nodeBytes(node))
  }
  return writer.finish()
}

/** Bytes that `encodeTree` gives, without the length in front. */
export const treeBytes = (nodes: RatchetTree): number => extentOf(nodes).length

function extentOf(nodes: RatchetTree): { readonly count: number; readonly length: number } {
  let count = nodes.length
  while (count > 0 && nodes[count - 1] === undefined) count--
  let length = count
  for (let at = 0; at < count; at++) {
    const node = nodes[at]
    if (node !== undefined) length += nodeBytes(node).length
  }
  return { count, length }
}

/**
 * The tree extended to a full one; its contents are not validated. `bytesMax` is for trees from own storage, which may
 * have grown beyond what a message carries. Shares no memory with the argument. Throws MALFORMED, also for an encoding
 * other than the only one.
 */
export function decodeTree(bytes: Uint8Array, bytesMax: number = GROUP_INFO_BYTES_MAX): RatchetTree {
  // Every node takes a byte at least, so this bounds what is allocated before anything is looked at.
  ensure(bytes.length <= bytesMax, 'MALFORMED', `The ratchet tree has ${bytes.length} bytes`)
  return typedSync('MALFORMED', 'The bytes are no MLS ratchet tree', () => {
    const reader = new TlsReader(bytes)
    const content = reader.vector()
    reader.end()
    const nodes: RatchetTree = []
    for (let at = 0; at < content.length; ) {
      ensure(nodes.length < TREE_NODES_MAX, 'MALFORMED', `The ratchet tree has more than ${TREE_NODES_MAX} nodes`)
      const node = content[at] === 0 ? undefined : decodeNodeAt(content, at)
      at += node === undefined ? 1 : 1 + nodeBytes(node).length
      nodes.push(node)
    }
    ensure(nodes.at(-1) !== undefined, 'MALFORMED', 'The last node of the ratchet tree is blank')
    const full = extendRatchetTree(nodes)
    ensure(full.length <= TREE_NODES_MAX, 'MALFORMED', `The ratchet tree has ${full.length} nodes`)
    return full
  })
}

/** The node after the presence octet at `at`. */
function decodeNodeAt(content: Uint8Array, at: number): Node {
  const [node, length] = (content[at] === 1 ? decodeNode(content, at + 1) : undefined) ?? []
  ensure(node !== undefined && length !== undefined, 'MALFORMED', `Node of the ratchet tree at byte ${at}`)
  const bytes = content.subarray(at + 1, at + 1 + length)
  ensure(equalBytes(encodeNode(node), bytes), 'MALFORMED', 'A node of the ratchet tree is not in its only encoding')
  bytesOfNodes.set(node, bytes)
  return node
}
