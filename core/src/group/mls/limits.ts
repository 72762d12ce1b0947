/** Bounds of the MLS engine. Those of whole messages are the limits of the fields that carry them (proto/heddle/v1). */
import { LIMITS } from '../../wire/index.js'

/** A commit, and a Welcome. */
export const MESSAGE_BYTES_MAX = LIMITS.ValueContent.commit.bytesMax
/** A GroupInfo by itself; that in a Welcome is bounded by the Welcome. */
export const GROUP_INFO_BYTES_MAX = LIMITS.Create.groupInfo.bytesMax
/** A ratchet tree that comes beside a Welcome. */
export const TREE_BYTES_MAX = LIMITS.WelcomeReply.tree.bytesMax
/** With this much of it nobody is added any more: every commit may fill parent nodes, and cannot be refused for it. */
export const ADD_TREE_BYTES_MAX = TREE_BYTES_MAX / 2
export const KEY_PACKAGE_BYTES_MAX = LIMITS.JoinRequest.keyPackage.bytesMax
/** So that every member can have an entry among the roles. */
export const LEAVES_MAX = LIMITS.RolesExtension.roles.itemsMax
export const TREE_NODES_MAX = 2 * LEAVES_MAX - 1
/** Proposals in one commit. */
export const PROPOSALS_MAX = 1024
/**
 * How far a sender's ratchet is turned forward for one message. Only members can ask for it, since the generation is
 * encrypted for them; a joiner whose state covers a long session begins that far ahead.
 */
export const FORWARD_GENERATIONS_MAX = 65_536
/** Keys kept of messages of one sender in one epoch that have not arrived. */
export const SKIPPED_KEYS_MAX = 1024
/** Pre-shared keys in one commit or Welcome. */
export const PSKS_MAX = 16
