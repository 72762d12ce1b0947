import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { applyEdits, isSingle } from './edit.js'
import { tinker, typeText, usualHabits } from './typist.js'

const texts = new URL('../../../examples/texts/', import.meta.url)
const chapters = ['alice-1-down-the-rabbit-hole.txt', 'alice-2-the-pool-of-tears.txt']

describe('typeText', () => {
  it('ends in exactly the text, whatever the text, the seed and the habits', () => {
    const habits = fc.record({
      slip: fc.double({ min: 0, max: 0.5, noNaN: true }),
      draft: fc.double({ min: 0, max: 0.5, noNaN: true }),
      swap: fc.double({ min: 0, max: 0.5, noNaN: true })
    })
    const word = fc.oneof(
      fc.constantFrom('alpha', 'Bravo!', 'charlie.', '’tis', 'où', '—', '…?', '\n\n', '🙂🙂', 'delta.’'),
      fc.string({ unit: 'grapheme', maxLength: 6 })
    )
    fc.assert(
      fc.property(fc.array(word, { maxLength: 60 }), fc.integer(), habits, (words, seed, chosen) => {
        const text = words.join(' ')
        expect(applyEdits('', typeText(text, seed, chosen))).toBe(text)
      }),
      { numRuns: 300 }
    )
  })

  it('splits no surrogate pair', () => {
    const lone = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), fc.integer(), (text, seed) => {
        fc.pre(!lone.test(text))
        for (const edit of typeText(text, seed, { slip: 0.3, draft: 0.3, swap: 0.3 })) {
          expect(edit.insert).not.toMatch(lone)
        }
      })
    )
  })

  it('depends on the seed alone', () => {
    const text = 'Alice was beginning to get very tired. ‘Oh dear!’ said the Rabbit. Down, down, down.'
    expect(typeText(text, 7)).toEqual(typeText(text, 7))
    expect(typeText(text, 7)).not.toEqual(typeText(text, 8))
  })

  it('gives more than 10,000 single-character edits for the two chapters, with everything people do', async () => {
    let singles = 0
    for (const [index, file] of chapters.entries()) {
      const text = await readFile(new URL(file, texts), 'utf8')
      const edits = typeText(text, index + 1)
      expect(applyEdits('', edits)).toBe(text)
      singles += edits.filter(isSingle).length
      const backspaces = edits.filter((edit) => edit.insert === '' && edit.remove === 1).length
      const blocks = edits.filter((edit) => edit.remove > 2)
      const pastes = edits.filter((edit) => edit.insert.length > 2)
      const pauses = edits.filter((edit) => edit.pauseMs >= 400).length
      let end = 0
      let jumps = 0
      for (const edit of edits) {
        if (edit.at + edit.remove !== end && edit.at !== end) jumps++
        end = edit.at + edit.insert.length
      }
      expect(backspaces).toBeGreaterThan(300)
      expect(blocks.length).toBeGreaterThan(5)
      expect(pastes.length).toBeGreaterThan(2)
      expect(jumps).toBeGreaterThan(20)
      expect(pauses).toBeGreaterThan(100)
    }
    expect(singles).toBeGreaterThan(20_000)
  })

  it('types straight through without habits', () => {
    const edits = typeText('No slips here. None.', 3, { ...usualHabits, slip: 0, draft: 0, swap: 0 })
    expect(edits.map((edit) => edit.insert).join('')).toBe('No slips here. None.')
  })
})

describe('tinker', () => {
  it('gives the number of single-character edits asked for, at places within the passage', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 0, max: 200 }), (seed, count) => {
        const edits = tinker('some words to borrow from here', seed, count)
        expect(edits).toHaveLength(count)
        for (const { place, insert } of edits) {
          expect(place >= 0 && place < 1).toBe(true)
          if (insert !== undefined) expect(Array.from(insert)).toHaveLength(1)
        }
        expect(tinker('some words to borrow from here', seed, count)).toEqual(edits)
      })
    )
  })
})
