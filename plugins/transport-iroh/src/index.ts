/** The door of the iroh transport. */
export type { Counters } from './counters.js'
export type { IrohOptions } from './options.js'
export { iroh, iroh as default } from './plugin.js'
export type { IrohTransport } from './transport.js'
