/** The door in browsers: dials with the browser's own WebSocket, never listens, and pulls in nothing of Node. */
import { type Context, definePlugin, HeddleError, type PluginFactory, schema } from '@heddle/core'
import { webCrypto } from './crypto/web.js'
import { parseOptions, type ResolvedOptions, type WebSocketOptions } from './options.js'
import { connectWeb, type WebSocketConstructor } from './socket/web.js'
import { DiallingTransport, FRAME_BYTES_MAX, type Platform } from './transport.js'

export type { Counters } from './counters.js'
export type { WebSocketOptions } from './options.js'

/** Use it as `websocket()`. */
export const websocket: PluginFactory<'transport', ResolvedOptions, WebSocketOptions> = definePlugin({
  manifest: {
    kind: 'transport',
    name: '@heddle/transport-websocket',
    version: '0.1.0',
    api: '1.0',
    supports: { listen: false, dial: true, peerAuth: true, datagrams: false, frameBytesMax: FRAME_BYTES_MAX },
    runtimes: ['browser']
  },
  options: schema(parseOptions),
  create: async (options, context) => browserTransport(options, context)
})
export default websocket

function browserTransport(options: ResolvedOptions, context: Context): DiallingTransport {
  const { WebSocket } = globalThis as { readonly WebSocket?: WebSocketConstructor }
  if (WebSocket === undefined) {
    throw new HeddleError(
      'CAPABILITY_MISSING',
      'there is no WebSocket in this environment; the browser build needs one'
    )
  }
  return new DiallingTransport(options, context, {
    crypto: webCrypto(globalThis.crypto?.subtle),
    connect: (url, protocol, signal) => connectWeb(WebSocket, context.clock, url, protocol, signal),
    ...turns()
  })
}

/** The part of a MessagePort that is used; Node's types, which check this file, know it otherwise. */
interface Port {
  onmessage: (() => void) | null
  postMessage(message: undefined): void
  close(): void
}

/** A message to oneself ends the turn: unlike a timer, browsers do not delay it. */
function turns(): Pick<Platform, 'afterTurn' | 'close'> {
  const channel = new MessageChannel() as unknown as { readonly port1: Port; readonly port2: Port }
  const waiting: (() => void)[] = []
  channel.port1.onmessage = () => waiting.shift()?.()
  return {
    afterTurn(callback) {
      waiting.push(callback)
      channel.port2.postMessage(undefined)
    },
    close: () => channel.port1.close()
  }
}
