/**
 * Which devices this server is there for: the members of the documents that have it among their servers, by their
 * endpoint. Kept in storage, since most documents are not in memory. Asked by whoever serves only these, as a relay does.
 */
import { concatBytes } from '../bytes.js'
import type { Entry, Storage } from '../plugin/index.js'
import type { Epoch } from './epoch.js'
import { endpointKey } from './store.js'

export interface HostedChange {
  readonly put: readonly Entry[]
  readonly del: readonly Uint8Array[]
}

/** What becomes of a document's entries with the next epoch; `before` undefined when it had none. O(what changed). */
export function hostedChange(server: Uint8Array, before: Epoch | undefined, next: Epoch): HostedChange {
  const { groupId: group } = next.group
  const keysOf = (members: Epoch['group']['roster']) =>
    members.map(({ device }) => endpointKey(device.endpointId, group))
  const isHosted = next.lists(server)
  const was = before?.lists(server) === true
  if (!isHosted) return { put: [], del: was && before !== undefined ? keysOf(before.group.roster) : [] }
  const { change, roster } = next.group
  const isGone = ({ device }: (typeof roster)[number]) => next.memberByEndpoint(device.endpointId) === undefined
  const put = keysOf(was && change !== undefined ? change.added : roster).map((key) => ({
    key,
    value: concatBytes(group)
  }))
  return { put, del: was && change !== undefined ? keysOf(change.removed.filter(isGone)) : [] }
}

/** Whether a device is a member of a document that this server serves. */
export async function isHosted(storage: Storage, endpointId: Uint8Array): Promise<boolean> {
  const gte = endpointKey(endpointId, new Uint8Array(0))
  const lt = endpointKey(endpointId, new Uint8Array(17).fill(255))
  for await (const page of storage.scan({ gte, lt, limit: 1 })) if (page.length > 0) return true
  return false
}
