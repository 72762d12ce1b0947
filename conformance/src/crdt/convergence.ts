/** Applying: every replica that has the same updates shows the same, whatever came when and how often. */
import { type Check, canonical, expectEqual, expectTrue, Seeded } from '../check.js'
import { type CrdtFactory, type CrdtTrial, crdtCheck, expectSame, taken, upTo } from './bench.js'

export function convergenceChecks<Native>(factory: CrdtFactory<Native>): Check[] {
  const check = (id: string, title: string, trial: CrdtTrial<Native>) => crdtCheck(factory, id, title, trial)
  const { supports, kind } = factory.manifest
  return [
    check('CRDT-MANIFEST-001', 'The manifest states every flag, and the backend a type id', async ({ backend }) => {
      expectEqual(kind, 'crdt', 'the kind of the manifest')
      const flags = [supports.mergeUpdates, supports.shallowSnapshot, supports.detectsCorruption]
      expectEqual(
        flags.map((flag) => typeof flag),
        ['boolean', 'boolean', 'boolean'],
        'flags said'
      )
      expectTrue(
        [32, 53, 64, 128].includes(supports.actorIdBits),
        'actorIdBits is 32, 53, 64 or 128',
        supports.actorIdBits
      )
      expectTrue(
        /^[a-z0-9-]+\/[0-9]+$/.test(backend.typeId),
        'the type id is a name and a number: "yjs/1"',
        backend.typeId
      )
    }),

    check('CRDT-JSON-001', 'toJSON shows every edit, and is plain data', async ({ open, factory }) => {
      const doc = await open()
      const seen = [canonical(doc.toJSON())]
      for (const n of upTo(5)) {
        factory.edit(doc.native, n)
        seen.push(canonical(doc.toJSON()))
      }
      expectEqual(new Set(seen).size, seen.length, 'different values after different edits')
      expectEqual(JSON.parse(JSON.stringify(doc.toJSON())), doc.toJSON(), 'toJSON after a way through JSON')
    }),

    check(
      'CRDT-JSON-002',
      'toJSON does not depend on what the app has looked at',
      async ({ open, edited, factory }) => {
        const [a, b] = [await open(), await open()]
        b.apply([edited(a, 1), edited(a, 2)])
        expectSame([a, b], 'a replica that only received')
        factory.edit(b.native, 3)
        a.apply([taken(b)])
        expectSame([a, b], 'replicas that both have edited')
      }
    ),

    check('CRDT-APPLY-001', 'Concurrent edits converge', async ({ open, edited, factory }) => {
      const [a, b] = [await open(), await open()]
      b.apply([edited(a, 0)])
      for (const n of upTo(30)) {
        factory.edit(a.native, 2 * n)
        factory.edit(b.native, 2 * n + 1)
        if (n % 5 === 4) factory.remove(n % 2 === 0 ? a.native : b.native, n)
        if (n % 3 > 0) continue
        const [fromA, fromB] = [taken(a), taken(b)]
        a.apply([fromB])
        b.apply([fromA])
        expectSame([a, b], `two replicas after exchange ${n}`)
      }
    }),

    check('CRDT-APPLY-002', 'Applied twice, an update counts once', async ({ open, edited }) => {
      const a = await open()
      const updates = upTo(5).map((n) => edited(a, n))
      const b = await open()
      b.apply([...updates, ...updates])
      b.apply(updates.slice(0, 2))
      a.apply(updates)
      expectSame([a, b], 'a replica that got everything several times')
      expectEqual(a.flush(), undefined, 'what the writer has to send after its own updates came back')
    }),

    check('CRDT-APPLY-003', 'The order of delivery does not matter', async ({ open, edited }) => {
      const seeded = new Seeded(4)
      const writers = [await open(), await open(), await open()]
      const updates: Uint8Array[] = []
      for (const n of upTo(24)) {
        const writer = writers[n % writers.length]
        if (writer === undefined) continue
        updates.push(edited(writer, n))
        if (n % 4 === 3) for (const reader of writers) reader.apply(updates)
      }
      for (const writer of writers) writer.apply(updates)
      for (const trial of upTo(8)) {
        const doc = await open()
        const order = seeded.shuffled(updates)
        const size = 1 + seeded.below(6)
        for (let i = 0; i < order.length; i += size) doc.apply(order.slice(i, i + size))
        expectSame([...writers, doc], `a replica with the order of trial ${trial}`)
      }
    }),

    check('CRDT-APPLY-004', 'A batch has the effect of its updates one by one', async ({ open, edited }) => {
      const a = await open()
      const updates = upTo(300).map((n) => edited(a, n))
      const [batch, single] = [await open(), await open()]
      expectEqual(batch.apply(updates), { applied: 300, pending: 0 }, 'what a batch says')
      for (const update of updates)
        expectEqual(single.apply([update]), { applied: 1, pending: 0 }, 'what an update says')
      expectSame([a, batch, single], 'the three replicas')
      const before = batch.version()
      expectEqual(batch.apply([]), { applied: 0, pending: 0 }, 'what an empty batch says')
      expectEqual(batch.version(), before, 'the version after an empty batch')
    }),

    check(
      'CRDT-PENDING-001',
      'An update that builds on one not seen waits for it, and is said to',
      async ({ open, edited }) => {
        const a = await open()
        const updates = upTo(4).map((n) => edited(a, n))
        const [first, second, third, fourth] = updates as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
        const b = await open()
        const empty = b.toJSON()
        expectEqual(b.apply([second]), { applied: 0, pending: 1 }, 'what an update after a gap says')
        expectEqual(b.toJSON(), empty, 'the document meanwhile')
        expectEqual(b.apply([fourth]).pending, 2, 'updates waiting after a second gap')
        expectEqual(b.apply([first]).pending, 1, 'updates waiting when the first gap is filled')
        expectEqual(b.apply([third]).pending, 0, 'updates waiting when all have come')
        expectSame([a, b], 'the replicas')
        const c = await open({ updates: [first, third] })
        expectEqual(c.apply([]).pending, 1, 'updates waiting in a document opened with a gap')
        expectEqual(c.apply([second]).pending, 0, 'updates waiting when that gap is filled')
      }
    ),

    check('CRDT-PENDING-002', 'The version does not count what waits', async ({ open, edited }) => {
      const a = await open()
      const [first, second] = [edited(a, 1), edited(a, 2)]
      const b = await open()
      b.apply([second])
      const c = await open({ updates: [a.diff(b.version())] })
      expectSame([a, c], 'a replica opened with what the gap lacks')
      b.apply([first])
      expectSame([a, b], 'the replica with the gap filled')
    }),

    check(
      'CRDT-ACTOR-001',
      'Actors that differ in the last of actorIdBits are different',
      async ({ open, factory }) => {
        const actor = new Uint8Array(16).fill(0x11)
        const other = actor.slice()
        const last = Math.floor(supports.actorIdBits / 8) - 1
        other[last] = (other[last] ?? 0) ^ 1
        const [a, b, zero] = [
          await open({ actor }),
          await open({ actor: other }),
          await open({ actor: new Uint8Array(16) })
        ]
        const docs = [a, b, zero]
        for (const [n, doc] of docs.entries()) factory.edit(doc.native, n)
        const updates = docs.map(taken)
        for (const doc of docs) doc.apply(updates)
        expectSame(docs, 'three replicas with actors alike')
        const alone = await open({ updates: updates.slice(0, 1) })
        expectTrue(canonical(alone.toJSON()) !== canonical(a.toJSON()), 'edits of all actors are there', a.toJSON())
      }
    )
  ]
}
