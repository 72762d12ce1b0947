/** RFC 9420 section 12.4.3.1, rule by rule, on a tree without parent nodes; those with them are in `../hostile.test.ts`. */
import type { Extension } from 'ts-mls/extension.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import type { RatchetTree } from 'ts-mls/ratchetTree.js'
import { encodeRequiredCapabilities } from 'ts-mls/requiredCapabilities.js'
import { beforeAll, expect, test } from 'vitest'
import { SUITE_POST_QUANTUM } from '../../crypto/index.js'
import { leafRules, writeGroupExtensions } from '../extensions.js'
import type { OwnKeyPackage } from '../index.js'
import { lyingKeyPackage } from '../testing/forge.js'
import { createWorld, keyPackageFor, testDeps } from '../testing/world.js'
import { TREE_NODES_MAX } from './limits.js'
import { hashTree, rootHash } from './tree.js'
import { treeWithHash, validateTree } from './tree-validation.js'

const deps = testDeps(1_400)
const { crypto } = deps
const groupId = new Uint8Array(16)
let extensions: Extension[]
let packages: OwnKeyPackage[]

beforeAll(async () => {
  extensions = writeGroupExtensions((await createWorld(1_401, [])).observer)
  packages = await Promise.all([0, 1, 2].map(() => keyPackageFor(deps)))
})

const nodeOf = (leaf: LeafNode): RatchetTree[number] => ({ nodeType: 'leaf', leaf })
const treeOf = (leaves: readonly (LeafNode | undefined)[]): RatchetTree =>
  Array.from({ length: 7 }, (_, at) => {
    const leaf = at % 2 === 0 ? leaves[at / 2] : undefined
    return leaf && nodeOf(leaf)
  })
const honest = (): LeafNode[] => packages.map(({ keyPackage }) => keyPackage.leafNode)

/** The leaf of the third device, which lies and signs its lie. */
async function lie(change: Partial<LeafNode>, signatureKey?: Uint8Array): Promise<readonly LeafNode[]> {
  const [first, second, third] = packages
  if (first === undefined || second === undefined || third === undefined) throw new Error('three devices expected')
  const { keyPackage } = await lyingKeyPackage(third, change, deps, signatureKey)
  return [first.keyPackage.leafNode, second.keyPackage.leafNode, keyPackage.leafNode]
}

async function validate(nodes: RatchetTree, context: Partial<{ extensions: Extension[]; treeHash: Uint8Array }> = {}) {
  const treeHash = rootHash(hashTree(nodes, crypto.sha256))
  const suite = crypto.suite(1)
  const told = { groupId, extensions, treeHash, ...context }
  return validateTree(treeWithHash(nodes, told.treeHash, suite, crypto.sha256), told, crypto, suite, leafRules)
}

async function expectRefused(nodes: RatchetTree, reason: RegExp, code = 'INVALID', context = {}): Promise<void> {
  const error = await validate(nodes, context).catch((cause: unknown) => cause)
  expect(error).toMatchObject({ name: 'HeddleError', code })
  expect(String(error)).toMatch(reason)
}

test('a tree is taken when all of it is right, blank leaves or not', async () => {
  await validate(treeOf(honest()))
  await validate(treeOf([honest()[0], undefined, honest()[2]]))
})

test('the tree hash is that of the group context', async () => {
  await expectRefused(treeOf(honest()), /tree hash/, 'INVALID', { treeHash: new Uint8Array(32) })
})

test('a tree has nodes, and no more than a group may have', async () => {
  await expect(validate([], { treeHash: new Uint8Array(32) })).rejects.toThrow(/A tree of 0 nodes/)
  const tooMany = new Array<undefined>(TREE_NODES_MAX + 2)
  await expect(validate(tooMany, { treeHash: new Uint8Array(32) })).rejects.toThrow(/A tree of/)
})

test('leaves and parent nodes are in their places', async () => {
  const [first] = honest()
  if (first === undefined) throw new Error('a leaf expected')
  const hpkePublicKey = new Uint8Array(32).fill(9)
  const parent: RatchetTree[number] = {
    nodeType: 'parent',
    parent: { hpkePublicKey, parentHash: new Uint8Array(0), unmergedLeaves: [] }
  }
  const treeHash = new Uint8Array(32)
  await expectRefused(treeOf(honest()).with(1, nodeOf({ ...first, hpkePublicKey })), /in the place of/, 'INVALID', {
    treeHash
  })
  await expectRefused(treeOf(honest()).with(0, parent), /in the place of/, 'INVALID', { treeHash })
})

test('every leaf is signed, by its own key and for its own source', async () => {
  const stranger = crypto.randomBytes(32)
  await expectRefused(treeOf(await lie({}, stranger)), /signature of leaf 2/, 'BAD_SIGNATURE')
  const [first, second, third] = honest()
  // Signed as a key package's leaf, shown as a commit's.
  const moved = { ...third, leafNodeSource: 'commit', parentHash: new Uint8Array(0) } as LeafNode
  await expectRefused(treeOf([first, second, moved]), /signature of leaf 2/, 'BAD_SIGNATURE')
})

test('every key occurs once', async () => {
  const [first] = packages
  if (first === undefined) throw new Error('a device expected')
  const { hpkePublicKey, signaturePublicKey, credential } = first.keyPackage.leafNode
  await expectRefused(treeOf(await lie({ hpkePublicKey })), /encryption key occurs twice/)
  const twin = await lie({ signaturePublicKey, credential }, first.signatureKey)
  await expectRefused(treeOf(twin), /signature key occurs twice/)
})

test('every encryption key is one of the cipher suite that can be encrypted to', async () => {
  const postQuantum = await keyPackageFor(deps, SUITE_POST_QUANTUM)
  const { hpkePublicKey } = postQuantum.keyPackage.leafNode
  for (const key of [hpkePublicKey, new Uint8Array(31), new Uint8Array(0), new Uint8Array(32).fill(0).with(0, 1)])
    await expectRefused(treeOf(await lie({ hpkePublicKey: key })), /no HPKE key of the suite/)
})

test('every signature key is one of the cipher suite', async () => {
  for (const length of [0, 31, 33]) {
    const signaturePublicKey = new Uint8Array(length).fill(1)
    await expectRefused(treeOf(await lie({ signaturePublicKey })), /no Ed25519 key/)
  }
})

test('every leaf is what the application demands: its credential, and one device', async () => {
  const identity = new Uint8Array(32)
  await expectRefused(treeOf(await lie({ credential: { credentialType: 'basic', identity } })), /credential of a leaf/)
  await expectRefused(treeOf(await lie({ extensions: [] })), /other extensions than its device/)
})

test('every leaf lists what it has and what the group context has', async () => {
  const { capabilities, extensions: own } = packages[2]?.keyPackage.leafNode ?? {
    capabilities: undefined,
    extensions: []
  }
  if (capabilities === undefined) throw new Error('a device expected')
  const without = async (change: Partial<typeof capabilities>) =>
    treeOf(await lie({ capabilities: { ...capabilities, ...change } }))
  await expectRefused(await without({ extensions: [] }), /capabilities do not list/)
  const [device] = own
  const supported = device === undefined ? [] : [Number(device.extensionType)]
  await expectRefused(await without({ extensions: supported }), /does not support an extension of the group context/)
  await expectRefused(treeOf(await lie({ extensions: [...own, ...own] })), /extension twice/)
})

test('every leaf has what the group requires', async () => {
  const { capabilities } = packages[2]?.keyPackage.leafNode ?? { capabilities: undefined }
  if (capabilities === undefined) throw new Error('a device expected')
  await expectRefused(treeOf(await lie({ capabilities: { ...capabilities, proposals: [] } })), /lacks a capability/)
  for (const more of [
    { extensionTypes: [0xf7f0] },
    { proposalTypes: [0xf7f0] },
    { credentialTypes: ['x509' as const] }
  ]) {
    const required = { extensionTypes: [], proposalTypes: [], credentialTypes: [], ...more }
    const extension: Extension = {
      extensionType: 'required_capabilities',
      extensionData: encodeRequiredCapabilities(required)
    }
    await expectRefused(treeOf(honest()), /lacks a capability/, 'INVALID', { extensions: [extension] })
  }
})

test('every leaf supports the credential types of all', async () => {
  const { capabilities } = packages[2]?.keyPackage.leafNode ?? { capabilities: undefined }
  if (capabilities === undefined) throw new Error('a device expected')
  await expectRefused(
    treeOf(await lie({ capabilities: { ...capabilities, credentials: ['x509'] } })),
    /credential type of another/
  )
})
