/**
 * Intents (SPEC DEV-003): what somebody wants of the group, kept until a decided commit carries it out. What one
 * is worth is looked at anew in every slot, since others commit too. Called by `changes.ts`.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type CommitPlan, memberIdOf, readKeyPackage, type ServerChange } from '../group/index.js'
import {
  type AddIntent,
  type IntentRecord,
  PolicySetProposal,
  Role,
  ServerAddProposal,
  type ServerEntry
} from '../wire/index.js'
import { asHeddleError, type Room, wasMember } from './room.js'

export type Intent = NonNullable<IntentRecord['change']>

/** Whether the present epoch leaves it to be done, has it already, or makes it impossible: then why. */
export async function worthOf(intent: Intent, room: Room): Promise<'open' | 'done' | HeddleError> {
  if (intent.$case === 'rotate')
    return intent.value.automatic && room.group.epoch > intent.value.sinceEpoch ? 'done' : 'open'
  const worth = await worthToAdmin(intent, room)
  if (worth !== 'open' || room.group.me.role === Role.ROLE_ADMIN) return worth
  return new HeddleError('FORBIDDEN', 'only an admin changes members, roles, servers and the policy; ask one')
}

/** Whom or what the intent is about: a commit takes one of each. Undefined when that does not matter. */
export async function subjectOf(intent: Intent, room: Room): Promise<string | undefined> {
  switch (intent.$case) {
    case 'rotate':
      return undefined
    case 'setPolicy':
      return 'policy'
    case 'serverAdd':
    case 'serverRemove':
    case 'serverReplace':
      return 'servers'
    case 'add': {
      const joiner = await joinerOf(intent.value, room)
      return joiner instanceof HeddleError ? undefined : toHex(joiner)
    }
    default:
      return toHex(intent.value.member)
  }
}

/** All intents in one commit. */
export function commitPlan(intents: readonly Intent[], { vector }: Room): CommitPlan {
  return {
    adds: intents.flatMap((intent) => (intent.$case === 'add' ? [intent.value] : [])),
    removes: intents.flatMap((intent) => (intent.$case === 'remove' ? [intent.value.member] : [])),
    roles: intents.flatMap((intent) =>
      intent.$case === 'setRole' ? [{ memberId: intent.value.member, role: intent.value.role }] : []
    ),
    servers: intents.flatMap(serverChange),
    headOf: (member) => vector.get(member),
    ...intents.reduce((plan, { $case, value }) => ($case === 'setPolicy' ? { policy: value.policy } : plan), {})
  }
}

async function worthToAdmin(
  intent: Exclude<Intent, { $case: 'rotate' }>,
  room: Room
): Promise<'open' | 'done' | HeddleError> {
  const { document, servers } = room.group.public
  const server = (id: Uint8Array | undefined) => servers.servers.find((one) => id && equalBytes(one.id, id))
  const same = (a: ServerEntry | undefined, b: ServerEntry) =>
    a !== undefined && equalBytes(ServerAddProposal.encode({ server: a }), ServerAddProposal.encode({ server: b }))
  switch (intent.$case) {
    case 'setPolicy': {
      const present = PolicySetProposal.encode({ policy: document.policy })
      return equalBytes(present, PolicySetProposal.encode(intent.value)) ? 'done' : 'open'
    }
    case 'serverAdd':
      return same(server(intent.value.server.id), intent.value.server) ? 'done' : 'open'
    case 'serverRemove':
      return server(intent.value.id) === undefined ? 'done' : 'open'
    case 'serverReplace': {
      const { id, server: by } = intent.value
      if (same(server(by.id), by) && (equalBytes(id, by.id) || server(id) === undefined)) return 'done'
      if (server(id) !== undefined) return 'open'
      return new HeddleError('INTENT_OBSOLETE', `server ${toHex(id)} is none of the document's any more`)
    }
    default:
      return await worthForMember(intent, room)
  }
}

async function worthForMember(
  intent: Extract<Intent, { $case: 'add' | 'remove' | 'setRole' }>,
  room: Room
): Promise<'open' | 'done' | HeddleError> {
  const subject = intent.$case === 'add' ? await joinerOf(intent.value, room) : intent.value.member
  if (subject instanceof HeddleError) return subject
  const entry = room.group.public.member(subject)
  if (intent.$case === 'add' && entry === undefined) {
    if (!wasMember(room, subject)) return 'open'
    return new HeddleError('INVITE_USED', `${toHex(subject)} was a member and is none any more: invite it anew`)
  }
  if (intent.$case === 'add') return 'done'
  if (intent.$case === 'remove') return entry === undefined ? 'done' : 'open'
  if (entry === undefined) return new HeddleError('INTENT_OBSOLETE', `${toHex(subject)} is no member any more`)
  return entry.role === intent.value.role ? 'done' : 'open'
}

/** Member id of who is to be added, or why its key package is of no use any more. */
async function joinerOf({ keyPackage }: AddIntent, room: Room): Promise<Uint8Array | HeddleError> {
  const { crypto, context, groupId } = room
  try {
    const { signaturePublicKey } = await readKeyPackage(keyPackage, { crypto, nowMs: context.clock.now() })
    return memberIdOf(crypto, groupId, signaturePublicKey)
  } catch (error) {
    return asHeddleError(error, 'reading a key package')
  }
}

function serverChange({ $case, value }: Intent): ServerChange[] {
  switch ($case) {
    case 'serverAdd':
      return [{ kind: 'add', server: value.server }]
    case 'serverRemove':
      return [{ kind: 'remove', id: value.id }]
    case 'serverReplace':
      return [{ kind: 'replace', id: value.id, server: value.server }]
    default:
      return []
  }
}
