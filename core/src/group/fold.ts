/**
 * What a commit's proposals make of the group's policy, servers and roles (SPEC GROUP). Whoever builds a commit and whoever
 * validates one computes the same fold; the commit carries it in one GroupContextExtensions proposal. Pure.
 */
import type { Proposal } from 'ts-mls/proposal.js'
import { compareBytes, equalBytes, toHex } from '../bytes.js'
import {
  type DocumentExtension,
  MLS_PROPOSALS,
  PolicySetProposal,
  type RoleEntry,
  RoleSetProposal,
  type RolesExtension,
  ServerAddProposal,
  type ServerEntry,
  ServerRemoveProposal,
  ServerReplaceProposal,
  type ServersExtension
} from '../wire/index.js'
import { checkServers, type GroupExtensions } from './extensions.js'
import { ensureValid, typedSync } from './mls/index.js'

/** Who comes and goes by the commit, by member id. */
export interface MemberChanges {
  readonly removed: readonly Uint8Array[]
  /** Whether that member is in the group after the commit. */
  readonly staysOrComes: (memberId: Uint8Array) => boolean
}

/** The state after the proposals, in the order of the commit. Throws INVALID or MALFORMED. */
export function fold(before: GroupExtensions, proposals: readonly Proposal[], members: MemberChanges): GroupExtensions {
  return {
    document: foldDocument(before.document, proposals),
    servers: foldServers(before.servers, proposals),
    roles: foldRoles(before.roles, proposals, members)
  }
}

function foldDocument(before: DocumentExtension, proposals: readonly Proposal[]): DocumentExtension {
  const set = proposals.filter(isCustom).filter(({ proposalType }) => proposalType === MLS_PROPOSALS.policySet.type)
  const [first] = set
  if (first === undefined) return before
  ensureValid(set.length === 1, 'The policy is set twice in one commit')
  const { policy } = typedSync('MALFORMED', 'A policy proposal does not decode', () =>
    PolicySetProposal.decode(first.proposalData)
  )
  return { ...before, policy }
}

function foldServers(before: ServersExtension, proposals: readonly Proposal[]): ServersExtension {
  let { servers } = before
  let changed = false
  for (const { proposalType, proposalData } of proposals.filter(isCustom)) {
    const next = typedSync('MALFORMED', 'A server proposal does not decode', () =>
      afterServerProposal(servers, proposalType, proposalData)
    )
    if (next === undefined) continue
    servers = next
    changed = true
  }
  if (!changed) return before
  const after = {
    servers: [...servers].sort((a, b) => compareBytes(a.id, b.id)),
    faultBound: before.faultBound,
    version: before.version + 1n
  }
  checkServers(after)
  return after
}

/** Undefined when the proposal is not about servers. */
function afterServerProposal(
  servers: readonly ServerEntry[],
  proposalType: number,
  data: Uint8Array
): readonly ServerEntry[] | undefined {
  const without = (id: Uint8Array): readonly ServerEntry[] => {
    const others = servers.filter((server) => !equalBytes(server.id, id))
    ensureValid(others.length < servers.length, `Server ${toHex(id)} is not one of the group`)
    return others
  }
  const plus = (others: readonly ServerEntry[], server: ServerEntry): readonly ServerEntry[] => {
    ensureValid(
      others.every(({ id }) => !equalBytes(id, server.id)),
      `Server ${toHex(server.id)} is one of the group already`
    )
    return [...others, server]
  }
  switch (proposalType) {
    case MLS_PROPOSALS.serverAdd.type:
      return plus(servers, ServerAddProposal.decode(data).server)
    case MLS_PROPOSALS.serverRemove.type:
      return without(ServerRemoveProposal.decode(data).id)
    case MLS_PROPOSALS.serverReplace.type: {
      const { id, server } = ServerReplaceProposal.decode(data)
      return plus(without(id), server)
    }
    default:
      return undefined
  }
}

function foldRoles(
  before: RolesExtension,
  proposals: readonly Proposal[],
  { removed, staysOrComes }: MemberChanges
): RolesExtension {
  const roles = new Map<string, RoleEntry>(before.roles.map((entry) => [toHex(entry.member), entry]))
  for (const memberId of removed) roles.delete(toHex(memberId))
  const set = new Set<string>()
  for (const { proposalType, proposalData } of proposals.filter(isCustom)) {
    if (proposalType !== MLS_PROPOSALS.roleSet.type) continue
    const entry = typedSync('MALFORMED', 'A role proposal does not decode', () => RoleSetProposal.decode(proposalData))
    const member = toHex(entry.member)
    ensureValid(staysOrComes(entry.member), `A role is set for ${member}, who is no member after the commit`)
    ensureValid(!set.has(member), `The role of ${member} is set twice in one commit`)
    set.add(member)
    roles.set(member, entry)
  }
  return {
    roles: [...roles.values()].sort((a, b) => compareBytes(a.member, b.member)),
    defaultRole: before.defaultRole
  }
}

type CustomProposal = Extract<Proposal, { proposalType: number }>

export function isCustom(proposal: Proposal): proposal is CustomProposal {
  return typeof proposal.proposalType === 'number'
}
