/** Broken plugins, by which the suites themselves are tested. */
export { crdtMutants } from './crdt.js'
export type { Mutant } from './mutant.js'
export { storageMutants } from './storage.js'
