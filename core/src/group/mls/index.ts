/**
 * The door of the MLS engine: RFC 9420 as observers and members need it, on the codecs and key schedule of ts-mls 1.6.4.
 * It knows nothing of Heddle; what Heddle allows beyond the RFC comes in as rules. Called by the files of `../` only.
 */
export {
  decodeContext,
  decodeGroupInfoMessage,
  decodeKeyPackage,
  decodePublicMessage,
  decodeReinitInfo,
  decodeWelcome,
  encodeContext,
  encodeGroupInfoMessage,
  encodeKeyPackage,
  encodePublicMessage,
  encodeReinitInfo,
  encodeWelcome,
  treeOfGroupInfo
} from './codec.js'
export { ensure, ensureValid, typed, typedSync } from './errors.js'
export {
  createGroupInfo,
  externalKeyIn,
  externalPubExtension,
  ratchetTreeExtension,
  verifyGroupInfo
} from './group-info.js'
export { SECRET_BYTES } from './kdf.js'
export { checkKeyPackage, type LeafRules, unique } from './leaf.js'
export {
  type BuiltCommit,
  buildEpoch,
  buildExternalEpoch,
  type CreatedEpoch,
  checkMembershipTag,
  type EnteredEpoch,
  type EpochSecrets,
  enterEpoch,
  externalKeyOf,
  firstEpoch,
  type MemberState,
  poison
} from './member-state.js'
export { type MessageEpoch, openMessage, PADDING_BYTES, type SealedMessage, sealMessage } from './private-message.js'
export type { Committer, ResolvedProposal } from './proposals.js'
export { isSuccession, type PskSource, pskSecretOf, type SuccessionPsk, type SuccessionUsage } from './psk.js'
export { type MessageKey, type Ratchet, SecretTree } from './secret-tree.js'
export { type CommitRules, commitIn, type PublicState, type StagedCommit, stageCommit } from './stage-commit.js'
export { TlsReader, TlsWriter, vectorBytes } from './tls.js'
export { changedSince, type HashedTree, hashTree, leafAt, leavesOf, rootHash } from './tree.js'
export { ADD_TREE_BYTES_MAX } from './limits.js'
export { decodeTree, encodeTree, treeBytes } from './tree-codec.js'
export { createWelcome, type Joined, joinByWelcome, type KeyPackageSecrets, welcomeRefs } from './welcome.js'
