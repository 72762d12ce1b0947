/**
 * Who is connected, and the way from one client to another. Newer connections of an endpoint come before older ones, which
 * wait for their turn to come back (iroh's server/clients.rs). Knows no sockets and no clock; the relay calls it.
 */
import type { Counters } from './counters.js'
import { destinationOf, type EndpointKey, endpointGone, readdress, type Status } from './protocol/index.js'

/** Connections one endpoint may have waiting behind its newest. */
export const STANDBY_MAX = 4
/** Destinations remembered for each endpoint, to tell them when it goes. */
export const PEERS_MAX = 1024

/** A connected client as the switchboard sees it. */
export interface Party {
  /** 32 bytes, proven. */
  readonly endpointId: Uint8Array
  readonly key: EndpointKey
  /** Takes the frame over; false when it found no room. */
  send(frame: Uint8Array): boolean
  tell(status: Status): void
  /** Its endpoint has too many connections. */
  crowdedOut(): void
}

interface Endpoint {
  active: Party
  /** Oldest first. */
  readonly standby: Party[]
  /** Whom it has sent to, oldest first. */
  readonly peers: Set<EndpointKey>
}

export class Switchboard {
  readonly #endpoints = new Map<EndpointKey, Endpoint>()
  readonly #counters: Counters

  constructor(counters: Counters) {
    this.#counters = counters
  }

  /** Endpoints, each counted once. */
  get size(): number {
    return this.#endpoints.size
  }

  register(party: Party): void {
    const endpoint = this.#endpoints.get(party.key)
    if (endpoint === undefined) {
      this.#endpoints.set(party.key, { active: party, standby: [], peers: new Set() })
      return
    }
    this.#counters.clientsReplaced += 1
    endpoint.active.tell('same-endpoint-connected')
    endpoint.standby.push(endpoint.active)
    endpoint.active = party
    if (endpoint.standby.length > STANDBY_MAX) endpoint.standby.shift()?.crowdedOut()
  }

  /** Harmless for one that is not registered. */
  unregister(party: Party): void {
    const endpoint = this.#endpoints.get(party.key)
    if (endpoint === undefined) return
    if (endpoint.active !== party) {
      const index = endpoint.standby.indexOf(party)
      if (index >= 0) endpoint.standby.splice(index, 1)
      return
    }
    const restored = endpoint.standby.pop()
    if (restored !== undefined) {
      endpoint.active = restored
      restored.tell('healthy')
      return
    }
    this.#endpoints.delete(party.key)
    const gone = endpointGone(party.endpointId)
    for (const peer of endpoint.peers) this.#endpoints.get(peer)?.active.send(gone)
  }

  /** Passes a datagram or batch frame on, rewriting it in place; the caller gives it up. */
  forward(source: Party, frame: Buffer): void {
    const destination = this.#endpoints.get(destinationOf(frame))
    if (destination === undefined) {
      this.#counters.framesUnroutable += 1
      return
    }
    readdress(frame, source.endpointId)
    if (!destination.active.send(frame)) return
    this.#counters.framesForwarded += 1
    this.#counters.bytesForwarded += frame.length
    this.#remember(source.key, destination.active.key)
  }

  #remember(source: EndpointKey, destination: EndpointKey): void {
    const peers = this.#endpoints.get(source)?.peers
    if (peers === undefined || peers.has(destination)) return
    if (peers.size >= PEERS_MAX) {
      const [oldest] = peers
      if (oldest !== undefined) peers.delete(oldest)
    }
    peers.add(destination)
  }
}
