/** The transport: dials peers by their key, and listens. `plugin.ts` starts it. */
import {
  type Connection,
  type Context,
  Deadline,
  type DialOptions,
  HeddleError,
  type Listener,
  type ListenOptions,
  type Transport
} from '@heddle/core'
import { type PeerAddress, parsePeerAddress } from './address.js'
import { sameBytes } from './bytes.js'
import { CLOSE, greetAsDialler } from './connection/index.js'
import type { Counters } from './counters.js'
import type { BoundEndpoint } from './endpoint.js'
import { disposed, Host } from './host.js'
import { listen } from './listener.js'
import { describeFailure, type Iroh, isWrongKey, type QuicConnection } from './native/index.js'
import type { ResolvedOptions } from './options.js'
import { unlessAborted } from './unless-aborted.js'

/** Largest frame the lanes are made for. */
export const FRAME_BYTES_MAX = 256 * 1024 * 1024
/** TLS carries a protocol name of so many bytes. */
const ALPN_BYTES_MAX = 255
/** Wrong keys in a row before a peer is said to have another key than the one dialled. */
const WRONG_KEYS_MAX = 8

export class IrohTransport implements Transport {
  readonly schemes = ['iroh'] as const
  /** What it has seen since it was started. */
  readonly counters: Readonly<Counters>
  readonly #host: Host
  readonly #stop = new AbortController()

  /** `load`: called when it first dials or listens. Throws CAPABILITY_MISSING for a host that wants larger frames. */
  constructor(options: ResolvedOptions, context: Context, load: () => Promise<Iroh>) {
    if (context.limits.frameBytesMax > FRAME_BYTES_MAX) {
      throw new HeddleError(
        'CAPABILITY_MISSING',
        `the host wants frames of ${context.limits.frameBytesMax} bytes; the iroh transport carries ${FRAME_BYTES_MAX}`
      )
    }
    this.#host = new Host(options, context, load)
    this.counters = this.#host.counters
  }

  async dial(address: string, options: DialOptions): Promise<Connection> {
    this.#checkOpen()
    const target = parsePeerAddress(address)
    checkAlpn(options.alpn)
    const { context, counters, options: own } = this.#host
    using deadline = new Deadline(context, own.dialTimeoutMs, [options.signal, this.#stop.signal])
    const { signal } = deadline
    let quic: QuicConnection | undefined
    let release: (() => Promise<void>) | undefined
    try {
      signal.throwIfAborted()
      if (options.expectPeer !== undefined && !sameBytes(options.expectPeer, target.id)) {
        throw new HeddleError('UNAUTHENTICATED', `${address} is the address of another key than the one expected there`)
      }
      const endpoint = await unlessAborted(this.#host.endpoints.forDialling(options.identity), signal, noMatter)
      release = endpoint.use()
      quic = await this.#connect(endpoint, target, options.alpn, signal)
      const greeted = await greetAsDialler(quic, context.limits.frameBytesMax, signal)
      // An abort during the last step finds nobody waiting for it.
      signal.throwIfAborted()
      counters.connectionsDialled += 1
      return this.#host.connection(greeted, 'dialling', endpoint)
    } catch (error) {
      quic?.close(CLOSE.refused, 'refused')
      throw this.#dialError(address, deadline, error)
    } finally {
      void release?.()
    }
  }

  async listen(options: ListenOptions): Promise<Listener> {
    this.#checkOpen()
    checkAlpn(options.alpn)
    const listener = await listen(this.#host, options, this.#stop.signal)
    if (!this.#stop.signal.aborted) return listener
    await listener[Symbol.asyncDispose]()
    throw disposed()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#stop.signal.aborted) this.#stop.abort(disposed())
    await this.#host.disposeAll()
  }

  /**
   * Connects, also when another peer now sits at one of the addresses: iroh asks at all it knows for the key and fails with
   * the first answer, whichever that is. With one wrong address beside a right one, one attempt in five fails (1.1.0).
   */
  async #connect(
    endpoint: BoundEndpoint,
    target: PeerAddress,
    alpn: string,
    signal: AbortSignal
  ): Promise<QuicConnection> {
    for (let wrongKeys = 1; ; wrongKeys++) {
      try {
        const connecting = endpoint.quic.connect(target, alpn)
        return await unlessAborted(connecting, signal, (late) => late.close(CLOSE.refused, 'refused'))
      } catch (error) {
        if (signal.aborted || !isWrongKey(error) || wrongKeys === WRONG_KEYS_MAX) throw error
      }
    }
  }

  #checkOpen(): void {
    if (this.#stop.signal.aborted) throw disposed()
  }

  #dialError(address: string, deadline: Deadline, error: unknown): HeddleError {
    const { signal, isOver } = deadline
    if (signal.aborted && !isOver) {
      return new HeddleError('ABORTED', `dialling ${address} was aborted`, { cause: signal.reason })
    }
    const options = { cause: error, info: { address } }
    if (!isOver && isWrongKey(error)) {
      return new HeddleError('UNAUTHENTICATED', `whoever answers at ${address} has another key`, options)
    }
    const isOurs = HeddleError.is(error)
    if (isOurs && error.code !== 'MALFORMED' && error.code !== 'TRANSPORT_CLOSED') return error
    const why = isOver
      ? `no answer within ${this.#host.options.dialTimeoutMs} ms`
      : describeFailure(isOurs ? (error.cause ?? error) : error)
    return new HeddleError('TRANSPORT_UNREACHABLE', `${address} cannot be reached: ${why}`, options)
  }
}

/** Throws CONFIG_INVALID. */
function checkAlpn(alpn: string): void {
  const { length } = new TextEncoder().encode(alpn)
  if (length > 0 && length <= ALPN_BYTES_MAX) return
  throw new HeddleError('CONFIG_INVALID', `a protocol name has 1 to ${ALPN_BYTES_MAX} bytes, this one ${length}`)
}

/** The endpoint is kept for the next dial. */
function noMatter(): void {}
