import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { countLost, latenciesMs, percentile } from './evidence.js'
import { contentOf, Ledger } from './ledger.js'

/** Two documents, edited at random, whose ledgers ran from the start. */
function edited(steps: readonly { readonly onA: boolean; readonly place: number; readonly remove: boolean }[]) {
  const docs = [new Y.Doc(), new Y.Doc()] as const
  const ledgers = docs.map((doc) => new Ledger(doc))
  for (const { onA, place, remove } of steps) {
    const text = docs[onA ? 0 : 1].getText('text')
    const at = Math.floor(place * text.length)
    if (remove && text.length > 0) text.delete(Math.min(at, text.length - 1), 1)
    else text.insert(at, 'ab')
  }
  return { docs, made: ledgers.map((ledger) => ledger.marks()), ledgers }
}

const steps = fc.array(
  fc.record({ onA: fc.boolean(), place: fc.double({ min: 0, max: 0.999, noNaN: true }), remove: fc.boolean() }),
  { minLength: 1, maxLength: 60 }
)

describe('countLost', () => {
  it('finds nothing lost when both documents have each other’s updates', () => {
    fc.assert(
      fc.property(steps, (list) => {
        const { docs, made } = edited(list)
        Y.applyUpdate(docs[0], Y.encodeStateAsUpdate(docs[1]))
        Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
        expect(countLost(made, contentOf(docs[0]))).toBe(0)
        expect(countLost(made, contentOf(docs[1]))).toBe(0)
      })
    )
  })

  it('counts each character and each deletion that never arrived', () => {
    const { docs, made } = edited([
      { onA: true, place: 0, remove: false },
      { onA: true, place: 0.9, remove: false }
    ])
    expect(countLost(made, contentOf(docs[0]))).toBe(0)
    expect(countLost(made, contentOf(docs[1]))).toBe(4)
    Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
    expect(countLost(made, contentOf(docs[1]))).toBe(0)
    docs[0].getText('text').delete(0, 3)
    expect(countLost(made, contentOf(docs[0]))).toBe(0)
    expect(countLost(made, contentOf(docs[1]))).toBe(3)
  })

  it('does not count what waits for something missing as present', () => {
    const [a, b] = [new Y.Doc(), new Y.Doc()]
    const updates: Uint8Array[] = []
    a.on('update', (update) => updates.push(update))
    const ledger = new Ledger(a)
    a.getText('text').insert(0, 'x')
    a.getText('text').insert(1, 'y')
    Y.applyUpdate(b, updates[1] ?? new Uint8Array())
    expect(countLost([ledger.marks()], contentOf(b))).toBe(2)
  })
})

describe('latenciesMs', () => {
  it('joins an insertion with the first moment its last character was there', () => {
    const inserts = [
      { client: 1, from: 0, to: 1, timeMs: 100 },
      { client: 1, from: 1, to: 3, timeMs: 110 },
      { client: 2, from: 0, to: 1, timeMs: 120 },
      { client: 1, from: 3, to: 4, timeMs: 130 }
    ]
    const arrivals = [
      { client: 2, to: 5, timeMs: 150 },
      { client: 1, to: 2, timeMs: 104 },
      { client: 1, to: 3, timeMs: 119 }
    ]
    expect(latenciesMs(inserts, arrivals)).toEqual([4, 9, 30])
  })

  it('comes from two live documents through their ledgers', () => {
    const { docs, made, ledgers } = edited([{ onA: true, place: 0, remove: false }])
    Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0]))
    const [latency, ...more] = latenciesMs(made[0]?.inserts ?? [], ledgers[1]?.arrivals() ?? [])
    expect(more).toEqual([])
    expect(latency).toBeGreaterThanOrEqual(0)
    expect(latency).toBeLessThan(1000)
  })
})

describe('percentile', () => {
  it('is the nearest rank', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect(percentile(values, 50)).toBe(50)
    expect(percentile(values, 99)).toBe(99)
    expect(percentile([7], 99)).toBe(7)
    expect(percentile([], 50)).toBeNaN()
  })
})
