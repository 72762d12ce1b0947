/**
 * A Loro document as the core uses it: updates of others go in through `apply`, whatever the app does to the native
 * document comes out through `flush` (SPEC PLUGIN-*). The backend's `open` makes it.
 */
import { type Context, type CrdtDoc, type CrdtInit, HeddleError } from '@heddle/core'
import { type ImportStatus, LoroDoc, type PeerID, VersionVector } from 'loro-crdt'
import { joinBlobs, parseUpdates } from './blobs.js'
import { documentToJson } from './json.js'
import { Waiting } from './waiting.js'

/** Loro takes longer than linear time over a batch: a hundred thousand at once take a minute, in these portions seconds. */
const IMPORT_BLOBS_MAX = 256
/** Loro keeps it for itself. */
const PEER_ID_RESERVED = 2n ** 64n - 1n

export class LoroDocument implements CrdtDoc<LoroDoc> {
  readonly native = new LoroDoc()
  readonly #log: Context['log']
  readonly #actor: Uint8Array
  readonly #waiting = new Waiting()
  readonly #callbacks = new Set<{ readonly callback: () => void }>()
  readonly #unsubscribe: () => void
  /** What others have, or were sent and confirmed. The rest of the document is local. */
  readonly #known = new VersionVector(null)
  #state: 'open' | 'tainted' | 'disposed' = 'open'
  #peerIds = 0

  /** Throws CRDT_MALFORMED. */
  constructor({ actor, snapshot, updates = [] }: CrdtInit, log: Context['log']) {
    this.#log = log
    this.#actor = actor.slice()
    this.native.setPeerId(this.#peerId())
    this.#unsubscribe = this.native.subscribeLocalUpdates(() => {
      for (const { callback } of [...this.#callbacks]) callback()
    })
    try {
      // Alone, a snapshot is taken over as it is; in a batch its operations are imported one by one.
      if (snapshot !== undefined) this.apply([snapshot])
      this.apply(updates)
      this.#know(this.native.oplogVersion().toJSON())
    } catch (cause) {
      if (!HeddleError.is(cause, 'CRDT_TAINTED')) throw cause
      throw new HeddleError('CRDT_MALFORMED', 'the stored Loro document cannot be put together', { cause })
    }
  }

  apply(updates: readonly Uint8Array[]): { readonly applied: number; readonly pending: number } {
    return this.#use(() => {
      const parsed = parseUpdates(updates)
      const blobs = parsed.flat()
      let hasPending = this.#waiting.count > 0
      for (let i = 0; i < blobs.length; i += IMPORT_BLOBS_MAX) {
        const { success, pending } = this.#importBatch(blobs.slice(i, i + IMPORT_BLOBS_MAX), blobs.length)
        hasPending ||= pending !== null
        // What follows on something that only the app has imported goes out with that.
        const known = [...success].filter(([peer, { start }]) => start <= (this.#known.get(peer) ?? 0))
        this.#know(new Map(known.map(([peer, { end }]) => [peer, end])))
        if (success.has(this.native.peerIdStr)) this.#avoidUsedPeerId()
      }
      const waiting = hasPending ? this.#waiting.update(this.native, parsed) : 0
      return { applied: updates.length - waiting, pending: this.#waiting.count }
    })
  }

  flush(): { readonly bytes: Uint8Array; readonly confirm: () => void } | undefined {
    return this.#use(() => {
      this.native.commit()
      const version = this.native.oplogVersion()
      if (version.compare(this.#known) === 0) return undefined
      const bytes = this.native.export({ mode: 'update', from: this.#known })
      return { bytes, confirm: () => this.#know(version.toJSON()) }
    })
  }

  version(): Uint8Array {
    return this.#use(() => {
      this.native.commit()
      return this.native.oplogVersion().encode()
    })
  }

  diff(since: Uint8Array): Uint8Array {
    return this.#use(() => {
      const from = decodeVersion(since)
      // What was dropped cannot be sent: only a replica without content of its own is helped then.
      if (this.native.isShallow() && !includes(from, this.native.shallowSinceVV())) return this.snapshot()
      return this.native.export({ mode: 'update', from })
    })
  }

  snapshot({ shallow = false }: { readonly shallow?: boolean } = {}): Uint8Array {
    return this.#use(() => {
      this.native.commit()
      const frontiers = this.native.oplogFrontiers()
      const isShallow = shallow && frontiers.length > 0
      const state = this.native.export(isShallow ? { mode: 'shallow-snapshot', frontiers } : { mode: 'snapshot' })
      const pending = this.native.exportPendingUpdates()
      return joinBlobs(pending === undefined ? [state] : [state, pending])
    })
  }

  onLocalChange(callback: () => void): Disposable {
    this.#checkUsable()
    const listener = { callback }
    this.#callbacks.add(listener)
    return { [Symbol.dispose]: () => void this.#callbacks.delete(listener) }
  }

  toJSON(): unknown {
    return this.#use(() => documentToJson(this.native))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'disposed') return
    const wasTainted = this.#state === 'tainted'
    this.#state = 'disposed'
    this.#callbacks.clear()
    this.#unsubscribe()
    // A document that broke may still be held within the library; the garbage collector takes it.
    if (!wasTainted) this.native.free()
  }

  #importBatch(blobs: Uint8Array[], batchBlobs: number): ImportStatus {
    try {
      return this.native.importBatch(blobs)
    } catch (cause) {
      // Loro refuses a blob as a whole, by a string; of several the others came in. An Error is a fault within it.
      if (batchBlobs > 1 || typeof cause !== 'string') throw cause
      throw new HeddleError('CRDT_MALFORMED', 'Loro refuses the update; nothing of it was applied', { cause })
    }
  }

  #know(version: ReadonlyMap<PeerID, number>): void {
    for (const [peer, counter] of version) {
      if (counter > (this.#known.get(peer) ?? 0)) this.#known.setEnd({ peer, counter })
    }
  }

  /** Somebody else writes under our peer id: whatever both write under one number would never come together again. */
  #avoidUsedPeerId(): void {
    const used = this.native.oplogVersion()
    do this.#peerIds += 1
    while ((used.get(this.#peerId()) ?? 0) > 0)
    this.native.setPeerId(this.#peerId())
    this.#log('warn', 'crdt-loro.peer-id-clash', { peerId: this.native.peerIdStr })
  }

  /** The first 64 bits of the actor; after a clash the next 64, and so on. */
  #peerId(): bigint {
    const view = new DataView(this.#actor.buffer, this.#actor.byteOffset, this.#actor.byteLength)
    const id = view.getBigUint64(8 * (this.#peerIds % 2)) ^ BigInt(this.#peerIds >> 1)
    return id === PEER_ID_RESERVED ? 0n : id
  }

  /** What fails within the library leaves the document in no state to go on with. */
  #use<T>(action: () => T): T {
    this.#checkUsable()
    try {
      return action()
    } catch (cause) {
      if (HeddleError.is(cause)) throw cause
      this.#state = 'tainted'
      throw tainted(cause)
    }
  }

  #checkUsable(): void {
    if (this.#state === 'tainted') throw tainted()
    if (this.#state === 'disposed') {
      throw new HeddleError('DISPOSED', 'the Loro document was used after it was disposed of')
    }
  }
}

function decodeVersion(version: Uint8Array): VersionVector {
  try {
    return VersionVector.decode(version)
  } catch (cause) {
    throw new HeddleError('CRDT_MALFORMED', `${version.length} bytes are no Loro version vector`, { cause })
  }
}

function includes(version: VersionVector, other: VersionVector): boolean {
  const order = version.compare(other)
  return order !== undefined && order >= 0
}

function tainted(cause?: unknown): HeddleError {
  const what = 'an update broke the Loro document half-way; open it anew from its snapshot and updates'
  return new HeddleError('CRDT_TAINTED', what, { cause })
}
