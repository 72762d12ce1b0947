import { encodeLeafNode, type LeafNode } from 'ts-mls/leafNode.js'
import {
  addLeafNode,
  decodeNode,
  encodeNode,
  encodeRatchetTree,
  type RatchetTree,
  removeLeafNode,
  updateLeafNode
} from 'ts-mls/ratchetTree.js'
import { treeHashRoot } from 'ts-mls/treeHash.js'
import { directPath, leafWidth, toLeafIndex, toNodeIndex } from 'ts-mls/treemath.js'
import { describe, expect, test } from 'vitest'
import { toHex } from '../../bytes.js'
import { keyPackageFor, seeded, testDeps } from '../testing/world.js'
import { leafBytes } from './node-codec.js'
import { TlsWriter } from './tls.js'
import { changedNodes, changedSince, type HashedTree, hashTree, leavesOf, rootHash } from './tree.js'
import { decodeTree, encodeTree } from './tree-codec.js'
import { checkCredentialsSupported, checkKeysUnique } from './tree-validation.js'

const deps = testDeps(80)
const { sha256 } = deps.crypto
const { hash } = deps.crypto.suite(1).mls
const { keyPackage } = await keyPackageFor(deps)
const invalid = expect.objectContaining({ code: 'INVALID' })
const malformed = expect.objectContaining({ code: 'MALFORMED' })

function newLeaf(random: ReturnType<typeof seeded>) {
  return { ...keyPackage.leafNode, hpkePublicKey: random.bytes(32), signaturePublicKey: random.bytes(32) }
}

/** A tree after one more change, as a commit makes one: somebody comes, goes, or renews its path. */
function changed(nodes: RatchetTree, random: ReturnType<typeof seeded>): RatchetTree {
  const members = leavesOf(nodes)
  const someone = members[random.below(members.length)]
  if (someone === undefined) throw new Error('an empty tree')
  const what = random.below(3)
  if (what === 0) return addLeafNode(nodes, newLeaf(random))[0]
  if (what === 1 && members.length > 1) return removeLeafNode(nodes, toLeafIndex(someone.index))
  const next = updateLeafNode(nodes, newLeaf(random), toLeafIndex(someone.index))
  for (const at of directPath(toNodeIndex(2 * someone.index), leafWidth(next.length)))
    next[at] = {
      nodeType: 'parent',
      parent: { hpkePublicKey: random.bytes(32), parentHash: random.bytes(32), unmergedLeaves: [] }
    }
  return next
}

function* walk(seed: number, steps: number): Generator<RatchetTree> {
  const random = seeded(seed)
  let nodes: RatchetTree = [{ nodeType: 'leaf', leaf: newLeaf(random) }]
  for (let step = 0; step < steps; step++) {
    yield nodes
    nodes = changed(nodes, random)
  }
}

describe('a tree that takes over what did not change', () => {
  test.each([1, 2, 3])(
    'has the hashes of one that is hashed from nothing, and those of ts-mls (seed %i)',
    async (seed) => {
      let before: HashedTree | undefined
      for (const nodes of walk(seed, 150)) {
        const tree = hashTree(nodes, sha256, before)
        expect(tree.hashes.map(toHex)).toEqual(hashTree(nodes, sha256).hashes.map(toHex))
        expect(toHex(rootHash(tree))).toBe(toHex(await treeHashRoot(nodes, hash)))
        expect(tree.keyStarts).toEqual(hashTree(nodes, sha256).keyStarts)
        if (before !== undefined) expect(changedSince(tree, before)).toEqual(changedNodes(nodes, before.nodes))
        before = tree
      }
    }
  )

  test('hashes only what lies above a change', () => {
    const random = seeded(4)
    const nodes: RatchetTree = Array.from({ length: 2047 }, (_, at) =>
      at % 2 === 0 ? { nodeType: 'leaf', leaf: newLeaf(random) } : undefined
    )
    let hashed = 0
    const counting = (bytes: Uint8Array) => {
      hashed++
      return sha256(bytes)
    }
    const before = hashTree(nodes, counting)
    expect(hashed).toBe(2047)
    hashed = 0
    const next = updateLeafNode(nodes, newLeaf(random), toLeafIndex(700))
    expect(changedNodes(next, nodes)).toEqual([1400])
    hashTree(next, counting, before)
    expect(hashed).toBe(11)
  })

  test('refuses a key that occurs twice, whether old or new', () => {
    const random = seeded(5)
    const nodes = [...walk(5, 60)].at(-1) ?? []
    const [first, second] = leavesOf(nodes)
    if (first === undefined || second === undefined) throw new Error('two leaves expected')
    const without = (copied: Partial<typeof first.leaf>): RatchetTree =>
      addLeafNode(nodes, { ...newLeaf(random), ...copied } as typeof keyPackage.leafNode)[0]
    const before = hashTree(nodes, sha256)
    const check = (now: RatchetTree): void => checkKeysUnique(hashTree(now, sha256, before), before)
    check(without({}))
    for (const { leaf } of [first, second]) {
      const { hpkePublicKey, signaturePublicKey } = leaf
      for (const twice of [without({ hpkePublicKey }), without({ signaturePublicKey })]) {
        expect(() => check(twice)).toThrow(invalid)
        expect(() => checkKeysUnique(hashTree(twice, sha256))).toThrow(invalid)
      }
    }
    const parent = nodes.find((node) => node?.nodeType === 'parent')
    if (parent?.nodeType !== 'parent') throw new Error('a parent node expected')
    expect(() => check(without({ hpkePublicKey: parent.parent.hpkePublicKey }))).toThrow(invalid)
    // Two new ones with the same key, which begins like no key at all, and keys that only begin alike.
    const alike = { hpkePublicKey: new Uint8Array(32) }
    check(without(alike))
    const both = addLeafNode(without(alike), { ...newLeaf(random), ...alike })[0]
    expect(() => check(both)).toThrow(invalid)
    check(without({ hpkePublicKey: first.leaf.hpkePublicKey.with(31, 0).with(30, 1) }))
    // What was there and is replaced does not count.
    const moved = updateLeafNode(nodes, { ...newLeaf(random) }, toLeafIndex(first.index))
    check(addLeafNode(moved, first.leaf as typeof keyPackage.leafNode)[0])
  })

  test('has every member support a credential type that is new, and a new member those there are', () => {
    const random = seeded(6)
    const nodes = [...walk(6, 40)].at(-1) ?? []
    const before = hashTree(nodes, sha256)
    const check = (now: RatchetTree): void => checkCredentialsSupported(hashTree(now, sha256, before), before)
    const leaf = newLeaf(random)
    check(addLeafNode(nodes, leaf)[0])
    const x509 = {
      ...leaf,
      credential: { credentialType: 'x509' as const, certificates: [] },
      capabilities: { ...leaf.capabilities, credentials: ['basic' as const, 'x509' as const] }
    }
    const deaf = { ...leaf, capabilities: { ...leaf.capabilities, credentials: ['x509' as const] } }
    const [someone] = leavesOf(nodes)
    if (someone === undefined) throw new Error('a leaf expected')
    for (const wrong of [x509, deaf]) {
      expect(() => check(addLeafNode(nodes, wrong)[0])).toThrow(invalid)
      expect(() => check(updateLeafNode(nodes, wrong, toLeafIndex(someone.index)))).toThrow(invalid)
    }
  })
})

describe('the encoding of a tree', () => {
  test('is that of ts-mls, and comes back', () => {
    for (const nodes of walk(7, 150)) {
      const bytes = encodeTree(nodes)
      expect(toHex(bytes)).toBe(toHex(encodeRatchetTree(nodes)))
      const decoded = decodeTree(bytes)
      expect(decoded).toEqual(nodes)
      expect(toHex(encodeTree(decoded))).toBe(toHex(bytes))
    }
  })

  test('is that of ts-mls for leaves of every source, credential and extension, no two with the same capabilities', () => {
    const random = seeded(10)
    const { capabilities, lifetime } = keyPackage.leafNode
    const own = { signature: random.bytes(64), extensions: keyPackage.leafNode.extensions }
    const keys = () => ({ hpkePublicKey: random.bytes(32), signaturePublicKey: random.bytes(32) })
    const basic = { credentialType: 'basic' as const, identity: random.bytes(70) }
    const x509 = { credentialType: 'x509' as const, certificates: [random.bytes(100), random.bytes(0)] }
    const able = { ...capabilities, credentials: ['basic' as const, 'x509' as const] }
    const extensions = [
      { extensionType: 'application_id' as const, extensionData: random.bytes(3) },
      { extensionType: 0xf123, extensionData: random.bytes(300) }
    ]
    const leaves: LeafNode[] = [
      { ...keys(), ...own, leafNodeSource: 'key_package', lifetime, credential: basic, capabilities },
      { ...keys(), ...own, leafNodeSource: 'update', credential: x509, capabilities: able },
      {
        ...keys(),
        ...own,
        leafNodeSource: 'commit',
        parentHash: random.bytes(32),
        credential: basic,
        capabilities: { ...capabilities, extensions: [], proposals: [1, 2, 0xffff] },
        extensions
      },
      { ...keys(), ...own, leafNodeSource: 'update', credential: basic, capabilities, extensions: [] }
    ]
    const nodes = leaves.flatMap((leaf): RatchetTree => [{ nodeType: 'leaf', leaf }, undefined]).slice(0, -1)
    const bytes = encodeTree(nodes)
    expect(toHex(bytes)).toBe(toHex(encodeRatchetTree(nodes)))
    const decoded = decodeTree(bytes)
    expect(decoded).toEqual(nodes)
    // What is kept of the encoding does not hide what was decoded.
    expect(toHex(encodeRatchetTree(decoded))).toBe(toHex(bytes))
    const [first] = leavesOf(decoded)
    if (first === undefined) throw new Error('a leaf expected')
    const changedCopy = { ...first.leaf, signature: random.bytes(64) }
    expect(toHex(leafBytes(changedCopy))).toBe(toHex(encodeLeafNode(changedCopy)))
  })

  test('shares no memory with what it was decoded from', () => {
    const nodes = [...walk(8, 30)].at(-1) ?? []
    const bytes = encodeTree(nodes)
    const decoded = decodeTree(bytes)
    bytes.fill(0)
    expect(decoded).toEqual(nodes)
    expect(encodeTree(decoded)).toEqual(encodeTree(nodes))
  })

  test('is refused when it is not the only one', () => {
    const nodes = [...walk(9, 30)].at(-1) ?? []
    const bytes = encodeTree(nodes)
    expect(() => decodeTree(Uint8Array.of(...bytes, 0))).toThrow(malformed)
    expect(() => decodeTree(new Uint8Array(0))).toThrow(malformed)
    expect(() => decodeTree(Uint8Array.of(0))).toThrow(malformed)
    for (let length = 0; length < bytes.length; length += 13)
      expect(() => decodeTree(bytes.subarray(0, length))).toThrow(malformed)
    // A blank node at the end, and a presence octet that is neither 0 nor 1.
    expect(() => decodeTree(Uint8Array.of(3, 0, 0, 0))).toThrow(malformed)
    expect(() => decodeTree(Uint8Array.of(1, 2))).toThrow(malformed)
    expect(() => decodeTree(bytes, bytes.length - 1)).toThrow(malformed)
    // A length in a node that is not in its shortest form, which ts-mls takes.
    const leaf = encodeNode({ nodeType: 'leaf', leaf: keyPackage.leafNode })
    const tree = (node: Uint8Array): Uint8Array => new TlsWriter().vector(Uint8Array.of(1, ...node)).finish()
    expect(decodeTree(tree(leaf))).toHaveLength(1)
    const neither = new TlsWriter().vector(Uint8Array.of(2, ...leaf)).finish()
    expect(() => decodeTree(neither)).toThrow(malformed)
    // A node that is neither leaf nor parent.
    expect(() => decodeTree(tree(leaf.with(0, 3)))).toThrow(malformed)
    const longer = Uint8Array.of(1, 0x40, 32, ...leaf.subarray(2))
    expect(decodeNode(longer, 0)?.[1]).toBe(longer.length)
    expect(() => decodeTree(tree(longer))).toThrow(malformed)
    expect(() => decodeTree(new Uint8Array(5_000).fill(0, 2).with(0, 0x53).with(1, 0x86))).toThrow(malformed)
  })
})
