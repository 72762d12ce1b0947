/** The door to iroh itself: the part of it that is used, with plain bytes and typed errors. */
export { describeFailure, isReset, isWrongKey, parseClosed } from './errors.js'
export type {
  BindOptions,
  Iroh,
  QuicConnection,
  QuicEndpoint,
  QuicIncoming,
  QuicStream,
  QuicTarget
} from './iroh.js'
export { loadIroh } from './load.js'
