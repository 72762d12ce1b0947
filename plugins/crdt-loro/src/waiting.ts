/**
 * Counts the updates that Loro keeps back because something they build on has not come. Loro itself knows only from where
 * to where there is something. `apply` tells how many wait.
 */
import { decodeImportBlobMeta, type LoroDoc, type PeerID } from 'loro-crdt'

/** By peer, the counter that has to be reached before an update counts as applied. */
type Needed = ReadonlyMap<PeerID, number>

export class Waiting {
  #updates: Needed[] = []

  /** Looks which of the new updates, and of those that waited, wait now. Returns how many of the new ones do. */
  update(doc: LoroDoc, added: readonly (readonly Uint8Array[])[]): number {
    if (doc.exportPendingUpdates() === undefined) {
      this.#updates = []
      return 0
    }
    const version = doc.oplogVersion()
    const isWaiting = (needed: Needed) => [...needed].some(([peer, counter]) => (version.get(peer) ?? 0) < counter)
    const waiting = added.map(neededBy).filter(isWaiting)
    this.#updates = [...this.#updates.filter(isWaiting), ...waiting]
    return waiting.length
  }

  get count(): number {
    return this.#updates.length
  }
}

function neededBy(blobs: readonly Uint8Array[]): Needed {
  const needed = new Map<PeerID, number>()
  for (const blob of blobs) {
    const ends = decodeImportBlobMeta(blob, false).partialEndVersionVector.toJSON()
    for (const [peer, counter] of ends) needed.set(peer, Math.max(counter, needed.get(peer) ?? 0))
  }
  return needed
}
