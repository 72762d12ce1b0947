/** GroupInfo (RFC 9420 section 12.4.3): what an observer starts from, and what a Welcome carries encrypted. */
import type { Extension } from 'ts-mls/extension.js'
import { type GroupInfo, signGroupInfo, verifyGroupInfoSignature } from 'ts-mls/groupInfo.js'
import { type CipherSuite, type CryptoProvider, suiteName } from '../../crypto/index.js'
import { HeddleError } from '../../errors.js'
import { treeOfGroupInfo } from './codec.js'
import { ensure, ensureValid } from './errors.js'
import { type LeafRules, unique } from './leaf.js'
import { TREE_BYTES_MAX } from './limits.js'
import type { PublicState } from './stage-commit.js'
import { TlsReader, TlsWriter } from './tls.js'
import { type HashedTree, leafAt } from './tree.js'
import { decodeTree, encodeTree } from './tree-codec.js'
import { treeWithHash, validateTree } from './tree-validation.js'

/**
 * Verifies signature and tree. `treeBeside`, encoded, stands in for the extension when there is none. Throws INVALID, with
 * `info.otherTree` when that is not the tree of this group; BAD_SIGNATURE, or what the leaf rules throw. The confirmation
 * tag needs secrets and is not checked.
 */
export async function verifyGroupInfo(
  groupInfo: GroupInfo,
  crypto: CryptoProvider,
  suite: CipherSuite,
  leafRules: LeafRules,
  treeBeside?: Uint8Array
): Promise<PublicState> {
  const { groupContext: context, confirmationTag, signer } = groupInfo
  ensureValid(context.cipherSuite === suiteName(suite.id), `The group has cipher suite ${context.cipherSuite}`)
  ensureValid(context.version === 'mls10', 'The group has another version of MLS')
  ensureValid(confirmationTag.length === 32, 'The confirmation tag has not the length of the hash')
  ensureValid(unique(groupInfo.extensions) && unique(context.extensions), 'The GroupInfo has an extension twice')
  const tree = treeFor(groupInfo, treeBeside, crypto, suite)
  const signature = leafAt(tree.nodes, signer)
  ensureValid(signature !== undefined, `The signer of the GroupInfo, leaf ${signer}, is not in the tree`)
  ensure(
    await verifyGroupInfoSignature(groupInfo, signature.signaturePublicKey, suite.mls.signature),
    'BAD_SIGNATURE',
    'The signature of the GroupInfo does not verify'
  )
  await validateTree(tree, context, crypto, suite, leafRules)
  return { context, tree, confirmationTag }
}

/** What comes beside a GroupInfo has another sender: that it is not of this group says nothing about the group. */
function treeFor(
  groupInfo: GroupInfo,
  treeBeside: Uint8Array | undefined,
  { sha256 }: CryptoProvider,
  suite: CipherSuite
): HashedTree {
  const { treeHash } = groupInfo.groupContext
  const nodes = treeOfGroupInfo(groupInfo)
  if (nodes !== undefined) return treeWithHash(nodes, treeHash, suite, sha256)
  ensureValid(treeBeside !== undefined, 'The GroupInfo has no ratchet tree')
  try {
    return treeWithHash(decodeTree(treeBeside, TREE_BYTES_MAX), treeHash, suite, sha256)
  } catch (cause) {
    const message = 'The ratchet tree that came beside the GroupInfo is not that of its group'
    throw new HeddleError('INVALID', message, { cause, info: { otherTree: true } })
  }
}

/** A signed GroupInfo with the extensions given. */
export async function createGroupInfo(
  { context, confirmationTag }: PublicState,
  signer: number,
  signatureKey: Uint8Array,
  extensions: readonly Extension[],
  { mls }: CipherSuite
): Promise<GroupInfo> {
  return signGroupInfo(
    { groupContext: context, extensions: [...extensions], confirmationTag, signer },
    signatureKey,
    mls.signature
  )
}

/** The ratchet_tree extension: with it a GroupInfo needs nothing beside. */
export function ratchetTreeExtension({ tree }: PublicState): Extension {
  return { extensionType: 'ratchet_tree', extensionData: encodeTree(tree.nodes) }
}

/** The external_pub extension: with it who is no member can commit. */
export function externalPubExtension(publicKey: Uint8Array): Extension {
  const writer = new TlsWriter(publicKey.length + 4)
  return { extensionType: 'external_pub', extensionData: writer.vector(publicKey).finish() }
}

/** The key in the external_pub extension. Throws INVALID when there is none, MALFORMED. */
export function externalKeyIn({ extensions }: GroupInfo, suite: CipherSuite): Uint8Array {
  const extension = extensions.find(({ extensionType }) => extensionType === 'external_pub')
  ensureValid(extension !== undefined, 'The GroupInfo has no external_pub')
  const reader = new TlsReader(extension.extensionData)
  const key = reader.vector()
  reader.end()
  ensureValid(suite.isHpkeKey(key), 'The external_pub of the GroupInfo is no HPKE key of the suite')
  return key
}
