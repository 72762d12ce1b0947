/**
 * One dial and the connection that comes of it: two wires, two ends, and the one place where both are broken. The network
 * keeps a link for as long as an end of it lives.
 */
import { type Clock, HeddleError } from '@heddle/core'
import { MemoryConnection } from './connection.js'
import type { MemoryListener } from './listener.js'
import { aborted } from './stream.js'
import { Wire } from './wire.js'

/** One party of a link as `cut` and `Latency` name it: its host, and the address when it listens. */
export interface Party {
  readonly host: string
  readonly address?: string
}

export interface DialRequest {
  readonly host: string
  readonly address: string
  readonly alpn: string
  readonly publicKey: Uint8Array
  readonly expectPeer: Uint8Array | undefined
  readonly frameBytesMax: number
  /** Any of them ends the wait. */
  readonly signals: readonly AbortSignal[]
}

export interface LinkInit {
  readonly request: DialRequest
  readonly clock: Clock
  readonly client: Party
  readonly server: Party
  readonly latencyMs: (from: Party, to: Party) => number
  /** Decides for each frame whether the connection breaks instead of carrying it. */
  readonly fault: () => boolean
  /** Asked when the dial arrives: who takes it, or why nobody does. */
  readonly arrive: () => MemoryListener | HeddleError
  /** Called once, when neither end lives any more. */
  readonly onDone: () => void
}

export class Link {
  readonly client: Party
  readonly server: Party
  /** The dialling end, after one round trip. Throws TRANSPORT_UNREACHABLE, UNAUTHENTICATED, ABORTED. */
  readonly dialled: Promise<MemoryConnection>
  readonly #init: LinkInit
  readonly #toServer: Wire
  readonly #toClient: Wire
  readonly #onAbort = () => this.#abort()
  #ends: readonly [client: MemoryConnection, server: MemoryConnection] | undefined
  #resolve: (connection: MemoryConnection) => void = () => {}
  #reject: (error: HeddleError) => void = () => {}

  constructor(init: LinkInit) {
    this.#init = init
    this.client = init.client
    this.server = init.server
    this.#toServer = new Wire(init.clock, () => init.latencyMs(init.client, init.server))
    this.#toClient = new Wire(init.clock, () => init.latencyMs(init.server, init.client))
    this.dialled = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    for (const signal of init.request.signals) signal.addEventListener('abort', this.#onAbort, { once: true })
    this.#toServer.post(() => this.#arrived())
  }

  /** The network broke: both ends are lost with all that was under way, a dial fails. */
  sever(): void {
    const { address } = this.#init.request
    const cause = new HeddleError('TRANSPORT_CLOSED', `the network between ${this.client.host} and ${address} broke`)
    this.#fail(unreachable(address, 'the network broke'))
    for (const end of this.#ends ?? []) end.end('lost', cause)
  }

  #arrived(): void {
    const listener = this.#init.arrive()
    if (listener instanceof HeddleError) {
      this.#toClient.post(() => this.#fail(listener))
      return
    }
    const { client, server } = this.#connect(listener)
    this.#ends = [client, server]
    void Promise.all([client.closed, server.closed]).then(() => this.#init.onDone())
    this.#toClient.post(() => {
      this.#stopWaiting()
      this.#resolve(client)
    })
    listener.accept(server)
  }

  #connect(listener: MemoryListener): { readonly client: MemoryConnection; readonly server: MemoryConnection } {
    const { request } = this.#init
    const shared = {
      address: request.address,
      frameBytesMax: Math.min(request.frameBytesMax, listener.frameBytesMax),
      fault: () => {
        if (!this.#init.fault()) return false
        this.sever()
        return true
      }
    }
    const client = new MemoryConnection({ ...shared, peer: listener.publicKey, out: this.#toServer })
    const server = new MemoryConnection({ ...shared, peer: request.publicKey, out: this.#toClient })
    client.remote = server
    server.remote = client
    return { client, server }
  }

  #abort(): void {
    const { request } = this.#init
    const signal = request.signals.find((candidate) => candidate.aborted)
    this.#fail(aborted(`dialling ${request.address}`, signal))
    // The server may have accepted already; to it this looks like a peer that left.
    if (this.#ends !== undefined) {
      this.#ends[0].end('local')
      this.#ends[1].end('remote')
    }
  }

  #fail(error: HeddleError): void {
    this.#stopWaiting()
    this.#toServer.cut()
    this.#toClient.cut()
    this.#reject(error)
    if (this.#ends === undefined) this.#init.onDone()
  }

  #stopWaiting(): void {
    for (const signal of this.#init.request.signals) signal.removeEventListener('abort', this.#onAbort)
  }
}

export function unreachable(address: string, why: string): HeddleError {
  return new HeddleError('TRANSPORT_UNREACHABLE', `${address} cannot be reached: ${why}`, { info: { address } })
}
