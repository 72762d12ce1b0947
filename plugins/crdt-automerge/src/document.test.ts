/** What is particular to Automerge: the handle, what versions and differences hold, what its documents show. */
import * as A from '@automerge/automerge'
import { type Context, type CrdtInit, resolvePlugin, systemContext } from '@heddle/core'
import { describe, expect, test } from 'vitest'
import automerge, { type AutomergeChange, type AutomergeDoc, type AutomergeHandle, type Root } from './index.js'

const actor = (byte: number): Uint8Array => new Uint8Array(16).fill(byte)

async function open(byte: number, init: Partial<CrdtInit> = {}, context: Context = systemContext()) {
  const backend = await automerge.create({}, context)
  return (await backend.open({ actor: actor(byte), ...init })) as AutomergeDoc
}

function taken(doc: AutomergeDoc): Uint8Array {
  const flushed = doc.flush()
  flushed?.confirm()
  return flushed?.bytes ?? expect.fail('nothing to flush')
}

function type(doc: AutomergeDoc, text: string): void {
  ;(doc.native as AutomergeHandle<{ t?: string }>).change((draft) => {
    draft.t ??= ''
    A.splice(draft, ['t'], draft.t.length, 0, text)
  })
}

describe('the handle', () => {
  test('gives a new value after every change, and leaves those it gave as they were', async () => {
    const a = await open(1)
    type(a, 'one')
    const before = a.native.doc()
    type(a, ' two')
    expect(before).toEqual({ t: 'one' })
    expect(a.native.doc()).toEqual({ t: 'one two' })
  })

  test('tells its listeners of every change, whoever made it, with the patches', async () => {
    const [a, b] = [await open(1), await open(2)]
    type(a, 'text')
    const seen: AutomergeChange[] = []
    const listener = (change: AutomergeChange) => seen.push(change)
    b.native.on('change', listener)
    b.apply([taken(a)])
    type(b, '!')
    const summary = seen.map(({ doc, patches, patchInfo }) => [doc, patches.length > 0, patchInfo.source])
    expect(summary).toEqual([
      [{ t: 'text' }, true, 'applyChanges'],
      [{ t: 'text!' }, true, 'change']
    ])
    expect(seen[1]?.patches).toEqual([{ action: 'splice', path: ['t', 4], value: '!' }])
    expect(seen[1]?.patchInfo.before).toBe(seen[0]?.doc)
    expect(seen[1]?.handle).toBe(b.native)
    b.apply([taken(a2(a))])
    b.native.off('change', listener)
    type(b, '?')
    expect(seen).toHaveLength(3)
  })

  test('changes nothing when the change throws', async () => {
    const a = await open(1)
    let signals = 0
    a.onLocalChange(() => {
      signals += 1
    })
    const failing = () =>
      a.native.change((draft) => {
        draft.half = true
        throw new Error('a fault of the app')
      })
    expect(failing).toThrow('a fault of the app')
    expect(a.native.doc()).toEqual({})
    expect([a.flush(), signals]).toEqual([undefined, 0])
    a.native.change(() => undefined)
    expect([a.flush(), signals]).toEqual([undefined, 0])
    type(a, 'works')
    expect((await open(2, { updates: [taken(a)] })).toJSON()).toEqual({ t: 'works' })
  })

  test('a listener that throws is thrown to who changes and logged for who applies; the change is in all the same', async () => {
    const lines: unknown[][] = []
    const a = await open(1, {}, systemContext({ log: (...line) => lines.push(line) }))
    let calls = 0
    a.native.on('change', () => {
      throw new Error('a fault of the app')
    })
    a.native.on('change', () => {
      calls += 1
    })
    expect(() => type(a, 'mine')).toThrow('a fault of the app')
    const b = await open(2, { updates: [taken(a)] })
    type(b, ' and yours')
    expect(a.apply([taken(b)])).toEqual({ applied: 1, pending: 0 })
    expect(a.toJSON()).toEqual({ t: 'mine and yours' })
    expect(lines.map(([level, event]) => [level, event])).toEqual([['error', 'crdt-automerge.listener-threw']])
    expect(calls).toBe(2)
  })

  test('merges another document with its history, which is sent', async () => {
    const old = A.change(A.init<Root>({ actor: 'aa' }), (draft) => {
      draft.old = 'imported'
    })
    const a = await open(1)
    let signals = 0
    a.onLocalChange(() => {
      signals += 1
    })
    a.native.merge(old)
    type(a, 'and edited')
    expect(signals).toBe(2)
    expect((await open(2, { updates: [taken(a)] })).toJSON()).toEqual({ old: 'imported', t: 'and edited' })
    a.native.merge(old)
    expect(a.flush()).toBeUndefined()
    expect(() => a.native.merge({ no: 'document' })).toThrow(RangeError)
    type(a, '!')
    expect(a.toJSON()).toMatchObject({ t: 'and edited!' })
  })

  test('stamps changes with the clock of the context', async () => {
    const context = systemContext()
    const clock = { ...context.clock, now: () => 1_700_000_000_999 }
    const a = await open(1, {}, { ...context, clock })
    type(a, 'now')
    expect(A.getHistory(a.native.doc()).map(({ change }) => change.time)).toEqual([1_700_000_000])
  })

  test('says DISPOSED when its document is', async () => {
    const a = await open(1)
    type(a, 'text')
    await a[Symbol.asyncDispose]()
    expect(() => type(a, '!')).toThrow(expect.objectContaining({ code: 'DISPOSED' }))
    expect(a.native.doc()).toEqual({ t: 'text' })
  })
})

/** The same document after one more change. */
function a2(doc: AutomergeDoc): AutomergeDoc {
  type(doc, ' more')
  return doc
}

describe('the actor', () => {
  test('is the first 16 bytes', async () => {
    const bytes = Uint8Array.from({ length: 20 }, (_, i) => i)
    const a = await open(0, { actor: bytes })
    expect(A.getActorId(a.native.doc())).toBe('000102030405060708090a0b0c0d0e0f')
  })

  test('is another one when it was used before, which is logged: two sessions never write the same change', async () => {
    const lines: unknown[] = []
    const first = await open(1)
    type(first, 'first ')
    const shared = taken(first)
    const context = systemContext({ log: (...line) => lines.push(line) })
    const second = await open(1, { snapshot: first.snapshot() }, context)
    const other = `${'01'.repeat(16)}00000001`
    expect(A.getActorId(second.native.doc())).toBe(other)
    expect(lines).toEqual([['warn', 'crdt-automerge.actor-clash', { actor: other }]])
    type(second, 'second ')
    type(first, 'third ')
    const [ofFirst, ofSecond] = [taken(first), taken(second)]
    first.apply([ofSecond])
    second.apply([ofFirst])
    expect(second.toJSON()).toEqual(first.toJSON())
    expect(JSON.stringify(first.toJSON())).toContain('second')
    const third = await open(1, { updates: [shared, ofFirst, ofSecond] })
    expect(A.getActorId(third.native.doc())).toBe(`${'01'.repeat(16)}00000002`)
  })
})

describe('version and diff', () => {
  test('a replica with changes that nobody has is sent what it lacks, not everything', async () => {
    const a = await open(1)
    for (let i = 0; i < 300; i++) type(a, `${i} `)
    const b = await open(2, { updates: [taken(a)] })
    for (let i = 0; i < 20; i++) type(b, 'offline ')
    type(a, 'news')
    const diff = a.diff(b.version())
    expect(diff.length).toBeLessThan(8000)
    b.apply([diff])
    a.apply([b.diff(a.version())])
    expect(b.toJSON()).toEqual(a.toJSON())
    expect(b.version().length).toBeLessThan(32 * 20)
  })

  test('a long history is sent as the document it makes, which is far shorter', async () => {
    const a = await open(1)
    for (let i = 0; i < 1500; i++) type(a, 'x')
    const changes = taken(a)
    const diff = a.diff((await open(2)).version())
    expect(diff.length * 10).toBeLessThan(changes.length)
    const b = await open(2)
    type(b, 'own')
    b.apply([diff])
    a.apply([taken(b)])
    expect(b.toJSON()).toEqual(a.toJSON())
  })
})

describe('updates and snapshots', () => {
  test('are read by Automerge itself', async () => {
    const a = await open(1)
    for (const word of ['one ', 'two ', 'three']) type(a, word)
    const update = taken(a)
    expect(A.loadIncremental(A.init<Root>(), update)).toEqual({ t: 'one two three' })
    expect(A.load(a.snapshot())).toEqual({ t: 'one two three' })
  })
})

describe('toJSON', () => {
  test('shows every kind of value so that JSON keeps it', async () => {
    const a = await open(1)
    a.native.change((draft) => {
      draft.plain = 'text'
      draft.rich = 'bold not'
      draft.scalar = new A.ImmutableString('scalar')
      draft.counter = new A.Counter(3)
      draft.date = new Date(1_700_000_000_000)
      draft.bytes = new Uint8Array([1, 2])
      draft.numbers = [1, 2.5, -1, null, true, Number.NaN]
      draft.nested = { list: [{ deep: 'x' }], empty: {} }
      A.mark(draft, ['rich'], { start: 0, end: 4, expand: 'none' }, 'bold', true)
    })
    const expected = {
      plain: 'text',
      rich: {
        $spans: [
          { type: 'text', value: 'bold', marks: { bold: true } },
          { type: 'text', value: ' not' }
        ]
      },
      scalar: { $string: 'scalar' },
      counter: { $counter: 3 },
      date: { $date: 1_700_000_000_000 },
      bytes: { $bytes: [1, 2] },
      numbers: [1, 2.5, -1, null, true, { $number: 'NaN' }],
      nested: { list: [{ deep: 'x' }], empty: {} }
    }
    expect(a.toJSON()).toEqual(expected)
    const b = await open(2, { updates: [taken(a)] })
    expect(b.toJSON()).toEqual(expected)
    expect(JSON.parse(JSON.stringify(b.toJSON()))).toEqual(expected)
  })

  test('a field named __proto__ changes no prototype, and is not shown', async () => {
    // The library lets no app write it; another program may.
    const raw = A.init<Root>({ actor: 'aa' })
    const map = A.getBackend(raw).putObject('_root', 'map', {})
    A.getBackend(raw).put(A.getBackend(raw).putObject(map, '__proto__', {}), 'polluted', true)
    A.getBackend(raw).commit()
    const a = await open(1, { updates: [A.getBackend(raw).save()] })
    expect(JSON.stringify(a.toJSON())).toBe('{"map":{}}')
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
})

describe('options', () => {
  test('there are none, and one that is given is named', async () => {
    const wrong = resolvePlugin({ plugin: automerge, options: { gc: true } }, 'crdt', systemContext())
    await expect(wrong).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('"gc"') })
  })
})
