import { yjs } from '@heddle/crdt-yjs'
import { memoryStorage } from '@heddle/storage-memory'
import { describe, expect, it } from 'vitest'
import { type Document, openDevice } from '../src/index.js'
import { textOf, World } from './world.js'

async function pair(world: World) {
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const bob = await world.openDevice('bob')
  const copy = await world.settle(bob.join(await world.settle(doc.invite())))
  return { ada, doc, bob, copy }
}

const sameText = (a: Document, b: Document) => () => textOf(a).toString() === textOf(b).toString()

describe('a message that becomes safe long after it was sealed', () => {
  it('SYNC-015: is said once more when one lagging server took it in time and the others did not', async () => {
    const world = await World.create({ seed: 21 })
    const { doc, copy } = await pair(world)
    textOf(doc).insert(0, 'common ')
    await world.until(sameText(doc, copy))
    // Bob reaches server-1 only, which nobody else reaches.
    world.cutBetween('ada', 'server-1')
    world.cutBetween('bob', 'server-2')
    world.cutBetween('bob', 'server-3')
    await world.until(() => copy.status().connection === 'degraded' && doc.status().connection === 'online')
    textOf(copy).insert(0, 'lost? ')
    await world.settle(copy.settled('sent'))
    for (let i = 0; i < 10; i++) await world.settle(doc.rotate())
    for (const name of ['server-1', 'server-2', 'server-3']) {
      world.healBetween('ada', name)
      world.healBetween('bob', name)
    }
    await world.settle(copy.settled('safe'))
    await world.until(sameText(doc, copy), 120_000)
    expect(textOf(doc).toString()).toBe('lost? common ')
    await world.dispose()
  })
})

describe('an edit larger than a message', () => {
  it('stays, says so, and is overtaken by nothing', async () => {
    const world = await World.create({ seed: 22 })
    const { doc, copy } = await pair(world)
    textOf(doc).insert(0, 'before ')
    await world.until(sameText(doc, copy))
    const problems: string[] = []
    doc.subscribe((event) => {
      if (event.type === 'problem') problems.push(event.error.code)
    })
    textOf(doc).insert(0, 'x'.repeat(15_600_000))
    await expect(world.settle(doc.settled('safe'))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    textOf(doc).insert(0, 'after ')
    await world.settle(doc.settled('stored'))
    await expect(doc.settled('safe')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    expect(problems).toEqual(['LIMIT_EXCEEDED'])
    expect(doc.status().unsent).toBeGreaterThan(0)
    await world.pass(5_000)
    expect(textOf(copy).toString()).toBe('before ')
    await world.dispose()
  }, 60_000)
})

describe('a document that too few servers take', () => {
  it('is refused with what is wrong with each, soon, and leaves nothing behind', async () => {
    const world = await World.create({ seed: 25 })
    const { tickets } = world
    await world.kill('server-2')
    await world.kill('server-3')
    const ada = await world.openDevice('ada')
    const startedMs = world.clock.now()
    const error = await world.settle(ada.create({ servers: tickets })).catch((cause: unknown) => cause)
    expect(error).toMatchObject({ code: 'NO_QUORUM' })
    const { message } = error as Error
    expect(message).toContain('2 of 3 servers')
    for (const name of ['server-2', 'server-3']) expect(message).toContain(`mem://${name} is unreachable`)
    expect(world.clock.now() - startedMs).toBeLessThan(6_000)
    expect(await ada.documents()).toEqual([])
    await world.dispose()
  })
})

describe('a device', () => {
  it('loses its storage to a second process that opens it, instead of sharing it', async () => {
    const world = await World.create({ seed: 23 })
    const context = world.contextOf('ada')
    const [store, crdt] = [memoryStorage(), yjs()]
    const storage = await store.plugin.create(store.options, context)
    const backend = await crdt.plugin.create(crdt.options, context)
    const open = () => openDevice({ storage, transports: [], crdts: [backend], context })
    const first = await open()
    const creating = first.create({ servers: world.tickets }).catch(() => undefined)
    await world.pass(100)
    const [id] = await first.documents()
    const doc = await first.open(id ?? '')
    const problems: string[] = []
    doc.subscribe((event) => {
      if (event.type === 'problem') problems.push(`${event.error.code}: ${event.error.message}`)
    })
    await open()
    textOf(doc).insert(0, 'written by two?')
    await expect(world.settle(doc.settled('stored'))).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
    expect(problems[0]).toContain('another process has opened')
    await world.settle(first[Symbol.asyncDispose]())
    await world.settle(creating)
    await world.dispose()
  })

  it('that was removed can be invited again, as a new member with what it had written', async () => {
    const world = await World.create({ seed: 24 })
    const { doc, bob, copy } = await pair(world)
    textOf(copy).insert(0, 'first ')
    await world.until(sameText(doc, copy))
    const before = copy.memberId
    await world.settle(doc.remove(before))
    await world.until(() => copy.status().connection === 'removed')
    textOf(doc).insert(0, 'meanwhile ')
    const again = await world.settle(bob.join(await world.settle(doc.invite())))
    await world.until(sameText(doc, again))
    expect(again.memberId).not.toBe(before)
    expect(textOf(again).toString()).toBe('meanwhile first ')
    textOf(again).insert(0, 'back ')
    await world.until(() => textOf(doc).toString() === 'back meanwhile first ')
    expect(doc.members()).toHaveLength(2)
    await world.dispose()
  })
})
