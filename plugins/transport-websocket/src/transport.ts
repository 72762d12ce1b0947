/**
 * The transport both doors share: dialling, the handshake, and what is open. The Node door adds listening; each brings its
 * own way to connect a WebSocket and its own cryptography.
 */
import { type Connection, type Context, Deadline, type DialOptions, HeddleError, type Transport } from '@heddle/core'
import { type Address, parseAddress, subprotocol } from './address.js'
import { type Counters, newCounters } from './counters.js'
import type { HandshakeCrypto } from './crypto/index.js'
import type { Settings } from './handshake/index.js'
import { type Authenticated, authenticateToServer } from './handshake/index.js'
import { MuxConnection } from './mux/index.js'
import type { ResolvedOptions } from './options.js'
import { CLOSE, closeReason, type Socket } from './socket/index.js'

/** What Node and browsers do each in their own way. */
export interface Platform {
  readonly crypto: HandshakeCrypto
  /** Connects a WebSocket; rejects with why, leaves nothing behind when `signal` aborts. */
  connect(url: string, protocol: string, signal: AbortSignal): Promise<Socket>
  /** Calls back at the end of the event loop's turn. */
  readonly afterTurn: (callback: () => void) => void
  /** Lets go of what `afterTurn` holds. */
  close(): void
}

/** Largest frame the multiplexer is made for. */
export const FRAME_BYTES_MAX = 256 * 1024 * 1024

export class DiallingTransport implements Transport {
  readonly schemes = ['ws', 'wss'] as const
  /** What it has seen since it was started. */
  readonly counters: Readonly<Counters>
  protected readonly host: Host
  readonly #stop = new AbortController()

  constructor(options: ResolvedOptions, context: Context, platform: Platform) {
    if (context.limits.frameBytesMax > FRAME_BYTES_MAX) {
      throw new HeddleError(
        'CAPABILITY_MISSING',
        `the host wants frames of ${context.limits.frameBytesMax} bytes; the WebSocket transport carries ${FRAME_BYTES_MAX}`
      )
    }
    this.host = new Host(options, context, platform)
    this.counters = this.host.counters
  }

  async dial(address: string, options: DialOptions): Promise<Connection> {
    this.checkOpen()
    const target = parseAddress(address)
    const protocol = subprotocol(options.alpn)
    const { platform, context, options: own } = this.host
    using deadline = new Deadline(context, own.dialTimeoutMs, [options.signal, this.#stop.signal])
    let socket: Socket | undefined
    try {
      const signer = await platform.crypto.signer(options.identity)
      deadline.signal.throwIfAborted()
      socket = await platform.connect(target.url, protocol, deadline.signal)
      const authenticated = await authenticateToServer(socket, {
        crypto: platform.crypto,
        random: context.random,
        signer,
        settings: this.host.settings,
        alpn: options.alpn,
        serverName: target.serverName,
        expectPeer: options.expectPeer,
        signal: deadline.signal
      })
      // An abort during the last step finds nobody waiting for it.
      deadline.signal.throwIfAborted()
      this.host.counters.connectionsDialled += 1
      return this.host.connection(socket, 'dialling', address, authenticated)
    } catch (error) {
      const failure = this.#dialError(target, address, deadline, error)
      if (failure.code === 'UNAUTHENTICATED') socket?.close(CLOSE.unauthenticated, closeReason(failure))
      else socket?.terminate()
      throw failure
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#stop.signal.aborted) this.#stop.abort(disposed())
    await this.host.disposeAll()
    this.host.platform.close()
  }

  protected checkOpen(): void {
    if (this.#stop.signal.aborted) throw disposed()
  }

  #dialError(target: Address, address: string, deadline: Deadline, error: unknown): HeddleError {
    if (deadline.signal.aborted && !deadline.isOver) {
      return new HeddleError('ABORTED', `dialling ${address} was aborted by the caller`, {
        cause: deadline.signal.reason
      })
    }
    if (HeddleError.is(error) && error.code !== 'MALFORMED') return error
    const why = deadline.isOver
      ? `no answer within ${this.host.options.dialTimeoutMs} ms`
      : error instanceof Error
        ? error.message
        : String(error)
    return new HeddleError('TRANSPORT_UNREACHABLE', `${address} cannot be reached: ${why}`, {
      cause: error,
      info: { address, serverName: target.serverName }
    })
  }
}

/** What dialling and listening share in one transport. */
export class Host {
  readonly options: ResolvedOptions
  readonly context: Context
  readonly platform: Platform
  readonly counters: Counters = newCounters()
  readonly settings: Settings
  readonly #open = new Set<AsyncDisposable>()

  constructor(options: ResolvedOptions, context: Context, platform: Platform) {
    this.options = options
    this.context = context
    this.platform = platform
    this.settings = {
      windowBytes: options.windowBytes,
      streamsMax: options.streamsMax,
      frameBytesMax: context.limits.frameBytesMax
    }
  }

  connection(
    socket: Socket,
    side: 'dialling' | 'listening',
    remoteName: string,
    { peer, settings }: Authenticated
  ): MuxConnection {
    const { options, context } = this
    const connection = new MuxConnection({
      socket,
      side,
      peer,
      remoteName,
      local: this.settings,
      remote: settings,
      clock: context.clock,
      log: context.log,
      counters: this.counters,
      pingIntervalMs: options.pingIntervalMs,
      deadAfterMs: options.deadAfterMs,
      closeTimeoutMs: options.closeTimeoutMs,
      afterTurn: this.platform.afterTurn
    })
    this.keep(connection)
    void connection.closed.then(() => this.drop(connection))
    return connection
  }

  keep(item: AsyncDisposable): void {
    this.#open.add(item)
  }

  drop(item: AsyncDisposable): void {
    this.#open.delete(item)
  }

  /** All at once, since each connection may wait for its peer's goodbye. */
  async disposeAll(): Promise<void> {
    const items = [...this.#open]
    this.#open.clear()
    await Promise.all(items.map((item) => item[Symbol.asyncDispose]()))
  }
}

function disposed(): HeddleError {
  return new HeddleError('DISPOSED', 'the WebSocket transport was disposed of; start another one')
}
