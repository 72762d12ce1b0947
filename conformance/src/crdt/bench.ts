/** The small tools of the CRDT checks: replicas with actors of their own, and edits that can be told apart. */
import type { CrdtBackend, CrdtDoc, CrdtInit, Manifest } from '@heddle/core'
import { type Check, CheckFailure, expectEqual, Seeded } from '../check.js'

/** How a suite gets at the backend it tries. */
export interface CrdtFactory<Native = unknown> {
  readonly manifest: Manifest<'crdt'>
  create(): Promise<CrdtBackend<Native>>
  /**
   * One local edit, as an app makes it. It has to change what `toJSON` gives, depend on `n` alone, and collide with
   * edits of other numbers: texts inserted at the same place, the same keys of a map set.
   */
  edit(native: Native, n: number): void
  /** Another, that deletes something `edit` made, if there is any. */
  remove(native: Native, n: number): void
}

export interface Replicas<Native> {
  readonly backend: CrdtBackend<Native>
  readonly factory: CrdtFactory<Native>
  /** Opens a replica with an actor of its own. */
  open(init?: Partial<CrdtInit>): Promise<CrdtDoc<Native>>
  /** Edits with number `n` and returns the update, confirmed. */
  edited(doc: CrdtDoc<Native>, n: number): Uint8Array
}

export type CrdtTrial<Native> = (replicas: Replicas<Native>) => Promise<void>

/** A check on a backend of its own; what it opens is disposed of afterwards. */
export function crdtCheck<Native>(
  factory: CrdtFactory<Native>,
  id: string,
  title: string,
  trial: CrdtTrial<Native>
): Check {
  return {
    id,
    title,
    async run() {
      const backend = await factory.create()
      const opened: CrdtDoc<Native>[] = []
      const seeded = new Seeded(1)
      const open = async (init: Partial<CrdtInit> = {}) => {
        const doc = await backend.open({ actor: seeded.bytes(16), ...init })
        opened.push(doc)
        return doc
      }
      const edited = (doc: CrdtDoc<Native>, n: number) => {
        factory.edit(doc.native, n)
        return taken(doc)
      }
      try {
        await trial({ backend, factory, open, edited })
      } finally {
        for (const doc of opened) await doc[Symbol.asyncDispose]()
        await backend[Symbol.asyncDispose]()
      }
    }
  }
}

/** What a document has to send, confirmed. */
export function taken(doc: CrdtDoc<unknown>): Uint8Array {
  const flushed = doc.flush()
  if (flushed === undefined) throw new CheckFailure('flush after a local edit', 'an update', undefined)
  flushed.confirm()
  return flushed.bytes
}

export function expectSame(docs: readonly CrdtDoc<unknown>[], what: string): void {
  for (const doc of docs.slice(1)) expectEqual(doc.toJSON(), docs[0]?.toJSON(), what)
}

export const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
