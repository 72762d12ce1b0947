/** The door of the iroh relay. */
export { type Applicant, type Authorize, anyOf, everyone, members, tokens } from './authorize.js'
export type { Counters } from './counters.js'
export type { RelayOptions } from './options.js'
export { type IrohRelay, irohRelay, type RelayLoad } from './relay.js'
