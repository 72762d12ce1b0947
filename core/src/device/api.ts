/**
 * What an app sees of a device: opening it, its documents, and what happens in them (SPEC DEVICE). Types only; the room's
 * other files implement them.
 */
import type { ErrorName, HeddleError } from '../errors.js'
import type { Context, CrdtBackend, Storage, Transport } from '../plugin/index.js'
import type { ClaimIdentity, Verified, VerifyMember } from './identity.js'
import type { FingerprintCheck } from './safety.js'

export interface DeviceOptions {
  /** Where everything of this device is kept, secrets included. One device per storage. Stays the caller's to dispose. */
  readonly storage: Storage
  readonly transports: readonly Transport[]
  readonly crdts: readonly CrdtBackend[]
  readonly context: Context
  /** Tells whose device a member is; without it all members are "unverified". */
  readonly verifyMember?: VerifyMember
  /** What this device tells the members' apps of whose it is; without it, nothing. */
  readonly claimIdentity?: ClaimIdentity
  /** Whether this device comes along when an admin of a document begins a branch of it with this member. Default true. */
  readonly followBranches?: boolean
}

/** One device: one storage, one endpoint key, any number of documents. Disposing it closes its documents. */
export interface Device extends AsyncDisposable {
  /** Its endpoint id, 64 hexadecimal digits. */
  readonly id: string
  /** Creates a document on the servers and opens it. Resolves when a quorum of them holds it. Throws NO_QUORUM, CONFIG_INVALID, ABORTED. */
  create(options: CreateOptions, signal?: AbortSignal): Promise<Document>
  /**
   * Follows an invite link and opens the document once an admin's device has added this one, which may take as long as
   * that device is away. A join that was interrupted goes on when called again with the same link. A document that this
   * device has is opened as it is; but one it was removed from, one whose status names `divergent` members, and one whose
   * storage was set back (STORAGE_CORRUPT) it closes and joins again, as a new member: what was written here, sent or not,
   * stays and is sent to the others. An admin has to remove this device before. Throws INVITE_INVALID,
   * INVITE_EXPIRED, INVITE_USED, CAPABILITY_MISSING, ABORTED.
   */
  join(link: string, signal?: AbortSignal): Promise<Document>
  /** Opens a document of this device's storage, or returns it when it is open. Throws NOT_FOUND. */
  open(documentId: string): Promise<Document>
  /** Ids of the documents in this device's storage. */
  documents(): Promise<readonly string[]>
}

export interface CreateOptions {
  /** CRDT type id of one of the device's backends, e.g. "yjs/1". Default: its first backend. */
  readonly crdt?: string
  /** Tickets of 1 to 7 servers, as `heddle serve` prints them: "ws://host:port/#<server id>". */
  readonly servers: readonly string[]
  /** How many servers may lie: n >= 3f + 1 when it is not 0. Default 0. */
  readonly faultBound?: 0 | 1 | 2
  /** Role of members who are added without one. Default "editor". */
  readonly defaultRole?: 'editor' | 'reader'
  /** For good: a document keeps its cipher suite. Default "x25519". */
  readonly suite?: Suite
}

/**
 * What keys are agreed on and content is encrypted with: X25519 with AES-128-GCM, the same with ChaCha20-Poly1305, or X-Wing,
 * which a quantum computer does not break either, with ChaCha20-Poly1305; its keys take 1.2 KB each.
 */
export type Suite = 'x25519' | 'x25519-chacha20' | 'post-quantum'

export type RoleName = 'admin' | 'editor' | 'reader'

/** An open document. Disposing it stops its synchronisation; what is stored stays. */
export interface Document<Native = unknown> extends AsyncDisposable {
  /** Group id, 32 hexadecimal digits. */
  readonly id: string
  readonly crdtType: string
  /** What the app edits and observes: with crdt-yjs a Y.Doc. */
  readonly native: Native
  /** The content as plain data, for display. */
  toJSON(): unknown
  /** This device's member id, 32 hexadecimal digits. */
  readonly memberId: string
  members(): readonly Member[]
  status(): DocumentStatus
  /**
   * What this device and the member's show when each has the other's key: 12 groups of 5 digits to be compared by people who
   * know each other, over another way than the document. Throws NOT_FOUND, INVALID for this device itself.
   */
  safetyNumber(memberId: string): string
  /** A member's key, this device's own by default, as upper-case text for a QR code. Throws NOT_FOUND. */
  fingerprint(memberId?: string): string
  /** Compares a fingerprint scanned from another device; `memberId`: whose it is expected to be. */
  checkFingerprint(scanned: string, memberId?: string): FingerprintCheck
  /** Asks `DeviceOptions.verifyMember` about all members again; resolves when it has answered. */
  verifyMembers(): Promise<void>

  /**
   * Makes an invite link: for one device, once. Admins only. A `problem` tells of servers through which it cannot be
   * followed. Throws FORBIDDEN, CONFIG_INVALID, and when a quorum of the servers refuse it and none takes it, what they
   * say: LIMIT_EXCEEDED while too many invites are open.
   */
  invite(options?: InviteOptions): Promise<string>
  /** Invites that this device has made and that can still be followed. */
  invites(): readonly InviteInfo[]
  /**
   * Nobody is added by this invite of this device any more; `invite`: its id or its link. Throws NOT_FOUND, INVITE_USED when
   * it was followed already.
   */
  revokeInvite(invite: string): Promise<void>
  /** These resolve when the change is decided, however long the servers are away; they survive a restart of the device. Throw FORBIDDEN (also when the document is closed), INTENT_OBSOLETE, REMOVED, ABORTED (only the waiting is aborted). */
  remove(memberId: string, signal?: AbortSignal): Promise<void>
  setRole(memberId: string, role: RoleName, signal?: AbortSignal): Promise<void>
  /** Renews this device's keys, so that who knew the old ones cannot read on. */
  rotate(signal?: AbortSignal): Promise<void>
  /**
   * Adds the server of a ticket, or of several with different addresses of one server; 7 servers at most. It has to be there: a server counts for every decision from then on. Throws
   * CONFIG_INVALID, TRANSPORT_UNREACHABLE besides what `remove` throws.
   */
  addServer(tickets: string | readonly string[], signal?: AbortSignal): Promise<void>
  /** Removes a server, by its id. Devices forget it; it keeps what it has for members to read. Throws NOT_FOUND, CONFIG_INVALID too. */
  removeServer(serverId: string, signal?: AbortSignal): Promise<void>
  /** One server for another, in one step; with a ticket of the same id its address changes. Throws as the two above. */
  replaceServer(serverId: string, tickets: string | readonly string[], signal?: AbortSignal): Promise<void>
  policy(): DocumentPolicy
  /** Changes what is given and leaves the rest. Admins only. Throws CONFIG_INVALID besides what `remove` throws. */
  setPolicy(changes: Partial<DocumentPolicy>, signal?: AbortSignal): Promise<void>
  /**
   * Asks to be removed from the document: an admin's device does it as soon as it hears of that. From the call on this
   * device takes no more edits, across restarts too. Resolves when it is removed, or with `until: 'requested'` when the
   * request is on a write quorum of servers. Throws FORBIDDEN for the only admin, ABORTED (the leaving goes on), REMOVED.
   */
  leave(options?: LeaveOptions, signal?: AbortSignal): Promise<void>

  /**
   * Begins a new document with this one's content, servers and roles, and with those of its members whose devices answer in
   * time (RFC 9420 section 11.3); the others can be invited. This document stays as it is. Resolves when the servers have
   * decided the new document's first commit; once it is on this device it goes on across restarts, and when the waiting
   * ends otherwise. Throws FORBIDDEN for who is no admin, CONFIG_INVALID, NOT_FOUND, NO_QUORUM, FORK, LIMIT_EXCEEDED,
   * REMOVED, ABORTED.
   */
  branch(options?: BranchOptions, signal?: AbortSignal): Promise<Document<Native>>

  /** Resolves when every local edit made so far is durable on this device ("stored"), on one server ("sent"), on a write quorum of servers ("safe"). Throws LIMIT_EXCEEDED, FORBIDDEN, REMOVED when that will not come, DISPOSED, ABORTED. */
  settled(level: 'stored' | 'sent' | 'safe', signal?: AbortSignal): Promise<void>
  /** Calls back for everything that happens, until disposed. */
  subscribe(callback: (event: DocumentEvent) => void): Disposable
}

export interface InviteOptions {
  /** Default "editor". */
  readonly role?: RoleName
  /** From 1 to 30 days' worth, 2,592,000,000. Default one day. */
  readonly expiresInMs?: number
}

export interface InviteInfo {
  /** 32 hexadecimal digits. Who has it cannot follow the invite. */
  readonly id: string
  readonly role: RoleName
  /** Milliseconds since the Unix epoch. */
  readonly expiresAtMs: number
}

export interface BranchOptions {
  /** Ids of members who are asked to come along. Default: all. */
  readonly members?: readonly string[]
  /** Tickets of its servers. Default: those of this document. */
  readonly servers?: readonly string[]
  /** How many of them may lie. Default: as in this document, or 0 when `servers` is given. */
  readonly faultBound?: 0 | 1 | 2
  /** How long answers are waited for, 1 to 600,000. Default 10,000. */
  readonly timeoutMs?: number
}

export interface LeaveOptions {
  /** Default "removed". */
  readonly until?: 'requested' | 'removed'
}

/** What all devices and servers of a document go by. */
export interface DocumentPolicy {
  /** Past epochs whose keys a device keeps for late messages, 1 to 64. */
  readonly retainedEpochs: number
  /** Days after which they are deleted in any case, 1 to 365. */
  readonly retainedDays: number
  /** What becomes of a removed member's last messages: those count that a remaining one vouches for, or its remover only. */
  readonly removalMode: 'vouched' | 'strict'
  /** Hours after which keys are renewed if nobody has committed, up to 8760; 0: only when asked. */
  readonly rotationHours: number
}

export interface Member extends Verified {
  /** 32 hexadecimal digits. */
  readonly id: string
  readonly role: RoleName
  /** Endpoint id of its device. */
  readonly deviceId: string
  readonly isSelf: boolean
  /** What its app claims of whose device it is; not to be believed before it is verified. The app's to keep. */
  readonly identity?: Uint8Array
}

export interface DocumentStatus {
  readonly epoch: bigint
  readonly role: RoleName | 'removed'
  /** "online": a quorum is connected; "degraded": some servers; "offline": none; "removed": no longer a member. */
  readonly connection: 'online' | 'degraded' | 'offline' | 'removed'
  readonly servers: readonly ServerStatus[]
  /** Local edits not yet sealed, messages on less than a write quorum, and all messages ever sent. */
  readonly unsent: number
  readonly unsafe: number
  readonly sent: number
  /** Messages applied from others; messages waiting for something missing. */
  readonly applied: number
  readonly waiting: number
  /** Members of whom content is lacking that no server has; the other members were asked for it. */
  readonly lacking: number
  /** Ids of members shown to have signed two chains: nothing more of them is taken; an admin should remove them. */
  readonly forked: readonly string[]
  /**
   * Ids of members who are in another epoch of the same number than this device: the servers may have led the two apart, or
   * the member lies. While one is a member, local edits are kept here and not sent.
   */
  readonly divergent: readonly string[]
  /** Set while this device cannot process a decided commit: it is in the epoch before, and says how it comes back. */
  readonly stuck: StuckStatus | undefined
  /** Changes of the group asked for and not decided; `blocked` when too few servers answer to decide them. */
  readonly pendingChanges: number
  readonly blocked: boolean
  readonly policy: DocumentPolicy
  /** It has asked to be removed, and was not yet. */
  readonly leaving: boolean
  /**
   * An admin has closed the document for good, to go on in another: it can be read, but nothing is sent or changed any more.
   * Local edits are kept here.
   */
  readonly closed: boolean
  readonly suite: Suite
  /** Id of the document that this one began as a branch of. */
  readonly branchOf?: string
}

export interface StuckStatus {
  /** Slot of the commit. */
  readonly slot: bigint
  /** Id of the member that signed it; undefined when that cannot be told. */
  readonly by: string | undefined
  /**
   * "asking": other members are asked for a key to the present epoch; "resyncing": this device proposes to come back;
   * "impossible": it does not come back by itself, or nobody has answered so far; `message` says what to do.
   */
  readonly recovery: 'asking' | 'resyncing' | 'impossible'
  readonly message: string
}

export interface ServerStatus {
  /** 64 hexadecimal digits. */
  readonly id: string
  readonly address: string
  readonly state: 'connected' | 'connecting' | 'unreachable' | 'refused'
  readonly lastError?: { readonly code: ErrorName; readonly message: string }
}

export type DocumentEvent =
  /** Others' edits were applied to `native`. */
  | { readonly type: 'applied'; readonly messages: number }
  /** Local edits reached a level. */
  | { readonly type: 'safe'; readonly seq: bigint }
  /** A commit was decided and applied. */
  | { readonly type: 'epoch'; readonly epoch: bigint }
  /** The connection to a server changed. */
  | { readonly type: 'server'; readonly server: ServerStatus }
  /** What `verifyMember` says of a member is known, or is another than before. */
  | { readonly type: 'verification'; readonly member: Member }
  /**
   * An admin, member `by`, has begun a branch of this document: `documentId`. `joined`: this device has come along and has
   * it; otherwise `followBranches` is off and it was only asked to.
   */
  | { readonly type: 'branch'; readonly documentId: string; readonly by: string; readonly joined: boolean }
  /** This device was removed: nothing more comes or goes. */
  | { readonly type: 'removed' }
  /** A peer did what it must not, or something failed that the user should know. The document goes on. */
  | { readonly type: 'problem'; readonly error: HeddleError }
