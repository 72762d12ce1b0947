/** A WebSocket transport with everything a test wants to look at, and its disposal. */
import type { Connection, Context, Listener } from '@heddle/core'
import { type NodeTransport, websocket, type WebSocketOptions } from '@heddle/transport-websocket'
import { parseOptions } from '../src/options.js'
import { testContext } from './context.js'
import { identity } from './identities.js'

export interface TestHost extends AsyncDisposable {
  readonly transport: NodeTransport
  readonly log: readonly (readonly [event: string, fields: Readonly<Record<string, unknown>>])[]
  listen(address?: string, signal?: AbortSignal): Promise<Listener>
  dial(address: string, signal?: AbortSignal, expectPeer?: Uint8Array): Promise<Connection>
}

export async function testHost(options: WebSocketOptions = {}, parts: Partial<Context> = {}): Promise<TestHost> {
  const log: (readonly [string, Readonly<Record<string, unknown>>])[] = []
  const context = testContext({ log: (_level, event, fields = {}) => log.push([event, fields]), ...parts })
  const transport = (await websocket.create(parseOptions(options), context)) as NodeTransport
  const never = new AbortController().signal
  return {
    transport,
    log,
    listen: (address = 'ws://127.0.0.1:0', signal = never) =>
      transport.listen({ identity: identity(2), alpn: 'heddle/1', address, signal }),
    dial: (address, signal = never, expectPeer = identity(2).publicKey) =>
      transport.dial(address, { identity: identity(1), alpn: 'heddle/1', signal, expectPeer }),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose]()
  }
}

/** The one address of a listener. */
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
