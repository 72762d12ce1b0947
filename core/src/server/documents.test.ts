import { afterEach, expect, it } from 'vitest'
import { receiptOf } from './testing/expect.js'
import { type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
afterEach(() => world[Symbol.asyncDispose]())

it('keeps few idle documents in memory, all that have readers, and serves the others from storage', async () => {
  world = await World.start(1, { limits: { documentsInMemoryMax: 4 } })
  const host = world.hosts[0] as ServerHost
  const devices: TestDevice[] = []
  for (let i = 0; i < 12; i++) {
    const device = await world.device()
    await device.create([host])
    if (i < 2) await device.subscribe(host)
    await device.upload(host, await device.seal())
    devices.push(device)
    expect(host.server.stats().documentsInMemory).toBeLessThanOrEqual(4)
  }
  for (const device of devices)
    expect(receiptOf(await device.upload(host, await device.seal()))).toMatchObject({ position: 2n, head: { seq: 2n } })
  for (const device of devices.slice(0, 2)) {
    const { news } = await device.to(host)
    expect(news.filter(({ $case }) => $case === 'deliver').at(-1)).toMatchObject({ value: { throughPosition: 2n } })
  }
})

it('keeps the order of requests that come while a document is being opened', async () => {
  world = await World.start(1)
  const host = world.hosts[0] as ServerHost
  const device = await world.device()
  await device.create([host])
  await device.upload(host, await device.seal())
  await host.stop()
  await host.start()
  device.disconnect()
  await device.to(host)
  const envelopes = [await device.seal(), await device.seal(), await device.seal()]
  const receipts = await Promise.all(envelopes.map((envelope) => device.upload(host, envelope)))
  expect(receipts.map((receipt) => receiptOf(receipt).head.seq).at(-1)).toBe(4n)
  expect(host.server.stats().counts.envelopeRefused).toBe(0)
})

it('does not serve a document whose records are damaged, and goes on with the others', async () => {
  world = await World.start(1)
  const host = world.hosts[0] as ServerHost
  const [broken, sound] = [await world.device(), await world.device()]
  await broken.create([host])
  await sound.create([host])
  await host.stop()
  await host.damage(broken.groupId)
  await host.start()
  for (const device of [broken, sound]) device.disconnect()
  await expect(broken.subscribe(host)).rejects.toMatchObject({ code: 'INTERNAL' })
  await expect(broken.subscribe(host)).rejects.toMatchObject({ code: 'INTERNAL' })
  expect(host.server.stats().counts.internalError).toBe(2)
  await sound.subscribe(host)
})
