/**
 * A transport with a gate and a tap. With the gate closed it drops every connection and dials nothing, as when the
 * network is gone; the tap sees every frame that passes, as somebody at the network cable would. The demo's devices use
 * it around the real transport.
 */
import {
  type Connection,
  type ConnectionEnd,
  type DialOptions,
  type FrameStream,
  HeddleError,
  type Transport
} from '@heddle/core'

/** Sees a frame; the bytes are borrowed. */
export type Tap = (direction: 'out' | 'in', frame: Uint8Array) => void

export class GatedTransport implements Transport {
  readonly schemes: readonly string[]
  readonly #inner: Transport
  readonly #tap: Tap
  readonly #open = new Set<Connection>()
  /** Addresses it may dial; undefined: all. */
  #allowed: readonly string[] | undefined

  constructor(inner: Transport, tap: Tap = () => undefined) {
    this.schemes = inner.schemes
    this.#inner = inner
    this.#tap = tap
  }

  /** Drops every connection; until `openGate`, only these addresses are reachable. */
  async closeGate(except: readonly string[] = []): Promise<void> {
    this.#allowed = except
    await Promise.all([...this.#open].map((connection) => connection[Symbol.asyncDispose]()))
  }

  openGate(): void {
    this.#allowed = undefined
  }

  async dial(address: string, options: DialOptions): Promise<Connection> {
    this.#checkGate(address)
    const connection = await this.#inner.dial(address, options)
    if (!this.#isAllowed(address)) await connection[Symbol.asyncDispose]()
    this.#checkGate(address)
    this.#open.add(connection)
    connection.closed.then(() => this.#open.delete(connection))
    return new TappedConnection(connection, this.#tap)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
  }

  #isAllowed(address: string): boolean {
    return this.#allowed === undefined || this.#allowed.includes(address)
  }

  #checkGate(address: string): void {
    if (this.#isAllowed(address)) return
    throw new HeddleError('TRANSPORT_UNREACHABLE', `${address} cannot be reached: this device is offline`)
  }
}

class TappedConnection implements Connection {
  readonly peer: Uint8Array
  readonly closed: Promise<ConnectionEnd>
  readonly #inner: Connection
  readonly #tap: Tap

  constructor(inner: Connection, tap: Tap) {
    this.peer = inner.peer
    this.closed = inner.closed
    this.#inner = inner
    this.#tap = tap
  }

  get incoming(): AsyncIterable<FrameStream> {
    return this.#inner.incoming
  }

  async open(signal?: AbortSignal): Promise<FrameStream> {
    const stream = await this.#inner.open(signal)
    const tap = this.#tap
    return {
      frames: tapped(stream.frames, tap),
      write: (frame, writeSignal) => {
        tap('out', frame)
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

async function* tapped(frames: AsyncIterable<Uint8Array>, tap: Tap): AsyncGenerator<Uint8Array> {
  for await (const frame of frames) {
    tap('in', frame)
    yield frame
  }
}
