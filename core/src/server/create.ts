/**
 * How a document comes to a server (SPEC SRV-020, SRV-070): with its creation, or with the decided commit that makes the
 * server one of the document's. Called by the documents.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { PublicGroup } from '../group/index.js'
import { Acceptor, inspectDecided, slotConfigOf } from '../paxos/index.js'
import type { Entry } from '../plugin/index.js'
import type { Create, DecidedSlot } from '../wire/index.js'
import { verifyAll } from './acceptor-driver.js'
import { Epoch } from './epoch.js'
import type { ServerParts } from './parts.js'
import type { DocumentStore } from './store.js'
import { type CheckedValue, checkValueIn } from './value-check.js'
import { welcomeEntries } from './welcome.js'

/** What a Create that may be carried out begins with. */
export interface Began {
  /** The group that Create brought. */
  readonly group: PublicGroup
  /** What brought this server in; undefined at the document's creation. */
  readonly joined: { readonly decided: DecidedSlot; readonly value: CheckedValue } | undefined
}

/** Throws INVALID, MALFORMED, BAD_SIGNATURE, NOT_A_MEMBER. */
export async function checkCreate(
  { groupInfo, decided }: Create,
  peer: Uint8Array,
  parts: ServerParts
): Promise<Began> {
  const group = await PublicGroup.fromGroupInfo(groupInfo, parts)
  if (decided === undefined) {
    checkCreation(group, peer, parts)
    return { group, joined: undefined }
  }
  return { group, joined: { decided, value: await checkJoining(group, decided, peer, parts) } }
}

/** Everything a server stores of a document as it begins. */
export function entriesOf({ group, joined }: Began, store: DocumentStore, { identity }: ServerParts): Entry[] {
  const epoch = joined?.value.next ?? new Epoch(group)
  const { record } = new Acceptor(epoch.config, identity.id)
  return [
    store.beginning({ ctx: group.ctx, broughtIn: epoch.number }),
    store.group(group.epoch, group.save()),
    store.acceptor(record),
    ...(joined === undefined
      ? []
      : [
          store.group(epoch.number, epoch.group.save()),
          store.decided(joined.decided),
          ...welcomeEntries(store, joined.value, { slot: group.epoch, position: 0n })
        ])
  ]
}

function checkCreation(group: PublicGroup, peer: Uint8Array, { identity }: ServerParts): void {
  const { groupId, epoch, roster, servers } = group
  const [creator] = roster
  if (epoch !== 0n || creator === undefined || roster.length !== 1)
    throw invalid(group, 'a document is created at epoch 0, with its creator as the only member')
  if (!equalBytes(creator.device.endpointId, peer))
    throw new HeddleError('NOT_A_MEMBER', 'a document is created by the device that is its only member', {
      info: { group: groupId }
    })
  if (!servers.servers.some(({ id }) => equalBytes(id, identity.id)))
    throw invalid(group, 'this server is not among the servers of the document')
}

/**
 * The certificate proves the group it came with, too: its votes name that group's context, and nothing else of the
 * GroupInfo is certified.
 */
async function checkJoining(
  group: PublicGroup,
  decided: DecidedSlot,
  peer: Uint8Array,
  parts: ServerParts
): Promise<CheckedValue> {
  const { id } = parts.identity
  const inspected = inspectDecided(slotConfigOf(group), decided)
  if (inspected.kind === 'bad') throw invalid(group, inspected.reason)
  verifyAll(parts, inspected.checks)
  // What an acceptor has promised must not be forgotten: one that was there before never begins anew.
  if (new Epoch(group).lists(id))
    throw invalid(group, `this server is one of the document's already at epoch ${group.epoch}`)
  const value = await checkValueIn(group, decided.value, parts, { decided: true })
  if (!value.next.lists(id)) throw invalid(group, `slot ${decided.slot} does not bring in server ${toHex(id)}`)
  if (value.next.memberByEndpoint(peer) === undefined)
    throw new HeddleError('NOT_A_MEMBER', 'this device is no member of the document it brings', {
      info: { group: group.groupId }
    })
  return value
}

const invalid = ({ groupId }: PublicGroup, message: string): HeddleError =>
  new HeddleError('INVALID', message, { info: { group: groupId } })
