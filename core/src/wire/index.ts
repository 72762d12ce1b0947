/**
 * The door of the wire room (SPEC WIRE): message types and their strict codecs, registries, limits and errors, generated
 * from proto/ by codegen/, over a small hand-written runtime. Everything that reads or writes protocol bytes comes here.
 */
export * from './generated/index.js'
export type { Codec } from './runtime.js'
export { WireError, type WireErrorCode } from './wire-error.js'
