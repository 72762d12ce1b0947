import { memoryStorage } from '@heddle/storage-memory'
import { expect, it } from 'vitest'
import type { Document } from '../src/index.js'
import { textOf, World } from './world.js'

const dayMs = 86_400_000
/** The default policy keeps epochs for 14 days. That nobody renews keys meanwhile leaves the days as the only reason. */
const retainedMs = 14 * dayMs

/** Epochs of which the device has any record of the group room, ascending. */
async function epochsStored(world: World, name: string): Promise<readonly bigint[]> {
  const { plugin, options } = memoryStorage({ shared: world.disk(name) })
  const storage = await plugin.create(options, world.contextOf(`reader of ${name}`))
  const epochs = new Set<bigint>()
  for await (const page of storage.scan({ gte: Uint8Array.of(0x64), lt: Uint8Array.of(0x65) })) {
    for (const { key } of page) {
      // 'd', group id, 'g', the kind of the record, and for all but the state record the epoch.
      if (key[17] === 0x67 && key[18] !== 1) epochs.add(new DataView(key.buffer, key.byteOffset).getBigUint64(19))
    }
  }
  return [...epochs].sort((a, b) => (a < b ? -1 : 1))
}

async function twoWithAnOldEpoch(seed: number): Promise<{ world: World; ada: Document; bob: Document }> {
  const world = await World.create({ seed })
  const ada = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
  const bob = await world.settle((await world.openDevice('bob')).join(await world.settle(ada.invite())))
  await world.settle(ada.setPolicy({ rotationHours: 0 }))
  await world.until(() => bob.status().epoch === ada.status().epoch)
  textOf(bob).insert(0, 'old ')
  await world.settle(bob.settled('safe'))
  await world.until(() => textOf(ada).toString() === 'old ')
  await world.settle(ada.rotate())
  await world.until(() => bob.status().epoch === ada.status().epoch)
  return { world, ada, bob }
}

it('GROUP-009: an epoch is forgotten when its days are over, also while nothing happens', async () => {
  const { world, ada } = await twoWithAnOldEpoch(31)
  const { epoch } = ada.status()
  await world.pass(retainedMs - dayMs)
  await world.settle(world.stop('ada'))
  expect(await epochsStored(world, 'ada')).toContain(epoch - 1n)
  await world.settle((await world.openDevice('ada')).open(ada.id))
  await world.pass(dayMs + 2 * 3_600_000)
  await world.settle(world.stop('ada'))
  expect(await epochsStored(world, 'ada')).toEqual([epoch])
  await world.dispose()
}, 120_000)

it('GROUP-009: a device that comes back after those days forgets the epoch once it is level with its servers', async () => {
  const { world, ada, bob } = await twoWithAnOldEpoch(32)
  const { epoch } = ada.status()
  await world.settle(world.stop('ada'))
  await world.pass(retainedMs + dayMs)
  const again = await world.settle((await world.openDevice('ada')).open(ada.id))
  await world.pass(300_000)
  expect(textOf(again).toString()).toBe('old ')
  textOf(bob).insert(0, 'new ')
  await world.until(() => textOf(again).toString() === 'new old ')
  await world.settle(world.stop('ada'))
  expect(await epochsStored(world, 'ada')).toEqual([epoch])
  await world.dispose()
}, 120_000)
