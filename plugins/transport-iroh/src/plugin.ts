/** The plugin: its manifest, and the start that loads iroh. Importing this package loads nothing native. */
import { definePlugin, type PluginFactory, schema } from '@heddle/core'
import { loadIroh } from './native/index.js'
import { type IrohOptions, parseOptions, type ResolvedOptions } from './options.js'
import { FRAME_BYTES_MAX, IrohTransport } from './transport.js'

/** Use it as `iroh()` or `iroh({ relays: ['https://relay.example.org'] })`. */
export const iroh: PluginFactory<'transport', ResolvedOptions, IrohOptions> = definePlugin({
  manifest: {
    kind: 'transport',
    name: '@heddle/transport-iroh',
    version: '0.1.0',
    api: '1.0',
    supports: { listen: true, dial: true, peerAuth: true, datagrams: false, frameBytesMax: FRAME_BYTES_MAX },
    runtimes: ['node']
  },
  options: schema(parseOptions),
  create: async (options, context) => new IrohTransport(options, context, await loadIroh())
})
