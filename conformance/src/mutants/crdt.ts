/** Broken CRDT backends, each around a right one that has mergeUpdates. */
import type { CrdtBackend, CrdtDoc, CrdtInit } from '@heddle/core'
import { HeddleError } from '@heddle/core'
import type { CrdtFactory } from '../crdt/index.js'
import type { Mutant } from './mutant.js'

interface Faults {
  readonly doc?: (doc: CrdtDoc) => Partial<CrdtDoc>
  readonly init?: (init: CrdtInit) => CrdtInit
  readonly backend?: (backend: CrdtBackend) => Partial<CrdtBackend>
  readonly supports?: Partial<CrdtFactory['manifest']['supports']>
}

export const crdtMutants: readonly Mutant<CrdtFactory>[] = [
  mutant('has a type id without a version', ['CRDT-MANIFEST-001'], { backend: () => ({ typeId: 'CRDT' }) }),

  mutant('shows nothing', ['CRDT-JSON-001'], { doc: () => ({ toJSON: () => ({}) }) }),

  mutant('shows only what the app has asked for', ['CRDT-JSON-002'], {
    doc: (doc) => {
      let hasEdited = false
      doc.onLocalChange(() => {
        hasEdited = true
      })
      return { toJSON: () => (hasEdited ? doc.toJSON() : {}) }
    }
  }),

  mutant('loses an update now and then', ['CRDT-APPLY-001', 'CRDT-APPLY-003'], {
    doc: (doc) => {
      let count = 0
      return { apply: (updates) => doc.apply(updates.filter(() => ++count % 5 > 0)) }
    }
  }),

  mutant('counts an update as often as it comes', ['CRDT-APPLY-002'], {
    doc: (doc) => {
      let count = 0
      return {
        apply(updates) {
          count += updates.length
          return doc.apply(updates)
        },
        toJSON: () => ({ document: doc.toJSON(), count })
      }
    }
  }),

  mutant('applies only the first of a batch', ['CRDT-APPLY-004', 'CRDT-FLUSH-005'], {
    doc: (doc) => ({ apply: (updates) => ({ ...doc.apply(updates.slice(0, 1)), applied: updates.length }) })
  }),

  mutant('never says that something waits', ['CRDT-PENDING-001'], {
    doc: (doc) => ({ apply: (updates) => ({ ...doc.apply(updates), pending: 0 }) })
  }),

  mutant('counts what it has not got into the version', ['CRDT-PENDING-002'], {
    backend: (backend) => {
      const shared = backend.open({ actor: new Uint8Array(16).fill(3) })
      return {
        async open(init) {
          const [all, doc] = [await shared, await backend.open(init)]
          return overriding(doc, {
            flush() {
              const flushed = doc.flush()
              if (flushed !== undefined) all.apply([flushed.bytes])
              return flushed
            },
            version: () => all.version()
          })
        }
      }
    }
  }),

  mutant('takes the first three bytes of an actor', ['CRDT-ACTOR-001'], {
    init: (init) => ({ ...init, actor: init.actor.map((byte, i) => (i < 3 ? byte : 0)) })
  }),

  mutant('confirms when it flushes', ['CRDT-FLUSH-002'], {
    doc: (doc) => ({
      flush() {
        const flushed = doc.flush()
        flushed?.confirm()
        return flushed
      }
    })
  }),

  mutant('confirms what came after the flush too', ['CRDT-FLUSH-003', 'CRDT-FLUSH-008'], {
    doc: (doc) => ({
      flush() {
        const flushed = doc.flush()
        return flushed && { bytes: flushed.bytes, confirm: () => doc.flush()?.confirm() }
      }
    })
  }),

  mutant('drops new changes when an old flush is confirmed late', ['CRDT-FLUSH-004'], {
    doc: (doc) => {
      let newest = 0
      return {
        flush() {
          const flushed = doc.flush()
          const number = ++newest
          const confirm = () => (number < newest ? doc.flush()?.confirm() : flushed?.confirm())
          return flushed && { bytes: flushed.bytes, confirm }
        }
      }
    }
  }),

  mutant('flushes the whole document', ['CRDT-FLUSH-005'], {
    doc: (doc) => ({
      flush() {
        const flushed = doc.flush()
        return flushed && { bytes: doc.snapshot(), confirm: flushed.confirm }
      }
    })
  }),

  mutant("sends others' changes on", ['CRDT-FLUSH-001', 'CRDT-APPLY-002'], {
    doc: (doc) => {
      let received: readonly Uint8Array[] = []
      const forget = () => {
        received = []
      }
      return {
        apply(updates) {
          received = updates
          return doc.apply(updates)
        },
        flush: () => doc.flush() ?? (received[0] && { bytes: received[0], confirm: forget })
      }
    }
  }),

  mutant('loses a long flush', ['CRDT-FLUSH-006'], {
    doc: (doc) => ({
      flush() {
        const flushed = doc.flush()
        if (flushed === undefined || flushed.bytes.length < 2000) return flushed
        return { bytes: doc.diff(doc.version()), confirm: flushed.confirm }
      }
    })
  }),

  mutant('does not send deletions', ['CRDT-FLUSH-007'], {
    doc: (doc) => {
      const size = () => JSON.stringify(doc.toJSON()).length
      let before = size()
      return {
        apply(updates) {
          const result = doc.apply(updates)
          before = size()
          return result
        },
        flush() {
          const flushed = doc.flush()
          if (size() >= before) return flushed
          flushed?.confirm()
          return undefined
        }
      }
    }
  }),

  mutant("signals others' changes", ['CRDT-SIGNAL-001'], {
    doc: (doc) => {
      const callbacks = new Set<() => void>()
      return {
        apply(updates) {
          const result = doc.apply(updates)
          for (const callback of callbacks) callback()
          return result
        },
        onLocalChange(callback) {
          callbacks.add(callback)
          return doc.onLocalChange(callback)
        }
      }
    }
  }),

  mutant('never signals', ['CRDT-SIGNAL-001', 'CRDT-SIGNAL-002'], {
    doc: () => ({ onLocalChange: () => ({ [Symbol.dispose]() {} }) })
  }),

  mutant('signals after dispose', ['CRDT-SIGNAL-001'], {
    doc: (doc) => ({
      onLocalChange(callback) {
        doc.onLocalChange(callback)
        return { [Symbol.dispose]() {} }
      }
    })
  }),

  mutant('opens a snapshot without the updates after it', ['CRDT-SNAPSHOT-001'], {
    init: ({ updates, ...init }) => ({ ...init, ...(init.snapshot === undefined && updates && { updates }) })
  }),

  mutant('leaves out of a snapshot what was not flushed', ['CRDT-SNAPSHOT-002'], {
    doc: (doc) => {
      let settled = doc.snapshot()
      const settle = () => {
        settled = doc.snapshot()
      }
      return {
        apply(updates) {
          const result = doc.apply(updates)
          settle()
          return result
        },
        flush() {
          const flushed = doc.flush()
          settle()
          return flushed
        },
        snapshot: () => settled.slice()
      }
    }
  }),

  mutant('gives an empty shallow snapshot', ['CRDT-SNAPSHOT-003'], {
    doc: (doc) => ({ snapshot: (options) => (options?.shallow ? doc.diff(doc.version()) : doc.snapshot()) })
  }),

  mutant('gives a difference to itself', ['CRDT-DIFF-001'], {
    doc: (doc) => ({ diff: () => doc.diff(doc.version()) })
  }),

  mutant('gives everything as difference', ['CRDT-DIFF-002', 'CRDT-DIFF-003'], {
    doc: (doc) => ({ diff: () => doc.snapshot() })
  }),

  mutant('merges updates by taking the last', ['CRDT-MERGE-001'], {
    backend: (backend) => ({
      mergeUpdates: (updates) => backend.mergeUpdates?.(updates.slice(-1)) ?? new Uint8Array(0)
    })
  }),

  mutant('can merge and denies it', ['CRDT-MERGE-002'], { supports: { mergeUpdates: false } }),

  mutant('applies later what it was given', ['CRDT-OWN-001'], {
    doc: (doc) => {
      let later: readonly Uint8Array[] = []
      const now = () => {
        const updates = later
        later = []
        doc.apply(updates)
      }
      return {
        apply(updates) {
          now()
          later = updates
          return { applied: updates.length, pending: 0 }
        },
        toJSON() {
          now()
          return doc.toJSON()
        }
      }
    }
  }),

  mutant('wipes what it was given', ['CRDT-OWN-001'], {
    doc: (doc) => ({
      apply(updates) {
        const result = doc.apply(updates)
        for (const update of updates) update.fill(0)
        return result
      }
    })
  }),

  mutant('gives out the same array again', ['CRDT-OWN-002'], {
    doc: (doc) => {
      let held: Uint8Array | undefined
      return {
        flush() {
          const flushed = doc.flush()
          if (flushed === undefined) return undefined
          held ??= flushed.bytes
          return { bytes: held, confirm: flushed.confirm }
        }
      }
    }
  }),

  mutant('gives out Node Buffers', ['CRDT-OWN-002'], { doc: (doc) => ({ version: () => Buffer.from(doc.version()) }) }),

  mutant('swallows malformed updates', ['CRDT-REJECT-001', 'CRDT-REJECT-003'], {
    doc: (doc) => ({
      apply(updates) {
        try {
          return doc.apply(updates)
        } catch {
          return { applied: 0, pending: 0 }
        }
      }
    })
  }),

  mutant('throws errors of its library', ['CRDT-REJECT-001', 'CRDT-DIFF-003'], {
    doc: (doc) => {
      const untyped = <T>(call: () => T): T => {
        try {
          return call()
        } catch (error) {
          throw new RangeError(String(error))
        }
      }
      return { apply: (updates) => untyped(() => doc.apply(updates)), diff: (since) => untyped(() => doc.diff(since)) }
    }
  }),

  mutant('takes nothing any more after a refusal', ['CRDT-REJECT-002'], {
    doc: (doc) => {
      let isPoisoned = false
      return {
        apply(updates) {
          if (isPoisoned) return { applied: updates.length, pending: 0 }
          isPoisoned = true
          const result = doc.apply(updates)
          isPoisoned = false
          return result
        }
      }
    }
  }),

  mutant('applies a batch up to the malformed update', ['CRDT-REJECT-003'], {
    doc: (doc) => ({
      apply(updates) {
        for (const update of updates) doc.apply([update])
        return { applied: updates.length, pending: 0 }
      }
    })
  }),

  mutant('opens what is left of something malformed', ['CRDT-REJECT-004'], {
    backend: (backend) => ({ open: (init) => backend.open(init).catch(() => backend.open({ actor: init.actor })) })
  }),

  mutant('reads on past the end of an update', ['CRDT-REJECT-005'], {
    doc: (doc) => ({
      apply: (updates) => doc.apply(updates.map((update) => new Uint8Array(update.buffer, update.byteOffset)))
    })
  }),

  mutant('claims to detect corruption', ['CRDT-CORRUPT-001'], { supports: { detectsCorruption: true } }),

  mutant('detects corruption and denies it', ['CRDT-CORRUPT-002'], {
    doc: (doc) => ({
      apply: (updates) => doc.apply(updates.map(unseal)),
      flush() {
        const flushed = doc.flush()
        return flushed && { bytes: seal(flushed.bytes), confirm: flushed.confirm }
      }
    })
  }),

  mutant('goes on after it was disposed of', ['CRDT-DISPOSE-001'], {
    doc: () => ({ async [Symbol.asyncDispose]() {} })
  }),

  mutant('has one document for all', ['CRDT-DISPOSE-002'], {
    backend: (backend) => {
      let shared: Promise<CrdtDoc> | undefined
      return {
        open(init) {
          shared ??= backend.open(init)
          return shared
        }
      }
    }
  })
]

function mutant(name: string, caughtBy: readonly string[], faults: Faults): Mutant<CrdtFactory> {
  return { name, caughtBy, mutate: (factory) => faulty(factory, faults) }
}

function faulty(factory: CrdtFactory, faults: Faults): CrdtFactory {
  const { manifest } = factory
  return {
    manifest: { ...manifest, supports: { ...manifest.supports, ...faults.supports } },
    edit: (native, n) => factory.edit(native, n),
    remove: (native, n) => factory.remove(native, n),
    async create() {
      const backend = await factory.create()
      return {
        typeId: backend.typeId,
        async open(init) {
          const doc = await backend.open(faults.init?.(init) ?? init)
          return faults.doc === undefined ? doc : overriding(doc, faults.doc(doc))
        },
        ...(backend.mergeUpdates && { mergeUpdates: backend.mergeUpdates.bind(backend) }),
        [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose](),
        ...faults.backend?.(backend)
      }
    }
  }
}

function overriding(doc: CrdtDoc, overrides: Partial<CrdtDoc>): CrdtDoc {
  return {
    native: doc.native,
    apply: (updates) => doc.apply(updates),
    flush: () => doc.flush(),
    version: () => doc.version(),
    diff: (since) => doc.diff(since),
    snapshot: (options) => doc.snapshot(options),
    onLocalChange: (callback) => doc.onLocalChange(callback),
    toJSON: () => doc.toJSON(),
    [Symbol.asyncDispose]: () => doc[Symbol.asyncDispose](),
    ...overrides
  }
}

/** FNV-1a in front of the bytes: sees every flipped bit. */
function seal(bytes: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(4 + bytes.length)
  sealed.set(bytes, 4)
  new DataView(sealed.buffer).setUint32(0, fnv(bytes))
  return sealed
}

function unseal(sealed: Uint8Array): Uint8Array {
  const bytes = sealed.slice(4)
  const view = new DataView(sealed.buffer, sealed.byteOffset, sealed.byteLength)
  if (sealed.length >= 4 && view.getUint32(0) === fnv(bytes)) return bytes
  throw new HeddleError('CRDT_MALFORMED', 'the checksum is wrong')
}

const fnv = (bytes: Uint8Array): number =>
  bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5) >>> 0
