/**
 * A server (SPEC SRV): starts on a storage and transports, serves connections until it is disposed of or its storage
 * fails. Called by the command line and by tests.
 */
import { toHex } from '../bytes.js'
import { type CryptoProvider, createCrypto } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import { acceptChannel, alpn } from '../net/index.js'
import type { Connection, Context, Listener, Storage, Transport } from '../plugin/index.js'
import { Documents } from './documents.js'
import { isHosted } from './hosted.js'
import { defaultLimits, type ServerLimits } from './limits.js'
import type { ServerEvent, ServerIdentity, ServerParts, ServerPolicy } from './parts.js'
import { Session } from './session.js'
import { loadIdentity, takeOwnership } from './store.js'
import { Writer } from './writer.js'

export interface ServerOptions {
  /** Where everything is kept, the server's secret key included. Stays the caller's to dispose of, after the server. */
  readonly storage: Storage
  /** Stay the caller's to dispose of. */
  readonly transports: readonly Transport[]
  /** Addresses to listen on, each with the scheme of one of the transports: "ws://0.0.0.0:7700". */
  readonly listen: readonly string[]
  readonly context: Context
  /** Default: the platform's, on the context's randomness. */
  readonly crypto?: CryptoProvider
  readonly policy?: ServerPolicy
  readonly limits?: Partial<ServerLimits>
}

/** A running server. Disposing stops it: connections are told GOING_AWAY, what was accepted is stored. */
export interface Server extends AsyncDisposable {
  /** Ed25519 public key, 32 bytes. */
  readonly id: Uint8Array
  /** Where devices can dial it, with real ports. */
  readonly addresses: readonly string[]
  stats(): ServerStats
  /** Whether a device, by its endpoint id, is a member of a document that has this server. As storage has it. */
  serves(endpointId: Uint8Array): Promise<boolean>
  /**
   * Resolves when storage has failed or another server has taken it over: this one has stopped then, and has to be
   * disposed of. Never rejects.
   */
  readonly failed: Promise<HeddleError>
}

/** Counters since the start, and what there is now. */
export interface ServerStats {
  readonly startedAtMs: number
  readonly connections: number
  readonly documentsInMemory: number
  readonly subscriptions: number
  /** Bytes that wait for storage. */
  readonly writeQueueBytes: number
  readonly counts: Readonly<Record<ServerEvent, number>>
}

const agent = 'heddle-server/0.1.0'

/**
 * Starts a server. On an empty storage it makes its identity first. Throws CONFIG_INVALID, CAPABILITY_MISSING,
 * TRANSPORT_ADDRESS_IN_USE, STORAGE_CONFLICT when another server starts on the storage at the same time.
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { storage, context } = options
  const crypto = options.crypto ?? createCrypto(context.random)
  const secretKey = await loadIdentity(storage, () => context.random(32))
  const identity = { id: crypto.publicKeyOf(secretKey), secretKey }
  const fence = await takeOwnership(storage, context.random(16))
  const server = new RunningServer(options, crypto, identity, new Writer(storage, fence))
  try {
    await server.listen(options.transports, options.listen)
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
  return server
}

class RunningServer implements Server {
  readonly id: Uint8Array
  readonly failed: Promise<HeddleError>
  readonly #parts: ServerParts
  readonly #documents: Documents
  readonly #listeners: Listener[] = []
  readonly #sessions = new Map<Session, Promise<void>>()
  readonly #connectionsOfPeer = new Map<string, number>()
  readonly #counts: Record<ServerEvent, number> = { ...noCounts }
  readonly #startedAtMs: number
  #connections = 0
  #stopping: Promise<void> | undefined

  constructor(options: ServerOptions, crypto: CryptoProvider, identity: ServerIdentity, writer: Writer) {
    const { context, storage, policy = {}, limits } = options
    this.id = identity.id
    this.#startedAtMs = context.clock.now()
    const count = (event: ServerEvent, amount = 1) => {
      this.#counts[event] += amount
    }
    this.#parts = { context, crypto, identity, storage, writer, policy, limits: { ...defaultLimits, ...limits }, count }
    this.#documents = new Documents(this.#parts)
    this.failed = writer.failed
    writer.failed.then((error) => {
      context.log('error', 'server.storage-failed', { error })
      this.#stop(error)
    })
    context.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  get addresses(): readonly string[] {
    return this.#listeners.flatMap(({ addresses }) => addresses)
  }

  stats(): ServerStats {
    return {
      startedAtMs: this.#startedAtMs,
      connections: this.#connections,
      documentsInMemory: this.#documents.inMemory,
      subscriptions: this.#documents.subscriptions,
      writeQueueBytes: this.#parts.writer.queuedBytes,
      counts: { ...this.#counts }
    }
  }

  serves(endpointId: Uint8Array): Promise<boolean> {
    return isHosted(this.#parts.storage, endpointId)
  }

  async listen(transports: readonly Transport[], addresses: readonly string[]): Promise<void> {
    const { context, identity } = this.#parts
    for (const address of addresses) {
      const scheme = address.slice(0, Math.max(0, address.indexOf(':')))
      const transport = transports.find(({ schemes }) => schemes.includes(scheme))
      if (transport === undefined)
        throw new HeddleError('CONFIG_INVALID', `no transport of this server listens on "${address}"; add its plugin`)
      if (transport.listen === undefined)
        throw new HeddleError('CAPABILITY_MISSING', `the transport for "${address}" cannot listen`)
      const { id: publicKey, secretKey } = identity
      const listening = { identity: { publicKey, secretKey }, alpn, address, signal: context.signal }
      const listener = await transport.listen(listening)
      this.#listeners.push(listener)
      this.#accept(listener)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop(new HeddleError('GOING_AWAY', 'the server is shutting down; reconnect later or use another'))
  }

  readonly #onAbort = (): void => {
    this.#stop(new HeddleError('GOING_AWAY', 'the server is shutting down; reconnect later or use another'))
  }

  #stop(reason: HeddleError): Promise<void> {
    this.#stopping ??= this.#shutDown(reason)
    return this.#stopping
  }

  async #shutDown(reason: HeddleError): Promise<void> {
    const { context, writer } = this.#parts
    context.signal.removeEventListener('abort', this.#onAbort)
    const steps: PromiseLike<unknown>[] = this.#listeners.map((listener) => listener[Symbol.asyncDispose]())
    // A peer learns that the server goes, not what is wrong with its storage.
    const farewell = reason.code === 'GOING_AWAY' ? reason : new HeddleError('GOING_AWAY', 'the server has stopped')
    for (const [session, ended] of this.#sessions) steps.push(session.close(farewell), ended)
    for (const { status, reason: error } of (await Promise.allSettled(steps)).filter(isRejected))
      context.log('warn', 'server.stop-failed', { status, error })
    await writer.close()
  }

  async #accept(listener: Listener): Promise<void> {
    const { log } = this.#parts.context
    try {
      for await (const connection of listener.connections) this.#serve(connection)
    } catch (error) {
      log('error', 'server.listener-failed', { addresses: listener.addresses, error })
    }
  }

  /** Never rejects. */
  async #serve(connection: Connection): Promise<void> {
    const { context, limits, count } = this.#parts
    const peer = toHex(connection.peer)
    const ofPeer = this.#connectionsOfPeer.get(peer) ?? 0
    if (this.#connections >= limits.connectionsMax || ofPeer >= limits.connectionsPerPeerMax || this.#stopping) {
      await connection[Symbol.asyncDispose]()
      return
    }
    count('connection')
    this.#connections++
    this.#connectionsOfPeer.set(peer, ofPeer + 1)
    try {
      await this.#session(connection)
    } catch (error) {
      context.log('debug', 'server.connection-failed', { peer, error })
    } finally {
      this.#connections--
      const left = (this.#connectionsOfPeer.get(peer) ?? 1) - 1
      if (left === 0) this.#connectionsOfPeer.delete(peer)
      else this.#connectionsOfPeer.set(peer, left)
    }
  }

  async #session(connection: Connection): Promise<void> {
    const channel = await acceptChannel(connection, { context: this.#parts.context, agent })
    const session = new Session(this.#parts, this.#documents, channel)
    if (this.#stopping !== undefined) return session.close(new HeddleError('GOING_AWAY', 'the server is shutting down'))
    const ended = session.run()
    this.#sessions.set(session, ended)
    try {
      await ended
    } finally {
      this.#sessions.delete(session)
    }
  }
}

const isRejected = (result: PromiseSettledResult<unknown>): result is PromiseRejectedResult =>
  result.status === 'rejected'

const noCounts: Readonly<Record<ServerEvent, number>> = {
  connection: 0,
  request: 0,
  problem: 0,
  internalError: 0,
  created: 0,
  envelopeStored: 0,
  envelopeIgnored: 0,
  envelopeRefused: 0,
  conflict: 0,
  promise: 0,
  vote: 0,
  equivocation: 0,
  invalidValue: 0,
  decided: 0,
  envelopeDelivered: 0
}
