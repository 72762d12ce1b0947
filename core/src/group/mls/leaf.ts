/**
 * Rules for one leaf (RFC 9420 sections 7.2 and 7.3): signature, credential, capabilities. Who may hold a leaf at all is
 * the caller's question, answered through `LeafRules`.
 */
import type { Signature } from 'ts-mls/crypto/signature.js'
import type { Extension } from 'ts-mls/extension.js'
import { extensionTypeToNumber } from 'ts-mls/extension.js'
import type { KeyPackage } from 'ts-mls/keyPackage.js'
import { verifyKeyPackage } from 'ts-mls/keyPackage.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import { decodeRequiredCapabilities, requiredCapabilitiesEncoder } from 'ts-mls/requiredCapabilities.js'
import { equalBytes } from '../../bytes.js'
import type { CipherSuite } from '../../crypto/index.js'
import { ensure, ensureValid } from './errors.js'
import { decodeExact } from './exact.js'
import { label } from './kdf.js'
import { leafBytes } from './node-codec.js'
import { TlsWriter, vectorBytes } from './tls.js'

const LEAF_NODE_TBS = label('LeafNodeTBS')

export type RequiredCapabilities = NonNullable<ReturnType<typeof decodeRequiredCapabilities>>[0]

/** What the application demands of a leaf beyond RFC 9420. Throws a typed error. */
export type LeafRules = (leaf: LeafNode) => void

interface Place {
  readonly groupId: Uint8Array
  readonly leafIndex: number
}

/**
 * `verify` stands in for the suite's own. Throws INVALID for a key that nobody could encrypt to, BAD_SIGNATURE, or what
 * `rules` throws.
 */
export async function checkLeaf(
  leaf: LeafNode,
  place: Place,
  suite: CipherSuite,
  rules: LeafRules,
  verify: Signature['verify'] = suite.mls.signature.verify
): Promise<void> {
  ensureValid(suite.isHpkeKey(leaf.hpkePublicKey), 'The encryption key of a leaf is no HPKE key of the suite')
  const right = await verify(leaf.signaturePublicKey, signedContent(leaf, place), leaf.signature)
  ensure(right, 'BAD_SIGNATURE', `The signature of leaf ${place.leafIndex} does not verify`)
  rules(leaf)
}

/** RFC 9420 section 10.1. `nowSeconds` is checked against the lifetime when it is given. */
export async function checkKeyPackage(
  keyPackage: KeyPackage,
  context: { readonly cipherSuite: string; readonly version: string; readonly groupId: Uint8Array },
  suite: CipherSuite,
  rules: LeafRules,
  nowSeconds?: bigint
): Promise<void> {
  const { leafNode, initKey } = keyPackage
  ensureValid(
    keyPackage.cipherSuite === context.cipherSuite && keyPackage.version === context.version,
    'The key package is for another cipher suite or version'
  )
  ensureValid(!equalBytes(initKey, leafNode.hpkePublicKey), 'The init key of the key package is its leaf key')
  ensureValid(suite.isHpkeKey(initKey), 'The init key of the key package is no HPKE key of the suite')
  ensureValid(leafNode.leafNodeSource === 'key_package', 'The leaf of the key package has another source')
  ensure(
    await verifyKeyPackage(keyPackage, suite.mls.signature),
    'BAD_SIGNATURE',
    'The signature of the key package does not verify'
  )
  await checkLeaf(leafNode, { groupId: context.groupId, leafIndex: 0 }, suite, rules)
  if (nowSeconds !== undefined && leafNode.leafNodeSource === 'key_package') {
    const { notBefore, notAfter } = leafNode.lifetime
    ensureValid(notBefore <= nowSeconds && nowSeconds <= notAfter, 'The key package is out of its lifetime')
  }
}

/** The leaf lists everything it and the group context use (RFC 9420 section 7.3). */
export function checkSupports(
  leaf: LeafNode,
  contextExtensions: readonly Extension[],
  required: RequiredCapabilities | undefined
): void {
  const { capabilities } = leaf
  const lists = ({ extensionType }: Extension) =>
    typeof extensionType !== 'number' || capabilities.extensions.includes(extensionType)
  ensureValid(leaf.extensions.every(lists), 'A leaf has an extension that its capabilities do not list')
  ensureValid(unique(leaf.extensions), 'A leaf has an extension twice')
  ensureValid(contextExtensions.every(lists), 'A leaf does not support an extension of the group context')
  ensureValid(
    capabilities.credentials.includes(leaf.credential.credentialType),
    'A leaf has a credential that its capabilities do not list'
  )
  if (required === undefined) return
  ensureValid(
    required.extensionTypes.every((type) => capabilities.extensions.includes(type)) &&
      required.proposalTypes.every((type) => capabilities.proposals.includes(type)) &&
      required.credentialTypes.every((type) => capabilities.credentials.includes(type)),
    'A leaf lacks a capability that the group requires'
  )
}

/** The required_capabilities extension, decoded; undefined when there is none. */
export function requiredCapabilitiesOf(extensions: readonly Extension[]): RequiredCapabilities | undefined {
  const extension = extensions.find(({ extensionType }) => extensionType === 'required_capabilities')
  return (
    extension &&
    decodeExact(extension.extensionData, {
      decoder: decodeRequiredCapabilities,
      encoder: requiredCapabilitiesEncoder,
      what: 'required_capabilities'
    })
  )
}

/** Whether every extension type occurs once. */
export function unique(extensions: readonly Extension[]): boolean {
  const types = new Set(extensions.map(({ extensionType }) => extensionTypeToNumber(extensionType)))
  return types.size === extensions.length
}

/** SignContent over LeafNodeTBS: what the leaf is without its signature, and its place unless it comes in a key package. */
function signedContent(leaf: LeafNode, { groupId, leafIndex }: Place): Uint8Array {
  const bytes = leafBytes(leaf)
  const unsigned = bytes.subarray(0, bytes.length - vectorBytes(leaf.signature.length))
  const hasPlace = leaf.leafNodeSource !== 'key_package'
  const length = unsigned.length + (hasPlace ? vectorBytes(groupId.length) + 4 : 0)
  const writer = new TlsWriter(vectorBytes(LEAF_NODE_TBS.length) + vectorBytes(length))
  writer.vector(LEAF_NODE_TBS).vectorLength(length).raw(unsigned)
  if (hasPlace) writer.vector(groupId).uint32(leafIndex)
  return writer.finish()
}
