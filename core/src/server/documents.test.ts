import { memoryStorage } from '@heddle/storage-memory'
import { afterEach, expect, it } from 'vitest'
import type { Storage } from '../plugin/index.js'
import { startServer } from './index.js'
import { codeOf, gate, receiptOf, settled } from './testing/expect.js'
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

it('does not take an answer from before a creation for one after it', async () => {
  world = await World.start(1)
  const { context, crypto, transport } = world
  const inner = await memoryStorage.create({}, context)
  const device = await world.device()
  const slow = gate()
  let looked = false
  const storage: Storage = {
    // The first look for the document is over only long after it was created.
    async get(key) {
      const value = await inner.get(key)
      if (!looked && key[0] === 16) {
        looked = true
        await slow.passed
      }
      return value
    },
    scan: (range, signal) => inner.scan(range, signal),
    commit: (batch) => inner.commit(batch),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose]()
  }
  const address = 'mem://slow'
  await using server = await startServer({ storage, transports: [transport], listen: [address], context, crypto })
  const host = { address, server } as unknown as ServerHost
  await device.found([host])
  const early = codeOf(device.subscribe(host))
  await settled()
  await device.createOn(host)
  await device.subscribe(host)
  slow.open()
  expect(await early).toBe('UNKNOWN_DOCUMENT')
  await device.upload(host, await device.seal())
})

it('shares a document that was opened before its creation was answered', async () => {
  world = await World.start(1)
  const { context, crypto, transport } = world
  const inner = await memoryStorage.create({}, context)
  const device = await world.device()
  const answer = gate()
  let creating = false
  const storage: Storage = {
    get: (key) => inner.get(key),
    scan: (range, signal) => inner.scan(range, signal),
    // The batch of the creation is there for all to read long before the server is told.
    async commit(batch) {
      await inner.commit(batch)
      if (creating) await answer.passed
    },
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose]()
  }
  const address = 'mem://late'
  await using server = await startServer({ storage, transports: [transport], listen: [address], context, crypto })
  const host = { address, server } as unknown as ServerHost
  await device.found([host])
  await device.to(host)
  creating = true
  const created = device.createOn(host)
  await settled()
  await device.subscribe(host)
  creating = false
  answer.open()
  await created
  await device.to(host)
  expect(server.stats().subscriptions).toBe(1)
  const joiner = await world.device()
  const decided = await device.decide([host], { adds: [{ keyPackage: joiner.keyPackage.message }] })
  const other = await device.connect(host)
  await other.channel.request({ $case: 'decided', value: { group: device.groupId, slots: [decided] } })
  await (await device.to(host)).until(({ $case }) => $case === 'decided')
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
