/**
 * Collects what was changed on a document by anything but `apply`, and encodes it as one yjs update (version 1). The
 * update is written from the document's own structs, which yjs keeps merged: ten thousand typed characters are one
 * struct, where a merge of ten thousand updates would be slow and large. `flush` is built on it.
 */
import * as Y from 'yjs'

/** Structs of one client that are not confirmed yet: clocks from `from` up to, not including, `to`. */
interface Span {
  readonly client: number
  from: number
  to: number
}

/** Up to where changes were encoded: everything before it is settled by `confirm`. */
export interface Mark {
  readonly spans: readonly Readonly<Span>[]
  readonly deletions: number
}

export class LocalChanges {
  /** Of a client usually one; more when its structs also came by another way in between. */
  #spans: Span[] = []
  /** What each local transaction deleted; `#settled` of them were confirmed and dropped. */
  #deletions: Y.Transaction['deleteSet'][] = []
  #settled = 0

  /** Takes note of a transaction. Returns whether it changed anything. */
  add(transaction: Y.Transaction): boolean {
    let hasChanged = false
    for (const [client, to] of transaction.afterState) {
      const from = transaction.beforeState.get(client) ?? 0
      if (to === from) continue
      hasChanged = true
      const last = this.#spans.findLast((span) => span.client === client)
      if (last?.to === from) last.to = to
      else this.#spans.push({ client, from, to })
    }
    if (transaction.deleteSet.clients.size > 0) {
      hasChanged = true
      this.#deletions.push(transaction.deleteSet)
    }
    return hasChanged
  }

  get isEmpty(): boolean {
    return this.#spans.length === 0 && this.#deletions.length === 0
  }

  mark(): Mark {
    return { spans: this.#spans.map((span) => ({ ...span })), deletions: this.#settled + this.#deletions.length }
  }

  /** Forgets what was encoded at `mark`. Later changes stay; doing it again, or out of order, changes nothing more. */
  settle({ spans, deletions }: Mark): void {
    for (const done of spans) {
      for (const span of this.#spans) {
        if (span.client === done.client && span.from >= done.from && span.from < done.to) span.from = done.to
      }
    }
    this.#spans = this.#spans.filter(({ from, to }) => from < to)
    const settled = Math.max(this.#settled, deletions)
    this.#deletions.splice(0, settled - this.#settled)
    this.#settled = settled
  }

  /** One update with all that is not settled; a new array. */
  encode(store: Y.Doc['store']): Uint8Array {
    const isFirst = (span: Span) => this.#spans.find(({ client }) => client === span.client) === span
    const update = encodeUpdate(store, this.#spans.filter(isFirst), Y.mergeDeleteSets(this.#deletions))
    const rest = this.#spans.filter((span) => !isFirst(span))
    if (rest.length === 0) return update
    // An update of yjs has one run of structs for each client.
    const empty = Y.createDeleteSet()
    return Y.mergeUpdates([update, ...rest.map((span) => encodeUpdate(store, [span], empty))])
  }
}

/** Writes an update as yjs does (its utils/encoding.js, writeClientsStructs and writeDeleteSet). */
function encodeUpdate(
  store: Y.Doc['store'],
  spans: readonly Span[],
  deletions: Y.Transaction['deleteSet']
): Uint8Array {
  const encoder = new Y.UpdateEncoderV1()
  encoder.writeLen(spans.length)
  for (const { client, from, to } of spans.toSorted((a, b) => b.client - a.client)) {
    const structs = store.clients.get(client) ?? []
    const begin = Y.findIndexSS(structs, from)
    const end = Y.findIndexSS(structs, to - 1) + 1
    encoder.writeLen(end - begin)
    encoder.writeClient(client)
    encoder.writeLen(from)
    for (let i = begin; i < end; i++) {
      const struct = structs[i]
      struct?.write(encoder, i === begin ? from - struct.id.clock : 0)
    }
  }
  const clients = [...deletions.clients].sort(([a], [b]) => b - a)
  encoder.writeLen(clients.length)
  for (const [client, items] of clients) {
    encoder.resetDsCurVal()
    encoder.writeClient(client)
    encoder.writeLen(items.length)
    for (const { clock, len } of items) {
      encoder.writeDsClock(clock)
      encoder.writeDsLen(len)
    }
  }
  return encoder.toUint8Array()
}
