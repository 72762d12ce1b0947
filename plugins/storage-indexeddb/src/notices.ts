/**
 * Tells the other tabs of a commit, and this one of theirs: a BroadcastChannel for each database, on which an empty
 * message means that something was committed. `watch` of the storage hangs on it.
 */
export class Notices implements Disposable {
  readonly #channel: BroadcastChannel
  readonly #watchers = new Set<{ readonly callback: () => void }>()

  constructor(name: string) {
    this.#channel = new BroadcastChannel(`heddle-storage-indexeddb/${name}`)
    this.#channel.onmessage = () => {
      // Apart from each other: the errors of a callback are its own.
      for (const { callback } of this.#watchers) queueMicrotask(callback)
    }
  }

  watch(callback: () => void): Disposable {
    const watcher = { callback }
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }

  committed(): void {
    this.#channel.postMessage(null)
  }

  [Symbol.dispose](): void {
    this.#watchers.clear()
    this.#channel.close()
  }
}
