/** What of a document is stored as its state, and what still has to be sent (SPEC DEV-001). */
import { type YjsDoc, yjs } from '@heddle/crdt-yjs'
import { memoryStorage } from '@heddle/storage-memory'
import { createVirtualClock } from '@heddle/transport-memory'
import { expect, it } from 'vitest'
import * as Y from 'yjs'
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

/** An update that waits for `clock - 1` of a client and breaks the document when that has come: its parent is itself. */
function breakingLater(client: number, clock: number): Uint8Array {
  const encoder = new Y.UpdateEncoderV1()
  for (const number of [1, 1]) encoder.writeLen(number)
  encoder.writeClient(client)
  encoder.writeLen(clock)
  encoder.writeInfo(4)
  encoder.writeParentInfo(false)
  encoder.writeLeftID(Y.createID(client, clock))
  encoder.writeString('x')
  encoder.writeLen(0)
  return encoder.toUint8Array()
}

it.each(['logged before', 'in the same turn'])(
  'blames what had waited, %s, and not the message that it waited for',
  async (when) => {
    const storage = await memoryStorage({}).plugin.create({}, context)
    const backend = await yjs().plugin.create({}, context)
    const store = new DocumentStore(storage, new Uint8Array(16))
    const replica = await Replica.open(store, backend, actor(1))
    const edits = (client: number) => {
      const honest = new Y.Doc()
      honest.clientID = client
      const out: Uint8Array[] = []
      honest.on('update', (update: Uint8Array) => out.push(update))
      for (const word of ['a', 'b']) honest.getText('text').insert(honest.getText('text').length, word)
      return out as [Uint8Array, Uint8Array]
    }
    const [first, second] = edits(77)
    const [other, next] = edits(78)
    const evil = breakingLater(77, 1)
    const turn = new Turn()
    // Something honest waits as well.
    replica.apply(turn, when === 'logged before' ? [next, evil] : [next])
    await turn.commit(storage)
    const messages = when === 'logged before' ? [[first], [other]] : [[evil], [first], [other]]
    const { errors, broken } = await replica.sift(messages)
    expect([[...errors.keys()], [...broken.keys()]]).toEqual(when === 'logged before' ? [[], [1n]] : [[0], []])
    const mending = new Turn()
    for (const entry of broken.keys()) replica.blank(mending, entry)
    replica.record(mending, [first, other])
    await mending.commit(storage)
    const reopened = await Replica.open(store, backend, actor(2))
    expect([...textOf(reopened.doc).toString()].sort().join('')).toBe('aab')
    expect((await replica.sift([[evil], [second]])).errors.has(1)).toBe(false)
  }
)

it('blames the message itself when nothing waits for it', async () => {
  const storage = await memoryStorage({}).plugin.create({}, context)
  const backend = await yjs().plugin.create({}, context)
  const replica = await Replica.open(new DocumentStore(storage, new Uint8Array(16)), backend, actor(1))
  const { errors } = await replica.sift([[breakingLater(77, 0)]])
  expect([...errors.keys()]).toEqual([0])
})
