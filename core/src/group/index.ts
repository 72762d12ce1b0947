/**
 * The door of the group room (SPEC GROUP): who is in a document, what they may do, and the keys they share. Servers use
 * PublicGroup, devices MemberGroup.
 */
export { type ClaimedGroup, claimedGroup } from './claimed-group.js'
export type { CommitPlan, PskRef, ServerChange } from './commit-plan.js'
export {
  generateKeyPackage,
  type KeyPackageInfo,
  type KeyPackageOptions,
  loadKeyPackage,
  type OwnKeyPackage,
  readKeyPackage,
  saveKeyPackage
} from './key-package.js'
export { MemberGroup } from './member-group.js'
export { memberIdOf } from './member-id.js'
export type {
  BegunGroup,
  BuiltCommit,
  CreateGroup,
  FollowGroup,
  JoinGroup,
  MemberDeps,
  MessageToOpen,
  Opened,
  ProcessedCommit
} from './member-types.js'
export { PADDING_BYTES, type SealedMessage, welcomeRefs } from './mls/index.js'
export type { GroupRecord, StoredRecord } from './persistence.js'
export { mayWrite } from './policy.js'
export { type GroupChange, type GroupDeps, type ProcessOptions, PublicGroup } from './public-group.js'
export { groupInfoWith, type RejoinBasis, type RejoinKeyParts, rejoinKeyIn } from './rejoin.js'
export type { RosterEntry } from './roster.js'
export type { ReinitPlan } from './successor.js'
