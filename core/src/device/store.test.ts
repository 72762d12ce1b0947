import { MemoryDisk, memoryStorage } from '@heddle/storage-memory'
import { expect, it } from 'vitest'
import { createCrypto } from '../crypto/index.js'
import type { Context } from '../plugin/index.js'
import { DocumentStore, recordKinds, Turn } from './store.js'

it('who leaves a document keeps what was written in it, and nothing of the member it was', async () => {
  const bound = memoryStorage({ shared: new MemoryDisk() })
  const storage = await bound.plugin.create(bound.options, { log: () => {} } as unknown as Context)
  const { randomBytes } = createCrypto((length) => new Uint8Array(length).fill(3))
  const store = new DocumentStore(storage, randomBytes(16))
  const other = new DocumentStore(storage, new Uint8Array(16).fill(4))
  const turn = new Turn()
  for (const kind of recordKinds) for (const one of [store, other]) turn.put(one.key(kind, 7n), randomBytes(1))
  await turn.commit(storage)
  const leaving = new Turn()
  store.leave(leaving)
  await leaving.commit(storage)
  const kindsOf = async (of: DocumentStore) => {
    const out = []
    for (const kind of recordKinds) if ((await of.entries(kind)).length > 0) out.push(kind)
    return out
  }
  expect((await kindsOf(store)).sort()).toEqual(['document', 'log', 'snapshot', 'unsealed'])
  expect(await kindsOf(other)).toEqual(recordKinds)
})
