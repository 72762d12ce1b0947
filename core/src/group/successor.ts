/**
 * Groups that continue another (RFC 9420 sections 11.2 and 11.3): a branch, for some of its members; and the successor of a
 * group that a ReInit closed, for a planned migration. Their first Welcome takes the resumption PSK of the group before, so
 * that nobody gets in who was not in there. Called by `policy.ts`, `commit-plan.ts` and `member-group.ts`.
 */
import type { GroupContext } from 'ts-mls/groupContext.js'
import type { Reinit } from 'ts-mls/proposal.js'
import { compareBytes, equalBytes, toHex } from '../bytes.js'
import { type CryptoProvider, type SuiteId, suiteName, suiteOfName } from '../crypto/index.js'
import { Role, type RoleEntry } from '../wire/index.js'
import { contextHash, successorId } from './context-hash.js'
import { type GroupExtensions, readGroupExtensions, sameExtensions, writeGroupExtensions } from './extensions.js'
import { memberIdOf } from './member-id.js'
import { ensureValid, isSuccession, type Joined, type SuccessionPsk } from './mls/index.js'
import type { PublicGroup } from './public-group.js'
import type { Roster } from './roster.js'

/** What is to follow the group. */
export interface ReinitPlan {
  readonly suite: SuiteId
  /** Member ids of those who come along; default everyone. */
  readonly members?: readonly Uint8Array[] | undefined
}

/** The ReInit of a plan. Throws INVALID, MALFORMED. */
export function reinitOf(
  { suite, members }: ReinitPlan,
  before: GroupExtensions,
  context: GroupContext,
  roster: Roster,
  crypto: CryptoProvider
): Reinit {
  const groupId = successorId(crypto, contextHash(crypto, context))
  const coming = members === undefined ? undefined : new Set(members.map(toHex))
  const roles = carriedRoles(before, groupId, roster, crypto)
    .filter(({ was }) => coming === undefined || coming.has(toHex(was)))
    .map(({ entry }) => entry)
  const extensions = writeGroupExtensions(successorState(before, roles))
  return { groupId, version: 'mls10', cipherSuite: suiteName(suite), extensions }
}

/**
 * A ReInit leads to a new group of its own with the document, servers and roles of this one, for all members or some. Throws
 * INVALID, MALFORMED.
 */
export function checkReinit(
  reinit: Reinit,
  before: GroupExtensions,
  context: GroupContext,
  roster: Roster,
  crypto: CryptoProvider
): void {
  const groupId = successorId(crypto, contextHash(crypto, context))
  ensureValid(equalBytes(reinit.groupId, groupId), 'The ReInit leads to another group than the successor of this epoch')
  ensureValid(reinit.version === 'mls10', 'The ReInit asks for another version of MLS')
  ensureValid(suiteOfName(reinit.cipherSuite) !== undefined, `Cipher suite ${reinit.cipherSuite} is not supported`)
  const { roles } = readGroupExtensions(reinit.extensions).roles
  const allowed = new Map(
    carriedRoles(before, groupId, roster, crypto).map(({ entry }) => [toHex(entry.member), entry.role])
  )
  ensureValid(
    roles.every(({ member, role }) => allowed.get(toHex(member)) === role),
    'The ReInit gives a role to somebody who has not the same in this group'
  )
  ensureValid(
    roles.some(({ role }) => role === Role.ROLE_ADMIN),
    'The ReInit leads to a group without an admin, which nobody could begin'
  )
  ensureValid(
    sameExtensions(reinit.extensions, writeGroupExtensions(successorState(before, roles))),
    'The ReInit changes the document or its servers'
  )
}

/** The PSK by which the group continues another; undefined when it does not. Throws INVALID for other resumption PSKs. */
export function successionOf({ pskIds }: Pick<Joined, 'pskIds'>): SuccessionPsk | undefined {
  ensureValid(
    pskIds.every((id) => id.psktype === 'external' || isSuccession(id)),
    'The Welcome needs a resumption key of the group itself, which nobody who joins can have'
  )
  return pskIds.find(isSuccession)
}

/**
 * RFC 9420 sections 11.2 and 11.3: the new group is what its PSK says it is, and everyone in it was in the group before.
 * `before` is that group at the epoch the PSK names. Throws INVALID.
 */
export function checkSuccession(psk: SuccessionPsk, context: GroupContext, roster: Roster, before: PublicGroup): void {
  ensureValid(context.epoch === 1n, 'A group follows another only at its first commit')
  ensureValid(!equalBytes(context.groupId, before.groupId), 'A group that follows another has the same id')
  ensureValid(
    equalBytes(psk.pskGroupId, before.groupId) && psk.pskEpoch === before.epoch,
    'The Welcome continues another group or epoch'
  )
  ensureValid(context.version === before.state.context.version, 'The group that follows has another version of MLS')
  if (psk.usage === 'branch') {
    ensureValid(context.cipherSuite === before.state.context.cipherSuite, 'A branch has another cipher suite')
  } else {
    const { reinit } = before
    ensureValid(reinit !== undefined, 'The Welcome is of a successor, but the group was not closed by a ReInit')
    ensureValid(
      equalBytes(context.groupId, reinit.groupId) &&
        context.version === reinit.version &&
        context.cipherSuite === reinit.cipherSuite &&
        sameExtensions(context.extensions, reinit.extensions),
      'The group is not the one that the ReInit announced'
    )
  }
  const known = new Set(before.roster.map(({ signaturePublicKey }) => toHex(signaturePublicKey)))
  const stranger = roster.entries.find(({ signaturePublicKey }) => !known.has(toHex(signaturePublicKey)))
  ensureValid(stranger === undefined, 'The group that follows has a member that was not in the one before')
}

function successorState({ document, servers, roles }: GroupExtensions, carried: readonly RoleEntry[]): GroupExtensions {
  return {
    document,
    servers: { ...servers, version: 0n },
    roles: { roles: [...carried].sort((a, b) => compareBytes(a.member, b.member)), defaultRole: roles.defaultRole }
  }
}

/** Entries under the ids that members have in the successor, for those who have not the default role. */
function carriedRoles(
  { roles: { defaultRole } }: GroupExtensions,
  groupId: Uint8Array,
  roster: Roster,
  crypto: CryptoProvider
): readonly { readonly was: Uint8Array; readonly entry: RoleEntry }[] {
  return roster.entries
    .filter(({ role }) => role !== defaultRole)
    .map(({ memberId, signaturePublicKey, role }) => ({
      was: memberId,
      entry: { member: memberIdOf(crypto, groupId, signaturePublicKey), role }
    }))
}
