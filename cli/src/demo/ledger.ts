/**
 * Watches a Y.Doc and writes down every local edit and every arrival of others' edits, for `evidence.ts` to judge.
 * Runs in the device processes of the demo.
 */
import * as Y from 'yjs'
import type { ArrivalMark, Content, DeleteMark, InsertMark, Marks } from './evidence.js'

/** Milliseconds since the Unix epoch, finer than Date.now and monotonic: comparable between processes of one machine. */
export const preciseNow = (): number => performance.timeOrigin + performance.now()

export class Ledger implements Disposable {
  readonly #inserts: InsertMark[] = []
  readonly #deletes: DeleteMark[] = []
  readonly #arrivals: ArrivalMark[] = []
  readonly #doc: Y.Doc
  #startedMs = 0

  constructor(doc: Y.Doc) {
    this.#doc = doc
    doc.on('beforeTransaction', this.#before)
    doc.on('afterTransaction', this.#after)
  }

  marks(): Marks {
    return { inserts: this.#inserts, deletes: this.#deletes }
  }

  arrivals(): readonly ArrivalMark[] {
    return this.#arrivals
  }

  [Symbol.dispose](): void {
    this.#doc.off('beforeTransaction', this.#before)
    this.#doc.off('afterTransaction', this.#after)
  }

  readonly #before = (): void => {
    this.#startedMs = preciseNow()
  }

  readonly #after = ({ local, beforeState, afterState, deleteSet }: Y.Transaction): void => {
    for (const [client, to] of afterState) {
      const from = beforeState.get(client) ?? 0
      if (from === to) continue
      if (local) this.#inserts.push({ client, from, to, timeMs: this.#startedMs })
      else this.#arrivals.push({ client, to, timeMs: preciseNow() })
    }
    if (!local) return
    for (const [client, ranges] of deleteSet.clients) {
      for (const { clock, len } of ranges) this.#deletes.push({ client, from: clock, to: clock + len })
    }
  }
}

/** What a document contains now. */
export function contentOf(doc: Y.Doc): Content {
  const { sv, ds } = Y.snapshot(doc)
  const deleted = new Map(
    [...ds.clients].map(([client, ranges]) => {
      return [client, ranges.map(({ clock, len }) => ({ from: clock, to: clock + len }))] as const
    })
  )
  return { clocks: sv, deleted }
}
