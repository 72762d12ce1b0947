/**
 * How documents are typed: one character at a time into the Y.Text named "text", each edit a transaction of its own.
 * The same for a device's document and for a bare Y.Doc, so that both are measured with the same work.
 */
import * as Y from 'yjs'
import { nowMs } from './process/calls.js'

export const textOf = (doc: Y.Doc): Y.Text => doc.getText('text')

/** What was typed: clocks of the writer's Yjs client after the first and last edit, and when. */
export interface Typed {
  readonly client: number
  readonly firstClock: number
  readonly lastClock: number
  readonly startedMs: number
  readonly endedMs: number
}

export interface TypedPaced extends Typed {
  /** When each edit was made. */
  readonly editsMs: Float64Array
}

const letters = 'the quick brown fox jumps over the lazy dog '

/** Types at the end, giving way to the event loop after each edit as an editor does. */
export async function typeFast(doc: Y.Doc, edits: number): Promise<Typed> {
  const text = textOf(doc)
  const firstClock = clockOf(doc, doc.clientID) + 1
  const startedMs = nowMs()
  for (let i = 0; i < edits; i++) {
    text.insert(text.length, letters.charAt(i % letters.length))
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { client: doc.clientID, firstClock, lastClock: firstClock + edits - 1, startedMs, endedMs: nowMs() }
}

/** Types at the end at a pace, which it keeps on average when a timer is late. */
export async function typePaced(doc: Y.Doc, edits: number, perSecond: number): Promise<TypedPaced> {
  const text = textOf(doc)
  const firstClock = clockOf(doc, doc.clientID) + 1
  const editsMs = new Float64Array(edits)
  const startedMs = nowMs()
  for (let i = 0; i < edits; i++) {
    const dueMs = startedMs + (i * 1000) / perSecond
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - nowMs())))
    editsMs[i] = nowMs()
    text.insert(text.length, letters.charAt(i % letters.length))
  }
  return { client: doc.clientID, firstClock, lastClock: firstClock + edits - 1, startedMs, endedMs: nowMs(), editsMs }
}

/**
 * Types words at places all over the document, so that it consists of many parts, as documents do that were worked on.
 * The same `seed` gives the same edits.
 */
export function* scattered(doc: Y.Doc, edits: number, seed: number): Generator<void> {
  const text = textOf(doc)
  const random = seededRandom(seed)
  let at = 0
  let leftOfWord = 0
  for (let i = 0; i < edits; i++) {
    if (leftOfWord === 0) {
      at = Math.floor(random() * (text.length + 1))
      leftOfWord = 2 + Math.floor(random() * 8)
    }
    text.insert(at, letters.charAt(i % letters.length))
    at++
    leftOfWord--
    yield
  }
}

export const clockOf = (doc: Y.Doc, client: number): number => Y.getState(doc.store, client)

/** mulberry32; uniform in [0, 1). */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
