/** The suites are able to fail: every broken plugin is caught, by the checks it names, and every check catches one. */
import { type CrdtBackend, systemContext } from '@heddle/core'
import yjs from '@heddle/crdt-yjs'
import memoryStorage, { MemoryDisk } from '@heddle/storage-memory'
import { describe, expect, test } from 'vitest'
import type { Doc } from 'yjs'
import type { Check } from '../check.js'
import { type CrdtFactory, crdtSuite } from '../crdt/index.js'
import { type StorageFactory, storageSuite } from '../storage/index.js'
import { crdtMutants, type Mutant, storageMutants } from './index.js'

const disks = new Map<string, MemoryDisk>()

/** A right storage that keeps what was committed, so that both values of `durable` can be tried. */
const storage: StorageFactory = {
  manifest: { ...memoryStorage.manifest, supports: { ...memoryStorage.manifest.supports, durable: true } },
  open(place) {
    const shared = disks.get(place) ?? new MemoryDisk()
    disks.set(place, shared)
    return memoryStorage.create({ shared }, systemContext())
  }
}

const crdt: CrdtFactory<Doc> = {
  manifest: yjs.manifest,
  create: async () => (await yjs.create({}, systemContext())) as CrdtBackend<Doc>,
  edit(doc, n) {
    doc.transact(() => {
      doc.getText('text').insert(n % 3, `edit ${n} `)
      doc.getMap('map').set(`key ${n % 7}`, n)
    })
  },
  remove(doc, n) {
    doc.getText('text').delete(n % 3, 2)
    doc.getMap('map').delete(`key ${n % 7}`)
  }
}

describe('storage mutants', () => {
  testMutants(storageMutants, storage, storageSuite)
})

describe('CRDT mutants', () => {
  testMutants(crdtMutants, crdt as CrdtFactory, crdtSuite)
})

function testMutants<Factory>(
  mutants: readonly Mutant<Factory>[],
  right: Factory,
  suite: (factory: Factory) => Check[]
): void {
  for (const { name, caughtBy, mutate } of mutants) {
    test(`"${name}" is caught by ${caughtBy.join(' and ')}`, async () => {
      disks.clear()
      const checks = suite(mutate(right))
      for (const id of caughtBy) {
        const check = checks.find((each) => each.id === id)
        expect(check, `${id} is in the suite for this manifest`).toBeDefined()
        await expect(check?.run(), id).rejects.toThrow()
      }
    })
  }

  test('every check catches one', () => {
    const manifests = [right, ...mutants.map(({ mutate }) => mutate(right))]
    const ids = new Set(manifests.flatMap((factory) => suite(factory).map(({ id }) => id)))
    const catching = new Set(mutants.flatMap(({ caughtBy }) => caughtBy))
    expect([...ids].filter((id) => !catching.has(id))).toEqual([])
    expect([...catching].filter((id) => !ids.has(id))).toEqual([])
  })

  test('without a fault none is caught', async () => {
    disks.clear()
    for (const { id, run } of suite(right)) await expect(run(), id).resolves.toBeUndefined()
  })
}
