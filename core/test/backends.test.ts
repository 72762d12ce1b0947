/** One story for every CRDT backend: what the core promises holds whatever an app edits with (SPEC PLUGIN). */
import { type AutomergeHandle, automerge } from '@heddle/crdt-automerge'
import { type LoroCrdtDoc, loro } from '@heddle/crdt-loro'
import { type YjsDoc, yjs } from '@heddle/crdt-yjs'
import { describe, expect, it } from 'vitest'
import type { BoundPlugin, Document } from '../src/index.js'
import { World } from './world.js'

interface Backend {
  readonly typeId: string
  readonly plugin: BoundPlugin<'crdt'>
  /** Sets a field of the document. */
  readonly set: (document: Document, key: string, value: string) => void
}

const backends: readonly Backend[] = [
  {
    typeId: 'yjs/1',
    plugin: yjs(),
    set: ({ native }, key, value) => void (native as YjsDoc['native']).getMap('fields').set(key, value)
  },
  {
    typeId: 'automerge/1',
    plugin: automerge(),
    set: ({ native }, key, value) =>
      (native as AutomergeHandle).change((draft) => {
        draft[key] = value
      })
  },
  {
    typeId: 'loro/1',
    plugin: loro(),
    set({ native }, key, value) {
      const doc = native as LoroCrdtDoc['native']
      doc.getMap('fields').set(key, value)
      doc.commit()
    }
  }
]

/** What the document shows, whichever map the backend has its fields in. */
function fieldsOf(document: Document): unknown {
  const content = document.toJSON() as Readonly<Record<string, unknown>>
  return content.fields ?? content
}

const keysOf = (document: Document): readonly string[] => Object.keys(fieldsOf(document) as object).sort()

for (const { typeId, plugin, set } of backends) {
  describe(`documents of ${typeId}`, () => {
    it('come together after offline edits, lose who is removed, and survive a restart', async () => {
      const world = await World.create({ seed: 71, crdts: [plugin] })
      const ada = await world.openDevice('ada')
      const doc = await world.settle(ada.create({ servers: world.tickets }))
      expect(doc.crdtType).toBe(typeId)
      set(doc, 'title', 'before anybody joined')
      const bob = await world.openDevice('bob')
      const ofBob = await world.settle(bob.join(await world.settle(doc.invite())))
      const cleo = await world.openDevice('cleo')
      const ofCleo = await world.settle(cleo.join(await world.settle(doc.invite())))
      const has = (document: Document, ...keys: string[]) => keys.every((key) => keysOf(document).includes(key))
      await world.until(() => has(ofBob, 'title') && has(ofCleo, 'title'))

      world.cut('bob')
      for (let i = 0; i < 20; i++) set(ofBob, `bob ${i}`, 'offline')
      set(ofBob, 'title', 'by bob')
      for (let i = 0; i < 20; i++) set(doc, `ada ${i}`, 'online')
      set(doc, 'title', 'by ada')
      await world.until(() => has(ofCleo, 'ada 19'))
      expect(has(doc, 'bob 0')).toBe(false)
      world.heal('bob')
      await world.until(() => [doc, ofCleo].every((one) => has(one, 'bob 19')) && has(ofBob, 'ada 19'))
      await world.settle(ofBob.settled('safe'))
      await world.pass(1_000)
      expect(fieldsOf(ofBob)).toEqual(fieldsOf(doc))
      expect(fieldsOf(ofCleo)).toEqual(fieldsOf(doc))

      await world.settle(doc.remove(ofCleo.memberId))
      await world.until(() => ofCleo.status().connection === 'removed')
      set(doc, 'secret', 'after the removal')
      await world.until(() => has(ofBob, 'secret'))

      world.cut('bob')
      set(ofBob, 'unsent', 'when the process died')
      await world.settle(ofBob.settled('stored'))
      await world.kill('bob')
      set(doc, 'meanwhile', 'bob was down')
      await world.settle(doc.settled('safe'))
      world.heal('bob')
      const again = await world.settle((await world.openDevice('bob')).open(doc.id))
      expect(has(again, 'unsent', 'secret')).toBe(true)
      await world.until(() => has(again, 'meanwhile') && has(doc, 'unsent'))
      set(again, 'last', 'of a new session')
      await world.until(() => has(doc, 'last'))
      await world.pass(1_000)
      expect(fieldsOf(again)).toEqual(fieldsOf(doc))
      expect(keysOf(doc)).toHaveLength(45)
      expect(has(ofCleo, 'secret') || has(ofCleo, 'last')).toBe(false)
      await world.dispose()
    })

    it('have their backend for ever: a device without it can neither join nor open them, and says what is missing', async () => {
      const others = backends.filter((one) => one.typeId !== typeId).map((one) => one.plugin)
      const world = await World.create({ seed: 72, crdts: others })
      const ada = await world.openDevice('ada', {}, [...others, plugin])
      const doc = await world.settle(ada.create({ servers: world.tickets, crdt: typeId }))
      set(doc, 'title', 'text')
      await world.settle(doc.settled('safe'))
      const missing = { code: 'CAPABILITY_MISSING', message: expect.stringContaining(typeId) }
      const bob = await world.openDevice('bob')
      await expect(world.settle(bob.join(await world.settle(doc.invite())))).rejects.toMatchObject(missing)
      expect(await bob.documents()).toEqual([])
      await expect(world.settle(bob.create({ servers: world.tickets, crdt: typeId }))).rejects.toMatchObject(missing)
      await world.settle(world.stop('ada'))
      const without = await world.openDevice('ada')
      await expect(world.settle(without.open(doc.id))).rejects.toMatchObject(missing)
      await world.settle(world.stop('ada'))
      const withIt = await world.openDevice('ada', {}, [plugin])
      expect(fieldsOf(await world.settle(withIt.open(doc.id)))).toEqual({ title: 'text' })
      await world.dispose()
    })
  })
}
