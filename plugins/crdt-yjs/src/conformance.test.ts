import { type CrdtFactory, crdtSuite } from '@heddle/conformance'
import { type CrdtBackend, systemContext } from '@heddle/core'
import { describe, it } from 'vitest'
import type { Doc } from 'yjs'
import yjs from './index.js'

const factory = (gc: boolean): CrdtFactory<Doc> => ({
  manifest: yjs.manifest,
  create: async () => (await yjs.create({ gc }, systemContext())) as CrdtBackend<Doc>,
  edit(doc, n) {
    doc.transact(() => {
      doc.getText('text').insert(n % 3, `edit ${n} `)
      doc.getMap('map').set(`key ${n % 7}`, n)
      doc.getArray('list').insert(0, [n, { n }])
    })
  },
  remove(doc, n) {
    const text = doc.getText('text')
    text.delete(Math.min(n % 5, text.length - 1), 1)
    doc.getMap('map').delete(`key ${n % 7}`)
  }
})

for (const gc of [true, false]) {
  describe(`yjs, gc ${gc}`, () => {
    for (const { id, title, run } of crdtSuite(factory(gc))) it(`${id} ${title}`, run)
  })
}
