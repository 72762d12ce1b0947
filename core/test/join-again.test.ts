/**
 * Devices that cannot go on as the member they are, and join again as a new one (SPEC SYNC-033): what they hold of that
 * member must not follow them, and what was written on them must arrive.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { fromHex, toHex } from '../src/bytes.js'
import { Alarms } from '../src/device/alarms.js'
import { HeddleError } from '../src/errors.js'
import type { Device, Document, Entry } from '../src/index.js'
import { textOf, World } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const wordsOf = (document: Document): string => textOf(document).toString().trim().split(' ').sort().join(' ')
const has = (document: Document, ...words: string[]): boolean =>
  words.every((word) => wordsOf(document).split(' ').includes(word))
const everything = { gte: new Uint8Array(0), lt: new Uint8Array(64).fill(0xff) }

/** All that lies on a disk. */
function entriesOf(world: World, name: string): Entry[] {
  const out: Entry[] = []
  for (let gte = everything.gte; ; ) {
    const page = world.disk(name).page({ gte, lt: everything.lt })
    const last = page.at(-1)
    if (last === undefined) return out
    out.push(...page)
    gte = new Uint8Array([...last.key, 0])
  }
}

async function party(seed: number, names: readonly string[], servers = 3) {
  const world = await World.create({ seed, servers })
  const device = await world.openDevice('ada')
  const ada = await world.settle(device.create({ servers: world.tickets }))
  const devices = new Map([['ada', device]])
  const all = [ada]
  for (const name of names) {
    const joining = await world.openDevice(name)
    devices.set(name, joining)
    all.push(await world.settle(joining.join(await world.settle(ada.invite({ role: 'admin' })))))
  }
  write(ada, 'start')
  await world.until(() => all.every((one) => has(one, 'start') && one.status().epoch === ada.status().epoch))
  await Promise.all(all.map((one) => world.settle(one.settled('safe'))))
  const deviceOf = (name: string): Device => {
    const found = devices.get(name)
    if (found === undefined) throw new Error(`there is no ${name}`)
    return found
  }
  return { world, deviceOf, all }
}

describe('a device that joins again', () => {
  it('is not silenced by an alarm from before it was removed', async () => {
    const { world, all } = await party(8201, ['bob', 'carol'])
    const [ada, bob, carol] = all as [Document, Document, Document]
    const { checkContext } = Alarms.prototype
    vi.spyOn(Alarms.prototype, 'checkContext').mockImplementation(function (this: Alarms, header, group) {
      const isIt = toHex(group.memberId) === bob.memberId && toHex(header.member) === carol.memberId
      if (isIt) throw new HeddleError('FORK', 'its sender is in another epoch')
      return checkContext.call(this, header, group)
    })
    write(carol, 'other')
    await world.until(() => bob.status().divergent.length === 1)
    await world.settle(ada.remove(bob.memberId))
    await world.until(() => bob.status().role === 'removed')
    write(bob, 'kept')
    await world.settle(bob.settled('stored'))
    const link = await world.settle(ada.invite())
    await world.kill('bob')
    const again = await world.settle((await world.openDevice('bob')).join(link))
    expect(again.status().divergent).toEqual([])
    await world.until(() =>
      all
        .slice(0, 1)
        .concat(carol, again)
        .every((one) => has(one, 'start', 'other', 'kept'))
    )
    await world.dispose()
  })

  it('from the wrong side of a split brings what was sealed there, and what was not', async () => {
    const { world, deviceOf, all } = await party(8202, ['bob', 'carol'], 1)
    const [ada, bob, carol] = all as [Document, Document, Document]
    await world.settle(world.stop('server-1'))
    const before = entriesOf(world, 'server-1')
    await world.startServer('server-1')
    world.cut('bob')
    await world.settle(ada.rotate())
    write(ada, 'sealed')
    write(carol, 'carols')
    await world.until(() => has(ada, 'sealed', 'carols') && has(carol, 'sealed', 'carols'))
    await world.settle(Promise.all([ada.settled('safe'), carol.settled('safe')]))
    await world.settle(world.stop('server-1'))
    world.disk('server-1').apply({ delRange: [everything], put: before })
    for (const name of ['ada', 'carol']) world.cut(name)
    await world.startServer('server-1')
    world.heal('bob')
    await world.settle(bob.rotate())
    write(bob, 'other-side')
    await world.settle(bob.settled('safe'))
    world.heal('ada')
    await world.until(() => ada.status().divergent.includes(bob.memberId))
    write(ada, 'unsealed')
    await world.settle(ada.settled('stored'))
    expect(ada.status().unsent).toBe(1)

    await world.settle(bob.remove(ada.memberId))
    const link = await world.settle(bob.invite({ role: 'editor' }))
    const again = await world.settle(deviceOf('ada').join(link))
    expect(again.memberId).not.toBe(ada.memberId)
    await world.until(() => has(bob, 'start', 'sealed', 'carols', 'unsealed', 'other-side'))
    await world.until(() => wordsOf(again) === wordsOf(bob))
    expect(again.status()).toMatchObject({ divergent: [], role: 'editor' })
    await world.settle(again.settled('safe'))
    // It is said once.
    const { sent } = again.status()
    await world.kill('ada')
    const reopened = await world.settle((await world.openDevice('ada')).open(again.id))
    write(reopened, 'after')
    await world.until(() => has(bob, 'after'))
    expect(reopened.status().sent).toBe(sent + 1)
    expect(world.tap.violations.splice(0).length).toBeGreaterThan(0)
    await world.dispose()
  })

  it('whose storage was set back brings what it had written before and since', async () => {
    const { world, deviceOf, all } = await party(8203, ['bob'])
    const [ada, bob] = all as [Document, Document]
    await world.settle(deviceOf('ada')[Symbol.asyncDispose]())
    const backup = entriesOf(world, 'ada')
    await world.kill('ada')
    const second = await world.settle((await world.openDevice('ada')).open(ada.id))
    write(second, 'sent')
    await world.until(() => has(bob, 'sent'))
    // A server that lacks it cannot show that it was said.
    await world.settle(second.settled('safe'))
    await world.pass(1_000)
    await world.kill('ada')
    world.disk('ada').apply({ delRange: [everything], put: backup })
    world.cut('ada')
    const third = await world.settle((await world.openDevice('ada')).open(ada.id))
    write(third, 'since')
    await world.settle(third.settled('stored'))
    const problems: string[] = []
    third.subscribe((event) => event.type === 'problem' && problems.push(event.error.code))
    world.heal('ada')
    await world.until(() => problems.includes('STORAGE_CORRUPT'))
    await world.settle(bob.remove(ada.memberId))
    const link = await world.settle(bob.invite())
    // The process that is told by the user is another than the one that stopped.
    await world.kill('ada')
    const again = await world.settle((await world.openDevice('ada')).join(link))
    await world.until(() => [bob, again].every((one) => has(one, 'start', 'sent', 'since')))
    write(again, 'on')
    await world.until(() => has(bob, 'on'))
    await world.dispose()
  })

  it('keeps the document as it is when nobody lets it in', async () => {
    const { world, deviceOf, all } = await party(8204, ['bob'])
    const [ada, bob] = all as [Document, Document]
    await world.settle(ada.remove(bob.memberId))
    await world.until(() => bob.status().role === 'removed')
    const link = await world.settle(ada.invite())
    world.cut('ada')
    const given = new AbortController()
    const joining = deviceOf('bob').join(link, given.signal)
    await world.pass(5_000)
    given.abort()
    await expect(world.settle(joining)).rejects.toMatchObject({ code: 'ABORTED' })
    const still = await world.settle(deviceOf('bob').open(ada.id))
    expect(still.status().role).toBe('removed')
    expect(has(still, 'start')).toBe(true)
    expect(fromHex(still.memberId)).toEqual(fromHex(bob.memberId))
    world.heal('ada')
    await world.dispose()
  })
})
