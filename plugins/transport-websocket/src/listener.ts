/**
 * Listening, on Node: an HTTP server that upgrades to WebSocket, authenticates the client and hands the connection out. It
 * is the one part strangers reach, so everything they can make it hold is bounded.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { AsyncQueue, Deadline, HeddleError, type Listener, type ListenOptions } from '@heddle/core'
import { type WebSocket, WebSocketServer } from 'ws'
import { type Address, parseAddress, subprotocol } from './address.js'
import type { Signer } from './crypto/index.js'
import { authenticateClient } from './handshake/index.js'
import type { HttpMount } from './mount.js'
import type { MuxConnection } from './mux/index.js'
import { isNamed } from './options.js'
import { CLOSE, closeReason, MESSAGE_BYTES_MAX } from './socket/index.js'
import { NodeSocket } from './socket/node.js'
import type { Host } from './transport.js'

const HEALTH_PATH = '/healthz'

/** Throws CONFIG_INVALID, TRANSPORT_ADDRESS_IN_USE, ABORTED. */
export async function listen(host: Host, options: ListenOptions): Promise<WebSocketListener> {
  const address = parseAddress(options.address)
  const protocol = subprotocol(options.alpn)
  const { tls } = host.options
  if (address.isSecure && tls.key === undefined) {
    throw new HeddleError(
      'CONFIG_INVALID',
      `${options.address} needs the option "tls" with key and cert to listen on wss`
    )
  }
  const signer = await host.platform.crypto.signer(options.identity)
  if (options.signal.aborted) throw aborted(options)
  const server = address.isSecure ? createHttpsServer({ key: tls.key, cert: tls.cert }) : createHttpServer()
  const listener = new WebSocketListener(host, server, address, protocol, options.alpn, signer)
  await bind(server, address, options.address)
  listener.bound()
  if (!options.signal.aborted) return listener
  await listener[Symbol.asyncDispose]()
  throw aborted(options)
}

export class WebSocketListener implements Listener {
  readonly connections: AsyncQueue<MuxConnection>
  readonly #host: Host
  readonly #server: Server
  readonly #address: Address
  readonly #protocol: string
  readonly #alpn: string
  readonly #signer: Signer
  readonly #upgrader: WebSocketServer
  readonly #stop = new AbortController()
  #addresses: readonly string[] = []
  #authenticating = 0

  constructor(host: Host, server: Server, address: Address, protocol: string, alpn: string, signer: Signer) {
    this.#host = host
    this.#server = server
    this.#address = address
    this.#protocol = protocol
    this.#alpn = alpn
    this.#signer = signer
    this.connections = new AsyncQueue<MuxConnection>()
    this.#upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MESSAGE_BYTES_MAX,
      handleProtocols: () => protocol
    })
    server.maxConnections = host.options.connectionsMax
    server.headersTimeout = host.options.handshakeTimeoutMs
    server.requestTimeout = host.options.handshakeTimeoutMs
    server.on('request', (request, response) => this.#answer(request, response))
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    server.on('drop', () => {
      host.counters.refusedBusy += 1
    })
    server.on('clientError', (error, socket) => {
      this.#refused(error, 'unknown')
      socket.destroy()
    })
    this.#upgrader.on('wsClientError', (error, socket) => {
      this.#refused(error, 'unknown')
      refuse(socket, '400 Bad Request')
    })
  }

  get addresses(): readonly string[] {
    return this.#addresses
  }

  /** The server listens now: what its addresses are is known. */
  bound(): void {
    this.#addresses = dialAddresses(this.#address, this.#server.address() as AddressInfo)
    // Without it an error after binding, such as running out of file descriptors, would end the process.
    this.#server.on('error', (error) => {
      this.#host.context.log('error', 'websocket.listener-error', { message: error.message })
    })
  }

  /** Accepted connections live on; those nobody has taken yet, and handshakes, are closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#host.drop(this)
    this.#stop.abort(new HeddleError('DISPOSED', 'the listener was disposed of'))
    // Its callback waits for upgraded connections too, and those live on; the port is free when `close` returns.
    this.#server.close()
    this.#server.closeAllConnections()
    const waiting = this.connections.clear()
    this.connections.close()
    await Promise.all(waiting.map((connection) => connection[Symbol.asyncDispose]()))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { health } = this.#host.options
    const path = pathOf(request)
    response.setHeader('Connection', 'close')
    if (path === HEALTH_PATH && health !== undefined && (request.method === 'GET' || request.method === 'HEAD')) {
      try {
        const body = JSON.stringify(health({ ...this.#host.counters }))
        response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }).end(body)
      } catch (error) {
        this.#host.context.log('error', 'websocket.health-failed', { message: String(error) })
        response.writeHead(500).end()
      }
    } else if (path === this.#address.path) {
      response.writeHead(426, { Upgrade: 'websocket' }).end('This is a WebSocket.\n')
    } else if (!this.#isMounted(request, (mount) => mount.request(request, response))) {
      response.writeHead(404).end()
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const remote = request.socket.remoteAddress ?? 'unknown'
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
    // Node stops handling the socket's errors here, and an unhandled one would end the process.
    socket.on('error', (error) =>
      this.#host.context.log('debug', 'websocket.socket-error', { remote, message: error.message })
    )
    const isOwn = pathOf(request) === this.#address.path
    if (!isOwn && this.#isMounted(request, (mount) => mount.upgrade(request, socket, head))) return
    if (this.#authenticating + this.connections.size >= this.#host.options.pendingConnectionsMax) {
      this.#host.counters.refusedBusy += 1
      this.#host.context.log('warn', 'websocket.busy', { remote })
      refuse(socket, '503 Too many connections are waiting')
    } else if (!isOwn) {
      refuse(socket, '404 Not Found')
    } else if (!offered.includes(this.#protocol)) {
      this.#refused(new Error(`offers "${offered.join().slice(0, 100)}", not "${this.#protocol}"`), remote)
      refuse(socket, `400 This listener speaks ${this.#protocol}`)
    } else {
      this.#upgrader.handleUpgrade(request, socket, head, (ws) => void this.#authenticate(ws, remote))
    }
  }

  /** Whether one of the mounts took what it was offered. One that throws has lost it. */
  #isMounted({ socket }: IncomingMessage, offer: (mount: HttpMount) => boolean): boolean {
    try {
      return this.#host.options.mounts.some(offer)
    } catch (error) {
      this.#host.context.log('error', 'websocket.mount-failed', { message: String(error) })
      socket.destroy()
      return true
    }
  }

  async #authenticate(ws: WebSocket, remote: string): Promise<void> {
    const { context, options, platform, settings, counters } = this.#host
    const socket = new NodeSocket(ws)
    using deadline = new Deadline(context, options.handshakeTimeoutMs, [this.#stop.signal])
    this.#authenticating += 1
    try {
      const authenticated = await authenticateClient(socket, {
        crypto: platform.crypto,
        random: context.random,
        signer: this.#signer,
        settings,
        alpn: this.#alpn,
        isNamed: (name) => isNamed(options.names, name),
        signal: deadline.signal
      })
      const connection = this.#host.connection(socket, 'listening', remote, authenticated)
      counters.connectionsAccepted += 1
      // One that ends before anybody has taken it makes room.
      void connection.closed.then(() => this.connections.remove(connection))
      if (!this.connections.push(connection)) await connection[Symbol.asyncDispose]()
    } catch (error) {
      if (deadline.isOver) counters.handshakesTimedOut += 1
      this.#refused(error, remote)
      socket.close(refusalCode(error, deadline), closeReason(error))
      // The goodbye needs a moment; whoever does not answer it is dropped.
      context.clock.setTimer(options.closeTimeoutMs, () => socket.terminate())
    } finally {
      this.#authenticating -= 1
    }
  }

  #refused(error: unknown, remote: string): void {
    this.#host.counters.handshakesRefused += 1
    this.#host.context.log('warn', 'websocket.handshake-refused', {
      remote,
      message: error instanceof Error ? error.message : String(error)
    })
  }
}

function aborted({ address, signal }: ListenOptions): HeddleError {
  return new HeddleError('ABORTED', `listening on ${address} was aborted by the caller`, { cause: signal.reason })
}

function bind(server: Server, address: Address, written: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(error, address, written)))
    server.listen({ host: address.hostname, port: address.port }, () => {
      server.removeAllListeners('error')
      resolve()
    })
  })
}

function bindError(cause: NodeJS.ErrnoException, { port, hostname }: Address, written: string): HeddleError {
  const options = { cause, info: { address: written, port } }
  switch (cause.code) {
    case 'EADDRINUSE':
      return new HeddleError(
        'TRANSPORT_ADDRESS_IN_USE',
        `cannot listen on ${written}: port ${port} is taken; choose another port (0 picks a free one), or stop what holds it`,
        options
      )
    case 'EACCES':
      return new HeddleError(
        'CONFIG_INVALID',
        `cannot listen on ${written}: this process may not use port ${port}; choose one above 1023 or give it the right`,
        options
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new HeddleError(
        'CONFIG_INVALID',
        `cannot listen on ${written}: "${hostname}" is no address of this machine; use 0.0.0.0 for all of them`,
        options
      )
    default:
      return new HeddleError('CONFIG_INVALID', `cannot listen on ${written}: ${cause.message}`, options)
  }
}

/** Where peers can dial: the address as it was given, or each of this machine's when it listens on all. */
function dialAddresses(address: Address, bound: AddressInfo): readonly string[] {
  const scheme = address.isSecure ? 'wss' : 'ws'
  const path = address.path === '/' ? '' : address.path
  const url = (host: string) => `${scheme}://${isIPv6(host) ? `[${host}]` : host}:${bound.port}${path}`
  const isAll = address.hostname === '0.0.0.0' || address.hostname === '::'
  if (!isAll) return [url(address.hostname)]
  const family = address.hostname === '::' ? ['IPv4', 'IPv6'] : ['IPv4']
  const all = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    // Link-local addresses mean something else on every machine.
    .filter((one) => family.includes(one.family) && !one.address.startsWith('fe80:'))
  const outside = all.filter((one) => !one.internal).map((one) => one.address)
  return [...outside, '127.0.0.1'].map(url)
}

function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy())
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/'
}

function refusalCode(error: unknown, deadline: Deadline): number {
  if (deadline.isOver) return CLOSE.timeout
  if (deadline.signal.aborted) return CLOSE.goingAway
  return HeddleError.is(error, 'UNAUTHENTICATED') ? CLOSE.unauthenticated : CLOSE.malformed
}
