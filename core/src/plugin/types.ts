/**
 * The plugin contract: what a CRDT backend, a storage and a transport are to the core (SPEC PLUGIN-*). Interfaces only,
 * no behaviour. Byte arrays passed as arguments are borrowed (the plugin neither mutates nor keeps them after the call
 * settles); byte arrays in results belong to the caller.
 */

/** What the host gives to everything it starts. Nothing in the core or in a plugin reads a clock or randomness elsewhere. */
export interface Context {
  /** Aborts when the host shuts down. */
  readonly signal: AbortSignal
  readonly log: Log
  readonly clock: Clock
  /** `length` cryptographically secure random bytes; owned by the caller. */
  readonly random: (length: number) => Uint8Array
  readonly limits: HostLimits
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
/** Structured log: an event name and fields. Never called with plaintext or key material. */
export type Log = (level: LogLevel, event: string, fields?: Readonly<Record<string, unknown>>) => void

/** Time as the host sees it: the system's, or a simulator's. */
export interface Clock {
  /** Milliseconds since the Unix epoch, a whole number. */
  now(): number
  /** Calls `callback` once after `delayMs`; disposing before that cancels it. */
  setTimer(delayMs: number, callback: () => void): Disposable
}

/** Bounds a host sets for all its plugins. */
export interface HostLimits {
  /** Largest frame a transport has to carry, bytes. */
  readonly frameBytesMax: number
}

// ── Manifest and registry ────────────────────────────────────────────────────────────────────────────────────────────

export interface Kinds {
  readonly crdt: { readonly instance: CrdtBackend; readonly supports: CrdtSupports }
  readonly storage: { readonly instance: Storage; readonly supports: StorageSupports }
  readonly transport: { readonly instance: Transport; readonly supports: TransportSupports }
}
export type Kind = keyof Kinds
export type Runtime = 'node' | 'browser' | 'deno' | 'bun'

export interface Manifest<K extends Kind = Kind> {
  readonly kind: K
  /** The package's name on the registry. */
  readonly name: string
  readonly version: string
  /** Plugin API it was built for: accepted when the major is the host's and the minor is not above it. */
  readonly api: `${number}.${number}`
  /** Every flag is said, true or false; the conformance suites test both. */
  readonly supports: Kinds[K]['supports']
  readonly runtimes: readonly Runtime[]
}

/** What a plugin package exports as `default` and builds its factory from. */
export interface Plugin<K extends Kind = Kind, Options = unknown> {
  readonly manifest: Manifest<K>
  /** Validates and defaults the options; any Standard Schema library, or written by hand. */
  readonly options: StandardSchema<Options>
  /** Starts it; all I/O happens here or later, none at import. */
  create(options: Options, context: Context): Promise<Kinds[K]['instance']>
}

/** A plugin with its options, as it stands in a configuration. Made by the factory `definePlugin` returns. */
export interface BoundPlugin<K extends Kind = Kind> {
  readonly plugin: Plugin<K>
  readonly options: unknown
}

/** In a configuration: a typed object, or a module name (imported lazily) with options. */
export type PluginRef<K extends Kind = Kind> = BoundPlugin<K> | string | readonly [module: string, options?: unknown]

/** https://standardschema.dev, the part that is used. */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] }
export interface StandardIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

// ── CRDT ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface CrdtSupports {
  readonly mergeUpdates: boolean
  readonly shallowSnapshot: boolean
  /** Every corrupted update is refused with CRDT_MALFORMED and changes nothing. */
  readonly detectsCorruption: boolean
  readonly actorIdBits: 32 | 53 | 64 | 128
}

export interface CrdtBackend<Native = unknown> extends AsyncDisposable {
  /** Stands in the group context of every document that uses it: "yjs/1". */
  readonly typeId: string
  /** Opens a document from what was stored. Throws CRDT_MALFORMED. */
  open(init: CrdtInit): Promise<CrdtDoc<Native>>
  /** One update with the effect of all (supports.mergeUpdates). */
  mergeUpdates?(updates: readonly Uint8Array[]): Uint8Array
}

export interface CrdtInit {
  /** 16 bytes, unique for every session in which anything may be written; the backend takes the first bits, actorIdBits. */
  readonly actor: Uint8Array
  readonly snapshot?: Uint8Array
  readonly updates?: readonly Uint8Array[]
}

/** After disposal every call throws DISPOSED; once tainted, every call throws CRDT_TAINTED. Byte arrays are plain. */
export interface CrdtDoc<Native = unknown> extends AsyncDisposable {
  /** What the app edits: a Y.Doc, a LoroDoc, an Automerge handle. */
  readonly native: Native
  /**
   * Applies others' updates as one batch, in the order given. `applied` counts those of the batch that took effect,
   * `pending` all updates, earlier ones too, that wait for one not yet seen.
   * Throws CRDT_MALFORMED with the document unchanged, or CRDT_TAINTED: then every later call throws it too.
   */
  apply(updates: readonly Uint8Array[]): { readonly applied: number; readonly pending: number }
  /**
   * The local changes since the last `confirm`, or undefined when there are none. Never contains others' changes. The
   * caller makes `bytes` durable and then calls `confirm`; without it the next flush contains them again.
   */
  flush(): { readonly bytes: Uint8Array; readonly confirm: () => void } | undefined
  /** Opaque state vector of everything applied. */
  version(): Uint8Array
  /** An update with everything after `since` (a `version()` of this or another replica). Throws CRDT_MALFORMED. */
  diff(since: Uint8Array): Uint8Array
  /** The whole state; `shallow` may drop history (supports.shallowSnapshot). */
  snapshot(options?: { readonly shallow?: boolean }): Uint8Array
  /** Calls back after local changes; a signal only, the bytes come from `flush`, which the callback may call. */
  onLocalChange(callback: () => void): Disposable
  /** Plain JSON, equal on replicas that have converged, whatever types the app has named. For tests and `doc show`. */
  toJSON(): unknown
}

// ── Storage ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface StorageSupports {
  /** What `commit` resolved for survives a crash of the process and of the machine. */
  readonly durable: boolean
  /** Several processes may use it at once. */
  readonly multiProcess: boolean
  /** At least 256. */
  readonly keyBytesMax: number
  /** At least 32 MiB. */
  readonly valueBytesMax: number
}

/**
 * Ordered bytes with atomic batches. Keys have 1 to keyBytesMax bytes (others throw CAPABILITY_MISSING) and are compared
 * as unsigned bytes (memcmp), a prefix before what it prefixes. Errors come as rejections. Disposing waits for earlier
 * commits; it may be repeated, and afterwards everything throws STORAGE_CLOSED.
 */
export interface Storage extends AsyncDisposable {
  /** The value, or undefined. Sees every batch whose `commit` has resolved. Throws STORAGE_CLOSED. */
  get(key: Uint8Array): Promise<Uint8Array | undefined>
  /**
   * Pages of 1 to 1024 entries and at most about 4 MiB, in key order (`reverse`: descending); a consistent view per page,
   * not over the whole scan. Bounds of a range may have any length; an empty range gives no page. Throws ABORTED.
   */
  scan(range: ScanRange, signal?: AbortSignal): AsyncIterable<readonly Entry[]>
  /**
   * All or nothing, and durable when it resolves (supports.durable). First every `expect` is checked (STORAGE_CONFLICT
   * when one fails), then `delRange`, `del`, `put` take effect in this order. Calls take effect in the order made. The
   * batch is borrowed until it settles.
   */
  commit(batch: Batch): Promise<void>
  /** Another process committed under `prefix`, or may have (supports.multiProcess). */
  watch?(prefix: Uint8Array, callback: () => void): Disposable
}
export interface Entry {
  readonly key: Uint8Array
  readonly value: Uint8Array
}
export interface KeyRange {
  /** First key. */
  readonly gte: Uint8Array
  /** First key beyond the range. */
  readonly lt: Uint8Array
}
export interface ScanRange extends KeyRange {
  readonly reverse?: boolean
  /** Greatest number of entries over all pages. */
  readonly limit?: number
}
export interface Batch {
  /** `value: undefined` expects absence. */
  readonly expect?: readonly { readonly key: Uint8Array; readonly value: Uint8Array | undefined }[]
  readonly delRange?: readonly KeyRange[]
  readonly del?: readonly Uint8Array[]
  readonly put?: readonly Entry[]
}

// ── Transport ────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface TransportSupports {
  readonly listen: boolean
  readonly dial: boolean
  readonly peerAuth: boolean
  readonly datagrams: boolean
  readonly frameBytesMax: number
}

/** The Ed25519 key pair a process proves on every connection. */
export interface EndpointIdentity {
  /** 32 bytes, public. */
  readonly publicKey: Uint8Array
  /** 32 bytes, the RFC 8032 seed. */
  readonly secretKey: Uint8Array
}

export interface Transport extends AsyncDisposable {
  /** URL schemes it dials, without the colon: "ws", "wss", "mem", "iroh". */
  readonly schemes: readonly string[]
  /**
   * Connects and authenticates both ends. With `expectPeer`, fails with UNAUTHENTICATED when the other side proves
   * another key. Throws TRANSPORT_UNREACHABLE (also when nobody there speaks the protocol name), UNAUTHENTICATED,
   * CONFIG_INVALID for a malformed address, CAPABILITY_MISSING when it cannot dial, ABORTED, DISPOSED.
   */
  dial(address: string, options: DialOptions): Promise<Connection>
  /** Accepts connections (supports.listen). Throws TRANSPORT_ADDRESS_IN_USE. */
  listen?(options: ListenOptions): Promise<Listener>
}
export interface DialOptions {
  readonly identity: EndpointIdentity
  /** Protocol name both sides must use: "heddle/1". */
  readonly alpn: string
  readonly expectPeer?: Uint8Array
  readonly signal: AbortSignal
}
export interface ListenOptions {
  readonly identity: EndpointIdentity
  readonly alpn: string
  /** Where to listen, as the transport's own URL: "ws://127.0.0.1:0", "mem://server-1". */
  readonly address: string
  readonly signal: AbortSignal
}
/** Disposing it frees the address; connections it has accepted live on. */
export interface Listener extends AsyncDisposable {
  /** Addresses a peer can dial, with the real port. */
  readonly addresses: readonly string[]
  /** Authenticated connections; ends when the listener is disposed. */
  readonly connections: AsyncIterable<Connection>
}
export interface Connection extends AsyncDisposable {
  /** The other side's Ed25519 public key, proven. */
  readonly peer: Uint8Array
  /** Opens a stream; the other side sees it on `incoming` at the latest with its first frame. */
  open(signal?: AbortSignal): Promise<FrameStream>
  /** Streams the peer opened; ends without an error when the connection ends. */
  readonly incoming: AsyncIterable<FrameStream>
  /** Unreliable, unordered, bounded (supports.datagrams). */
  sendDatagram?(bytes: Uint8Array): void
  /** Resolves once, never rejects. */
  readonly closed: Promise<ConnectionEnd>
}
export interface ConnectionEnd {
  readonly by: 'local' | 'remote' | 'lost'
  readonly cause?: unknown
}
/** A stream that is not read to its end must be disposed of, or it keeps its place on the connection. */
export interface FrameStream extends AsyncDisposable {
  /**
   * In order, each complete; the reader owns the bytes. Ends after the peer's `finish`, throws TRANSPORT_CLOSED on reset
   * or loss. One queue: iterating again goes on where the last loop stopped. What arrived before a loss is still
   * delivered; a reset drops what was not read.
   */
  readonly frames: AsyncIterable<Uint8Array>
  /**
   * Resolves when the queue is below its high-water mark: back-pressure. The bytes may be kept until then. Aborting ends
   * the waiting; a frame that was begun still goes out whole. Throws FRAME_TOO_LARGE, TRANSPORT_CLOSED, ABORTED.
   */
  write(frame: Uint8Array, signal?: AbortSignal): Promise<void>
  /** No more writes; what was written still arrives. Disposing without it resets the stream. Throws TRANSPORT_CLOSED. */
  finish(): Promise<void>
}
