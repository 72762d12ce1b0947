/**
 * A transport with a gate and a meter: closed, it drops every connection and dials nothing, as when the network is
 * gone; and it counts what passes. The demo's devices use it around the real transport.
 */
import {
  type Connection,
  type ConnectionEnd,
  type DialOptions,
  type FrameStream,
  HeddleError,
  type Transport
} from '@heddle/core'

/** Called for each frame that goes out. The bytes are borrowed. */
export type FrameObserver = (frame: Uint8Array) => void

export class GatedTransport implements Transport {
  readonly schemes: readonly string[]
  readonly #inner: Transport
  readonly #observe: FrameObserver
  readonly #open = new Set<Connection>()
  #closed = false

  constructor(inner: Transport, observe: FrameObserver = () => undefined) {
    this.schemes = inner.schemes
    this.#inner = inner
    this.#observe = observe
  }

  /** Drops every connection; until `openGate`, nothing is reachable. */
  async closeGate(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#open].map((connection) => connection[Symbol.asyncDispose]()))
  }

  openGate(): void {
    this.#closed = false
  }

  async dial(address: string, options: DialOptions): Promise<Connection> {
    this.#checkGate(address)
    const connection = await this.#inner.dial(address, options)
    if (this.#closed) await connection[Symbol.asyncDispose]()
    this.#checkGate(address)
    this.#open.add(connection)
    void connection.closed.then(() => this.#open.delete(connection))
    return new MeteredConnection(connection, this.#observe)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
  }

  #checkGate(address: string): void {
    if (!this.#closed) return
    throw new HeddleError('TRANSPORT_UNREACHABLE', `${address} cannot be reached: this device is offline`)
  }
}

class MeteredConnection implements Connection {
  readonly peer: Uint8Array
  readonly closed: Promise<ConnectionEnd>
  readonly #inner: Connection
  readonly #observe: FrameObserver

  constructor(inner: Connection, observe: FrameObserver) {
    this.peer = inner.peer
    this.closed = inner.closed
    this.#inner = inner
    this.#observe = observe
  }

  get incoming(): AsyncIterable<FrameStream> {
    return this.#inner.incoming
  }

  async open(signal?: AbortSignal): Promise<FrameStream> {
    const stream = await this.#inner.open(signal)
    return {
      frames: stream.frames,
      write: (frame, writeSignal) => {
        this.#observe(frame)
        return stream.write(frame, writeSignal)
      },
      finish: () => stream.finish(),
      [Symbol.asyncDispose]: () => stream[Symbol.asyncDispose]()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
  }
}
