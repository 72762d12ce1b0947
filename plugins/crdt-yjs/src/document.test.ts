/** What is particular to yjs: how little a flush costs and holds, what its documents show, and how they break. */
import { type Context, resolvePlugin, systemContext } from '@heddle/core'
import { describe, expect, test } from 'vitest'
import * as Y from 'yjs'
import yjs, { type YjsDoc, type YjsOptions } from './index.js'

const actor = (byte: number): Uint8Array => new Uint8Array(16).fill(byte)

async function open(byte: number, init: Partial<Parameters<typeof openWith>[2]> = {}): Promise<YjsDoc> {
  return openWith({}, systemContext(), { actor: actor(byte), ...init })
}

async function openWith(
  options: YjsOptions,
  context: Context,
  init: { readonly actor: Uint8Array; readonly snapshot?: Uint8Array; readonly updates?: readonly Uint8Array[] }
): Promise<YjsDoc> {
  const backend = await yjs.create(options, context)
  return (await backend.open(init)) as YjsDoc
}

function taken(doc: YjsDoc): Uint8Array {
  const flushed = doc.flush()
  flushed?.confirm()
  return flushed?.bytes ?? expect.fail('nothing to flush')
}

/** Processor time for a character typed into the middle and flushed, microseconds. */
function typingCost(doc: YjsDoc, characters: number): number {
  const text = doc.native.getText('t')
  const begin = process.cpuUsage()
  for (let i = 0; i < characters; i++) {
    text.insert(text.length >> 1, 'x')
    taken(doc)
  }
  return process.cpuUsage(begin).user / characters
}

describe('flush', () => {
  test('of ten thousand typed characters is one short update, soon written', async () => {
    const a = await open(1)
    const text = a.native.getText('t')
    for (let i = 0; i < 10_000; i++) text.insert(i, String.fromCharCode(97 + (i % 26)))
    const begin = process.cpuUsage()
    const bytes = taken(a)
    // Merging the ten thousand updates of yjs gives 200 kB and takes a second.
    expect(process.cpuUsage(begin).user / 1000).toBeLessThan(250)
    expect(bytes.length).toBeLessThan(10_100)
    expect((await open(2, { updates: [bytes] })).toJSON()).toEqual(a.toJSON())
  })

  test('costs in a large document what it costs in an empty one', async () => {
    const large = await open(1)
    const text = large.native.getText('t')
    // Many items of two authors, not one long string: what a document looks like that was written by hand.
    const other = await open(2)
    other.native.getText('t').insert(0, 'o')
    large.apply([taken(other)])
    for (let i = 0; i < 100_000; i++) text.insert((i * 7919) % text.length, 'y')
    taken(large)
    typingCost(await open(3), 2000)
    const empty = typingCost(await open(4), 1000)
    expect(text.length).toBeGreaterThan(100_000)
    // Encoding the whole document each time would be a thousand times as much.
    expect(typingCost(large, 1000) / empty).toBeLessThan(25)
  }, 60_000)

  test('has what was typed and deleted in between as a gap, not as content', async () => {
    const a = await open(1)
    const text = a.native.getText('t')
    for (let i = 0; i < 1000; i++) {
      text.insert(0, 'secret ')
      text.delete(0, 7)
    }
    text.insert(0, 'kept')
    const bytes = taken(a)
    expect(bytes.length).toBeLessThan(100)
    expect((await open(2, { updates: [bytes] })).toJSON()).toEqual({ t: 'kept' })
  })

  test('has what the app imports into the native document, whoever wrote it', async () => {
    const old = new Y.Doc()
    old.getText('t').insert(0, 'imported')
    const a = await open(1)
    let signals = 0
    a.onLocalChange(() => {
      signals += 1
    })
    Y.applyUpdate(a.native, Y.encodeStateAsUpdate(old))
    a.native.getText('t').insert(0, 'and edited: ')
    expect(signals).toBe(2)
    expect((await open(2, { updates: [taken(a)] })).toJSON()).toEqual({ t: 'and edited: imported' })
    expect(a.flush()).toBeUndefined()
  })

  test('has edits that the app makes when others’ changes come in', async () => {
    const [a, b] = [await open(1), await open(2)]
    a.native.getArray('list').observe(({ transaction }) => {
      if (!transaction.local) a.native.getMap('seen').set('length', a.native.getArray('list').length)
    })
    b.native.getArray('list').push([1, 2, 3])
    a.apply([taken(b)])
    b.apply([taken(a)])
    expect(b.toJSON()).toEqual({ list: [1, 2, 3], seen: { length: 3 } })
  })

  test('keeps local structs apart from others that came under the same client id', async () => {
    const first = await open(1)
    const text = first.native.getText('t')
    text.insert(0, 'aa')
    const shared = taken(first)
    const second = await open(1, { updates: [shared] })
    // The second session has seen the id used, and takes the next bits of the same actor: also in use by nobody.
    expect(second.native.clientID).not.toBe(first.native.clientID)
    text.insert(2, 'bb')
    const ahead = taken(first)
    second.native.getText('t').insert(0, 'cc')
    second.apply([ahead])
    second.native.getText('t').insert(0, 'dd')
    first.apply([taken(second)])
    expect(first.toJSON()).toEqual({ t: 'ddccaabb' })
    expect(second.toJSON()).toEqual(first.toJSON())
  })
})

describe('the client id', () => {
  test('is the first 32 bits of the actor, and never 0', async () => {
    const id = async (...bytes: number[]) =>
      (await openWith({}, systemContext(), { actor: Uint8Array.from({ length: 16 }, (_, i) => bytes[i] ?? 0) })).native
        .clientID
    expect(await id(0x12, 0x34, 0x56, 0x78, 0x9a)).toBe(0x12345678)
    expect(await id(0xff, 0xff, 0xff, 0xff)).toBe(0xffffffff)
    expect(await id(0, 0, 0, 0)).toBeGreaterThan(0)
  })

  test('changes by the actor alone when another takes it, which is logged', async () => {
    const lines: unknown[] = []
    const context = systemContext({ log: (...line) => lines.push(line) })
    const ids: number[] = []
    for (let run = 0; run < 2; run++) {
      const a = await openWith({}, context, { actor: Uint8Array.from({ length: 16 }, (_, i) => i + 1) })
      const thief = new Y.Doc()
      thief.clientID = a.native.clientID
      thief.getText('t').insert(0, 'mine')
      a.apply([Y.encodeStateAsUpdate(thief)])
      ids.push(a.native.clientID)
      expect(a.flush()).toBeUndefined()
    }
    expect(ids).toEqual([0x05060708, 0x05060708])
    expect(lines).toEqual(Array(2).fill(['warn', 'crdt-yjs.client-id-clash', { clientId: 0x05060708 }]))
  })
})

describe('toJSON', () => {
  test('shows every kind of shared part, equally where nobody has named its type', async () => {
    const a = await open(1)
    const doc = a.native
    doc.transact(() => {
      doc.getText('plain').insert(0, 'one')
      doc.getText('plain').insert(3, ' two')
      doc.getText('rich').insert(0, 'bold', { bold: true })
      doc.getText('rich').insert(4, ' not', { bold: null })
      doc.getText('rich').insertEmbed(8, { image: 'x' })
      doc.getMap('map').set('nested', new Y.Map([['list', Y.Array.from([1, 'two', null, { three: 3 }])]]))
      doc.getMap('map').set('gone', 1)
      doc.getMap('map').delete('gone')
      doc.getArray('list').insert(0, [1.5, true, 'text', new Uint8Array([1, 2]), { n: 12n }])
      doc.getArray('list').push([new Y.Text('in a list'), new Y.Map(), new Y.Array(), new Y.Text()])
      doc.getText('emptied').insert(0, 'x')
      doc.getText('emptied').delete(0, 1)
      const element = new Y.XmlElement('p')
      element.setAttribute('class', 'first')
      element.insert(0, [new Y.XmlText('hello'), new Y.XmlElement('br')])
      doc.getXmlFragment('xml').insert(0, [element])
    })
    doc.getText('never used')
    const expected = {
      plain: 'one two',
      rich: [
        { insert: 'bold', attributes: { bold: true } },
        { insert: ' not', attributes: {} },
        { insert: { image: 'x' }, attributes: {} }
      ],
      map: { nested: { list: [1, 'two', null, { three: 3 }] } },
      list: [1.5, true, 'text', { $bytes: [1, 2] }, { n: { $integer: '12' } }, 'in a list', {}, [], ''],
      xml: [
        {
          $element: 'p',
          attributes: { class: 'first' },
          children: ['hello', { $element: 'br', attributes: {}, children: [] }]
        }
      ]
    }
    expect(a.toJSON()).toEqual(expected)
    const b = await open(2, { updates: [taken(a)] })
    expect(b.toJSON()).toEqual(expected)
    expect(JSON.parse(JSON.stringify(b.toJSON()))).toEqual(expected)
  })

  test('has bytes of its own, also within other values', async () => {
    const a = await open(1)
    a.native.getMap('m').set('value', { bytes: new Uint8Array([1, 2, 3]) })
    const update = taken(a)
    const b = await open(2)
    b.apply([update])
    update.fill(9)
    expect(b.toJSON()).toEqual({ m: { value: { bytes: { $bytes: [1, 2, 3] } } } })
  })

  test('takes a name like __proto__ for a name', async () => {
    const a = await open(1)
    a.native.getMap('__proto__').set('__proto__', { polluted: true })
    const json = (await open(2, { updates: [taken(a)] })).toJSON() as Record<string, unknown>
    expect(Object.keys(json)).toEqual(['__proto__'])
    expect(JSON.stringify(json)).toBe('{"__proto__":{"__proto__":{"polluted":true}}}')
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
})

describe('what goes wrong', () => {
  test('an update that yjs cannot integrate taints the document for ever, and is not opened', async () => {
    const a = await open(1)
    a.native.getMap('m').set('text', 'value')
    const good = taken(a)
    const encoder = new Y.UpdateEncoderV1()
    // A struct whose parent is a value, not a type: it decodes, and breaks when it is put in.
    for (const number of [1, 1]) encoder.writeLen(number)
    encoder.writeClient(77)
    encoder.writeLen(0)
    encoder.writeInfo(4)
    encoder.writeParentInfo(false)
    encoder.writeLeftID(Y.createID(77, 0))
    encoder.writeString('x')
    encoder.writeLen(0)
    const outcome = await applied(await open(2, { updates: [good] }), encoder.toUint8Array())
    expect(outcome).toBe('CRDT_TAINTED')
    await expect(open(3, { updates: [good, encoder.toUint8Array()] })).rejects.toMatchObject({ code: 'CRDT_MALFORMED' })
  })

  test('an observer that throws is reported, and the batch is in all the same', async () => {
    const lines: unknown[][] = []
    const a = await openWith({}, systemContext({ log: (...line) => lines.push(line) }), { actor: actor(1) })
    a.native.getText('t').observe(() => {
      throw new Error('a fault of the app')
    })
    const b = await open(2)
    b.native.getText('t').insert(0, 'text')
    expect(a.apply([taken(b)])).toEqual({ applied: 1, pending: 0 })
    expect(a.toJSON()).toEqual({ t: 'text' })
    expect(lines.map(([level, event]) => [level, event])).toEqual([['error', 'crdt-yjs.observer-threw']])
    expect(a.flush()).toBeUndefined()
  })

  test('options that are wrong are named', async () => {
    for (const [options, message] of [
      [{ gc: 'yes' }, '"gc"'],
      [{ garbage: true }, '"garbage"']
    ] as const) {
      await expect(resolvePlugin({ plugin: yjs, options }, 'crdt', systemContext())).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(message)
      })
    }
  })

  test('without gc deleted content stays for the history functions, with it not', async () => {
    for (const gc of [true, false]) {
      const a = await openWith({ gc }, systemContext(), { actor: actor(1) })
      a.native.getText('t').insert(0, 'deleted text')
      const before = Y.snapshot(a.native)
      a.native.getText('t').delete(0, 12)
      const again = await openWith({ gc }, systemContext(), { actor: actor(2), snapshot: a.snapshot() })
      const past = () => Y.createDocFromSnapshot(again.native, before).getText('t').toString()
      if (gc) expect(past).toThrow()
      else expect(past()).toBe('deleted text')
    }
  })
})

async function applied(doc: YjsDoc, update: Uint8Array): Promise<unknown> {
  try {
    doc.apply([update])
    return 'applied'
  } catch (error) {
    return (error as { readonly code?: unknown }).code
  }
}
