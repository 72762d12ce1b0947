/** The plugin as Node loads it: dials and listens. */
import { type Context, definePlugin, type Listener, type ListenOptions, type PluginFactory, schema } from '@heddle/core'
import { nodeCrypto } from './crypto/node.js'
import { listen } from './listener.js'
import { parseOptions, type ResolvedOptions, type WebSocketOptions } from './options.js'
import { connectNode } from './socket/node.js'
import { DiallingTransport, FRAME_BYTES_MAX } from './transport.js'

/** Use it as `websocket()` or `websocket({ names: ['sync.example.org'] })`. */
export const websocket: PluginFactory<'transport', ResolvedOptions, WebSocketOptions> = definePlugin({
  manifest: {
    kind: 'transport',
    name: '@heddle/transport-websocket',
    version: '0.1.0',
    api: '1.0',
    supports: { listen: true, dial: true, peerAuth: true, datagrams: false, frameBytesMax: FRAME_BYTES_MAX },
    runtimes: ['node']
  },
  options: schema(parseOptions),
  create: async (options, context) => new NodeTransport(options, context)
})

/** What `create` gives on Node. */
export class NodeTransport extends DiallingTransport {
  constructor(options: ResolvedOptions, context: Context) {
    super(options, context, {
      crypto: nodeCrypto,
      connect: (url, protocol, signal) => connectNode(url, protocol, signal, options.tls.ca),
      afterTurn: (callback) => void setImmediate(callback),
      close: () => {}
    })
    for (const mount of options.mounts) this.host.keep(mount)
  }

  async listen(options: ListenOptions): Promise<Listener> {
    this.checkOpen()
    const listener = await listen(this.host, options)
    this.host.keep(listener)
    try {
      this.checkOpen()
    } catch (error) {
      await listener[Symbol.asyncDispose]()
      throw error
    }
    return listener
  }
}
