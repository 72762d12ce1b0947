/** The suite for CRDT plugins: everything the contract says of one, for what its manifest states and denies. */
import type { Check } from '../check.js'
import type { CrdtFactory } from './bench.js'
import { convergenceChecks } from './convergence.js'
import { flushChecks } from './flush.js'
import { hostileChecks } from './hostile.js'
import { stateChecks } from './state.js'

export type { CrdtFactory }

/** The checks for one backend; each creates a backend of its own. */
export function crdtSuite<Native>(factory: CrdtFactory<Native>): Check[] {
  return [...convergenceChecks(factory), ...flushChecks(factory), ...stateChecks(factory), ...hostileChecks(factory)]
}
