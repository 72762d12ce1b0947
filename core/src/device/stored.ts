/**
 * What is stored of a document beside its group and its CRDT, all of it read at once, for the parts that begin with it.
 * Called when a document is opened.
 */
import type { Room } from './room.js'

export type Stored = Awaited<ReturnType<typeof readStored>>

export async function readStored({ store, group }: Pick<Room, 'store' | 'group'>) {
  const [
    applied,
    standings,
    names,
    lacks,
    forks,
    servers,
    pending,
    decided,
    intents,
    invites,
    follows,
    stateDuty,
    unsealed,
    own
  ] = await Promise.all([
    store.applied(),
    store.standings(),
    store.names(),
    store.lacks(),
    store.forks(),
    store.servers(),
    store.pending(),
    store.decided(group.epoch),
    store.intents(),
    store.invites(),
    store.follows(),
    store.stateDuty(),
    store.entries('unsealed'),
    store.entries('own')
  ])
  return {
    applied,
    standings,
    names,
    lacks,
    forks,
    servers,
    pending,
    decided,
    intents,
    invites,
    follows,
    stateDuty,
    unsealed,
    own
  }
}
