/**
 * The network the memory transports of one simulation share: who listens where, how long delivery takes, which links are
 * cut. Everything in it moves by the clock and the random source it was given.
 */
import { type Clock, HeddleError } from '@heddle/core'
import type { MemoryConnection } from './connection.js'
import { type DialRequest, Link, type Party, unreachable } from './link.js'
import { type ListenRequest, MemoryListener } from './listener.js'
import { aborted } from './stream.js'

/** Milliseconds a message takes from one host to another. Asked for each message; later ones never overtake. */
export type Latency = (link: { readonly from: string; readonly to: string }) => number

export interface MemoryNetworkOptions {
  readonly clock: Clock
  /** Uniform in [0, 1), from the simulation's seed. Needed only for `faults`. */
  readonly random?: () => number
  /** One-way latency, a constant or a function; 0 (the default) delivers in a microtask. */
  readonly latencyMs?: number | Latency
  readonly faults?: {
    /** Chance for each frame that its connection is lost instead of carrying it, 0 to 1. */
    readonly connectionLoss?: number
  }
}

/** Makes a network; give it to each `memoryTransport({ network, host })` of the simulation. Throws CONFIG_INVALID. */
export function createMemoryNetwork(options: MemoryNetworkOptions): MemoryNetwork {
  return new MemoryNetwork(options)
}

export class MemoryNetwork {
  readonly #clock: Clock
  readonly #fault: () => boolean
  readonly #listeners = new Map<string, MemoryListener>()
  readonly #links = new Set<Link>()
  #latency: Latency
  #cuts: (readonly [a: string, b: string | undefined])[] = []
  #hosts = 0

  constructor(options: MemoryNetworkOptions) {
    this.#clock = options.clock
    this.#latency = latencyFunction(options.latencyMs ?? 0)
    const loss = options.faults?.connectionLoss ?? 0
    const random = options.random
    if (loss > 0 && random === undefined) {
      throw new HeddleError(
        'CONFIG_INVALID',
        'a memory network with faults needs `random`, or no run could be replayed'
      )
    }
    this.#fault = loss > 0 && random !== undefined ? () => random() < loss : () => false
  }

  /** Connections and dials that live, for the invariants of a simulation. */
  get linkCount(): number {
    return this.#links.size
  }

  /** Changes the latency of everything sent from now on. */
  setLatency(latency: number | Latency): void {
    this.#latency = latencyFunction(latency)
  }

  /**
   * Breaks the network between `a` and `b`, each an address ("mem://server-1") or the name of a host; without `b`, between
   * `a` and everybody. Connections there are lost at once with all that was under way, and dials fail until `heal`.
   */
  cut(a: string, b?: string): void {
    this.#cuts.push([a, b])
    for (const link of [...this.#links]) if (this.#isCut(link.client, link.server)) link.sever()
  }

  /** Takes back the same `cut`; without arguments all of them. Lost connections stay lost. */
  heal(a?: string, b?: string): void {
    this.#cuts = a === undefined ? [] : this.#cuts.filter((cut) => cut[0] !== a || cut[1] !== b)
  }

  /** A name for a transport that was given none. */
  nextHost(): string {
    this.#hosts += 1
    return `host-${this.#hosts}`
  }

  /** Takes the address until the listener is disposed of. Throws TRANSPORT_ADDRESS_IN_USE. */
  listen(request: ListenRequest): MemoryListener {
    const { address } = request
    if (this.#listeners.has(address)) {
      throw new HeddleError(
        'TRANSPORT_ADDRESS_IN_USE',
        `${address} is taken on this memory network; choose another name, or dispose of the listener that has it`,
        { info: { address } }
      )
    }
    const listener = new MemoryListener({
      ...request,
      onClose: () => {
        if (this.#listeners.get(address) === listener) this.#listeners.delete(address)
        request.onClose()
      }
    })
    this.#listeners.set(address, listener)
    return listener
  }

  /** Connects in one round trip. Throws TRANSPORT_UNREACHABLE, UNAUTHENTICATED, ABORTED. */
  async dial(request: DialRequest): Promise<MemoryConnection> {
    const { address } = request
    const signal = request.signals.find((candidate) => candidate.aborted)
    if (signal !== undefined) throw aborted(`dialling ${address}`, signal)
    const client: Party = { host: request.host }
    const server: Party = { host: this.#listeners.get(address)?.host ?? address, address }
    const link = new Link({
      request,
      clock: this.#clock,
      client,
      server,
      latencyMs: (from, to) => this.#latency({ from: from.host, to: to.host }),
      fault: this.#fault,
      arrive: () =>
        this.#isCut(client, server) ? unreachable(address, 'the network there is cut') : this.#take(request),
      onDone: () => this.#links.delete(link)
    })
    this.#links.add(link)
    return link.dialled
  }

  #take(request: DialRequest): MemoryListener | HeddleError {
    const { address, alpn, expectPeer } = request
    const listener = this.#listeners.get(address)
    if (listener === undefined) return unreachable(address, 'nobody listens there')
    if (listener.alpn !== alpn) return unreachable(address, `it speaks ${listener.alpn}, not ${alpn}`)
    if (expectPeer === undefined || sameBytes(expectPeer, listener.publicKey)) return listener
    return new HeddleError('UNAUTHENTICATED', `${address} has another key than the one expected of it`, {
      info: { address }
    })
  }

  #isCut(client: Party, server: Party): boolean {
    return this.#cuts.some(
      ([a, b]) =>
        (isNamed(client, a) && (b === undefined || isNamed(server, b))) ||
        (isNamed(server, a) && (b === undefined || isNamed(client, b)))
    )
  }
}

function isNamed(party: Party, name: string): boolean {
  return party.host === name || party.address === name
}

function latencyFunction(latency: number | Latency): Latency {
  return typeof latency === 'number' ? () => latency : latency
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}
