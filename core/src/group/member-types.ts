/** What goes into `MemberGroup` and comes out of it. */
import type { DocumentExtension, Role, ServerEntry } from '../wire/index.js'
import type { OwnKeyPackage } from './key-package.js'
import type { MemberGroup } from './member-group.js'
import type { SealedMessage } from './mls/index.js'
import type { GroupDeps, PublicGroup } from './public-group.js'

export interface MemberDeps extends GroupDeps {
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
  /** External pre-shared keys by id; the key stays the owner's. */
  readonly externalPsk?: ((id: Uint8Array) => Uint8Array | undefined) | undefined
}

export interface BuiltCommit {
  /** MLSMessage with the commit. */
  readonly commit: Uint8Array
  /**
   * MLSMessage with the Welcome, when the commit adds anyone. To be released once the commit is decided; the ratchet tree
   * is not in it, since anyone who follows the group has it.
   */
  readonly welcome: Uint8Array | undefined
  /** For `adopt`, once this commit is decided: secret, and durable before the commit leaves. */
  readonly pending: Uint8Array
  readonly next: PublicGroup
}

export interface CreateGroup {
  /** 16 bytes, random. */
  readonly groupId: Uint8Array
  readonly keyPackage: OwnKeyPackage
  readonly document: DocumentExtension
  readonly servers: readonly ServerEntry[]
  readonly faultBound: number
  /** Role of members that are given none; not admin. */
  readonly defaultRole: Role
}

/** What `join` takes. */
export interface JoinGroup {
  /** MLSMessage. */
  readonly welcome: Uint8Array
  /** The ratchet tree of the epoch it leads to, as `PublicGroup.ratchetTree` of anybody in it gives it. */
  readonly tree: Uint8Array
  readonly keyPackage: OwnKeyPackage
  /** The group that the new one branches from or succeeds, when it does: its keys are needed to get in. */
  readonly predecessor?: MemberGroup | undefined
}

/** A group that follows another: at epoch 0 with this device alone, and the commit that adds the others. */
export interface BegunGroup {
  readonly group: MemberGroup
  readonly first: BuiltCommit
}

/** Who comes along: key packages from `successorKeyPackage`, and this device's own. */
export interface FollowGroup {
  readonly keyPackage: OwnKeyPackage
  /** MLSMessages with KeyPackages, of the others. */
  readonly members: readonly Uint8Array[]
}

export type ProcessedCommit =
  | { readonly removed: false; readonly group: MemberGroup }
  /** This device was removed: it stays in its epoch, where it can still open what was sent before. */
  | { readonly removed: true; readonly next: PublicGroup }

export interface MessageToOpen extends SealedMessage {
  readonly epoch: bigint
  /** What the sender passed to `encrypt`. */
  readonly aad: Uint8Array
}

export interface Opened {
  readonly plaintext: Uint8Array
  readonly memberId: Uint8Array
  /** At the epoch of the message. */
  readonly role: Role
  readonly leafIndex: number
}
