/** What of a document is stored as its state, and what still has to be sent (SPEC DEV-001). */
import { type YjsDoc, yjs } from '@heddle/crdt-yjs'
import { memoryStorage } from '@heddle/storage-memory'
import { createVirtualClock } from '@heddle/transport-memory'
import { expect, it } from 'vitest'
import { Replica } from '../src/device/replica.js'
import { DocumentStore, Turn } from '../src/device/store.js'
import type { Context, CrdtDoc } from '../src/index.js'

const context: Context = {
  signal: new AbortController().signal,
  clock: createVirtualClock(0),
  random: (length) => new Uint8Array(length).fill(1),
  limits: { frameBytesMax: 1 << 20 },
  log: () => {}
}
const textOf = (doc: CrdtDoc) => (doc as YjsDoc).native.getText('text')
const actor = (n: number) => new Uint8Array(16).fill(n)

it('does not store local edits as state before they are taken to be sent, and then compacts', async () => {
  const storage = await memoryStorage({}).plugin.create({}, context)
  const backend = await yjs().plugin.create({}, context)
  const store = new DocumentStore(storage, new Uint8Array(16))
  const replica = await Replica.open(store, backend, actor(1))
  const other = await backend.open({ actor: actor(2) })
  const turn = new Turn()
  for (let i = 0; i < 600; i++) {
    textOf(other).insert(0, `${i} `.repeat(200))
    const flushed = other.flush()
    if (flushed === undefined) throw new Error('nothing was flushed')
    flushed.confirm()
    replica.apply(turn, [flushed.bytes])
  }
  textOf(replica.doc).insert(0, 'mine')
  replica.compact(turn)
  await turn.commit(storage)
  const killed = await Replica.open(store, backend, actor(3))
  expect(textOf(killed.doc).toString()).not.toContain('mine')
  const next = new Turn()
  expect(replica.flush(next)).toBeDefined()
  replica.compact(next)
  await next.commit(storage)
  expect(await store.entries('log')).toEqual([])
  expect(textOf((await Replica.open(store, backend, actor(4))).doc).toString()).toContain('mine')
})
