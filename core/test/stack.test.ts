import { describe, expect, it } from 'vitest'
import type { Document } from '../src/index.js'
import { textOf, World } from './world.js'

/** Ada's document on all servers of the world, with Bob as an editor. */
async function twoDevices(world: World) {
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const bob = await world.openDevice('bob')
  const link = await world.settle(doc.invite({ role: 'editor' }))
  const copy = await world.settle(bob.join(link))
  return { ada, bob, doc, copy }
}

const sameText =
  (...documents: Document[]) =>
  () =>
    new Set(documents.map((one) => textOf(one).toString())).size === 1

describe('a document among servers', () => {
  it('is created, joined, and edited by both at once', async () => {
    const world = await World.create({ seed: 1 })
    const { doc, copy } = await twoDevices(world)
    textOf(doc).insert(0, 'Alice was beginning to get very tired')
    textOf(copy).insert(0, 'Chapter I. ')
    await world.settle(Promise.all([doc.settled('safe'), copy.settled('safe')]))
    await world.until(sameText(doc, copy))
    expect(textOf(doc).toString()).toContain('Alice was beginning')
    expect(textOf(doc).toString()).toContain('Chapter I. ')
    expect(
      copy
        .members()
        .map(({ role }) => role)
        .sort()
    ).toEqual(['admin', 'editor'])
    expect(doc.status()).toMatchObject({ connection: 'online', unsafe: 0, unsent: 0, pendingChanges: 0 })
    await world.dispose()
  })

  it('gives a joiner what was written before it came', async () => {
    const world = await World.create({ seed: 2 })
    const ada = await world.openDevice('ada')
    const doc = await world.settle(ada.create({ servers: world.tickets }))
    textOf(doc).insert(0, 'before anybody came')
    await world.settle(doc.settled('safe'))
    const bob = await world.openDevice('bob')
    const copy = await world.settle(bob.join(await world.settle(doc.invite())))
    await world.until(sameText(doc, copy))
    expect(textOf(copy).toString()).toBe('before anybody came')
    await world.dispose()
  })

  it('decides commits with one server of three down, and says so with two down', async () => {
    const world = await World.create({ seed: 3 })
    const { doc, copy } = await twoDevices(world)
    await world.kill('server-1')
    const before = doc.status().epoch
    await world.settle(doc.rotate())
    expect(doc.status().epoch).toBe(before + 1n)
    await world.kill('server-2')
    await world.until(() => doc.status().connection === 'degraded')
    const rotated = doc.rotate()
    textOf(doc).insert(0, 'still writing')
    await world.pass(5_000)
    expect(doc.status()).toMatchObject({ connection: 'degraded', blocked: true, pendingChanges: 1 })
    await world.startServer('server-2')
    await world.settle(rotated)
    await world.startServer('server-1')
    await world.settle(doc.settled('safe'))
    await world.until(sameText(doc, copy))
    await world.until(() => copy.status().epoch === doc.status().epoch)
    expect(textOf(copy).toString()).toContain('still writing')
    await world.dispose()
  })

  it('takes edits offline and brings them together afterwards', async () => {
    const world = await World.create({ seed: 4 })
    const { doc, copy } = await twoDevices(world)
    textOf(doc).insert(0, 'common ')
    await world.until(sameText(doc, copy))
    world.cut('bob')
    await world.until(() => copy.status().connection === 'offline')
    textOf(copy).insert(0, 'offline ')
    textOf(doc).insert(7, 'online ')
    await world.settle(doc.rotate())
    await world.settle(copy.settled('stored'))
    expect(copy.status().unsent).toBeGreaterThan(0)
    world.heal('bob')
    await world.settle(copy.settled('safe'))
    await world.until(sameText(doc, copy))
    expect(textOf(doc).toString()).toBe('offline common online ')
    await world.dispose()
  })

  it('cuts a removed device off: it reads nothing more, and servers refuse it', async () => {
    const world = await World.create({ seed: 5 })
    const { doc, copy } = await twoDevices(world)
    textOf(doc).insert(0, 'for both')
    await world.until(sameText(doc, copy))
    const bobId = doc.members().find(({ isSelf }) => !isSelf)?.id ?? ''
    await world.settle(doc.remove(bobId))
    textOf(doc).insert(0, 'secret ')
    await world.settle(doc.settled('safe'))
    await world.until(() => copy.status().connection === 'removed')
    await world.pass(10_000)
    expect(textOf(copy).toString()).toBe('for both')
    await expect(copy.settled('safe')).rejects.toMatchObject({ code: 'REMOVED' })
    expect(doc.members()).toHaveLength(1)
    await world.dispose()
  })

  it('keeps readers from writing', async () => {
    const world = await World.create({ seed: 6 })
    const { doc, copy } = await twoDevices(world)
    const bobId = doc.members().find(({ isSelf }) => !isSelf)?.id ?? ''
    await world.settle(doc.setRole(bobId, 'reader'))
    await world.until(() => copy.status().role === 'reader')
    textOf(copy).insert(0, 'not allowed')
    textOf(doc).insert(0, 'from the admin')
    await world.until(() => textOf(copy).toString().includes('from the admin'))
    await world.pass(5_000)
    expect(textOf(doc).toString()).toBe('from the admin')
    await expect(copy.invite()).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await world.settle(doc.setRole(bobId, 'editor'))
    await world.until(sameText(doc, copy))
    expect(textOf(doc).toString()).toContain('not allowed')
    await world.dispose()
  })

  it('goes on from its storage after devices and servers have stopped', async () => {
    const world = await World.create({ seed: 7 })
    const { doc, copy } = await twoDevices(world)
    textOf(doc).insert(0, 'kept')
    await world.settle(doc.settled('safe'))
    await world.until(sameText(doc, copy))
    const { id } = doc
    for (const name of ['bob', 'ada', 'server-1', 'server-2', 'server-3']) await world.settle(world.stop(name))
    for (const name of ['server-1', 'server-2', 'server-3']) await world.startServer(name)
    const [ada, bob] = [await world.openDevice('ada'), await world.openDevice('bob')]
    const [reopened, other] = [await ada.open(id), await bob.open(id)]
    expect(textOf(reopened).toString()).toBe('kept')
    textOf(other).insert(4, ' and continued')
    await world.settle(other.settled('safe'))
    await world.until(sameText(reopened, other))
    expect(textOf(reopened).toString()).toBe('kept and continued')
    await world.dispose()
  })
})

describe('determinism', () => {
  it('replays a run of servers and devices from its seed', async () => {
    const run = async (seed: number): Promise<string> => {
      const world = await World.create({ seed })
      const { doc, copy } = await twoDevices(world)
      for (let i = 0; i < 40; i++) {
        const text = textOf(world.random.pick([doc, copy]))
        text.insert(world.random.below(text.length + 1), world.random.pick(['a', 'bc', 'def']))
        await world.pass(world.random.below(30))
        if (i === 20) await world.kill('server-2')
      }
      await world.startServer('server-2')
      await world.settle(doc.rotate())
      await world.settle(Promise.all([doc.settled('safe'), copy.settled('safe')]))
      await world.until(sameText(doc, copy))
      const hash = world.traceHash()
      await world.dispose()
      return hash
    }
    const first = await run(42)
    expect(await run(42)).toBe(first)
    expect(await run(43)).not.toBe(first)
  })
})
