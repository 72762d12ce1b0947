/** A document's policy as apps see it, and as it stands in the group (SPEC GROUP). Called by the device and its documents. */
import { HeddleError } from '../errors.js'
import { LIMITS, type Policy, RemovalMode } from '../wire/index.js'
import type { DocumentPolicy } from './api.js'

/** What a new document begins with. */
export const policyDefault: Policy = {
  retainedEpochs: 8,
  retainedDays: 14,
  removalMode: RemovalMode.REMOVAL_MODE_VOUCHED,
  rotationHours: 24
}

export function policyOf({ retainedEpochs, retainedDays, removalMode, rotationHours }: Policy): DocumentPolicy {
  const strict = removalMode === RemovalMode.REMOVAL_MODE_STRICT
  return { retainedEpochs, retainedDays, removalMode: strict ? 'strict' : 'vouched', rotationHours }
}

/** The policy with some of it changed. Throws CONFIG_INVALID. */
export function policyWith(policy: Policy, changes: Partial<DocumentPolicy>): Policy {
  const { retainedEpochs, retainedDays, removalMode, rotationHours } = { ...policyOf(policy), ...changes }
  const { Policy: limits } = LIMITS
  check('retainedEpochs', retainedEpochs, limits.retainedEpochs.valueMin, limits.retainedEpochs.valueMax)
  check('retainedDays', retainedDays, limits.retainedDays.valueMin, limits.retainedDays.valueMax)
  check('rotationHours', rotationHours, 0, limits.rotationHours.valueMax)
  if (removalMode !== 'strict' && removalMode !== 'vouched')
    throw new HeddleError('CONFIG_INVALID', `removalMode is "vouched" or "strict", not "${removalMode}"`)
  const mode = removalMode === 'strict' ? RemovalMode.REMOVAL_MODE_STRICT : RemovalMode.REMOVAL_MODE_VOUCHED
  return { retainedEpochs, retainedDays, removalMode: mode, rotationHours }
}

function check(what: keyof DocumentPolicy, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw new HeddleError('CONFIG_INVALID', `${what} is a whole number from ${min} to ${max}, not ${value}`)
}
