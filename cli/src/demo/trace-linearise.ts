/**
 * Puts a concurrent editing history in one line: every author's edits are made on that author's own Y.Doc at exactly
 * the version the history names, merged into one document, and read off there as edits of a single author. Called by
 * `trace.ts`. Edits cannot be replayed by several live devices instead: their positions are valid at one version only,
 * and when a message arrives is not for the replay to choose.
 */
import { HeddleError } from '@heddle/core'
import * as Y from 'yjs'
import type { Edit } from './edit.js'

export interface ConcurrentTransaction {
  /** Indices of the transactions this one had seen last. */
  readonly parents: readonly number[]
  readonly agent: number
  readonly patches: readonly Edit[]
}

/** Transactions have to stand behind their parents. Throws CONFIG_INVALID when an author works in two versions at once. */
export function linearise(
  startContent: string,
  transactions: readonly ConcurrentTransaction[]
): { readonly edits: readonly Edit[]; readonly endContent: string } {
  const start = startUpdate(startContent)
  const merged = openReplica(start)
  const edits: Edit[] = []
  merged.text.observe((event) => edits.push(...editsOf(event)))
  const authors = new Map<number, Replica>()
  const updates: Uint8Array[] = []
  for (const [index, { parents, agent, patches }] of transactions.entries()) {
    const author = authors.get(agent) ?? openReplica(start, agent + 2)
    authors.set(agent, author)
    for (const missing of unseenAncestors(parents, author.seen, transactions)) {
      Y.applyUpdate(author.doc, updates[missing] ?? new Uint8Array())
      author.seen.add(missing)
    }
    if (author.last !== undefined && !reaches(parents, author.last, transactions)) {
      throw new HeddleError(
        'CONFIG_INVALID',
        `transaction ${index} of the history does not build on the author's one before it; replay a history without branches of one author`
      )
    }
    const before = Y.encodeStateVector(author.doc)
    author.doc.transact(() => {
      for (const { at, remove, insert } of patches) {
        if (remove > 0) author.text.delete(at, remove)
        if (insert !== '') author.text.insert(at, insert)
      }
    })
    const update = Y.encodeStateAsUpdate(author.doc, before)
    updates.push(update)
    author.seen.add(index)
    author.last = index
    Y.applyUpdate(merged.doc, update)
  }
  return { edits, endContent: merged.text.toString() }
}

interface Replica {
  readonly doc: Y.Doc
  readonly text: Y.Text
  readonly seen: Set<number>
  last: number | undefined
}

function openReplica(start: Uint8Array, clientId?: number): Replica {
  const doc = new Y.Doc()
  if (clientId !== undefined) doc.clientID = clientId
  Y.applyUpdate(doc, start)
  return { doc, text: doc.getText('text'), seen: new Set(), last: undefined }
}

function startUpdate(content: string): Uint8Array {
  const doc = new Y.Doc()
  doc.clientID = 1
  if (content !== '') doc.getText('text').insert(0, content)
  return Y.encodeStateAsUpdate(doc)
}

/** What has to be applied before the parents' version is reached, in an order that respects dependencies. */
function unseenAncestors(
  parents: readonly number[],
  seen: ReadonlySet<number>,
  transactions: readonly ConcurrentTransaction[]
): readonly number[] {
  const found = new Set<number>()
  const open = [...parents]
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    if (seen.has(index) || found.has(index)) continue
    found.add(index)
    open.push(...(transactions[index]?.parents ?? []))
  }
  return [...found].sort((a, b) => a - b)
}

/** Whether `target` is among the parents' ancestors. Looks no further back than it. */
function reaches(parents: readonly number[], target: number, transactions: readonly ConcurrentTransaction[]): boolean {
  const visited = new Set<number>()
  const open = [...parents]
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    if (index === target) return true
    if (index < target || visited.has(index)) continue
    visited.add(index)
    open.push(...(transactions[index]?.parents ?? []))
  }
  return false
}

function editsOf(event: Y.YTextEvent): readonly Edit[] {
  const edits: Edit[] = []
  let at = 0
  for (const { retain, insert, delete: remove } of event.delta) {
    if (retain !== undefined) at += retain
    if (remove !== undefined) edits.push({ at, remove, insert: '', pauseMs: 0 })
    if (typeof insert === 'string') {
      edits.push({ at, remove: 0, insert, pauseMs: 0 })
      at += insert.length
    }
  }
  return edits
}
