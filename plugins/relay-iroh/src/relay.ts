/**
 * The relay as a part of somebody's HTTP server: answers iroh's probes, takes WebSockets at /relay, and forwards what
 * authorised endpoints send each other. It reads nothing of it: payloads are QUIC packets, encrypted end to end.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Context, HeddleError } from '@heddle/core'
import { type WebSocket, WebSocketServer } from 'ws'
import { admit } from './admission.js'
import { type Applicant, applicantOf } from './authorize.js'
import { Client } from './client.js'
import { type Counters, newCounters } from './counters.js'
import { answer, pathOf, RELAY_PATH, refuse } from './http.js'
import { CLOSE, Link, type LinkHost } from './link/index.js'
import { type RelayOptions, type ResolvedOptions, resolveOptions } from './options.js'
import { FRAME_BYTES_MAX, type ProtocolVersion, SUBPROTOCOLS, serverConfirmsAuth } from './protocol/index.js'
import { Switchboard } from './switchboard.js'

/** Clients are told to come back at once, but not all of them in the same moment. */
const RECONNECT_SPREAD_MS = 1_000
const TRY_FOR_MS = 5_000

/** Fits `mounts` of Heddle's WebSocket transport, and any other HTTP server. */
export interface IrohRelay extends AsyncDisposable {
  /** What it has seen since it was started. */
  readonly counters: Readonly<Counters>
  /** What is there now. */
  readonly load: RelayLoad
  /** Answers /relay, /ping, /generate_204 and /healthz and returns true; leaves everything else alone and returns false. */
  request(request: IncomingMessage, response: ServerResponse): boolean
  /** Takes the socket over when the request is for /relay and returns true; else leaves it alone and returns false. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Uint8Array): boolean
  /**
   * Asks the policy again about every client, and closes those it refuses now; to be called when it has changed. Throws
   * ABORTED: then those it had not answered for are still there.
   */
  reauthorize(signal?: AbortSignal): Promise<void>
  /** Tells every client that the relay restarts, closes all, and takes nobody any more. May be repeated. */
  [Symbol.asyncDispose](): Promise<void>
}

export interface RelayLoad {
  /** Different endpoints. */
  readonly endpoints: number
  /** Their connections, and those in the handshake. */
  readonly connections: number
  /** Waiting to be written, for all clients. */
  readonly queuedBytes: number
}

/**
 * Starts a relay; it does nothing until an HTTP server calls it. Throws CONFIG_INVALID.
 * @example
 * const relay = irohRelay({ authorize: members(endpointIds) }, context)
 * const transport = websocket({ mounts: [relay] })
 */
export function irohRelay(options: RelayOptions, context: Context): IrohRelay {
  return new Relay(resolveOptions(options), context)
}

/** What a client's request said about it, kept for when the policy is asked again. */
type ApplicantFacts = Omit<Applicant, 'signal'>

class Relay implements IrohRelay {
  readonly counters: Counters = newCounters()
  readonly #options: ResolvedOptions
  readonly #host: LinkHost
  readonly #switchboard: Switchboard
  readonly #upgrader: WebSocketServer
  readonly #links = new Set<Link>()
  readonly #clients = new Map<Client, ApplicantFacts>()
  #handshakes = 0
  #draining: Promise<void> | undefined

  constructor(options: ResolvedOptions, context: Context) {
    this.#options = options
    this.#host = { context, limits: options, counters: this.counters, queued: { bytes: 0 } }
    this.#switchboard = new Switchboard(this.counters)
    this.#upgrader = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      // A WebSocket message is one frame, so that no stranger can make the relay hold more than a frame.
      maxPayload: FRAME_BYTES_MAX,
      maxFragments: 64,
      maxBufferedChunks: 1024,
      // Answering pings is metered and bounded like everything else.
      autoPong: false,
      handleProtocols: (offered) => SUBPROTOCOLS.find(({ name }) => offered.has(name))?.name ?? false
    })
    this.#upgrader.on('wsClientError', (error, socket, request) => {
      this.counters.handshakesRefused += 1
      this.#log('warn', 'iroh-relay.client-refused', request, error.message)
      refuse(socket, '400 Bad Request')
    })
  }

  get load(): RelayLoad {
    return {
      endpoints: this.#switchboard.size,
      connections: this.#links.size,
      queuedBytes: this.#host.queued.bytes
    }
  }

  request(request: IncomingMessage, response: ServerResponse): boolean {
    return answer(request, response, this.#draining !== undefined)
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Uint8Array): boolean {
    if (pathOf(request) !== RELAY_PATH) return false
    // Node stops handling the socket's errors here, and an unhandled one would end the process.
    socket.on('error', (error) => this.#log('debug', 'iroh-relay.socket-error', request, error.message))
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
    const { clientsMax, handshakesMax } = this.#options
    if (this.#draining !== undefined) {
      refuse(socket, '503 This relay is shutting down')
    } else if (this.#links.size >= clientsMax || this.#handshakes >= handshakesMax) {
      this.counters.refusedBusy += 1
      this.#log('warn', 'iroh-relay.busy', request, `${this.#links.size} connections, ${this.#handshakes} in handshake`)
      refuse(socket, '503 Too many clients')
    } else if (!SUBPROTOCOLS.some(({ name }) => offered.includes(name))) {
      this.counters.handshakesRefused += 1
      this.#log('warn', 'iroh-relay.client-refused', request, `offers "${offered.join().slice(0, 100)}"`)
      refuse(socket, `400 This relay speaks ${SUBPROTOCOLS.map(({ name }) => name).join(' and ')}`)
    } else {
      const rest = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
      this.#upgrader.handleUpgrade(request, socket, rest, (ws) => void this.#serve(ws, socket, applicantOf(request)))
    }
    return true
  }

  async reauthorize(signal = new AbortController().signal): Promise<void> {
    const asked = Promise.all(
      Array.from(this.#clients, async ([client, applicant]) => {
        const isAllowed = await this.#isStillAllowed(client, { ...applicant, signal })
        if (isAllowed || signal.aborted) return
        this.counters.clientsDenied += 1
        client.expelled()
      })
    )
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => reject(aborted(signal))
      if (signal.aborted) onAbort()
      else signal.addEventListener('abort', onAbort, { once: true })
      void asked.then(() => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining ??= this.#drain()
    await this.#draining
  }

  async #serve(ws: WebSocket, socket: Duplex, applicant: ApplicantFacts): Promise<void> {
    const version = SUBPROTOCOLS.find(({ name }) => name === ws.protocol)?.version ?? 1
    const link = new Link(ws, socket, applicant.remote, this.#host)
    this.#links.add(link)
    void link.closed.then(() => this.#links.delete(link))
    this.#handshakes += 1
    const endpointId = await admit(link, applicant, this.#options.authorize, this.#host).finally(() => {
      this.#handshakes -= 1
    })
    if (endpointId !== undefined) this.#admitted(link, endpointId, version, applicant)
  }

  #admitted(link: Link, endpointId: Uint8Array, version: ProtocolVersion, applicant: ApplicantFacts): void {
    this.counters.clientsAccepted += 1
    link.send(serverConfirmsAuth())
    const client = new Client(link, endpointId, version, this.#switchboard, this.#host)
    this.#clients.set(client, applicant)
    this.#switchboard.register(client)
    void link.closed.then(() => {
      this.#clients.delete(client)
      client[Symbol.dispose]()
    })
  }

  async #isStillAllowed(client: Client, applicant: Applicant): Promise<boolean> {
    try {
      return await this.#options.authorize(client.endpointId, applicant)
    } catch (error) {
      this.#host.context.log('error', 'iroh-relay.authorize-failed', { remote: client.link.remote, error })
      return false
    }
  }

  async #drain(): Promise<void> {
    const restarts = Array.from(this.#clients.keys(), (client) => {
      const [chance = 0] = this.#host.context.random(1)
      return client.restart(Math.floor((chance / 256) * RECONNECT_SPREAD_MS), TRY_FOR_MS)
    })
    // Those in the handshake; closing twice is harmless.
    const closings = Array.from(this.#links, (link) => link.close(CLOSE.goingAway, 'the relay is shutting down'))
    await Promise.all([...restarts, ...closings])
  }

  #log(level: 'debug' | 'warn', event: string, request: IncomingMessage, message: string): void {
    this.#host.context.log(level, event, { remote: request.socket.remoteAddress ?? 'unknown', message })
  }
}

function aborted(signal: AbortSignal): HeddleError {
  const message = 'asking again who may use the iroh relay was aborted by the caller'
  return new HeddleError('ABORTED', message, { cause: signal.reason })
}
