/**
 * How a document comes to a server (SPEC SRV-020, SRV-070): with its creation, or with the decided commit that makes the
 * server one of the document's. Called by the documents.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type ClaimedGroup, claimedGroup, type PublicGroup } from '../group/index.js'
import { Acceptor, inspectDecided, slotConfigOf } from '../paxos/index.js'
import type { Entry } from '../plugin/index.js'
import type { Create, DecidedSlot } from '../wire/index.js'
import { verifyAll } from './acceptor-driver.js'
import { Epoch } from './epoch.js'
import { hostedChange } from './hosted.js'
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

/**
 * What a Create claims, once what can be seen without verifying a signature is right: whether the rest is worth the work is
 * asked then. Throws INVALID, MALFORMED.
 */
export function readCreate({ groupInfo, decided }: Create, parts: ServerParts): ClaimedGroup {
  const claimed = claimedGroup(groupInfo, parts)
  const { id } = parts.identity
  const isListed = claimed.servers.servers.some((server) => equalBytes(server.id, id))
  if (decided === undefined) {
    if (claimed.epoch !== 0n || !claimed.hasOneMember)
      throw invalid(claimed, 'a document is created at epoch 0, with its creator as the only member')
    if (!isListed) throw invalid(claimed, 'this server is not among the servers of the document')
  } else {
    if (decided.slot !== claimed.epoch)
      throw invalid(claimed, `the decided slot is ${decided.slot}, and the group at epoch ${claimed.epoch}`)
    // What an acceptor has promised must not be forgotten: one that was there before never begins anew.
    if (isListed) throw invalid(claimed, `this server is one of the document's already at epoch ${claimed.epoch}`)
  }
  return claimed
}

/** Verifies what was claimed. Throws INVALID, MALFORMED, BAD_SIGNATURE, NOT_A_MEMBER. */
export async function verifyCreate(
  claimed: ClaimedGroup,
  { decided }: Create,
  peer: Uint8Array,
  parts: ServerParts
): Promise<Began> {
  if (decided === undefined) {
    const group = await claimed.verify()
    if (group.memberOfEndpoint(peer) === undefined)
      throw notAMember(claimed, 'a document is created by the device that is its only member')
    return { group, joined: undefined }
  }
  // A few signatures of servers, before those of all members.
  verifyCertificate(claimed, decided, parts)
  const group = await claimed.verify()
  const value = await checkValueIn(group, decided.value, parts, { decided: true })
  const { id } = parts.identity
  if (!value.next.lists(id)) throw invalid(claimed, `slot ${decided.slot} does not bring in server ${toHex(id)}`)
  if (value.next.memberByEndpoint(peer) === undefined)
    throw notAMember(claimed, 'this device is no member of the document it brings')
  return { group, joined: { decided, value } }
}

/** Everything a server stores of a document as it begins. */
export function entriesOf({ group, joined }: Began, store: DocumentStore, { identity }: ServerParts): Entry[] {
  const epoch = joined?.value.next ?? new Epoch(group)
  const { record } = new Acceptor(epoch.config, identity.id)
  return [
    store.beginning({ ctx: group.ctx, broughtIn: epoch.number }),
    store.group(group.epoch, group.save()),
    store.acceptor(record),
    ...hostedChange(identity.id, undefined, epoch).put,
    ...(joined === undefined
      ? []
      : [
          store.group(epoch.number, epoch.group.save()),
          store.decided(joined.decided),
          ...welcomeEntries(store, joined.value, { slot: group.epoch, position: 0n })
        ])
  ]
}

/**
 * The certificate proves the group it came with, too: its votes name that group's context, and nothing else of the
 * GroupInfo is certified.
 */
function verifyCertificate(claimed: ClaimedGroup, decided: DecidedSlot, parts: ServerParts): void {
  // Votes are of servers: no member's key is looked up.
  const config = slotConfigOf({ ...claimed, memberAtLeaf: () => undefined })
  const inspected = inspectDecided(config, decided)
  if (inspected.kind === 'bad') throw invalid(claimed, inspected.reason)
  verifyAll(parts, inspected.checks)
}

const invalid = ({ groupId }: ClaimedGroup, message: string): HeddleError =>
  new HeddleError('INVALID', message, { info: { group: groupId } })

const notAMember = ({ groupId }: ClaimedGroup, message: string): HeddleError =>
  new HeddleError('NOT_A_MEMBER', message, { info: { group: groupId } })
