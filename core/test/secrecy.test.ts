import { memoryStorage } from '@heddle/storage-memory'
import { expect, it } from 'vitest'
import { utf8 } from '../src/bytes.js'
import type { Storage } from '../src/index.js'
import { Frame, IdentityRecord } from '../src/wire/index.js'
import { textOf, World } from './world.js'

const passage = 'There was nothing so very remarkable in that; nor did Alice think it so very much out of the way'
const servers = ['server-1', 'server-2', 'server-3']

/** A node's disk, opened by somebody else now that the node has stopped. */
async function disk(world: World, name: string): Promise<Storage> {
  const { plugin, options } = memoryStorage({ shared: world.disk(name) })
  return await plugin.create(options, world.contextOf(`reader of ${name}`))
}

/** Everything that lies on it, one array. */
async function stored(world: World, name: string): Promise<Buffer> {
  const storage = await disk(world, name)
  const parts: Uint8Array[] = []
  for await (const page of storage.scan({ gte: new Uint8Array(0), lt: new Uint8Array(2048).fill(0xff) })) {
    for (const { key, value } of page) parts.push(key, value)
  }
  return Buffer.concat(parts)
}

it('SRV-006: servers neither receive nor store the text, nor a device’s secret key', async () => {
  const world = await World.create({ seed: 11 })
  const received: Uint8Array[] = []
  for (const name of servers) {
    world.tap.liars.set(name, (frame, direction) => {
      if (direction === 'to-server') received.push(Frame.encode(frame))
      return [frame]
    })
  }
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  textOf(doc).insert(0, passage)
  await world.settle(doc.settled('safe'))
  const bob = await world.openDevice('bob')
  // The joiner gets the whole state through the servers too.
  const copy = await world.settle(bob.join(await world.settle(doc.invite())))
  await world.until(() => textOf(copy).toString() === passage)
  textOf(copy).insert(0, passage)
  await world.settle(copy.settled('safe'))
  await world.until(() => textOf(doc).toString() === passage + passage)
  for (const name of ['ada', 'bob', ...servers]) await world.settle(world.stop(name))

  const onDevice = await stored(world, 'ada')
  const identity = IdentityRecord.decode((await (await disk(world, 'ada')).get(utf8('i'))) ?? new Uint8Array(0))
  const secrets = [Buffer.from(identity.secretKey)]
  for (let at = 0; at + 12 <= passage.length; at += 6) secrets.push(Buffer.from(passage.slice(at, at + 12)))
  // That the search finds what is there shows on the device itself.
  expect(secrets.filter((secret) => !onDevice.includes(secret))).toEqual([])

  const atServers = [Buffer.concat(received), ...(await Promise.all(servers.map((name) => stored(world, name))))]
  for (const bytes of atServers) {
    expect(bytes.length).toBeGreaterThan(1_000)
    expect(secrets.filter((secret) => bytes.includes(secret))).toEqual([])
  }
})
