/**
 * Listening: takes whoever connects through the handshake and hands the connection out. It is the part strangers reach, so
 * everything they can make it hold is bounded.
 */
import { networkInterfaces } from 'node:os'
import { AsyncQueue, Deadline, HeddleError, type Listener, type ListenOptions } from '@heddle/core'
import { type BindAddress, formatPeerAddress, formatSocket, parseListenAddress, parseSocket } from './address.js'
import { toHex } from './bytes.js'
import { CLOSE, greetAsListener, type IrohConnection } from './connection/index.js'
import type { BoundEndpoint } from './endpoint.js'
import type { Host } from './host.js'
import { describeFailure, type QuicConnection, type QuicIncoming } from './native/index.js'
import { unlessAborted } from './unless-aborted.js'

/** Throws CONFIG_INVALID, TRANSPORT_ADDRESS_IN_USE, UNAUTHENTICATED, ABORTED. */
export async function listen(host: Host, options: ListenOptions, stop: AbortSignal): Promise<IrohListener> {
  const { identity, address, alpn, signal } = options
  const bind = parseListenAddress(address)
  if (signal.aborted) throw aborted(options)
  const endpoint = await host.endpoints.forListening(identity, bind, alpn, address)
  const listener = new IrohListener(host, endpoint, bind)
  await listener.reachRelay([signal, stop])
  if (!signal.aborted) return listener
  await listener[Symbol.asyncDispose]()
  throw aborted(options)
}

export class IrohListener implements Listener {
  readonly connections = new AsyncQueue<IrohConnection>()
  readonly #host: Host
  readonly #endpoint: BoundEndpoint
  readonly #release: () => Promise<void>
  readonly #bind: BindAddress
  readonly #stop = new AbortController()
  #greeting = 0
  #open = 0

  constructor(host: Host, endpoint: BoundEndpoint, bind: BindAddress) {
    this.#host = host
    this.#endpoint = endpoint
    this.#bind = bind
    this.#release = endpoint.use()
    endpoint.onIncoming = (incoming) => void this.#accept(incoming)
    host.keep(this)
  }

  /** For each relay one, the relay it is reachable through now first; without relays, by direct addresses alone. */
  get addresses(): readonly string[] {
    const { id, quic } = this.#endpoint
    const [outside, local] = directAddresses(this.#bind, quic.sockets)
    const home = quic.relay()
    const relays = [...new Set([...(home === undefined ? [] : [home]), ...this.#host.options.relays])]
    const ways = relays.length > 0 ? relays : [undefined]
    const first = outside.length > 0 || relays.length > 0 ? ways : []
    return [
      ...first.map((relay) => formatPeerAddress({ id, direct: outside, relay })),
      // Apart from the others: on another machine it leads to somebody else.
      ...(local.length > 0 ? [formatPeerAddress({ id, direct: local, relay: undefined })] : [])
    ]
  }

  /** Waits for the relay, but not for long: it may be away for ever. */
  async reachRelay(signals: readonly AbortSignal[]): Promise<void> {
    const { options, context } = this.#host
    if (options.relays.length === 0 || this.#endpoint.quic.relay() !== undefined) return
    using deadline = new Deadline(context, options.relayTimeoutMs, [...signals, this.#stop.signal])
    try {
      await unlessAborted(this.#endpoint.quic.online(), deadline.signal, () => {})
    } catch (error) {
      if (deadline.signal.aborted && !deadline.isOver) return
      const message = describeFailure(error)
      context.log('warn', 'iroh.relay-unreachable', { relays: options.relays.join(' '), message })
    }
  }

  /** Accepted connections live on, and the port with them; those nobody has taken yet, and handshakes, are closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#host.drop(this)
    this.#endpoint.onIncoming = undefined
    this.#stop.abort(new HeddleError('DISPOSED', 'the listener was disposed of'))
    const waiting = this.connections.clear()
    this.connections.close()
    await Promise.all(waiting.map((connection) => connection[Symbol.asyncDispose]()))
    await this.#release()
  }

  async #accept(incoming: QuicIncoming): Promise<void> {
    const { context, counters, options } = this.#host
    try {
      const waiting = this.#greeting + this.connections.size
      if (waiting >= options.pendingConnectionsMax || this.#open + this.#greeting >= options.connectionsMax) {
        counters.refusedBusy += 1
        context.log('warn', 'iroh.busy', { waiting, open: this.#open })
        await incoming.refuse()
        return
      }
      this.#greeting += 1
      try {
        // Half full, it no longer believes in addresses that were never seen to receive.
        if (waiting * 2 >= options.pendingConnectionsMax && !(await incoming.validate())) return
        await this.#greet(incoming)
      } finally {
        this.#greeting -= 1
      }
    } catch (error) {
      this.#refused(error, 'unknown')
    }
  }

  async #greet(incoming: QuicIncoming): Promise<void> {
    const { context, counters, options } = this.#host
    using deadline = new Deadline(context, options.handshakeTimeoutMs, [this.#stop.signal])
    let quic: QuicConnection | undefined
    try {
      const hangUp = (late: QuicConnection) => late.close(CLOSE.refused, 'refused')
      quic = await unlessAborted(incoming.accept(), deadline.signal, hangUp)
      const greeted = await greetAsListener(quic, context.limits.frameBytesMax, deadline.signal)
      deadline.signal.throwIfAborted()
      const connection = this.#host.connection(greeted, 'listening', this.#endpoint)
      counters.connectionsAccepted += 1
      this.#open += 1
      // One that ends before anybody has taken it makes room.
      void connection.closed.then(() => this.connections.remove(connection))
      void connection.gone.then(() => {
        this.#open -= 1
      })
      if (!this.connections.push(connection)) await connection[Symbol.asyncDispose]()
    } catch (error) {
      quic?.close(CLOSE.refused, 'refused')
      if (deadline.isOver) counters.handshakesTimedOut += 1
      this.#refused(error, quic === undefined ? 'unknown' : toHex(quic.peer))
    }
  }

  #refused(error: unknown, remote: string): void {
    if (this.#stop.signal.aborted) return
    this.#host.counters.handshakesRefused += 1
    this.#host.context.log('warn', 'iroh.handshake-refused', { remote, message: describeFailure(error) })
  }
}

function aborted({ address, signal }: ListenOptions): HeddleError {
  return new HeddleError('ABORTED', `listening on ${address} was aborted by the caller`, { cause: signal.reason })
}

/**
 * Where peers can reach it, from elsewhere and from this machine alone: the address as it was given, or each of this
 * machine's when it listens on all.
 */
function directAddresses(
  { ip }: BindAddress,
  sockets: readonly string[]
): readonly [outside: readonly string[], local: readonly string[]] {
  const bound = sockets.flatMap((text) => parseSocket(text, 1) ?? [])
  const wanted = ip === '::' ? ['0.0.0.0', '::'] : [ip]
  const outside: string[] = []
  const local: string[] = []
  for (const socket of bound.filter((one) => wanted.includes(one.ip))) {
    const isAll = socket.ip === '0.0.0.0' || socket.ip === '::'
    if (isAll) {
      outside.push(...ownAddresses(socket.ip === '::' ? 'IPv6' : 'IPv4').map((own) => formatSocket(own, socket.port)))
      local.push(formatSocket(socket.ip === '::' ? '::1' : '127.0.0.1', socket.port))
    } else {
      outside.push(formatSocket(socket.ip, socket.port))
    }
  }
  return [outside, local]
}

function ownAddresses(family: 'IPv4' | 'IPv6'): readonly string[] {
  return (
    Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      // Link-local addresses mean something else on every machine.
      .filter((one) => one.family === family && !one.internal && !one.address.startsWith('fe80:'))
      .map((one) => one.address)
  )
}
