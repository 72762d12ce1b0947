/** What becomes of an invite that the servers have no room for, or that is to be good for too long (SPEC JOIN-009, SRV-060). */
import { describe, expect, it } from 'vitest'
import type { Document, HeddleError } from '../src/index.js'
import { World, type WorldOptions } from './world.js'

async function founded(options: WorldOptions) {
  const world = await World.create(options)
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const problems: HeddleError[] = []
  doc.subscribe((event) => event.type === 'problem' && problems.push(event.error))
  return { world, doc, problems }
}

/** Every server loses the device, and is found again. */
async function reconnect(world: World, doc: Document): Promise<void> {
  world.cut('ada')
  await world.until(() => doc.status().connection === 'offline')
  world.heal('ada')
  await world.until(() => doc.status().servers.every(({ state }) => state === 'connected'))
  await world.pass(5_000)
}

describe('an invite that the servers refuse', () => {
  it('is told to who makes it, and can be made once there is room', async () => {
    const { world, doc, problems } = await founded({ seed: 901, limits: () => ({ mailboxesOfAdminsMax: 2 }) })
    const link = await world.settle(doc.invite())
    await world.settle(doc.invite())
    const sinceMs = world.clock.now()
    const refused = expect(world.settle(doc.invite())).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: expect.stringMatching(
        /servers refuse the mailbox of the invite, nobody could follow it: the admins have 2/
      )
    })
    await refused
    expect(world.clock.now() - sinceMs).toBeLessThan(1_000)
    expect(problems).toEqual([])
    await world.settle((await world.openDevice('bob')).join(link))
    await world.pass(1_000)
    await world.settle((await world.openDevice('carol')).join(await world.settle(doc.invite())))
    expect(doc.members()).toHaveLength(3)
    await world.dispose()
  })

  it('is forgotten with its link: the servers are not asked again', async () => {
    const { world, doc, problems } = await founded({ seed: 902, limits: () => ({ mailboxesOfAdminsMax: 0 }) })
    await expect(world.settle(doc.invite())).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    await reconnect(world, doc)
    expect(problems).toEqual([])
    await world.dispose()
  })

  it('but for one or two of them is good, and who refuse are named once', async () => {
    const full = new Set(['server-2', 'server-3'])
    const limits = (server: string) => (full.has(server) ? { mailboxesOfAdminsMax: 0 } : {})
    const { world, doc, problems } = await founded({ seed: 903, limits })
    const link = await world.settle(doc.invite())
    await world.pass(1_000)
    await reconnect(world, doc)
    const named = [...full].map((name) => Buffer.from(world.server(name).id).toString('hex').slice(0, 8)).sort()
    expect(problems.map(({ code }) => code)).toEqual(['LIMIT_EXCEEDED', 'LIMIT_EXCEEDED'])
    expect(problems.map(({ message }) => /^server ([0-9a-f]{8}) refuses/.exec(message)?.[1]).sort()).toEqual(named)
    await world.settle((await world.openDevice('bob')).join(link))
    await world.dispose()
  })

  it('when it was made offline is told of as soon as they do', async () => {
    const { world, doc, problems } = await founded({ seed: 904, limits: () => ({ mailboxesOfAdminsMax: 0 }) })
    world.cut('ada')
    await world.until(() => doc.status().connection === 'offline')
    await world.settle(doc.invite())
    world.heal('ada')
    await world.until(() => problems.length === 3)
    expect(new Set(problems.map(({ code }) => code))).toEqual(new Set(['LIMIT_EXCEEDED']))
    await world.dispose()
  })
})

describe('the time an invite is good for', () => {
  const dayMs = 24 * 60 * 60 * 1000

  it('is 30 days at most, which servers take whose clocks are behind', async () => {
    const world = await World.create({ seed: 905 })
    world.skew('ada', dayMs / 2)
    const doc = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
    for (const expiresInMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 30 * dayMs + 1])
      await expect(world.settle(doc.invite({ expiresInMs }))).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('30 days')
      })
    const link = await world.settle(doc.invite({ expiresInMs: 30 * dayMs }))
    await world.settle((await world.openDevice('bob')).join(link))
    await world.dispose()
  })
})
