/**
 * Counts the updates that yjs keeps back because something they build on has not come. yjs itself knows only that there
 * are some: it melts them into one. `apply` tells how many wait.
 */
import * as Y from 'yjs'

/** By client, the clock that has to be reached before an update counts as applied. */
type Needed = ReadonlyMap<number, number>
type DecodedUpdate = ReturnType<typeof Y.decodeUpdate>

export class Waiting {
  #updates: Needed[] = []

  /** Looks which of the new updates, and of those that waited, wait now. Returns how many of the new ones do. */
  update(store: Y.Doc['store'], added: readonly DecodedUpdate[]): number {
    if (store.pendingStructs === null && store.pendingDs === null) {
      this.#updates = []
      return 0
    }
    const state = (client: number) => Y.getState(store, client)
    const isWaiting = (needed: Needed) => [...needed].some(([client, clock]) => state(client) < clock)
    const waiting = added.map(neededBy).filter(isWaiting)
    this.#updates = [...this.#updates.filter(isWaiting), ...waiting]
    return waiting.length
  }

  get count(): number {
    return this.#updates.length
  }
}

function neededBy({ structs, ds }: DecodedUpdate): Needed {
  const needed = new Map<number, number>()
  const need = (client: number, clock: number) => needed.set(client, Math.max(clock, needed.get(client) ?? 0))
  for (const struct of structs) {
    if (!(struct instanceof Y.Skip)) need(struct.id.client, struct.id.clock + struct.length)
  }
  for (const [client, items] of ds.clients) for (const { clock, len } of items) need(client, clock + len)
  return needed
}
