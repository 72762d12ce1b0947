import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { delaysOf } from '../src/scenarios/workloads.js'
import { clockOf, scattered, textOf, typeFast, typePaced } from '../src/typing.js'

const paced = (editsMs: readonly number[]) => ({
  client: 1,
  firstClock: 11,
  lastClock: 10 + editsMs.length,
  startedMs: 0,
  endedMs: 0,
  editsMs: Float64Array.from(editsMs)
})

describe('delays', () => {
  it('run from each edit to the first moment the other document contained it', () => {
    const arrivals = { clocks: Float64Array.of(4, 11, 13), atMs: Float64Array.of(90, 103, 150) }
    expect([...delaysOf(paced([100, 120, 140]), arrivals)]).toEqual([3, 30, 10])
  })

  it('are refused when an edit never arrived', () => {
    const arrivals = { clocks: Float64Array.of(11), atMs: Float64Array.of(103) }
    expect(() => delaysOf(paced([100, 120]), arrivals)).toThrow('edit 2 of 2 never arrived')
  })
})

describe('typing', () => {
  it('makes every character an edit of its own', async () => {
    const doc = new Y.Doc()
    let updates = 0
    doc.on('update', () => updates++)
    const fast = await typeFast(doc, 100)
    expect(updates).toBe(100)
    expect(fast).toMatchObject({ client: doc.clientID, firstClock: 1, lastClock: 100 })
    const slow = await typePaced(doc, 5, 1000)
    expect(slow).toMatchObject({ firstClock: 101, lastClock: 105 })
    expect(slow.editsMs).toHaveLength(5)
    expect(clockOf(doc, doc.clientID)).toBe(105)
    expect(textOf(doc)).toHaveLength(105)
  })

  it('keeps the pace on average', async () => {
    const { editsMs } = await typePaced(new Y.Doc(), 10, 200)
    expect((editsMs[9] ?? 0) - (editsMs[0] ?? 0)).toBeGreaterThanOrEqual(40)
  })

  it('scatters words over the document, the same ones for the same seed', () => {
    const typed = (seed: number) => {
      const doc = new Y.Doc()
      for (const _ of scattered(doc, 500, seed)) {
        // Each step is one edit.
      }
      return doc
    }
    const doc = typed(1)
    expect(textOf(doc)).toHaveLength(500)
    expect(textOf(typed(1)).toString()).toBe(textOf(doc).toString())
    expect(textOf(typed(2)).toString()).not.toBe(textOf(doc).toString())
    expect(doc.store.clients.get(doc.clientID)?.length).toBeGreaterThan(50)
  })
})
