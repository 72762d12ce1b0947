/** GroupInfo (RFC 9420 section 12.4.3): what an observer starts from, and what a Welcome carries encrypted. */
import type { Extension } from 'ts-mls/extension.js'
import { type GroupInfo, signGroupInfo, verifyGroupInfoSignature } from 'ts-mls/groupInfo.js'
import type { RatchetTree } from 'ts-mls/ratchetTree.js'
import { type CipherSuite, type CryptoProvider, suiteName } from '../../crypto/index.js'
import { treeOfGroupInfo } from './codec.js'
import { ensure, ensureValid } from './errors.js'
import { type LeafRules, unique } from './leaf.js'
import type { PublicState } from './stage-commit.js'
import { TlsReader, TlsWriter } from './tls.js'
import { leafAt } from './tree.js'
import { encodeTree } from './tree-codec.js'
import { validateTree } from './tree-validation.js'

/**
 * Verifies signature and tree. `outOfBandTree` stands in for the extension when there is none. Throws INVALID,
 * BAD_SIGNATURE, or what the leaf rules throw. The confirmation tag needs secrets and is not checked.
 */
export async function verifyGroupInfo(
  groupInfo: GroupInfo,
  crypto: CryptoProvider,
  suite: CipherSuite,
  leafRules: LeafRules,
  outOfBandTree?: RatchetTree
): Promise<PublicState> {
  const { groupContext: context, confirmationTag, signer } = groupInfo
  ensureValid(context.cipherSuite === suiteName(suite.id), `The group has cipher suite ${context.cipherSuite}`)
  ensureValid(context.version === 'mls10', 'The group has another version of MLS')
  ensureValid(confirmationTag.length === 32, 'The confirmation tag has not the length of the hash')
  ensureValid(unique(groupInfo.extensions) && unique(context.extensions), 'The GroupInfo has an extension twice')
  const nodes = treeOfGroupInfo(groupInfo) ?? outOfBandTree
  ensureValid(nodes !== undefined, 'The GroupInfo has no ratchet tree')
  const signature = leafAt(nodes, signer)
  ensureValid(signature !== undefined, `The signer of the GroupInfo, leaf ${signer}, is not in the tree`)
  ensure(
    await verifyGroupInfoSignature(groupInfo, signature.signaturePublicKey, suite.mls.signature),
    'BAD_SIGNATURE',
    'The signature of the GroupInfo does not verify'
  )
  const tree = await validateTree(nodes, context, crypto, suite, leafRules)
  return { context, tree, confirmationTag }
}

/** A signed GroupInfo with the ratchet tree and the extensions given. */
export async function createGroupInfo(
  { context, tree, confirmationTag }: PublicState,
  signer: number,
  signatureKey: Uint8Array,
  extensions: readonly Extension[],
  { mls }: CipherSuite
): Promise<GroupInfo> {
  const ratchetTree: Extension = { extensionType: 'ratchet_tree', extensionData: encodeTree(tree.nodes) }
  return signGroupInfo(
    { groupContext: context, extensions: [...extensions, ratchetTree], confirmationTag, signer },
    signatureKey,
    mls.signature
  )
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
