import { describe, expect, it, vi } from 'vitest'
import { ADD_TREE_BYTES_MAX } from '../src/group/mls/index.js'
import type { Document } from '../src/index.js'
import { textOf, World } from './world.js'

const large = vi.hoisted(() => ({ extraTypes: 0, treeBytes: 0 }))
// Devices whose key packages are as large as one may be: they list extensions nobody knows.
vi.mock('../src/group/extensions.js', async (original) => {
  const actual = await original<typeof import('../src/group/extensions.js')>()
  return {
    ...actual,
    capabilitiesOf: (suite: Parameters<typeof actual.capabilitiesOf>[0]) => {
      const capabilities = actual.capabilitiesOf(suite)
      const unknown = Array.from({ length: large.extraTypes }, (_, i) => 0x1000 + i)
      return { ...capabilities, extensions: [...capabilities.extensions, ...unknown] }
    }
  }
})

// Trees that are larger by so much than those of the few devices here.
vi.mock('../src/group/mls/tree-codec.js', async (original) => {
  const actual = await original<typeof import('../src/group/mls/tree-codec.js')>()
  const treeBytes = (nodes: Parameters<typeof actual.treeBytes>[0]) => actual.treeBytes(nodes) + large.treeBytes
  return { ...actual, treeBytes }
})

const dayMs = 86_400_000
/** Key packages are good for 90 days. */
const tooLateMs = 100 * dayMs
const servers = ['server-1', 'server-2', 'server-3']

async function pair(world: World) {
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const bob = await world.openDevice('bob')
  const copy = await world.settle(bob.join(await world.settle(doc.invite({ role: 'admin' }))))
  await world.until(() => copy.status().epoch === doc.status().epoch)
  return { doc, copy }
}

const problemsOf = (document: Document): string[] => {
  const problems: string[] = []
  document.subscribe((event) => {
    if (event.type === 'problem') problems.push(event.error.code)
  })
  return problems
}

describe('a commit that servers refuse', () => {
  it('and one of them had voted for is entered by its author when it is decided after all', async () => {
    const world = await World.create({ seed: 730 })
    const { doc, copy } = await pair(world)
    textOf(doc).insert(0, 'for Carl')
    await world.settle(doc.settled('safe'))
    const { epoch } = doc.status()
    const carl = await world.openDevice('carl')
    const joining = carl.join(await world.settle(doc.invite()))
    // To two of three the key package is out of date, by their clocks.
    for (const name of ['server-2', 'server-3']) world.skew(name, tooLateMs)
    const votes = () => world.server('server-1').stats().counts.vote
    const before = votes()
    await world.until(() => votes() > before && doc.status().pendingChanges === 0)
    expect(doc.status().epoch).toBe(epoch)
    for (const name of ['server-2', 'server-3']) world.skew(name, 0)
    // What the first has voted for comes out when it is asked.
    await world.kill('server-3')
    await world.settle(copy.rotate())
    await world.until(() => doc.status().epoch > epoch && doc.status().epoch === copy.status().epoch)
    expect(doc.members()).toHaveLength(3)
    const late = await world.settle(joining)
    await world.until(() => textOf(late).toString() === 'for Carl')
    await world.settle(doc.rotate())
    await world.until(() => late.status().epoch === doc.status().epoch)
    await world.dispose()
  })

  it('is still known as its own by a device that was restarted in between', async () => {
    const world = await World.create({ seed: 731 })
    const { doc, copy } = await pair(world)
    const carl = await world.openDevice('carl')
    const joining = carl.join(await world.settle(doc.invite()))
    for (const name of ['server-2', 'server-3']) world.skew(name, tooLateMs)
    const votes = () => world.server('server-1').stats().counts.vote
    const before = votes()
    await world.until(() => votes() > before && doc.status().pendingChanges === 0)
    await world.kill('ada')
    for (const name of ['server-2', 'server-3']) world.skew(name, 0)
    await world.kill('server-3')
    await world.settle(copy.rotate())
    const again = await (await world.openDevice('ada')).open(doc.id)
    await world.until(() => again.status().epoch === copy.status().epoch)
    expect(again.members()).toHaveLength(3)
    await world.settle(joining)
    await world.dispose()
  })

  it('for one of the changes in it fails for that one only', async () => {
    const world = await World.create({ seed: 732 })
    const { doc, copy } = await pair(world)
    const problems = problemsOf(doc)
    const carl = await world.openDevice('carl')
    const joining = carl.join(await world.settle(doc.invite())).catch(() => undefined)
    // Nothing can be decided until all is asked for.
    for (const name of ['server-2', 'server-3']) await world.kill(name)
    await world.until(() => doc.status().pendingChanges === 1)
    const changes = [doc.setRole(copy.memberId, 'reader'), doc.setPolicy({ rotationHours: 7 })]
    await world.until(() => doc.status().pendingChanges === 3)
    for (const name of servers) world.skew(name, tooLateMs)
    for (const name of ['server-2', 'server-3']) await world.startServer(name)
    await world.settle(Promise.all(changes))
    await world.until(() => doc.status().pendingChanges === 0)
    expect(doc.policy().rotationHours).toBe(7)
    expect(doc.members().map(({ role }) => role)).toEqual(['admin', 'reader'])
    expect(problems).toEqual([])
    await world.settle(world.stop('carl'))
    await world.settle(joining)
    await world.dispose()
  })
})

describe('more than goes into one commit', () => {
  it('is decided in several, each within its bound, and what goes into none is told to who asked', async () => {
    const world = await World.create({ seed: 733, servers: 2 })
    const ada = await world.openDevice('ada')
    const doc = await world.settle(ada.create({ servers: world.tickets }))
    const problems = problemsOf(doc)
    large.extraTypes = 7_400
    try {
      const names = Array.from({ length: 20 }, (_, i) => `joiner-${i}`)
      // Nothing can be decided while they gather.
      await world.kill('server-2')
      const joining: Promise<Document>[] = []
      for (const name of names) {
        const device = await world.openDevice(name)
        joining.push(device.join(await world.settle(doc.invite())))
      }
      await world.until(() => doc.status().pendingChanges === names.length)
      const { epoch } = doc.status()
      await world.startServer('server-2')
      await world.settle(Promise.all(joining))
      expect(doc.members()).toHaveLength(names.length + 1)
      const commits = Number(doc.status().epoch - epoch)
      expect(commits).toBeGreaterThan(1)
      expect(commits).toBeLessThanOrEqual(4)
      expect(problems).toEqual([])
      // Who joins is given the whole tree: at some size there is no room for one more.
      large.treeBytes = ADD_TREE_BYTES_MAX - 300_000
      const late = (await world.openDevice('late')).join(await world.settle(doc.invite()))
      late.catch(() => undefined)
      await world.until(() => problems.length > 0)
      expect(problems).toEqual(['LIMIT_EXCEEDED'])
      expect(doc.status().pendingChanges).toBe(0)
      await world.settle(doc.rotate())
      await world.dispose()
    } finally {
      Object.assign(large, { extraTypes: 0, treeBytes: 0 })
    }
  }, 60_000)
})
