/**
 * Cipher suites as apps name them (SPEC GROUP-001). Called by the files that make documents, invites and key packages.
 */
import { SUITE_DEFAULT, SUITE_POST_QUANTUM, type SuiteId } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import type { Invite } from '../wire/index.js'
import type { Suite } from './api.js'

const suiteIds: Readonly<Record<Suite, SuiteId>> = {
  x25519: SUITE_DEFAULT,
  'x25519-chacha20': 3,
  'post-quantum': SUITE_POST_QUANTUM
}
const suites = Object.keys(suiteIds) as readonly Suite[]

/** Throws CONFIG_INVALID for a name that is none. */
export function suiteIdOf(suite: Suite = 'x25519'): SuiteId {
  if (Object.hasOwn(suiteIds, suite)) return suiteIds[suite]
  throw new HeddleError('CONFIG_INVALID', `"${suite}" is no cipher suite; there are ${suites.join(', ')}`)
}

export const suiteOf = (id: SuiteId): Suite => suites.find((suite) => suiteIds[suite] === id) ?? 'x25519'

/** Suite of the document that one is invited to. Throws CAPABILITY_MISSING. */
export function invitedSuite({ suite }: Invite): SuiteId {
  const known = Object.values(suiteIds).find((id) => id === (suite ?? SUITE_DEFAULT))
  if (known !== undefined) return known
  throw new HeddleError(
    'CAPABILITY_MISSING',
    `the document has cipher suite ${suite}, which this version does not know`
  )
}
