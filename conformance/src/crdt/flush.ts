/** Sending: local changes and nothing else, and none lost while a send has not succeeded. */
import { type Check, expectEqual, expectTrue, nextTurn } from '../check.js'
import { type CrdtFactory, type CrdtTrial, crdtCheck, expectSame, taken, upTo } from './bench.js'

export function flushChecks<Native>(factory: CrdtFactory<Native>): Check[] {
  const check = (id: string, title: string, trial: CrdtTrial<Native>) => crdtCheck(factory, id, title, trial)
  return [
    check('CRDT-FLUSH-001', 'Without local changes there is nothing to flush', async ({ open, edited }) => {
      const a = await open()
      expectEqual(a.flush(), undefined, 'flush of a new document')
      const update = edited(a, 1)
      expectEqual(a.flush(), undefined, 'flush after confirm')
      const b = await open({ snapshot: a.snapshot(), updates: [update] })
      expectEqual(b.flush(), undefined, 'flush of a document just opened')
      b.apply([edited(a, 2)])
      expectEqual(b.flush(), undefined, "flush after others' changes")
    }),

    check(
      'CRDT-FLUSH-002',
      'Until it is confirmed, a change comes again, with what was added',
      async ({ open, factory }) => {
        const a = await open()
        const b = await open()
        for (const n of upTo(3)) {
          factory.edit(a.native, n)
          a.flush()
        }
        const flushed = a.flush()
        b.apply(flushed === undefined ? [] : [flushed.bytes])
        expectSame([a, b], 'a replica with the last flush')
        flushed?.confirm()
        expectEqual(a.flush(), undefined, 'flush after confirm')
      }
    ),

    check(
      'CRDT-FLUSH-003',
      'What is changed between flush and confirm comes with the next flush',
      async ({ open, factory }) => {
        const a = await open()
        const b = await open()
        for (const n of upTo(20)) {
          factory.edit(a.native, 2 * n)
          const flushed = a.flush()
          factory.edit(a.native, 2 * n + 1)
          if (n % 4 === 3) factory.remove(a.native, n)
          flushed?.confirm()
          b.apply(flushed === undefined ? [] : [flushed.bytes])
        }
        b.apply([taken(a)])
        expectSame([a, b], 'a replica with all that was confirmed')
      }
    ),

    check('CRDT-FLUSH-004', 'Confirming late, twice or in another order loses nothing', async ({ open, factory }) => {
      const a = await open()
      const b = await open()
      factory.edit(a.native, 1)
      const first = a.flush()
      factory.edit(a.native, 2)
      factory.remove(a.native, 1)
      const second = a.flush()
      second?.confirm()
      b.apply(second === undefined ? [] : [second.bytes])
      factory.edit(a.native, 3)
      factory.remove(a.native, 2)
      first?.confirm()
      second?.confirm()
      b.apply([taken(a)])
      expectSame([a, b], 'a replica with the second and third flush')
    }),

    check(
      'CRDT-FLUSH-005',
      'A flush has no changes of others, of however many it follows',
      async ({ open, edited }) => {
        const a = await open()
        const large = upTo(400).map((n) => edited(a, n))
        const b = await open()
        b.apply(large)
        const bytes = edited(b, 1000)
        const total = large.reduce((sum, update) => sum + update.length, 0)
        expectTrue(bytes.length * 10 < total, `one edit after ${total} bytes of others is short`, bytes.length)
        const c = await open({ updates: [bytes] })
        a.apply([bytes])
        expectTrue(
          JSON.stringify(c.toJSON()).length * 4 < JSON.stringify(a.toJSON()).length,
          'it brings little',
          c.toJSON()
        )
        c.apply(large)
        expectSame([a, b, c], 'the three replicas')
      }
    ),

    check('CRDT-FLUSH-006', 'Many edits go out as one update', async ({ open, factory }) => {
      const a = await open()
      for (const n of upTo(2000)) {
        factory.edit(a.native, n)
        if (n % 50 === 49) factory.remove(a.native, n)
      }
      const b = await open()
      expectEqual(b.apply([taken(a)]), { applied: 1, pending: 0 }, 'what the one update says')
      expectSame([a, b], 'the replicas')
    }),

    check('CRDT-FLUSH-007', "A deletion of others' content is a local change", async ({ open, edited, factory }) => {
      const [a, b] = [await open(), await open()]
      b.apply([edited(a, 1), edited(a, 2)])
      const before = b.toJSON()
      factory.remove(b.native, 1)
      expectTrue(JSON.stringify(b.toJSON()) !== JSON.stringify(before), 'remove removes something', before)
      a.apply([taken(b)])
      expectSame([a, b], 'the replicas')
      expectEqual(b.flush(), undefined, 'flush after confirm')
    }),

    check('CRDT-FLUSH-008', 'Open edits and incoming updates mix', async ({ open, factory }) => {
      const [a, b] = [await open(), await open()]
      for (const n of upTo(10)) {
        factory.edit(a.native, 2 * n)
        factory.edit(b.native, 2 * n + 1)
        const flushed = a.flush()
        a.apply([taken(b)])
        factory.edit(a.native, 100 + n)
        flushed?.confirm()
        b.apply(flushed === undefined ? [] : [flushed.bytes])
      }
      b.apply([taken(a)])
      expectSame([a, b], 'the replicas')
    }),

    check(
      'CRDT-SIGNAL-001',
      'onLocalChange calls back for local changes only, until disposed',
      async ({ open, edited, factory }) => {
        const [a, b] = [await open(), await open()]
        let calls = 0
        const listener = a.onLocalChange(() => {
          calls += 1
        })
        factory.edit(a.native, 1)
        await nextTurn()
        expectTrue(calls >= 1, 'called after a local change', calls)
        taken(a)
        const before = calls
        a.apply([edited(b, 2)])
        await nextTurn()
        expectEqual(calls, before, "calls after others' changes")
        factory.edit(a.native, 3)
        await nextTurn()
        expectTrue(calls > before, 'called after another local change', calls)
        listener[Symbol.dispose]()
        const last = calls
        factory.edit(a.native, 4)
        await nextTurn()
        expectEqual(calls, last, 'calls after dispose')
        expectTrue(a.flush() !== undefined, 'the change is there to flush all the same', undefined)
      }
    ),

    check('CRDT-SIGNAL-002', 'The callback may flush', async ({ open, factory }) => {
      const [a, b] = [await open(), await open()]
      const listener = a.onLocalChange(() => {
        const flushed = a.flush()
        if (flushed === undefined) return
        b.apply([flushed.bytes])
        flushed.confirm()
      })
      for (const n of upTo(10)) factory.edit(a.native, n)
      await nextTurn()
      expectSame([a, b], 'the replicas')
      listener[Symbol.dispose]()
    })
  ]
}
