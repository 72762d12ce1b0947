/** The count of operations is that of the library, in columns of every kind. */
import * as A from '@automerge/automerge'
import { describe, expect, test } from 'vitest'
import { changeExtent, documentExtent } from './extent.js'
import type { Root } from './handle.js'
import { Reader } from './leb128.js'

/** Without the header: magic, checksum, type, length. */
function contentsOf(chunk: Uint8Array): Uint8Array {
  const header = new Reader(chunk, 9)
  return header.take(header.unsigned())
}

/** 1 operation for the text and one for each of its characters, which no run shortens. */
function written(characters: number): A.Doc<Root> {
  const text = Array.from({ length: characters }, (_, i) => String.fromCharCode(97 + ((i * i * 7919) % 26))).join('')
  return A.change(A.init<Root>({ actor: 'aabb' }), (draft) => {
    draft.text = text
  })
}

describe('the extent', () => {
  test('of a change', () => {
    const [change] = A.getAllChanges(written(3000))
    expect(changeExtent(contentsOf(change ?? new Uint8Array(0)))).toBe(3001)
  })

  test('of a document, whose long columns are compressed', () => {
    const doc = written(3000)
    expect(A.save(doc).length).toBeLessThan(A.getBackend(doc).saveNoCompress().length)
    expect(documentExtent(contentsOf(A.save(doc)))).toBe(3001)
    expect(documentExtent(contentsOf(A.getBackend(doc).saveNoCompress()))).toBe(3001)
  })

  test('of values of every kind, and of many changes', () => {
    let doc = A.init<Root>({ actor: 'aabb' })
    for (let i = 0; i < 50; i++) {
      doc = A.change(doc, { message: `change ${i}`, time: -i }, (draft) => {
        draft[`key ${i}`] = [i, -i, i / 3, null, true, new Date(i), new Uint8Array(i), `text ${i}`, new A.Counter(i)]
      })
      doc = A.change(doc, (draft) => {
        delete draft[`key ${i - 10}`]
      })
    }
    const operations = A.getBackend(doc).stats().numOps
    expect(documentExtent(contentsOf(A.save(doc)))).toBe(operations)
    for (const change of A.getAllChanges(doc)) expect(changeExtent(contentsOf(change))).toBeLessThan(100)
  })
})
