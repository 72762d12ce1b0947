import { describe, expect, it } from 'vitest'
import type { Document } from '../src/index.js'
import { World } from './world.js'

const hourMs = 3_600_000

async function devices(world: World, names: readonly string[]) {
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const all = [doc]
  for (const name of names) {
    const device = await world.openDevice(name)
    all.push(await world.settle(device.join(await world.settle(doc.invite()))))
  }
  await world.until(() => all.every((one) => one.members().length === names.length + 1))
  return { doc, all }
}

const level = (all: readonly Document[]) => () => new Set(all.map((one) => one.status().epoch)).size === 1

describe('keys', () => {
  it('are renewed once in a period, whoever does it', async () => {
    const world = await World.create({ seed: 720 })
    const { doc, all } = await devices(world, ['bob', 'carl', 'dora', 'eve'])
    await world.settle(doc.setPolicy({ rotationHours: 1 }))
    await world.until(level(all))
    const begun = doc.status().epoch
    const periods = 12
    // Each begins with the commit before; the first of five devices is some minutes later than the policy says.
    await world.pass(periods * hourMs)
    await world.until(level(all))
    const commits = Number(doc.status().epoch - begun)
    expect(commits).toBeGreaterThanOrEqual(Math.floor(periods / 1.25))
    expect(commits).toBeLessThanOrEqual(periods)
    expect(all.every((one) => one.status().pendingChanges === 0)).toBe(true)
    await world.dispose()
  })

  it('are not renewed by themselves when somebody commits often enough, or the policy says so', async () => {
    const world = await World.create({ seed: 721 })
    const { doc, all } = await devices(world, ['bob'])
    await world.settle(doc.setPolicy({ rotationHours: 1 }))
    for (let i = 0; i < 4; i++) {
      await world.pass(0.95 * hourMs)
      const { epoch } = doc.status()
      await world.settle(doc.rotate())
      expect(doc.status().epoch).toBe(epoch + 1n)
    }
    await world.settle(doc.setPolicy({ rotationHours: 0 }))
    await world.until(level(all))
    const { epoch } = doc.status()
    await world.pass(6 * hourMs)
    expect(doc.status().epoch).toBe(epoch)
    await world.settle(doc.setPolicy({ rotationHours: 2 }))
    await world.pass(3 * hourMs)
    expect(doc.status().epoch).toBe(epoch + 2n)
    await world.dispose()
  })

  it('that were due while nobody could decide are renewed once when it can be', async () => {
    const world = await World.create({ seed: 722 })
    const { doc, all } = await devices(world, ['bob', 'carl', 'dora'])
    await world.settle(doc.setPolicy({ rotationHours: 1 }))
    await world.until(level(all))
    const { epoch } = doc.status()
    for (const name of ['server-1', 'server-2']) await world.kill(name)
    await world.pass(2 * hourMs)
    expect(all.map((one) => one.status().pendingChanges)).toEqual([0, 0, 0, 0])
    for (const name of ['server-1', 'server-2']) await world.startServer(name)
    await world.pass(5 * 60_000)
    await world.until(level(all))
    expect(doc.status().epoch).toBe(epoch + 1n)
    await world.dispose()
  })

  it('are due after a restart when they were before', async () => {
    const world = await World.create({ seed: 723 })
    const { doc } = await devices(world, [])
    const { epoch } = doc.status()
    await world.pass(20 * hourMs)
    await world.settle(world.stop('ada'))
    await world.pass(20 * hourMs)
    const again = await (await world.openDevice('ada')).open(doc.id)
    await world.until(() => again.status().epoch === epoch + 1n, 2 * 60_000)
    await world.dispose()
  })
})
