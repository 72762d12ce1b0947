/**
 * What the devices of the demo write down about edits, and what follows from it: how long an edit took from one device
 * to the other, and whether any is missing at the end. Marks name characters by their Yjs id (client, clock), so the
 * answers come from the documents themselves and not from counting messages. Pure; called by the orchestrator.
 */

/** A local insertion: the characters with clocks `from` (inclusive) to `to` (exclusive) of a Yjs client. */
export interface InsertMark {
  readonly client: number
  readonly from: number
  readonly to: number
  /** When the edit began, milliseconds since the Unix epoch. */
  readonly timeMs: number
}

/** A local deletion of characters of any client. */
export interface DeleteMark {
  readonly client: number
  readonly from: number
  readonly to: number
}

/** From `timeMs` on, another device's document contained everything of `client` below clock `to`. */
export interface ArrivalMark {
  readonly client: number
  readonly to: number
  readonly timeMs: number
}

/** What a document contains: clocks reached, and ranges deleted in order of clock, by client. */
export interface Content {
  readonly clocks: ReadonlyMap<number, number>
  readonly deleted: ReadonlyMap<number, readonly { readonly from: number; readonly to: number }[]>
}

export interface Marks {
  readonly inserts: readonly InsertMark[]
  readonly deletes: readonly DeleteMark[]
}

/** How many inserted characters and how many deletions are missing in a document: 0 when every edit made is present. */
export function countLost(made: readonly Marks[], content: Content): number {
  let lost = 0
  for (const { inserts, deletes } of made) {
    for (const { client, from, to } of inserts) {
      lost += to - Math.min(to, Math.max(from, content.clocks.get(client) ?? 0))
    }
    for (const { client, from, to } of deletes) {
      let covered = 0
      for (const range of content.deleted.get(client) ?? []) {
        covered += Math.max(0, Math.min(to, range.to) - Math.max(from, range.from))
      }
      lost += to - from - covered
    }
  }
  return lost
}

/** Milliseconds from each local insertion to the moment the other document contained it; those that never did are left out. */
export function latenciesMs(inserts: readonly InsertMark[], arrivals: readonly ArrivalMark[]): readonly number[] {
  const byClient = new Map<number, ArrivalMark[]>()
  for (const arrival of arrivals) {
    const list = byClient.get(arrival.client)
    if (list === undefined) byClient.set(arrival.client, [arrival])
    else list.push(arrival)
  }
  // A document never loses what it contains, so both columns grow together.
  for (const list of byClient.values()) list.sort((a, b) => a.to - b.to || a.timeMs - b.timeMs)
  return inserts.flatMap(({ client, to, timeMs }) => {
    const list = byClient.get(client) ?? []
    const arrival = list[firstIndex(list, (mark) => mark.to >= to)]
    return arrival === undefined ? [] : [arrival.timeMs - timeMs]
  })
}

/** The smallest value that at least `percent` of all do not exceed (nearest rank). NaN for no values. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN
}

/** Index of the first element that fulfils a condition which, once true, stays true; the length when none does. */
function firstIndex<T>(list: readonly T[], fulfils: (element: T) => boolean): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    const element = list[middle]
    if (element !== undefined && fulfils(element)) high = middle
    else low = middle + 1
  }
  return low
}
