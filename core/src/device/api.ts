/**
 * What an app sees of a device: opening it, its documents, and what happens in them (SPEC DEVICE). Types only; the room's
 * other files implement them.
 */
import type { ErrorName, HeddleError } from '../errors.js'
import type { Context, CrdtBackend, Storage, Transport } from '../plugin/index.js'

export interface DeviceOptions {
  /** Where everything of this device is kept, secrets included. One device per storage. Stays the caller's to dispose. */
  readonly storage: Storage
  readonly transports: readonly Transport[]
  readonly crdts: readonly CrdtBackend[]
  readonly context: Context
}

/** One device: one storage, one endpoint key, any number of documents. Disposing it closes its documents. */
export interface Device extends AsyncDisposable {
  /** Its endpoint id, 64 hexadecimal digits. */
  readonly id: string
  /** Creates a document on the servers and opens it. Resolves when a quorum of them holds it. Throws NO_QUORUM, CONFIG_INVALID, ABORTED. */
  create(options: CreateOptions, signal?: AbortSignal): Promise<Document>
  /**
   * Follows an invite link and opens the document once an admin's device has added this one, which may take as long as
   * that device is away. A join that was interrupted goes on when called again with the same link. Throws
   * INVITE_INVALID, INVITE_EXPIRED, INVITE_USED, CAPABILITY_MISSING, ABORTED.
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
}

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

  /** Makes an invite link: for one device, once. Admins only. Throws FORBIDDEN. */
  invite(options?: InviteOptions): Promise<string>
  /** These resolve when the change is decided, however long the servers are away; they survive a restart of the device. Throw FORBIDDEN, INTENT_OBSOLETE, REMOVED, ABORTED (only the waiting is aborted). */
  remove(memberId: string, signal?: AbortSignal): Promise<void>
  setRole(memberId: string, role: RoleName, signal?: AbortSignal): Promise<void>
  /** Renews this device's keys, so that who knew the old ones cannot read on. */
  rotate(signal?: AbortSignal): Promise<void>

  /** Resolves when every local edit made so far is durable on this device ("stored"), on one server ("sent"), on a write quorum of servers ("safe"). */
  settled(level: 'stored' | 'sent' | 'safe', signal?: AbortSignal): Promise<void>
  /** Calls back for everything that happens, until disposed. */
  subscribe(callback: (event: DocumentEvent) => void): Disposable
}

export interface InviteOptions {
  /** Default "editor". */
  readonly role?: RoleName
  /** Default one day. */
  readonly expiresInMs?: number
}

export interface Member {
  /** 32 hexadecimal digits. */
  readonly id: string
  readonly role: RoleName
  /** Endpoint id of its device. */
  readonly deviceId: string
  readonly isSelf: boolean
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
  /** Changes of the group asked for and not decided; `blocked` when too few servers answer to decide them. */
  readonly pendingChanges: number
  readonly blocked: boolean
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
  /** This device was removed: nothing more comes or goes. */
  | { readonly type: 'removed' }
  /** A peer did what it must not, or something failed that the user should know. The document goes on. */
  | { readonly type: 'problem'; readonly error: HeddleError }
