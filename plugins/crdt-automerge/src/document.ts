/**
 * An Automerge document as the core uses it: updates of others go in through `apply`, what the app changes through the
 * handle comes out through `flush` (SPEC PLUGIN-*). The backend's `open` makes it.
 */
import * as A from '@automerge/automerge'
import { type Context, type CrdtDoc, type CrdtInit, HeddleError } from '@heddle/core'
import { actorOf, byteLength, type Chunked, type Chunks, hex, joinChunks } from './chunks.js'
import type { AutomergeChange, AutomergeHandle, Root } from './handle.js'
import { documentToJson } from './json.js'
import { decodeVersion, encodeVersion } from './version.js'
import { Waiting } from './waiting.js'

const ACTOR_BYTES = 16
/** A difference beyond this is compared with the whole document, which is written far more tightly. */
const DIFF_BYTES_UNCOMPARED_MAX = 64 * 1024

export class AutomergeDocument implements CrdtDoc<AutomergeHandle> {
  readonly native: AutomergeHandle
  readonly #chunks: Chunks
  readonly #context: Pick<Context, 'clock' | 'log'>
  readonly #waiting = new Waiting()
  readonly #callbacks = new Set<{ readonly callback: () => void }>()
  readonly #listeners = new Set<(change: AutomergeChange) => void>()
  #doc: A.Doc<Root>
  #state: 'open' | 'tainted' | 'disposed' = 'open'
  /** What was changed here; `#settled` changes before these were confirmed and dropped. */
  #local: A.Change[] = []
  #settled = 0

  /** Throws CRDT_MALFORMED. */
  constructor({ actor, snapshot, updates = [] }: CrdtInit, chunks: Chunks, context: Pick<Context, 'clock' | 'log'>) {
    this.#chunks = chunks
    this.#context = context
    this.native = this.#handle()
    const id = hex(actor.subarray(0, ACTOR_BYTES))
    this.#doc = A.init({ actor: id })
    try {
      const { changes } = this.#applyBatch(snapshot === undefined ? updates : [snapshot, ...updates], 'storage')
      this.#avoidUsedActor(id, new Set(changes.map(actorOf)))
    } catch (cause) {
      if (!HeddleError.is(cause, 'CRDT_TAINTED')) throw cause
      throw new HeddleError('CRDT_MALFORMED', 'the stored Automerge document cannot be put together', { cause })
    }
  }

  apply(updates: readonly Uint8Array[]): { readonly applied: number; readonly pending: number } {
    const before = this.#doc
    const { applied } = this.#applyBatch(updates, 'others')
    try {
      this.#tellListeners(before, 'applyChanges')
    } catch (error) {
      // A listener of the app threw: the batch is in all the same.
      this.#context.log('error', 'crdt-automerge.listener-threw', { error })
    }
    return { applied, pending: this.#waiting.count }
  }

  flush(): { readonly bytes: Uint8Array; readonly confirm: () => void } | undefined {
    this.#checkUsable()
    if (this.#local.length === 0) return undefined
    const end = this.#settled + this.#local.length
    const confirm = () => {
      const settled = Math.max(this.#settled, end)
      this.#local.splice(0, settled - this.#settled)
      this.#settled = settled
    }
    return { bytes: joinChunks(this.#local), confirm }
  }

  version(): Uint8Array {
    return this.#use(() => encodeVersion(this.#doc))
  }

  diff(since: Uint8Array): Uint8Array {
    return this.#use(() => {
      const changes = A.getChangesSince(this.#doc, decodeVersion(since))
      const bytes = byteLength(changes)
      if (bytes > DIFF_BYTES_UNCOMPARED_MAX) {
        const whole = A.save(this.#doc)
        if (whole.length < bytes) return whole
      }
      return joinChunks(changes)
    })
  }

  snapshot(): Uint8Array {
    return this.#use(() => A.save(this.#doc))
  }

  onLocalChange(callback: () => void): Disposable {
    this.#checkUsable()
    const listener = { callback }
    this.#callbacks.add(listener)
    return { [Symbol.dispose]: () => void this.#callbacks.delete(listener) }
  }

  toJSON(): unknown {
    return this.#use(() => documentToJson(this.#doc))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === 'disposed') return
    const wasTainted = this.#state === 'tainted'
    this.#state = 'disposed'
    this.#callbacks.clear()
    this.#listeners.clear()
    // A document that broke may still be held within the library; the garbage collector takes it.
    if (!wasTainted) A.free(this.#doc)
  }

  #handle(): AutomergeHandle {
    const handle: AutomergeHandle = {
      doc: () => this.#doc,
      change: (fn, options = {}) => {
        const time = Math.floor(this.#context.clock.now() / 1000)
        this.#changeLocally('change', () => A.change(this.#doc, { time, ...options }, fn))
      },
      merge: (other) => {
        // Throws for what is no document, before anything is touched.
        A.getHeads(other)
        this.#changeLocally('merge', () => this.#use(() => A.merge(this.#doc, other)))
      },
      on: (_, listener) => void this.#listeners.add(listener),
      off: (_, listener) => void this.#listeners.delete(listener)
    }
    return Object.freeze(handle)
  }

  #changeLocally(source: A.PatchSource, change: () => A.Doc<Root>): void {
    this.#checkUsable()
    const before = this.#doc
    const heads = A.getHeads(before)
    this.#doc = change()
    const changes = A.getChangesSince(this.#doc, heads)
    if (changes.length === 0) return
    this.#local.push(...changes)
    try {
      this.#tellListeners(before, source)
    } finally {
      for (const { callback } of [...this.#callbacks]) callback()
    }
  }

  #applyBatch(
    updates: readonly Uint8Array[],
    from: 'others' | 'storage'
  ): { readonly applied: number; readonly changes: readonly A.Change[] } {
    return this.#use(() => {
      const chunked = this.#chunks.parse(updates, from)
      const changes = this.#take(chunked)
      const ofEach = chunked.map((update) => update.changes)
      return { applied: updates.length - this.#waiting.update(this.#doc, ofEach), changes }
    })
  }

  /**
   * Returns the changes that were not in a document loaded as it was. Throws CRDT_MALFORMED with the document as it was;
   * any other error means that it broke.
   */
  #take(updates: readonly Chunked[]): readonly A.Change[] {
    const documents = this.#load(updates.flatMap((update) => update.documents))
    // Applying every change of a large history takes ten times as long as loading it.
    const replacement = this.#isEmpty ? documents.shift() : undefined
    const base = replacement ?? this.#doc
    const added = documents.flatMap((doc) => A.getBackend(base).getChangesAdded(A.getBackend(doc)))
    for (const doc of documents) A.free(doc)
    const changes = [...added, ...updates.flatMap((update) => update.changes)]
    try {
      this.#doc = changes.length === 0 ? base : A.applyChanges(base, changes)[0]
      return changes
    } catch (cause) {
      if (replacement === undefined && !isRefusal(cause)) throw cause
      const message = 'Automerge refuses a change of the batch; nothing of the batch was applied'
      throw new HeddleError('CRDT_MALFORMED', message, { cause })
    }
  }

  #load(documents: readonly Uint8Array[]): A.Doc<Root>[] {
    const loaded: A.Doc<Root>[] = []
    try {
      for (const bytes of documents) loaded.push(A.load<Root>(bytes, { actor: A.getActorId(this.#doc) }))
      return loaded
    } catch (cause) {
      for (const doc of loaded) A.free(doc)
      const message = 'Automerge cannot load a document of the batch; nothing of the batch was applied'
      throw new HeddleError('CRDT_MALFORMED', message, { cause })
    }
  }

  get #isEmpty(): boolean {
    return A.getHeads(this.#doc).length === 0 && this.#waiting.count === 0
  }

  /** The changes of an actor are numbered: whoever goes on with one that was used breaks the document for everybody. */
  #avoidUsedActor(id: string, used: ReadonlySet<string>): void {
    // The library knows the changes of its own actor in what it has loaded, not in what was applied.
    const isUsed = () => used.has(A.getActorId(this.#doc)) || A.getLastLocalChange(this.#doc) !== undefined
    for (let n = 1; isUsed(); n++) {
      const actor = id + n.toString(16).padStart(8, '0')
      this.#context.log('warn', 'crdt-automerge.actor-clash', { actor })
      this.#doc = A.clone(this.#doc, { actor })
    }
  }

  #tellListeners(before: A.Doc<Root>, source: A.PatchSource): void {
    const after = this.#doc
    if (this.#listeners.size === 0 || before === after) return
    const patches = A.diff(after, A.getHeads(before), A.getHeads(after))
    const change = { handle: this.native, doc: after, patches, patchInfo: { before, after, source } }
    const errors: unknown[] = []
    for (const listener of [...this.#listeners]) {
      try {
        listener(change)
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
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
      throw new HeddleError('DISPOSED', 'the Automerge document was used after it was disposed of')
    }
  }
}

/** The library reads all changes before it applies the first one: what it cannot read has changed nothing. */
function isRefusal(cause: unknown): boolean {
  return cause instanceof RangeError && cause.message.startsWith('error loading change')
}

function tainted(cause?: unknown): HeddleError {
  const what = 'an update broke the Automerge document half-way; open it anew from its snapshot and updates'
  return new HeddleError('CRDT_TAINTED', what, { cause })
}
