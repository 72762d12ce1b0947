/**
 * iroh endpoints of one transport: one for each identity that dials, one for each address that is listened on, shared where
 * the identity is the same. QUIC has one socket for all connections of an endpoint, so it stays bound as long as any of
 * them lives. Called by the transport and its listeners.
 */
import { type EndpointIdentity, HeddleError, type Log } from '@heddle/core'
import { type BindAddress, formatSocket } from './address.js'
import { sameBytes, toHex } from './bytes.js'
import { describeFailure, type Iroh, type QuicEndpoint, type QuicIncoming } from './native/index.js'

export class BoundEndpoint {
  readonly quic: QuicEndpoint
  /** The Ed25519 public key it has. */
  readonly id: Uint8Array
  /** Gets whoever wants to connect; without one everybody is refused. */
  onIncoming: ((incoming: QuicIncoming) => void) | undefined
  readonly #log: Log
  readonly #onIdle: (endpoint: BoundEndpoint) => Promise<void>
  #users = 0
  #closing: Promise<void> | undefined

  /** `onIdle` is called whenever its last user has let go of it. */
  constructor(quic: QuicEndpoint, id: Uint8Array, log: Log, onIdle: (endpoint: BoundEndpoint) => Promise<void>) {
    this.quic = quic
    this.id = id
    this.#log = log
    this.#onIdle = onIdle
    void this.#accept()
  }

  /** Bound on all addresses, not only on some that the outside may be out of reach from. */
  get reachesEverywhere(): boolean {
    return this.quic.sockets.some((socket) => socket.startsWith('0.0.0.0:') || socket.startsWith('[::]:'))
  }

  get isClosing(): boolean {
    return this.#closing !== undefined
  }

  /** Keeps it bound until the result is called; that resolves when the socket is free, if nobody else uses it. */
  use(): () => Promise<void> {
    let isUsed = true
    this.#users += 1
    return async () => {
      if (!isUsed) return
      isUsed = false
      this.#users -= 1
      if (this.#users === 0) await this.#onIdle(this)
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.quic.close().catch((error: unknown) => {
      this.#log('warn', 'iroh.close-failed', { message: describeFailure(error) })
    })
    return this.#closing
  }

  /** Also without a listener: an attempt nobody answers would wait in iroh and take its memory. */
  async #accept(): Promise<void> {
    try {
      for (let incoming = await this.quic.accept(); incoming !== undefined; incoming = await this.quic.accept()) {
        if (this.onIncoming !== undefined) this.onIncoming(incoming)
        else await incoming.refuse()
      }
    } catch (error) {
      if (!this.isClosing) this.#log('error', 'iroh.endpoint-error', { message: describeFailure(error) })
    }
  }
}

/** All endpoints of a transport. */
export class Endpoints {
  readonly #iroh: Iroh
  readonly #relays: readonly string[]
  readonly #log: Log
  readonly #bound = new Set<BoundEndpoint>()
  readonly #dialling = new Map<string, Promise<BoundEndpoint>>()
  readonly #closing = new Set<Promise<void>>()
  #isClosed = false

  constructor(iroh: Iroh, relays: readonly string[], log: Log) {
    this.#iroh = iroh
    this.#relays = relays
    this.#log = log
  }

  /** An endpoint to dial from, a listener's if it has one that will do; another stays until the transport ends. Throws UNAUTHENTICATED, CONFIG_INVALID. */
  async forDialling(identity: EndpointIdentity): Promise<BoundEndpoint> {
    this.#check(identity)
    const bound = this.#of(identity, ({ reachesEverywhere }) => reachesEverywhere)
    if (bound !== undefined) return bound
    const key = toHex(identity.publicKey)
    const known = this.#dialling.get(key)
    if (known !== undefined) return known
    // On all addresses: a direct path may turn out to be through any of them.
    const binding = this.#bind(identity, [], [], 'all addresses')
    this.#dialling.set(key, binding)
    binding.then(
      (endpoint) => void endpoint.use(),
      () => this.#dialling.delete(key)
    )
    return binding
  }

  /** An endpoint to listen on, without a listener yet. Throws TRANSPORT_ADDRESS_IN_USE, UNAUTHENTICATED, CONFIG_INVALID. */
  async forListening(
    identity: EndpointIdentity,
    { ip, port, id }: BindAddress,
    alpn: string,
    where: string
  ): Promise<BoundEndpoint> {
    this.#check(identity)
    if (id !== undefined && !sameBytes(id, identity.publicKey)) {
      throw new HeddleError('CONFIG_INVALID', `cannot listen on ${where}: it names the key of somebody else`)
    }
    const bound = this.#of(identity, ({ quic }) => port !== 0 && quic.sockets.includes(formatSocket(ip, port)))
    if (bound === undefined) {
      return this.#bindOne(identity, ip, port, alpn, where)
    }
    if (bound.onIncoming !== undefined) {
      throw new HeddleError(
        'TRANSPORT_ADDRESS_IN_USE',
        `this transport listens on ${where} already; choose another port, or dispose of that listener`
      )
    }
    // Connections of an earlier listener still live on it.
    bound.quic.setAlpns([alpn])
    return bound
  }

  async close(): Promise<void> {
    this.#isClosed = true
    // Those that are being bound close themselves.
    await Promise.allSettled(this.#dialling.values())
    await Promise.all([...[...this.#bound].map((endpoint) => this.#close(endpoint)), ...this.#closing])
  }

  #of({ publicKey }: EndpointIdentity, fits: (endpoint: BoundEndpoint) => boolean): BoundEndpoint | undefined {
    return [...this.#bound].find((one) => !one.isClosing && sameBytes(one.id, publicKey) && fits(one))
  }

  async #bindOne(
    identity: EndpointIdentity,
    ip: string,
    port: number,
    alpn: string,
    where: string
  ): Promise<BoundEndpoint> {
    const socket = formatSocket(ip, port)
    // iroh opens the other family on all addresses unless it is told one.
    const other = ip === '::' ? formatSocket('0.0.0.0', port) : ip.includes(':') ? '127.0.0.1:0' : '[::1]:0'
    try {
      return await this.#bind(identity, [socket, other], [alpn], where)
    } catch (error) {
      if (HeddleError.is(error, 'TRANSPORT_ADDRESS_IN_USE')) throw error
      // A machine may have no IPv6 at all: then there is nothing of it to open either.
      return this.#bind(identity, [socket], [alpn], where)
    }
  }

  async #bind(
    { secretKey, publicKey }: EndpointIdentity,
    sockets: readonly string[],
    alpns: readonly string[],
    where: string
  ): Promise<BoundEndpoint> {
    // One that is being closed may hold the port that is wanted.
    await Promise.all(this.#closing)
    const quic = await this.#iroh.bind({ secretKey, alpns, sockets, relays: this.#relays, where })
    const endpoint = new BoundEndpoint(quic, new Uint8Array(publicKey), this.#log, (idle) => this.#close(idle))
    if (this.#isClosed) {
      await endpoint.close()
      throw new HeddleError('DISPOSED', 'the iroh transport was disposed of; start another one')
    }
    this.#bound.add(endpoint)
    return endpoint
  }

  async #close(endpoint: BoundEndpoint): Promise<void> {
    this.#bound.delete(endpoint)
    const closing = endpoint.close()
    this.#closing.add(closing)
    await closing
    this.#closing.delete(closing)
  }

  /** iroh proves the secret key; whoever has another public key is not who it says. Throws UNAUTHENTICATED. */
  #check({ secretKey, publicKey }: EndpointIdentity): void {
    if (secretKey.length === 32 && sameBytes(this.#iroh.publicKey(secretKey), publicKey)) return
    throw new HeddleError('UNAUTHENTICATED', 'the public key of this identity is not that of its secret key')
  }
}
