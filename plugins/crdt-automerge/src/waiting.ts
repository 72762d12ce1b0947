/** Counts the updates that Automerge keeps back because a change they build on has not come. `apply` tells how many wait. */
import { type Change, type Doc, decodeChange, getBackend, getMissingDeps } from '@automerge/automerge'

export class Waiting {
  /** Of each update that waits, the hashes of its changes from the first that is not applied on. */
  #updates: (readonly string[])[] = []

  /** Looks which of the new updates, and of those that waited, wait now. Returns how many of the new ones do. */
  update(doc: Doc<unknown>, added: readonly (readonly Change[])[]): number {
    if (getMissingDeps(doc, []).length === 0) {
      this.#updates = []
      return 0
    }
    const backend = getBackend(doc)
    const rest = (hashes: readonly string[]): readonly string[] => {
      const first = hashes.findIndex((hash) => backend.getChangeMetaByHash(hash) === null)
      return first < 0 ? [] : hashes.slice(first)
    }
    const stillWaiting = (updates: readonly (readonly string[])[]) =>
      updates.map(rest).filter(({ length }) => length > 0)
    const waiting = stillWaiting(added.map((changes) => changes.map((change) => decodeChange(change).hash)))
    this.#updates = [...stillWaiting(this.#updates), ...waiting]
    return waiting.length
  }

  get count(): number {
    return this.#updates.length
  }
}
