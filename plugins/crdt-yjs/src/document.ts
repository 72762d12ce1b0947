/**
 * A yjs document as the core uses it: updates of others go in through `apply`, whatever the app does to the native
 * document comes out through `flush` (SPEC PLUGIN-*). The backend's `open` makes it.
 */
import { type Context, type CrdtDoc, type CrdtInit, HeddleError } from '@heddle/core'
import * as Y from 'yjs'
import { documentToJson } from './json.js'
import { LocalChanges } from './local-changes.js'
import { decodeUpdates, hex, stateVectorOf } from './updates.js'
import { Waiting } from './waiting.js'

export class YjsDocument implements CrdtDoc<Y.Doc> {
  readonly native: Y.Doc
  readonly #log: Context['log']
  readonly #actor: Uint8Array
  /** Marks the transactions of `apply`; every other one is local, whoever made it. */
  readonly #remote = {}
  readonly #local = new LocalChanges()
  readonly #waiting = new Waiting()
  readonly #callbacks = new Set<{ readonly callback: () => void }>()
  #state: 'open' | 'tainted' | 'disposed' = 'open'
  #clientIds = 0

  /** Throws CRDT_MALFORMED. */
  constructor({ actor, snapshot, updates = [] }: CrdtInit, gc: boolean, log: Context['log']) {
    this.#log = log
    this.#actor = actor.slice()
    // yjs would take a random guid; it stays on this device.
    this.native = new Y.Doc({ gc, guid: hex(actor) })
    this.#useClientId()
    this.native.on('afterTransactionCleanup', (transaction) => this.#transactionEnded(transaction))
    try {
      this.apply(snapshot === undefined ? updates : [snapshot, ...updates])
    } catch (cause) {
      if (!HeddleError.is(cause, 'CRDT_TAINTED')) throw cause
      throw new HeddleError('CRDT_MALFORMED', 'the stored yjs document cannot be put together', { cause })
    }
  }

  apply(updates: readonly Uint8Array[]): { readonly applied: number; readonly pending: number } {
    this.#checkUsable()
    const tight = decodeUpdates(updates)
    let isIntegrated = false
    try {
      Y.transact(
        this.native,
        () => {
          for (const { bytes } of tight) Y.applyUpdate(this.native, bytes, this.#remote)
          isIntegrated = true
        },
        this.#remote,
        false
      )
    } catch (cause) {
      if (!isIntegrated) {
        this.#state = 'tainted'
        throw tainted(cause)
      }
      // An observer of the app threw: yjs has finished all the same, and the batch is in.
      this.#log('error', 'crdt-yjs.observer-threw', { error: cause })
    }
    const waiting = this.#waiting.update(
      this.native.store,
      tight.map(({ decoded }) => decoded)
    )
    return { applied: updates.length - waiting, pending: this.#waiting.count }
  }

  flush(): { readonly bytes: Uint8Array; readonly confirm: () => void } | undefined {
    this.#checkUsable()
    if (this.#local.isEmpty) return undefined
    const mark = this.#local.mark()
    return { bytes: this.#local.encode(this.native.store), confirm: () => this.#local.settle(mark) }
  }

  version(): Uint8Array {
    this.#checkUsable()
    return Y.encodeStateVector(this.native)
  }

  diff(since: Uint8Array): Uint8Array {
    this.#checkUsable()
    return Y.encodeStateAsUpdate(this.native, stateVectorOf(since))
  }

  snapshot(): Uint8Array {
    this.#checkUsable()
    return Y.encodeStateAsUpdate(this.native)
  }

  onLocalChange(callback: () => void): Disposable {
    this.#checkUsable()
    const listener = { callback }
    this.#callbacks.add(listener)
    return { [Symbol.dispose]: () => void this.#callbacks.delete(listener) }
  }

  toJSON(): unknown {
    this.#checkUsable()
    return documentToJson(this.native)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'disposed') return
    this.#state = 'disposed'
    this.#callbacks.clear()
    this.native.destroy()
  }

  #transactionEnded(transaction: Y.Transaction): void {
    // yjs takes a random id when it sees its own used by others; ours come from the actor, which replays from a seed.
    if (this.native.clientID !== this.#clientId()) {
      do this.#clientIds += 1
      while (Y.getState(this.native.store, this.#clientId()) > 0)
      this.#useClientId()
      this.#log('warn', 'crdt-yjs.client-id-clash', { clientId: this.native.clientID })
    }
    if (transaction.origin === this.#remote || !this.#local.add(transaction)) return
    for (const { callback } of [...this.#callbacks]) callback()
  }

  #useClientId(): void {
    this.native.clientID = this.#clientId()
  }

  /** The first 32 bits of the actor; after a clash the next 32, and so on. Never 0. */
  #clientId(): number {
    const view = new DataView(this.#actor.buffer, this.#actor.byteOffset, this.#actor.byteLength)
    const round = Math.floor(this.#clientIds / 4)
    return (view.getUint32(4 * (this.#clientIds % 4)) ^ round) >>> 0 || 1
  }

  #checkUsable(): void {
    if (this.#state === 'tainted') throw tainted()
    if (this.#state === 'disposed') {
      throw new HeddleError('DISPOSED', 'the yjs document was used after it was disposed of')
    }
  }
}

function tainted(cause?: unknown): HeddleError {
  const what = 'an update broke the yjs document half-way; open it anew from its snapshot and updates'
  return new HeddleError('CRDT_TAINTED', what, { cause })
}
