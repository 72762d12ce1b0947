/** What is particular to Loro: what counts as local, peer ids, shallow snapshots, what its documents show. */
import { type Context, type CrdtInit, resolvePlugin, systemContext } from '@heddle/core'
import { LoroDoc, LoroMap, LoroText } from 'loro-crdt'
import { describe, expect, test } from 'vitest'
import loro, { type LoroCrdtDoc } from './index.js'

const actor = (byte: number): Uint8Array => new Uint8Array(16).fill(byte)

async function open(byte: number, init: Partial<CrdtInit> = {}, context: Context = systemContext()) {
  const backend = await loro.create({}, context)
  return (await backend.open({ actor: actor(byte), ...init })) as LoroCrdtDoc
}

function taken(doc: LoroCrdtDoc): Uint8Array {
  const flushed = doc.flush()
  flushed?.confirm()
  return flushed?.bytes ?? expect.fail('nothing to flush')
}

function type(doc: LoroCrdtDoc, text: string): void {
  const target = doc.native.getText('t')
  target.insert(target.length, text)
  doc.native.commit()
}

/** Processor time for a character typed into the middle and flushed, microseconds. */
function typingCost(doc: LoroCrdtDoc, characters: number): number {
  const text = doc.native.getText('t')
  const begin = process.cpuUsage()
  for (let i = 0; i < characters; i++) {
    text.insert(text.length >> 1, 'x')
    taken(doc)
  }
  return process.cpuUsage(begin).user / characters
}

describe('flush', () => {
  test('costs in a large document what it costs in an empty one', async () => {
    const large = await open(1)
    const other = await open(2)
    type(other, 'o')
    large.apply([taken(other)])
    const text = large.native.getText('t')
    for (let i = 0; i < 50_000; i++) text.insert((i * 7919) % text.length, 'y')
    taken(large)
    typingCost(await open(3), 1000)
    const empty = typingCost(await open(4), 500)
    expect(typingCost(large, 500) / empty).toBeLessThan(25)
  }, 60_000)

  test('has what was not committed yet, and what the app imports', async () => {
    const old = new LoroDoc()
    old.getText('old').insert(0, 'imported')
    const a = await open(1)
    a.native.import(old.export({ mode: 'update' }))
    a.native.getText('t').insert(0, 'not committed')
    const b = await open(2, { updates: [taken(a)] })
    expect(b.toJSON()).toEqual({ old: 'imported', t: 'not committed' })
    expect(a.flush()).toBeUndefined()
  })

  test('has what the app imports, also when others send what follows on it', async () => {
    const other = new LoroDoc()
    other.getText('t').insert(0, 'one ')
    const first = other.export({ mode: 'update' })
    const version = other.oplogVersion()
    other.getText('t').insert(4, 'two')
    const a = await open(1)
    a.native.import(first)
    a.apply([other.export({ mode: 'update', from: version })])
    expect((await open(2, { updates: [taken(a)] })).toJSON()).toEqual({ t: 'one two' })
    expect(a.flush()).toBeUndefined()
  })

  test('of a document opened from a shallow snapshot has only what was changed since', async () => {
    const a = await open(1)
    type(a, 'one ')
    const b = await open(2, { snapshot: a.snapshot({ shallow: true }) })
    expect(b.flush()).toBeUndefined()
    type(b, 'two')
    a.apply([taken(b)])
    expect(a.toJSON()).toEqual({ t: 'one two' })
  })

  test('has edits that the app makes when others’ changes come in', async () => {
    const [a, b] = [await open(1), await open(2)]
    a.native.subscribe(({ by }) => {
      if (by !== 'import') return
      a.native.getMap('seen').set('length', a.native.getText('t').length)
      a.native.commit()
    })
    type(b, 'text')
    a.apply([taken(b)])
    await Promise.resolve()
    b.apply([taken(a)])
    expect(b.toJSON()).toEqual({ t: 'text', seen: { length: 4 } })
    expect(a.flush()).toBeUndefined()
  })

  test('many updates at once, in the wrong order, come in whole', async () => {
    const a = await open(1)
    const updates = Array.from({ length: 700 }, (_, i) => {
      type(a, `${i} `)
      return taken(a)
    })
    const b = await open(2)
    expect(b.apply(updates.toReversed())).toEqual({ applied: 700, pending: 0 })
    expect(b.toJSON()).toEqual(a.toJSON())
  })
})

describe('the peer id', () => {
  test('is the first 64 bits of the actor, and never the one that Loro keeps for itself', async () => {
    const id = async (...bytes: number[]) =>
      (await open(0, { actor: Uint8Array.from({ length: 16 }, (_, i) => bytes[i] ?? 0) })).native.peerId
    expect(await id(1, 2, 3, 4, 5, 6, 7, 8, 9)).toBe(0x0102030405060708n)
    const reserved = await open(0xff)
    type(reserved, 'works')
    expect(reserved.native.peerId).toBeLessThan(2n ** 64n - 1n)
  })

  test('changes by the actor alone when another has it, at opening and later, which is logged', async () => {
    const lines: unknown[] = []
    const context = systemContext({ log: (...line) => lines.push(line) })
    const bytes = Uint8Array.from({ length: 16 }, (_, i) => i)
    const first = await open(0, { actor: bytes })
    type(first, 'first ')
    const second = await open(0, { actor: bytes, snapshot: first.snapshot() }, context)
    expect(second.native.peerId).toBe(0x08090a0b0c0d0e0fn)
    const thief = new LoroDoc()
    thief.import(first.snapshot())
    thief.setPeerId(second.native.peerId)
    thief.getText('t').insert(0, 'stolen ')
    second.apply([thief.export({ mode: 'update' })])
    expect(second.native.peerId).toBe(0x0001020304050606n)
    type(second, 'second')
    first.apply([thief.export({ mode: 'update' }), taken(second)])
    expect(first.toJSON()).toEqual({ t: 'stolen first second' })
    expect(lines).toEqual(
      [0x08090a0b0c0d0e0fn, 0x0001020304050606n].map((peerId) => {
        return ['warn', 'crdt-loro.peer-id-clash', { peerId: String(peerId) }]
      })
    )
  })

  test('stays when one’s own changes come back', async () => {
    const a = await open(1)
    type(a, 'text')
    const id = a.native.peerId
    const b = await open(2, { updates: [taken(a)] })
    type(a, ' more')
    a.apply([b.snapshot(), a.diff(b.version())])
    expect(a.native.peerId).toBe(id)
    expect((await open(3, { updates: [b.snapshot(), taken(a)] })).toJSON()).toEqual({ t: 'text more' })
  })
})

describe('a shallow snapshot', () => {
  test('has the content without the history', async () => {
    const a = await open(1)
    for (let i = 0; i < 2000; i++) {
      type(a, 'secret ')
      a.native.getText('t').delete(0, 7)
    }
    type(a, 'kept')
    const [full, shallow] = [a.snapshot(), a.snapshot({ shallow: true })]
    expect(shallow.length * 4).toBeLessThan(full.length)
    expect((await open(2, { snapshot: shallow })).toJSON()).toEqual({ t: 'kept' })
  })

  test('of an empty document is one, and takes updates', async () => {
    const a = await open(1)
    const b = await open(2, { snapshot: a.snapshot({ shallow: true }) })
    type(a, 'text')
    b.apply([taken(a)])
    expect(b.toJSON()).toEqual({ t: 'text' })
  })

  test('serves replicas without content; one whose content is older than it is told that something is missing', async () => {
    const a = await open(1)
    type(a, 'one ')
    const old = await open(2, { updates: [taken(a)] })
    type(a, 'two')
    const shallow = await open(3, { snapshot: a.snapshot({ shallow: true }) })
    type(shallow, ' three')
    const empty = await open(4)
    empty.apply([shallow.diff(empty.version())])
    expect(empty.toJSON()).toEqual({ t: 'one two three' })
    expect(old.apply([shallow.diff(old.version())])).toEqual({ applied: 0, pending: 1 })
    expect(old.toJSON()).toEqual({ t: 'one ' })
    old.apply([a.diff(old.version())])
    expect(old.toJSON()).toEqual({ t: 'one two three' })
  })
})

describe('toJSON', () => {
  test('shows every kind of container, and none that is empty at the root', async () => {
    const a = await open(1)
    const doc = a.native
    doc.configTextStyle({ bold: { expand: 'none' } })
    doc.getText('plain').insert(0, 'text')
    doc.getText('rich').insert(0, 'bold not')
    doc.getText('rich').mark({ start: 0, end: 4 }, 'bold', true)
    const map = doc.getMap('map')
    map.set('values', [1, 2.5, null, true, { deep: 'x' }])
    map.set('bytes', new Uint8Array([1, 2]))
    map.setContainer('text', new LoroText()).insert(0, 'nested')
    map.setContainer('empty', new LoroMap())
    doc.getList('list').push('one')
    const movable = doc.getMovableList('movable')
    for (const item of ['a', 'b']) movable.push(item)
    movable.move(0, 1)
    doc.getCounter('counter').increment(2.5)
    const root = doc.getTree('tree').createNode()
    root.data.set('name', 'root')
    root.createNode()
    doc.getText('emptied').insert(0, 'x')
    doc.getText('emptied').delete(0, 1)
    const expected = {
      plain: 'text',
      rich: [{ insert: 'bold', attributes: { bold: true } }, { insert: ' not' }],
      map: { values: [1, 2.5, null, true, { deep: 'x' }], bytes: { $bytes: [1, 2] }, text: 'nested', empty: {} },
      list: ['one'],
      movable: ['b', 'a'],
      counter: 2.5,
      tree: [expect.objectContaining({ meta: { name: 'root' }, children: [expect.objectContaining({ meta: {} })] })]
    }
    expect(a.toJSON()).toEqual(expected)
    const b = await open(2, { updates: [taken(a)] })
    doc.getMap('asked for')
    expect(b.toJSON()).toEqual(a.toJSON())
    expect(JSON.parse(JSON.stringify(b.toJSON()))).toEqual(a.toJSON())
  })

  test('takes a name like __proto__ for a name', async () => {
    const a = await open(1)
    a.native.getMap('map').set('__proto__', { polluted: true })
    const b = await open(2, { updates: [taken(a)] })
    expect(JSON.stringify(b.toJSON())).toBe('{"map":{"__proto__":{"polluted":true}}}')
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
})

describe('options', () => {
  test('there are none, and one that is given is named', async () => {
    const wrong = resolvePlugin({ plugin: loro, options: { gc: true } }, 'crdt', systemContext())
    await expect(wrong).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('"gc"') })
  })
})
