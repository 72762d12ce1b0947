/** An iroh transport with everything a test wants to look at, and its disposal. */
import type { Connection, Context, FrameStream, Listener } from '@heddle/core'
import { type IrohOptions, iroh } from '@heddle/transport-iroh'
import { parseOptions } from '../src/options.js'
import type { IrohTransport } from '../src/transport.js'
import { testContext } from './context.js'
import { identity } from './identities.js'

export interface TestHost extends AsyncDisposable {
  readonly transport: IrohTransport
  readonly log: readonly (readonly [event: string, fields: Readonly<Record<string, unknown>>])[]
  listen(address?: string, signal?: AbortSignal): Promise<Listener>
  dial(address: string, choice?: DialChoice): Promise<Connection>
}
export interface DialChoice {
  readonly signal?: AbortSignal
  readonly expectPeer?: Uint8Array
  readonly alpn?: string
  /** Whose identity, as a number. */
  readonly as?: number
}

/** Listens as identity 2, dials as identity 1. */
export async function testHost(options: IrohOptions = {}, parts: Partial<Context> = {}): Promise<TestHost> {
  const log: (readonly [string, Readonly<Record<string, unknown>>])[] = []
  const context = testContext({ log: (_level, event, fields = {}) => log.push([event, fields]), ...parts })
  const transport = (await iroh.create(parseOptions(options), context)) as IrohTransport
  const never = new AbortController().signal
  return {
    transport,
    log,
    listen: (address = 'iroh://127.0.0.1:0', signal = never) =>
      transport.listen({ identity: identity(2), alpn: 'heddle/1', address, signal }),
    dial: (address, { signal = never, expectPeer, alpn = 'heddle/1', as = 1 } = {}) =>
      transport.dial(address, {
        identity: identity(as),
        alpn,
        signal,
        ...(expectPeer === undefined ? {} : { expectPeer })
      }),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose]()
  }
}

/** The first address of a listener. */
export function addressOf(listener: Listener): string {
  const [address] = listener.addresses
  if (address === undefined) throw new Error('the listener names no address')
  return address
}

export async function nextOf<T>(iterable: AsyncIterable<T>): Promise<T> {
  const result = await iterable[Symbol.asyncIterator]().next()
  if (result.done === true) throw new Error('the iteration ended')
  return result.value
}

/** Both ends of a connection between two hosts, or of one to itself. */
export async function connected(
  near: TestHost,
  far: TestHost = near
): Promise<{ readonly near: Connection; readonly far: Connection; readonly listener: Listener }> {
  const listener = await far.listen()
  const connection = await near.dial(addressOf(listener))
  return { near: connection, far: await nextOf(listener.connections), listener }
}

/** Both ends of a stream the first connection opens. */
export async function streamed(
  near: Connection,
  far: Connection
): Promise<{ readonly near: FrameStream; readonly far: FrameStream }> {
  const stream = await near.open()
  await stream.write(Uint8Array.of(7))
  const other = await nextOf(far.incoming)
  await nextOf(other.frames)
  return { near: stream, far: other }
}
