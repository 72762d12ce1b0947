/** What the package offers. Rooms below it are not reached into. */
import './resource-symbols.js'

export { type CryptoProvider, createCrypto } from './crypto/index.js'
export * from './device/index.js'
export { type ErrorName, HeddleError } from './errors.js'
export * from './plugin/index.js'
export * from './server/index.js'
