import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
let hosts: readonly [ServerHost, ServerHost, ServerHost]
let admin: TestDevice
beforeEach(async () => {
  world = await World.start(3)
  hosts = world.hosts as unknown as typeof hosts
  admin = await world.device()
  await admin.create(hosts)
})
afterEach(() => world[Symbol.asyncDispose]())

const served = (host: ServerHost, ...devices: readonly TestDevice[]): Promise<boolean[]> =>
  Promise.all(devices.map(({ group }) => host.server.serves(group.me.device.endpointId)))

describe('whom a server is there for', () => {
  it('are the members of its documents, from the commit that adds them to the one that removes them', async () => {
    const [a, b] = hosts
    const editor = await admin.add(hosts)
    expect([await served(a, admin, editor), await served(b, admin, editor)]).toEqual([
      [true, true],
      [true, true]
    ])
    expect(await a.server.serves(new Uint8Array(32).fill(1))).toBe(false)
    await a.stop()
    await a.start()
    admin.disconnect()
    expect(await served(a, admin, editor)).toEqual([true, true])
    await admin.commit(hosts, { removes: [editor.group.memberId] })
    expect(await served(a, admin, editor)).toEqual([true, false])
  })

  it('are nobody once it is no server of theirs any more', async () => {
    const [a, b, c] = hosts
    const editor = await admin.add(hosts)
    await admin.commit(hosts, { servers: [{ kind: 'remove', id: c.server.id }] })
    expect(await served(c, admin, editor)).toEqual([false, false])
    expect(await served(b, admin, editor)).toEqual([true, true])
    await admin.commit([a, b])
    expect(await served(a, admin, editor)).toEqual([true, true])
  })
})
