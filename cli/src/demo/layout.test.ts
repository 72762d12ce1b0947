import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { Desk, layOut, partsOf, textName, type Writer } from './layout.js'
import { tinker, typeText } from './typist.js'

const texts = {
  A: 'Down, down, down. Would the fall never come to an end! ‘I wonder,’ she said aloud.',
  B: 'Curiouser and curiouser! cried Alice. Good-bye, feet! She went on planning.'
}

function pair() {
  const docs = { A: new Y.Doc(), B: new Y.Doc() }
  layOut(docs.A.getText(textName), 'All in the golden afternoon')
  Y.applyUpdate(docs.B, Y.encodeStateAsUpdate(docs.A))
  return docs
}

function exchange(docs: { readonly [W in Writer]: Y.Doc }) {
  Y.applyUpdate(docs.B, Y.encodeStateAsUpdate(docs.A, Y.encodeStateVector(docs.B)))
  Y.applyUpdate(docs.A, Y.encodeStateAsUpdate(docs.B, Y.encodeStateVector(docs.A)))
}

describe('Desk', () => {
  it('lets two type at once, whenever their documents meet, and both sections come out whole', () => {
    const schedule = fc.array(fc.constantFrom('A', 'B', 'shared A', 'shared B', 'meet'), { maxLength: 80 })
    fc.assert(
      fc.property(schedule, fc.integer(), (steps, seed) => {
        const docs = pair()
        const desks = { A: new Desk(docs.A, 'A'), B: new Desk(docs.B, 'B') }
        const left = { A: [...typeText(texts.A, seed)], B: [...typeText(texts.B, seed + 1)] }
        const shared = { A: [...tinker(texts.A, seed, 30)], B: [...tinker(texts.B, seed, 30)] }
        for (const step of steps) {
          if (step === 'meet') exchange(docs)
          else if (step === 'A' || step === 'B') for (const edit of left[step].splice(0, 7)) desks[step].edit(edit)
          else {
            const writer = step === 'shared A' ? 'A' : 'B'
            for (const edit of shared[writer].splice(0, 5)) desks[writer].editShared(edit)
          }
        }
        for (const writer of ['A', 'B'] as const) for (const edit of left[writer]) desks[writer].edit(edit)
        desks.A.note('from A')
        desks.B.note('from B')
        exchange(docs)
        const [a, b] = [docs.A, docs.B].map((doc) => doc.getText(textName).toString())
        expect(a).toBe(b)
        const parts = partsOf(a ?? '')
        expect(parts.sections).toEqual(texts)
        expect(parts.notes.split('\n').toSorted()).toEqual(['', 'from A', 'from B'])
      }),
      { numRuns: 60 }
    )
  })

  it('finds its place again in a document that was opened anew', () => {
    const docs = pair()
    const edits = typeText(texts.B, 5)
    for (const edit of edits.slice(0, 30)) new Desk(docs.B, 'B').edit(edit)
    const reopened = new Y.Doc()
    Y.applyUpdate(reopened, Y.encodeStateAsUpdate(docs.B))
    const desk = new Desk(reopened, 'B')
    for (const edit of edits.slice(30)) desk.edit(edit)
    expect(partsOf(reopened.getText(textName).toString()).sections.B).toBe(texts.B)
  })

  it('keeps to the shared passage and says when nothing is left to remove', () => {
    const doc = pair().A
    const desk = new Desk(doc, 'A')
    const removal = { place: 0.99, insert: undefined, pauseMs: 0 }
    while (desk.editShared(removal));
    expect(partsOf(doc.getText(textName).toString()).shared).toBe('')
    expect(desk.editShared(removal)).toBe(false)
    expect(desk.editShared({ place: 0.5, insert: 'x', pauseMs: 0 })).toBe(true)
    expect(partsOf(doc.getText(textName).toString())).toEqual({ shared: 'x', sections: { A: '', B: '' }, notes: '' })
  })

  it('refuses a document without the headings', () => {
    expect(() => new Desk(new Y.Doc(), 'A')).toThrow(/lacks the heading/)
  })
})
