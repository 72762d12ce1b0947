/** Suites that prove a Heddle plugin right, for any test runner. */
export { type Check, CheckFailure } from './check.js'
export { type StorageFactory, storageSuite } from './storage/index.js'
