import { expect, it } from 'vitest'
import type { Batch } from '../src/index.js'
import { textOf, World } from './world.js'

const bytesOf = ({ put = [], del = [] }: Batch): number =>
  put.reduce((sum, { key, value }) => sum + key.length + value.length, 0) +
  del.reduce((sum, key) => sum + key.length, 0)

it('a turn in which somebody types writes less than 1 KB, and so does a turn in which it arrives', async () => {
  const world = await World.create({ seed: 41 })
  const ada = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
  const bob = await world.settle((await world.openDevice('bob')).join(await world.settle(ada.invite())))
  const type = async (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      textOf(bob).insert(textOf(bob).length, 'x')
      await world.settle(bob.settled('safe'))
      await world.until(() => textOf(ada).length === i + 1)
      await world.pass(1_000)
    }
  }
  await type(0, 5)
  const written = new Map<string, number[]>()
  for (const name of ['ada', 'bob']) {
    const disk = world.disk(name)
    const apply = disk.apply.bind(disk)
    written.set(name, [])
    disk.apply = (batch) => {
      written.get(name)?.push(bytesOf(batch))
      apply(batch)
    }
  }
  await type(5, 45)
  for (const [name, turns] of written) {
    expect(turns.length, name).toBeGreaterThanOrEqual(40)
    expect(Math.max(...turns), name).toBeLessThan(1_024)
  }
  await world.dispose()
}, 120_000)

it('what is stored for a message is stored with it: receipts and news of the servers make no further batches', async () => {
  const world = await World.create({ seed: 42 })
  const ada = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
  const bob = await world.settle((await world.openDevice('bob')).join(await world.settle(ada.invite())))
  await world.pass(5_000)
  const before = [world.commits('ada'), world.commits('bob')]
  for (let i = 0; i < 40; i++) {
    textOf(ada).insert(0, 'x')
    await world.settle(ada.settled('safe'))
    await world.until(() => textOf(bob).length === i + 1)
    await world.pass(500)
  }
  const [sent = 0, received = 0] = ['ada', 'bob'].map((name, i) => world.commits(name) - (before[i] ?? 0))
  // One with the edit, now and then one more because the app waits for it; and one with the message.
  expect(sent).toBeLessThan(2.5 * 40)
  expect(received).toBeLessThan(1.2 * 40)
  await world.dispose()
})
