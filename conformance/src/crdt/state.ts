/** Whole states and differences: snapshots, versions, merging, and who owns the bytes. */
import { type Check, expectCode, expectEqual, expectTrue } from '../check.js'
import { type CrdtFactory, type CrdtTrial, crdtCheck, expectSame, taken, upTo } from './bench.js'

export function stateChecks<Native>(factory: CrdtFactory<Native>): Check[] {
  const check = (id: string, title: string, trial: CrdtTrial<Native>) => crdtCheck(factory, id, title, trial)
  const { mergeUpdates, shallowSnapshot } = factory.manifest.supports
  return [
    check(
      'CRDT-SNAPSHOT-001',
      'A snapshot and the updates after it are the document',
      async ({ open, edited, factory }) => {
        const a = await open()
        for (const n of upTo(20)) edited(a, n)
        factory.remove(a.native, 1)
        taken(a)
        const snapshot = a.snapshot()
        const tail = upTo(5).map((n) => edited(a, 100 + n))
        const b = await open({ snapshot, updates: tail })
        const c = await open({ snapshot })
        c.apply(tail)
        const d = await open()
        d.apply([snapshot, ...tail])
        expectSame([a, b, c, d], 'opened with the tail, with the tail applied, and all applied')
        a.apply([edited(b, 200)])
        expectSame([a, b], 'after an edit of the one opened from a snapshot')
        const empty = await open({ snapshot: (await open()).snapshot() })
        expectEqual(empty.toJSON(), (await open()).toJSON(), 'opened from the snapshot of an empty document')
      }
    ),

    check(
      'CRDT-SNAPSHOT-002',
      'A snapshot has what was not flushed, and what waits',
      async ({ open, edited, factory }) => {
        const a = await open()
        factory.edit(a.native, 1)
        const b = await open({ snapshot: a.snapshot() })
        expectSame([a, b], 'opened from a snapshot with a change not flushed')
        taken(a)
        const missing = edited(a, 2)
        b.apply([edited(a, 3)])
        const c = await open({ snapshot: b.snapshot() })
        c.apply([missing])
        expectSame([a, c], 'opened from a snapshot with an update that waits, when its gap is filled')
      }
    ),

    check(
      'CRDT-SNAPSHOT-003',
      'A shallow snapshot shows the same and takes later updates',
      async ({ open, edited, factory }) => {
        const a = await open()
        for (const n of upTo(50)) edited(a, n)
        factory.remove(a.native, 3)
        taken(a)
        const [full, shallow] = [a.snapshot(), a.snapshot({ shallow: true })]
        const b = await open({ snapshot: shallow })
        expectSame([a, b], 'opened from a shallow snapshot')
        b.apply([edited(a, 100)])
        a.apply([edited(b, 101)])
        expectSame([a, b], 'after edits on both sides')
        const what = shallowSnapshot ? 'a shallow snapshot is no longer' : 'without support it is a full one'
        expectTrue(shallow.length <= full.length, what, { full: full.length, shallow: shallow.length })
      }
    ),

    check('CRDT-DIFF-001', 'diff brings one replica to the state of the other', async ({ open, edited, factory }) => {
      const [a, b] = [await open(), await open()]
      for (const n of upTo(10)) edited(a, n)
      factory.remove(a.native, 2)
      b.apply([a.diff(b.version())])
      expectSame([a, b], 'from nothing')
      taken(a)
      edited(a, 20)
      edited(b, 21)
      const [toA, toB] = [b.diff(a.version()), a.diff(b.version())]
      a.apply([toA])
      b.apply([toB])
      expectSame([a, b], 'both ways')
      const c = await open({ snapshot: b.snapshot() })
      c.apply([a.diff(c.version())])
      expectSame([a, c], 'when there is no difference')
    }),

    check('CRDT-DIFF-002', 'diff has what is new and little else', async ({ open, edited }) => {
      const a = await open()
      for (const n of upTo(400)) edited(a, n)
      const since = a.version()
      edited(a, 1000)
      const [diff, whole] = [a.diff(since), a.snapshot()]
      expectTrue(diff.length * 4 < whole.length, 'one edit after 400', { diff: diff.length, whole: whole.length })
    }),

    check('CRDT-DIFF-003', 'A version that is none is refused', async ({ open, edited }) => {
      const a = await open()
      edited(a, 1)
      const before = a.toJSON()
      for (const bytes of [Uint8Array.of(0xff), new Uint8Array(200).fill(0xff), Uint8Array.of(3, 1, 2)]) {
        await expectCode(() => a.diff(bytes), 'CRDT_MALFORMED', `diff since ${bytes.length} bytes of no version`)
      }
      expectEqual(a.toJSON(), before, 'the document afterwards')
      edited(a, 2)
    }),

    mergeUpdates
      ? check('CRDT-MERGE-001', 'A merged update has the effect of all', async ({ backend, open, edited, factory }) => {
          const a = await open()
          const updates = upTo(60).map((n) => edited(a, n))
          factory.remove(a.native, 4)
          updates.push(taken(a))
          const merge = backend.mergeUpdates?.bind(backend)
          expectTrue(merge !== undefined, 'mergeUpdates is there', merge)
          if (merge === undefined) return
          const b = await open({ updates: [merge(updates)] })
          const c = await open({
            updates: [merge(updates.toReversed()), merge([merge(updates.slice(0, 9)), ...updates.slice(5)])]
          })
          const d = await open({ updates: updates.slice(0, 30) })
          d.apply([merge(updates.slice(30))])
          expectSame([a, b, c, d], 'merged in order, out of order and twice, and in part')
          expectEqual(d.apply([merge([])]).pending, 0, 'what nothing merged says')
          const garbage = Uint8Array.of(0xff, 0xff, 0xff)
          await expectCode(() => merge([...updates, garbage]), 'CRDT_MALFORMED', 'a merge with something malformed')
        })
      : check('CRDT-MERGE-002', 'A backend that cannot merge has no mergeUpdates', async ({ backend }) => {
          expectEqual(backend.mergeUpdates, undefined, 'mergeUpdates')
        }),

    check('CRDT-OWN-001', 'Arguments are neither changed nor kept', async ({ open, edited }) => {
      const a = await open()
      const held = upTo(4).map((n) => edited(a, n))
      const updates = held.map((update) => update.slice())
      const snapshot = a.snapshot()
      const version = a.version()
      const actor = new Uint8Array(16).fill(9)
      const args = [...updates, snapshot, version, actor]
      const before = args.map((bytes) => bytes.slice())
      const b = await open({ actor, snapshot, updates: updates.slice(0, 2) })
      b.apply(updates)
      b.diff(version)
      expectEqual(args, before, 'the arguments after the calls')
      for (const bytes of args) bytes.fill(0xee)
      expectSame([a, b], 'the document after they were overwritten')
      const c = await open({ updates: [b.diff((await open()).version()), edited(b, 9)] })
      expectSame([b, c], 'what it sends after they were overwritten')
      const gap = await open()
      const waits = (held[1] ?? new Uint8Array()).slice()
      gap.apply([waits])
      waits.fill(0xee)
      gap.apply([held[0] ?? new Uint8Array()])
      expectSame([gap, await open({ updates: held.slice(0, 2) })], 'an update overwritten while it waited')
    }),

    check('CRDT-OWN-002', 'Results are plain Uint8Arrays that belong to the caller', async ({ open, factory }) => {
      const a = await open()
      factory.edit(a.native, 1)
      const results = () => [a.flush()?.bytes, a.snapshot(), a.version(), a.diff((before ?? a).version())]
      let before: typeof a | undefined
      before = await open()
      for (const bytes of results()) {
        expectEqual(bytes && Object.getPrototypeOf(bytes) === Uint8Array.prototype, true, 'a plain Uint8Array')
        bytes?.fill(0xee)
      }
      const b = await open({ updates: [taken(a)] })
      expectSame([a, b], 'a replica with a flush after earlier results were overwritten')
    })
  ]
}
