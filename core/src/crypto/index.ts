/**
 * The door of the crypto room. `createCrypto` is the provider of the platform, chosen by the imports map of
 * core/package.json, so that no browser bundle meets node:crypto.
 */
export { createCrypto } from '#crypto'
export { suiteName, suiteOfName } from './provider.js'
export { type CipherSuite, type CryptoProvider, SUITE_DEFAULT, SUITE_POST_QUANTUM, type SuiteId } from './types.js'
