/** Suites that prove a Heddle plugin right, for any test runner. */
export { type Check, CheckFailure } from './check.js'
export { type CrdtFactory, crdtSuite } from './crdt/index.js'
export { type StorageFactory, storageSuite } from './storage/index.js'
export {
  type Detour,
  mutateTransport,
  TRANSPORT_MUTANTS,
  type TransportFactory,
  type TransportMutant,
  type TransportSubject,
  transportSuite
} from './transport.js'
