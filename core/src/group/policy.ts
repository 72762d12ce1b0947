/**
 * Who may commit what (SPEC GROUP), beyond RFC 9420: checked by servers before they vote and by every device again. The
 * role that counts is the one at the epoch the commit ends.
 */
import { makeKeyPackageRef } from 'ts-mls/keyPackage.js'
import type { Proposal } from 'ts-mls/proposal.js'
import { toHex } from '../bytes.js'
import type { CipherSuite, CryptoProvider } from '../crypto/index.js'
import { CutProposal, MLS_PROPOSALS, Role } from '../wire/index.js'
import { deviceOf, type GroupExtensions, sameExtensions, writeGroupExtensions } from './extensions.js'
import { fold, isCustom } from './fold.js'
import { memberIdOf } from './member-id.js'
import {
  ADD_TREE_BYTES_MAX,
  ensure,
  ensureValid,
  isSuccession,
  leafAt,
  type StagedCommit,
  treeBytes,
  typedSync,
  welcomeRefs
} from './mls/index.js'
import { checkOwnResumption, checkRejoin, sameIdentity } from './rejoin-policy.js'
import type { Roster } from './roster.js'
import { checkReinit } from './successor.js'

/** Proposals that can take somebody's right to write. */
const silencing: ReadonlySet<Proposal['proposalType']> = new Set(['remove', MLS_PROPOSALS.roleSet.type])
const ownProposalTypes: ReadonlySet<number> = new Set(Object.values(MLS_PROPOSALS).map(({ type }) => type))

/** Throws FORBIDDEN when the role does not allow it, INVALID when nobody may do it, MALFORMED for bytes of proposals. */
export function checkCommit(
  staged: StagedCommit,
  before: GroupExtensions,
  roster: Roster,
  crypto: CryptoProvider
): void {
  if (staged.external) return checkRejoin(staged, before)
  const committer = roster.ofLeaf(staged.committer)
  ensureValid(committer !== undefined, 'The committer is not in the roster')
  const proposals = staged.proposals.map(({ proposal }) => proposal)
  ensure(
    committer.role === Role.ROLE_ADMIN || proposals.length === 0,
    'FORBIDDEN',
    `Member ${toHex(committer.memberId)} is no admin and may only renew its own keys`
  )
  for (const proposal of proposals) checkAllowed(proposal, staged, before, roster, crypto)
  checkOwnLeaf(staged)
  checkSize(staged)
  checkAddedDevices(proposals, before)
  checkFold(proposals, staged, before, roster, crypto)
  checkCuts(proposals, before, staged.before.context.groupId, roster, crypto)
}

/** Who joins is given the whole tree. */
function checkSize({ added, next }: StagedCommit): void {
  if (added.length === 0) return
  const bytes = treeBytes(next.tree.nodes)
  ensureValid(
    bytes <= ADD_TREE_BYTES_MAX,
    `With those added the ratchet tree has ${bytes} bytes, more than ${ADD_TREE_BYTES_MAX}: the group is full`
  )
}

/** The Welcome names exactly the key packages that the commit adds; empty when it adds none. Throws INVALID, MALFORMED. */
export async function checkWelcome(staged: StagedCommit, welcome: Uint8Array, { mls }: CipherSuite): Promise<void> {
  const added = await Promise.all(
    staged.proposals.flatMap(({ proposal }) =>
      proposal.proposalType === 'add' ? [makeKeyPackageRef(proposal.add.keyPackage, mls.hash)] : []
    )
  )
  const named = welcome.length === 0 ? [] : welcomeRefs(welcome)
  const sorted = (refs: readonly Uint8Array[]): string => refs.map(toHex).sort().join()
  ensureValid(sorted(added) === sorted(named), 'The Welcome is not for exactly those that the commit adds')
}

/** The extensions a commit with these proposals leads to, or undefined when they stay as they are. */
export function foldedExtensions(
  proposals: readonly Proposal[],
  before: GroupExtensions,
  groupId: Uint8Array,
  roster: Roster,
  crypto: CryptoProvider
): ReturnType<typeof writeGroupExtensions> | undefined {
  if (proposals.length === 0) return undefined
  const after = writeGroupExtensions(foldFor(proposals, before, groupId, roster, crypto).after)
  return sameExtensions(after, writeGroupExtensions(before)) ? undefined : after
}

/** Member ids of those who may write before the proposals and not after them: each needs a Cut (SPEC SYNC-020). */
export function silencedBy(
  proposals: readonly Proposal[],
  before: GroupExtensions,
  groupId: Uint8Array,
  roster: Roster,
  crypto: CryptoProvider
): readonly Uint8Array[] {
  const { after, staysOrComes } = foldFor(proposals, before, groupId, roster, crypto)
  const roles = new Map(after.roles.roles.map(({ member, role }) => [toHex(member), role]))
  return roster.entries.flatMap(({ memberId, role }) => {
    if (!mayWrite(role)) return []
    const stays = staysOrComes(memberId)
    return stays && mayWrite(roles.get(toHex(memberId)) ?? after.roles.defaultRole) ? [] : [memberId]
  })
}

/** Whether members of this role send content. */
export function mayWrite(role: Role): boolean {
  return role === Role.ROLE_ADMIN || role === Role.ROLE_EDITOR
}

function foldFor(
  proposals: readonly Proposal[],
  before: GroupExtensions,
  groupId: Uint8Array,
  roster: Roster,
  crypto: CryptoProvider
): { readonly after: GroupExtensions; readonly staysOrComes: (memberId: Uint8Array) => boolean } {
  const removed = proposals.flatMap((proposal) => {
    const entry = proposal.proposalType === 'remove' ? roster.ofLeaf(proposal.remove.removed) : undefined
    return entry === undefined ? [] : [entry.memberId]
  })
  const gone = new Set(removed.map(toHex))
  const come = new Set(
    proposals.flatMap((proposal) =>
      proposal.proposalType === 'add'
        ? [toHex(memberIdOf(crypto, groupId, proposal.add.keyPackage.leafNode.signaturePublicKey))]
        : []
    )
  )
  const staysOrComes = (memberId: Uint8Array): boolean => {
    const id = toHex(memberId)
    return come.has(id) || (roster.ofMember(memberId) !== undefined && !gone.has(id))
  }
  return { after: fold(before, proposals, { removed, staysOrComes }), staysOrComes }
}

/** The Cut proposals of a commit. Throws MALFORMED. */
export function cutsIn(proposals: readonly Proposal[]): readonly CutProposal[] {
  return proposals
    .filter(isCustom)
    .filter(({ proposalType }) => proposalType === MLS_PROPOSALS.cut.type)
    .map(({ proposalData }) =>
      typedSync('MALFORMED', 'A Cut proposal does not decode', () => CutProposal.decode(proposalData))
    )
}

/** There is a Cut for everyone who loses the right to write, and for nobody else. */
function checkCuts(
  proposals: readonly Proposal[],
  before: GroupExtensions,
  groupId: Uint8Array,
  roster: Roster,
  crypto: CryptoProvider
): void {
  const cut = cutsIn(proposals).map(({ member }) => toHex(member))
  const mayConcern = cut.length > 0 || proposals.some(({ proposalType }) => silencing.has(proposalType))
  if (!mayConcern) return
  const silenced = silencedBy(proposals, before, groupId, roster, crypto).map(toHex)
  ensureValid(
    cut.sort().join() === silenced.sort().join(),
    'The commit does not say, for exactly those who lose the right to write, how much of them its sender has'
  )
}

function checkAllowed(
  proposal: Proposal,
  { before: { context } }: StagedCommit,
  before: GroupExtensions,
  roster: Roster,
  crypto: CryptoProvider
): void {
  switch (proposal.proposalType) {
    case 'add':
    case 'remove':
    case 'group_context_extensions':
      return
    case 'psk': {
      const { preSharedKeyId: id } = proposal.psk
      if (id.psktype === 'resumption' && !isSuccession(id)) checkOwnResumption(id, context, before)
      return
    }
    case 'reinit':
      return checkReinit(proposal.reinit, before, context, roster, crypto)
    default: {
      const { proposalType } = proposal
      const allowed = typeof proposalType === 'number' && ownProposalTypes.has(proposalType)
      ensureValid(allowed, `Proposals of type ${proposalType} are not accepted`)
    }
  }
}

/** A member cannot become somebody else, nor another device, by renewing its keys. */
function checkOwnLeaf({ before, path, committer }: StagedCommit): void {
  const old = leafAt(before.tree.nodes, committer)
  ensureValid(old !== undefined && path !== undefined, 'The commit has no update path')
  ensureValid(
    sameIdentity(old, path.leafNode),
    'The commit changes the signature key, the credential or the device of its sender'
  )
}

function checkAddedDevices(proposals: readonly Proposal[], { document }: GroupExtensions): void {
  for (const proposal of proposals) {
    if (proposal.proposalType !== 'add') continue
    const { crdtTypes } = deviceOf(proposal.add.keyPackage.leafNode)
    ensureValid(crdtTypes.includes(document.crdtType), `A device is added that has no ${document.crdtType}`)
  }
}

/** The GroupContextExtensions proposal is exactly the fold of the others, and there only when it changes something. */
function checkFold(
  proposals: readonly Proposal[],
  { before: { context } }: StagedCommit,
  before: GroupExtensions,
  roster: Roster,
  crypto: CryptoProvider
): void {
  const expected = foldedExtensions(proposals, before, context.groupId, roster, crypto)
  const carried = proposals.find((proposal) => proposal.proposalType === 'group_context_extensions')
  const given =
    carried?.proposalType === 'group_context_extensions' ? carried.groupContextExtensions.extensions : undefined
  ensureValid(
    (expected === undefined) === (given === undefined),
    expected === undefined
      ? 'The commit sets extensions of the group that its proposals do not change'
      : 'The commit changes policy, servers or roles without carrying the result'
  )
  if (expected !== undefined && given !== undefined)
    ensureValid(
      sameExtensions(expected, given),
      'The policy, servers or roles that the commit carries are not what its proposals lead to'
    )
}
