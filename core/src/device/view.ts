/**
 * What the app sees of a document: its members and its status, made of what the parts know. Called by `document.ts`.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { RosterEntry } from '../group/index.js'
import { quorum, slotConfigOf } from '../paxos/index.js'
import { Role } from '../wire/index.js'
import type { DocumentStatus, Member, RoleName } from './api.js'
import type { Parts } from './parts.js'
import { policyOf } from './policy.js'
import { isClosed } from './room.js'
import { suiteOf } from './suites.js'

const roleNames: Readonly<Record<number, RoleName>> = {
  [Role.ROLE_ADMIN]: 'admin',
  [Role.ROLE_EDITOR]: 'editor',
  [Role.ROLE_READER]: 'reader'
}

export const roleNameOf = (role: Role): RoleName => roleNames[role] ?? 'reader'

export const roleOf = (name: RoleName): Role =>
  name === 'admin' ? Role.ROLE_ADMIN : name === 'editor' ? Role.ROLE_EDITOR : Role.ROLE_READER

export function statusOf(parts: Parts): DocumentStatus {
  const { room, following, outbox, outgoing, incoming, repair, recovery, changes } = parts
  const { group, removed, leaving, alarms, branchOf } = room
  const ready = following.readyLinks.length
  const enough = ready >= quorum(slotConfigOf(group.public))
  return {
    epoch: group.epoch,
    role: removed ? 'removed' : roleNameOf(group.me.role),
    connection: removed ? 'removed' : enough ? 'online' : ready > 0 ? 'degraded' : 'offline',
    servers: following.statuses,
    unsent: outgoing.unsealedCount,
    unsafe: Number(outbox.ownSeq - outbox.safeSeq),
    sent: Number(outbox.ownSeq),
    applied: incoming.applied,
    waiting: incoming.waiting,
    lacking: repair.lacking,
    forked: repair.forked.filter((id) => group.public.roster.some(({ memberId }) => toHex(memberId) === id)),
    divergent: alarms.members,
    stuck: removed ? undefined : recovery.status,
    pendingChanges: changes.pendingCount,
    blocked: changes.blocked,
    policy: policyOf(group.public.document.policy),
    leaving: leaving && !removed,
    closed: isClosed(room),
    suite: suiteOf(group.public.suite.id),
    ...(branchOf === undefined ? {} : { branchOf: toHex(branchOf) })
  }
}

/** A member as the app sees it, with the app's own word on who it is. */
export function memberOf(
  { memberId, role, device: { endpointId, identity } }: RosterEntry,
  { room, verification }: Pick<Parts, 'room' | 'verification'>
): Member {
  return {
    id: toHex(memberId),
    role: roleNameOf(role),
    deviceId: toHex(endpointId),
    isSelf: equalBytes(memberId, room.group.memberId),
    ...(identity === undefined ? {} : { identity: identity.slice() }),
    ...verification.of(memberId)
  }
}
