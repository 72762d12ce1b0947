/** Encoding of the ratchet tree (RFC 9420 section 12.4.3.3). Called by `codec.ts` and who stores or sends a tree. */
import { extendRatchetTree, type RatchetTree } from 'ts-mls/ratchetTree.js'
import { ensure, typedSync } from './errors.js'
import { GROUP_INFO_BYTES_MAX, TREE_NODES_MAX } from './limits.js'
import { NODE_TYPE, NodeReader, nodeBytes } from './node-codec.js'
import { TlsReader, TlsWriter } from './tls.js'

/** Without the blank nodes at its end. */
export function encodeTree(nodes: RatchetTree): Uint8Array {
  const { count, length } = extentOf(nodes)
  const prefix = new TlsWriter(4).vectorLength(length).finish()
  const bytes = new Uint8Array(prefix.length + length)
  bytes.set(prefix)
  let at = prefix.length
  for (let i = 0; i < count; i++) {
    const node = nodes[i]
    if (node === undefined) at++
    else {
      const content = nodeBytes(node)
      bytes[at] = 1
      bytes[at + 1] = NODE_TYPE[node.nodeType]
      bytes.set(content, at + 2)
      at += 2 + content.length
    }
  }
  return bytes
}

/** Bytes that `encodeTree` gives, without the length in front. */
export const treeBytes = (nodes: RatchetTree): number => extentOf(nodes).length

function extentOf(nodes: RatchetTree): { readonly count: number; readonly length: number } {
  let count = nodes.length
  while (count > 0 && nodes[count - 1] === undefined) count--
  let length = count
  for (let at = 0; at < count; at++) {
    const node = nodes[at]
    if (node !== undefined) length += 1 + nodeBytes(node).length
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
    const outer = new TlsReader(bytes)
    const reader = new TlsReader(outer.vector())
    outer.end()
    const reading = new NodeReader(reader)
    const nodes: RatchetTree = []
    while (reader.more) {
      ensure(nodes.length < TREE_NODES_MAX, 'MALFORMED', `The ratchet tree has more than ${TREE_NODES_MAX} nodes`)
      const presence = reader.uint8()
      ensure(presence <= 1, 'MALFORMED', `Node ${nodes.length} of the ratchet tree is neither there nor blank`)
      nodes.push(presence === 0 ? undefined : reading.next())
    }
    ensure(nodes.at(-1) !== undefined, 'MALFORMED', 'The last node of the ratchet tree is blank')
    const full = extendRatchetTree(nodes)
    ensure(full.length <= TREE_NODES_MAX, 'MALFORMED', `The ratchet tree has ${full.length} nodes`)
    return full
  })
}
