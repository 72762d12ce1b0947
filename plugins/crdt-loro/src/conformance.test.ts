import { type CrdtFactory, crdtSuite } from '@heddle/conformance'
import { type CrdtBackend, systemContext } from '@heddle/core'
import type { LoroDoc } from 'loro-crdt'
import { describe, it } from 'vitest'
import loro from './index.js'

const factory: CrdtFactory<LoroDoc> = {
  manifest: loro.manifest,
  create: async () => (await loro.create({}, systemContext())) as CrdtBackend<LoroDoc>,
  edit(doc, n) {
    const text = doc.getText('text')
    text.insert(Math.min(n % 3, text.length), `edit ${n} `)
    doc.getMap('map').set(`key ${n % 7}`, n)
    doc.getList('list').insert(0, { n })
    doc.commit()
  },
  remove(doc, n) {
    const text = doc.getText('text')
    text.delete(Math.min(n % 5, text.length - 1), 1)
    doc.getMap('map').delete(`key ${n % 7}`)
    doc.commit()
  }
}

describe('loro', () => {
  for (const { id, title, run } of crdtSuite(factory)) it(`${id} ${title}`, run)
})
