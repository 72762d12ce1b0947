/** Bytes that are no updates, in all places where bytes come in; and the end of a document. */
import { HeddleError } from '@heddle/core'
import { type Check, canonical, expectCode, expectEqual, expectTrue, Seeded } from '../check.js'
import type { CrdtDoc } from '@heddle/core'
import { type CrdtFactory, type CrdtTrial, crdtCheck, expectSame, type Replicas, taken, upTo } from './bench.js'

export function hostileChecks<Native>(factory: CrdtFactory<Native>): Check[] {
  const check = (id: string, title: string, trial: CrdtTrial<Native>) => crdtCheck(factory, id, title, trial)
  const { detectsCorruption } = factory.manifest.supports
  return [
    check(
      'CRDT-REJECT-001',
      'What is no update is refused, and the document unchanged or unusable',
      async (replicas) => {
        const { snapshot, update } = await hostileSetting(replicas)
        const seeded = new Seeded(5)
        const garbage = [
          new Uint8Array(0),
          Uint8Array.of(0xff),
          new Uint8Array(100).fill(0xff),
          ...upTo(update.length - 1).map((length) => update.subarray(0, length)),
          ...upTo(100).map(() => seeded.bytes(1 + seeded.below(60)).fill(0xff, 0, 1))
        ]
        for (const bytes of garbage) {
          const doc = await replicas.open({ snapshot })
          const outcome = await tryApply(doc, bytes)
          expectTrue(outcome !== 'applied', `${bytes.length} bytes of no update are refused`, outcome)
        }
      }
    ),

    check(
      'CRDT-REJECT-002',
      'After a refusal the document takes good updates, or says that it cannot',
      async (replicas) => {
        const { snapshot, update, writer } = await hostileSetting(replicas)
        for (const position of upTo(update.length)) {
          const doc = await replicas.open({ snapshot })
          const outcome = await tryApply(doc, flipped(update, position, 0x80))
          if (outcome !== 'refused') continue
          doc.apply([update])
          expectSame([writer, doc], `the document after byte ${position} was refused and the update came whole`)
        }
      }
    ),

    check('CRDT-REJECT-003', 'A batch with one malformed update is refused whole', async (replicas) => {
      const { snapshot, update } = await hostileSetting(replicas)
      const doc = await replicas.open({ snapshot })
      const before = canonical(doc.toJSON())
      const half = update.subarray(0, update.length >> 1)
      const codes = ['CRDT_MALFORMED', 'CRDT_TAINTED'] as const
      const { code } = await expectCode(() => doc.apply([update, half]), codes, 'a batch with half an update')
      if (code === 'CRDT_TAINTED') await expectTainted(doc)
      else expectEqual(canonical(doc.toJSON()) === before, true, 'the document is unchanged')
    }),

    check('CRDT-REJECT-004', 'Nothing malformed is opened', async (replicas) => {
      const { snapshot, update } = await hostileSetting(replicas)
      const half = (bytes: Uint8Array) => bytes.subarray(0, bytes.length >> 1)
      await expectCode(() => replicas.open({ snapshot: half(snapshot) }), 'CRDT_MALFORMED', 'half a snapshot')
      await expectCode(
        () => replicas.open({ snapshot: Uint8Array.of(0xff) }),
        'CRDT_MALFORMED',
        'a snapshot of one byte'
      )
      const updates = [update, half(update)]
      await expectCode(() => replicas.open({ snapshot, updates }), 'CRDT_MALFORMED', 'half an update at opening')
    }),

    check('CRDT-REJECT-005', 'Bytes beside an update are not read', async (replicas) => {
      const { snapshot, update, writer } = await hostileSetting(replicas)
      const around = new Uint8Array(update.length + 200).fill(0x61)
      around.set(update, 100)
      const doc = await replicas.open({ snapshot })
      doc.apply([around.subarray(100, 100 + update.length)])
      expectSame([writer, doc], 'an update out of a larger array')
      for (const length of upTo(update.length - 1)) {
        const outcome = await tryApply(await replicas.open({ snapshot }), around.subarray(100, 100 + length))
        expectTrue(outcome !== 'applied', `an update cut to ${length} bytes in a larger array is refused`, outcome)
      }
    }),

    detectsCorruption
      ? check('CRDT-CORRUPT-001', 'Every update with a flipped bit is refused', async (replicas) => {
          const { snapshot, update } = await hostileSetting(replicas)
          for (const bit of upTo(8 * update.length)) {
            const doc = await replicas.open({ snapshot })
            const action = () => doc.apply([flipped(update, bit >> 3, 1 << (bit & 7))])
            const before = canonical(doc.toJSON())
            await expectCode(action, 'CRDT_MALFORMED', `bit ${bit} flipped`)
            expectEqual(canonical(doc.toJSON()) === before, true, `unchanged by bit ${bit}`)
          }
        })
      : check(
          'CRDT-CORRUPT-002',
          'Some update with a flipped bit passes; otherwise claim detectsCorruption',
          async (replicas) => {
            const { snapshot, update } = await hostileSetting(replicas)
            const outcomes = new Set<string>()
            for (const bit of upTo(8 * update.length)) {
              const doc = await replicas.open({ snapshot })
              outcomes.add(await tryApply(doc, flipped(update, bit >> 3, 1 << (bit & 7))))
            }
            expectTrue(outcomes.has('applied') || outcomes.has('tainted'), 'some corruption passes', [...outcomes])
          }
        ),

    check('CRDT-DISPOSE-001', 'A document disposed of answers DISPOSED', async ({ open, edited }) => {
      const a = await open()
      const update = edited(a, 1)
      await a[Symbol.asyncDispose]()
      for (const [name, call] of Object.entries(callsOf(a, update)))
        await expectCode(call, 'DISPOSED', `${name} after dispose`)
      await a[Symbol.asyncDispose]()
    }),

    check('CRDT-DISPOSE-002', 'Documents of one backend do not know each other', async ({ open, edited, factory }) => {
      const [a, b] = [await open(), await open()]
      const empty = b.toJSON()
      edited(a, 1)
      expectEqual(b.toJSON(), empty, 'the other document after an edit')
      expectEqual(b.flush(), undefined, 'what the other one has to send')
      await a[Symbol.asyncDispose]()
      factory.edit(b.native, 2)
      taken(b)
    })
  ]
}

/** A document that others' edits built, the next update for it, and its writer, who has that already. */
async function hostileSetting<Native>({ open, edited }: Replicas<Native>) {
  const writer = await open()
  for (const n of upTo(4)) edited(writer, n)
  const snapshot = writer.snapshot()
  return { writer, snapshot, update: edited(writer, 4) }
}

/** Applies bytes of unknown worth and checks what the contract says about each outcome. */
async function tryApply(doc: CrdtDoc<unknown>, bytes: Uint8Array): Promise<'applied' | 'refused' | 'tainted'> {
  const before = canonical(doc.toJSON())
  try {
    doc.apply([bytes])
    return 'applied'
  } catch (error) {
    if (HeddleError.is(error, 'CRDT_TAINTED')) {
      await expectTainted(doc)
      return 'tainted'
    }
    await expectCode(() => Promise.reject(error), 'CRDT_MALFORMED', `${bytes.length} bytes of no update`)
    expectEqual(canonical(doc.toJSON()) === before, true, 'the document is unchanged by what it refused')
    return 'refused'
  }
}

async function expectTainted(doc: CrdtDoc<unknown>): Promise<void> {
  const calls = Object.entries(callsOf(doc, new Uint8Array(2)))
  for (const [name, call] of calls) await expectCode(call, 'CRDT_TAINTED', `${name} of a tainted document`)
}

const callsOf = (doc: CrdtDoc<unknown>, update: Uint8Array) => ({
  apply: () => doc.apply([update]),
  flush: () => doc.flush(),
  version: () => doc.version(),
  diff: () => doc.diff(update),
  snapshot: () => doc.snapshot(),
  toJSON: () => doc.toJSON(),
  onLocalChange: () => doc.onLocalChange(() => undefined)
})

function flipped(bytes: Uint8Array, position: number, mask: number): Uint8Array {
  const out = bytes.slice()
  out[position] = (out[position] ?? 0) ^ mask
  return out
}
