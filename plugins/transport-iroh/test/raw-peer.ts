/** A peer that is bare iroh, and sends what a test tells it to. */
import { parsePeerAddress } from '../src/address.js'
import { encodeControl, LANE, u32 } from '../src/connection/wire.js'
import { loadIroh, type QuicConnection, type QuicEndpoint, type QuicStream } from '../src/native/index.js'

export interface RawPeer extends AsyncDisposable {
  readonly quic: QuicConnection
  /** The control lane, HELLO said. */
  readonly control: QuicStream
  /** Resolves with iroh's text about the end of the connection. */
  readonly closed: Promise<string>
  /** Opens a data lane and sends `bytes` after its first one. */
  lane(bytes?: Uint8Array): Promise<QuicStream>
}

/** An endpoint of identity `number` that accepts the protocol. */
export async function rawEndpoint(number: number, alpn = 'heddle/1'): Promise<QuicEndpoint> {
  const iroh = await loadIroh()
  return iroh.bind({
    secretKey: new Uint8Array(32).fill(number),
    alpns: [alpn],
    sockets: ['127.0.0.1:0', '[::1]:0'],
    relays: [],
    where: 'a test'
  })
}

/** Dials as identity 5. */
export async function rawConnection(address: string): Promise<{ readonly quic: QuicConnection } & AsyncDisposable> {
  const endpoint = await rawEndpoint(5)
  const quic = await endpoint.connect(parsePeerAddress(address), 'heddle/1')
  return { quic, [Symbol.asyncDispose]: () => endpoint.close() }
}

/** Dials, and says HELLO in `version`. */
export async function rawPeer(address: string, hello: Uint8Array = rawHello()): Promise<RawPeer> {
  const { quic, [Symbol.asyncDispose]: dispose } = await rawConnection(address)
  const control = await quic.openStream()
  await send(control, Uint8Array.of(LANE.control), hello)
  return {
    quic,
    control,
    closed: quic.closed(),
    async lane(bytes = new Uint8Array(0)) {
      const stream = await quic.openStream()
      await send(stream, Uint8Array.of(LANE.data), bytes)
      return stream
    },
    [Symbol.asyncDispose]: dispose
  }
}

export function rawHello(version = 1, frameBytesMax = 16 * 1024 * 1024): Uint8Array {
  return framed(Uint8Array.of(0, version, ...u32(frameBytesMax)))
}

export function framed(bytes: Uint8Array): Uint8Array {
  return Uint8Array.of(...u32(bytes.length), ...bytes)
}

export function control(message: Parameters<typeof encodeControl>[0]): Uint8Array {
  return framed(encodeControl(message))
}

export function send(stream: QuicStream, ...parts: readonly Uint8Array[]): Promise<void> {
  return stream.write(
    parts,
    parts.reduce((sum, { length }) => sum + length, 0)
  )
}
