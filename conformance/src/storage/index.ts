/** The suite for storage plugins: everything the contract says of one, for what its manifest states and denies. */
import type { Check } from '../check.js'
import type { StorageFactory } from './bench.js'
import { commitChecks } from './commits.js'
import { lifecycleChecks } from './lifecycle.js'
import { scanChecks } from './scans.js'
import { valueChecks } from './values.js'

export type { StorageFactory }

/** The checks for one storage; each opens a store of its own. */
export function storageSuite(factory: StorageFactory): Check[] {
  return [...valueChecks(factory), ...scanChecks(factory), ...commitChecks(factory), ...lifecycleChecks(factory)]
}
