/** From what a member wants to change to the proposals of a commit (SPEC GROUP). Called by `member-group.ts`. */
import type { KeyPackage } from 'ts-mls/keyPackage.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import type { Proposal } from 'ts-mls/proposal.js'
import { toHex } from '../bytes.js'
import type { CryptoProvider } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import {
  CutProposal,
  type Head,
  MLS_PROPOSALS,
  type Policy,
  PolicySetProposal,
  type Role,
  RoleSetProposal,
  ServerAddProposal,
  type ServerEntry,
  ServerRemoveProposal,
  ServerReplaceProposal
} from '../wire/index.js'
import { memberIdOf } from './member-id.js'
import { decodeKeyPackage, SECRET_BYTES, typedSync } from './mls/index.js'
import { foldedExtensions, silencedBy } from './policy.js'
import type { PublicGroup } from './public-group.js'
import { type ReinitPlan, reinitOf } from './successor.js'

/** What a commit is to change; nothing at all renews the keys of its sender. */
export interface CommitPlan {
  /** MLSMessages with KeyPackages; without a role, the default one. */
  readonly adds?: readonly { readonly keyPackage: Uint8Array; readonly role?: Role }[]
  /** Member ids. */
  readonly removes?: readonly Uint8Array[]
  readonly roles?: readonly { readonly memberId: Uint8Array; readonly role: Role }[]
  readonly servers?: readonly ServerChange[]
  readonly policy?: Policy
  /** Keys to mix in, which every member must have (RFC 9420 section 8.4). */
  readonly psks?: readonly PskRef[]
  /** Closes the group for a successor; nothing else may be in the plan. */
  readonly reinit?: ReinitPlan
  /**
   * How much this device has applied of a member who loses the right to write (SPEC SYNC-020). Default: nothing.
   */
  readonly headOf?: (memberId: Uint8Array) => Head | undefined
}

export type PskRef =
  /** What `MemberDeps.externalPsk` has under this id. */
  | { readonly kind: 'external'; readonly id: Uint8Array }
  /** What proves that its holder was in this group at that epoch. */
  | { readonly kind: 'resumption'; readonly epoch: bigint }

export type ServerChange =
  | { readonly kind: 'add'; readonly server: ServerEntry }
  | { readonly kind: 'remove'; readonly id: Uint8Array }
  | { readonly kind: 'replace'; readonly id: Uint8Array; readonly server: ServerEntry }

export interface PlannedProposals {
  readonly proposals: readonly Proposal[]
  /** Key packages in the order of the Add proposals. */
  readonly joiners: readonly KeyPackage[]
}

/** Throws MALFORMED, INVALID, and INTENT_OBSOLETE when a member to remove is none. */
export function planProposals(
  { adds = [], removes = [], roles = [], servers = [], policy, psks = [], reinit, headOf }: CommitPlan,
  group: PublicGroup,
  crypto: CryptoProvider
): PlannedProposals {
  const joiners = adds.map(({ keyPackage }) => decodeKeyPackage(keyPackage))
  const joinerRoles = adds.flatMap(({ role }, i) => {
    const key = joiners[i]?.leafNode.signaturePublicKey
    if (role === undefined || role === group.roles.defaultRole || key === undefined) return []
    return [{ memberId: memberIdOf(crypto, group.groupId, key), role }]
  })
  const proposals: Proposal[] = typedSync('MALFORMED', 'A change of the group breaks a limit', () => [
    ...removes.map((memberId): Proposal => ({ proposalType: 'remove', remove: { removed: leafOf(memberId, group) } })),
    ...joiners.map((keyPackage): Proposal => ({ proposalType: 'add', add: { keyPackage } })),
    ...[...joinerRoles, ...roles].map(
      ({ memberId, role }): Proposal => ({
        proposalType: MLS_PROPOSALS.roleSet.type,
        proposalData: RoleSetProposal.encode({ member: memberId, role })
      })
    ),
    ...servers.map(serverProposal),
    ...(policy === undefined
      ? []
      : [{ proposalType: MLS_PROPOSALS.policySet.type, proposalData: PolicySetProposal.encode({ policy }) }]),
    ...psks.map((psk) => pskProposal(psk, group.groupId, crypto)),
    ...(reinit === undefined ? [] : [reinitProposal(reinit, group, crypto)])
  ])
  const silenced =
    removes.length + roles.length === 0 ? [] : silencedBy(proposals, group, group.groupId, group.members, crypto)
  for (const member of silenced) {
    const head = headOf?.(member) ?? { member, seq: 0n, hash: new Uint8Array(32) }
    proposals.push({ proposalType: MLS_PROPOSALS.cut.type, proposalData: CutProposal.encode(head) })
  }
  const extensions = foldedExtensions(proposals, group, group.groupId, group.members, crypto)
  if (extensions !== undefined)
    proposals.push({ proposalType: 'group_context_extensions', groupContextExtensions: { extensions } })
  return { proposals, joiners }
}

function leafOf(memberId: Uint8Array, group: PublicGroup): number {
  const entry = group.member(memberId)
  if (entry === undefined)
    throw new HeddleError('INTENT_OBSOLETE', `Member ${toHex(memberId)} is not in the group any more`)
  return entry.leafIndex
}

function pskProposal(psk: PskRef, pskGroupId: Uint8Array, crypto: CryptoProvider): Proposal {
  const pskNonce = crypto.randomBytes(SECRET_BYTES)
  const preSharedKeyId: PreSharedKeyID =
    psk.kind === 'external'
      ? { psktype: 'external', pskId: psk.id, pskNonce }
      : { psktype: 'resumption', usage: 'application', pskGroupId, pskEpoch: psk.epoch, pskNonce }
  return { proposalType: 'psk', psk: { preSharedKeyId } }
}

function reinitProposal(plan: ReinitPlan, group: PublicGroup, crypto: CryptoProvider): Proposal {
  return { proposalType: 'reinit', reinit: reinitOf(plan, group, group.state.context, group.members, crypto) }
}

function serverProposal(change: ServerChange): Proposal {
  switch (change.kind) {
    case 'add':
      return {
        proposalType: MLS_PROPOSALS.serverAdd.type,
        proposalData: ServerAddProposal.encode({ server: change.server })
      }
    case 'remove':
      return {
        proposalType: MLS_PROPOSALS.serverRemove.type,
        proposalData: ServerRemoveProposal.encode({ id: change.id })
      }
    case 'replace':
      return {
        proposalType: MLS_PROPOSALS.serverReplace.type,
        proposalData: ServerReplaceProposal.encode({ id: change.id, server: change.server })
      }
  }
}
