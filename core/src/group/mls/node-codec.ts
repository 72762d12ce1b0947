/**
 * Encoding of one node of the ratchet tree (RFC 9420 sections 7.1 and 7.2). Nodes are never changed, and a commit touches
 * few of them: the bytes of each are kept with it, so that storing, sending, hashing and verifying a large tree encode
 * only what is new. Decoding takes the only encoding and no other. Called by `tree-codec.ts`, `tree.ts` and `leaf.ts`.
 */
import { type Capabilities, capabilitiesEncoder, decodeCapabilities } from 'ts-mls/capabilities.js'
import type { Credential } from 'ts-mls/credential.js'
import { type DefaultExtensionTypeName, defaultExtensionTypes } from 'ts-mls/defaultExtensionType.js'
import type { Extension } from 'ts-mls/extension.js'
import { encodeLeafNode, type LeafNode } from 'ts-mls/leafNode.js'
import { encodeParentNode, type ParentNode } from 'ts-mls/parentNode.js'
import type { Node } from 'ts-mls/ratchetTree.js'
import { equalBytes } from '../../bytes.js'
import { HeddleError } from '../../errors.js'
import { decodeExact } from './exact.js'
import { TlsReader } from './tls.js'

export const NODE_TYPE = { leaf: 1, parent: 2 } as const
const CREDENTIAL = { basic: 1, x509: 2 } as const
const SOURCE = { keyPackage: 1, update: 2, commit: 3 } as const
const namesOfExtensions = new Map<number, DefaultExtensionTypeName>(
  (Object.keys(defaultExtensionTypes) as DefaultExtensionTypeName[]).map((name) => [defaultExtensionTypes[name], name])
)

/**
 * Where the bytes of a leaf or parent are kept: on itself, since the table of a WeakMap is rebuilt in the middle of a
 * commit when a collection has emptied it, and not enumerable, so that a changed copy is without.
 */
const encoding = Symbol('encoding')
interface Remembering {
  readonly [encoding]?: Uint8Array
}

/** The LeafNode or ParentNode structure: a Node without its type. Not to be changed. */
export function nodeBytes(node: Node): Uint8Array {
  return node.nodeType === 'leaf' ? leafBytes(node.leaf) : bytesOf(node.parent, encodeParentNode)
}

/** The LeafNode structure. Not to be changed. */
export function leafBytes(leaf: LeafNode): Uint8Array {
  return bytesOf(leaf, encodeLeafNode)
}

function bytesOf<T extends object>(value: T & Remembering, encode: (value: T) => Uint8Array): Uint8Array {
  return value[encoding] ?? remember(value, encode(value))
}

function remember(value: object, bytes: Uint8Array): Uint8Array {
  Object.defineProperty(value, encoding, { value: bytes })
  return bytes
}

/** Reads nodes that stand in the same bytes, which they share memory with. */
export class NodeReader {
  readonly #reader: TlsReader
  /** Members of a group are mostly the same software: what the leaf before can do is not decoded again. */
  #last: { readonly bytes: Uint8Array; readonly capabilities: Capabilities } | undefined

  constructor(reader: TlsReader) {
    this.#reader = reader
  }

  /** The next Node structure. Throws MALFORMED. */
  next(): Node {
    const reader = this.#reader
    const type = reader.uint8()
    const start = reader.offset
    if (type === NODE_TYPE.leaf) {
      const leaf = this.#leaf()
      remember(leaf, reader.since(start))
      return { nodeType: 'leaf', leaf }
    }
    if (type !== NODE_TYPE.parent) throw malformed(`a node of type ${type}`)
    const parent = readParent(reader)
    remember(parent, reader.since(start))
    return { nodeType: 'parent', parent }
  }

  #leaf(): LeafNode {
    const reader = this.#reader
    const hpkePublicKey = reader.vectorView()
    const signaturePublicKey = reader.vectorView()
    const credential = readCredential(reader)
    const capabilities = this.#capabilities()
    const keys = { hpkePublicKey, signaturePublicKey, credential, capabilities }
    const source = reader.uint8()
    switch (source) {
      case SOURCE.keyPackage: {
        const lifetime = { notBefore: reader.uint64(), notAfter: reader.uint64() }
        return { ...keys, leafNodeSource: 'key_package', lifetime, ...readEnd(reader) }
      }
      case SOURCE.update:
        return { ...keys, leafNodeSource: 'update', ...readEnd(reader) }
      case SOURCE.commit:
        return { ...keys, leafNodeSource: 'commit', parentHash: reader.vectorView(), ...readEnd(reader) }
      default:
        throw malformed(`a leaf of source ${source}`)
    }
  }

  #capabilities(): Capabilities {
    const reader = this.#reader
    const start = reader.offset
    for (let list = 0; list < 5; list++) reader.vectorView()
    const bytes = reader.since(start)
    if (this.#last === undefined || !equalBytes(this.#last.bytes, bytes)) {
      const codec = { decoder: decodeCapabilities, encoder: capabilitiesEncoder, what: 'Capabilities' }
      this.#last = { bytes, capabilities: decodeExact(bytes, codec) }
    }
    return this.#last.capabilities
  }
}

function readParent(reader: TlsReader): ParentNode {
  const hpkePublicKey = reader.vectorView()
  const parentHash = reader.vectorView()
  const unmergedLeaves: number[] = []
  const list = new TlsReader(reader.vectorView())
  while (list.more) unmergedLeaves.push(list.uint32())
  return { hpkePublicKey, parentHash, unmergedLeaves }
}

function readCredential(reader: TlsReader): Credential {
  const type = reader.uint16()
  if (type === CREDENTIAL.basic) return { credentialType: 'basic', identity: reader.vectorView() }
  if (type !== CREDENTIAL.x509) throw malformed(`a credential of type ${type}`)
  const certificates: Uint8Array[] = []
  const list = new TlsReader(reader.vectorView())
  while (list.more) certificates.push(list.vectorView())
  return { credentialType: 'x509', certificates }
}

function readEnd(reader: TlsReader): { extensions: Extension[]; signature: Uint8Array } {
  const extensions: Extension[] = []
  const list = new TlsReader(reader.vectorView())
  while (list.more) {
    const type = list.uint16()
    extensions.push({ extensionType: namesOfExtensions.get(type) ?? type, extensionData: list.vectorView() })
  }
  return { extensions, signature: reader.vectorView() }
}

function malformed(what: string): HeddleError {
  return new HeddleError('MALFORMED', `The ratchet tree has ${what}`)
}
