import { splice } from '@automerge/automerge'
import { type CrdtFactory, crdtSuite } from '@heddle/conformance'
import { type CrdtBackend, systemContext } from '@heddle/core'
import { describe, it } from 'vitest'
import automerge, { type AutomergeHandle } from './index.js'

interface Edited {
  text?: string
  list?: unknown[]
  /** At the root, so that fields of replicas that began apart come together. */
  [key: `key ${number}`]: number
}

const factory: CrdtFactory<AutomergeHandle> = {
  manifest: automerge.manifest,
  create: async () => (await automerge.create({}, systemContext())) as CrdtBackend<AutomergeHandle>,
  edit(handle, n) {
    ;(handle as AutomergeHandle<Edited>).change((draft) => {
      draft.text ??= ''
      splice(draft, ['text'], n % 3 > draft.text.length ? 0 : n % 3, 0, `edit ${n} `)
      draft[`key ${n % 7}`] = n
      draft.list ??= []
      draft.list.unshift(n, { n })
    })
  },
  remove(handle, n) {
    ;(handle as AutomergeHandle<Edited>).change((draft) => {
      if (draft.text !== undefined) splice(draft, ['text'], Math.min(n % 5, draft.text.length - 1), 1)
      delete draft[`key ${n % 7}`]
    })
  }
}

describe('automerge', () => {
  for (const { id, title, run } of crdtSuite(factory)) it(`${id} ${title}`, run)
})
