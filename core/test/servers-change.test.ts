import { describe, expect, it, vi } from 'vitest'
import { ServerLink } from '../src/device/links.js'
import { type Document, formatTicket } from '../src/index.js'
import { textOf, World } from './world.js'

const ticketOf = (world: World, name: string): string => {
  const { addresses, id } = world.server(name)
  return formatTicket(addresses[0] ?? '', id)
}
const idOf = (world: World, name: string): string => Buffer.from(world.server(name).id).toString('hex')

/** Ada's document on the first servers of the world, with the others as editors. */
async function documentOf(world: World, servers: readonly string[], others: readonly string[] = ['bob']) {
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: servers.map((name) => ticketOf(world, name)) }))
  const copies: Document[] = []
  for (const name of others) {
    const device = await world.openDevice(name)
    copies.push(await world.settle(device.join(await world.settle(doc.invite()))))
  }
  return { ada, doc, copies, copy: copies[0] as Document }
}

const sameText =
  (...documents: Document[]) =>
  () =>
    new Set(documents.map((one) => textOf(one).toString())).size === 1

const serversOf = (document: Document): string[] =>
  document
    .status()
    .servers.map(({ address }) => address)
    .sort()

const connected = (document: Document, count: number) => () =>
  document.status().servers.filter(({ state }) => state === 'connected').length === count

const three = ['server-1', 'server-2', 'server-3']

/** Everything on these servers and no other: text of all devices with the others dead. */
async function expectServed(world: World, documents: readonly Document[], dead: readonly string[]) {
  for (const name of dead) if (world.runs(name)) await world.kill(name)
  const [first, ...others] = documents as [Document, ...Document[]]
  textOf(first).insert(0, 'after ')
  await world.settle(first.settled('safe'))
  await world.until(sameText(first, ...others))
  await world.settle(first.rotate())
  await world.until(() => documents.every((one) => one.status().epoch === first.status().epoch))
}

describe('a server added to a document', () => {
  it('takes part in decisions and messages of a document that has a long history', async () => {
    const world = await World.create({ seed: 601, servers: 4 })
    const { doc, copy } = await documentOf(world, three)
    for (let i = 0; i < 30; i++) {
      textOf(doc).insert(0, `${i} `)
      await world.settle(doc.settled('safe'))
      if (i % 3 === 0) await world.settle(doc.rotate())
    }
    await world.until(sameText(doc, copy))
    await world.settle(doc.addServer(ticketOf(world, 'server-4')))
    expect(serversOf(doc)).toHaveLength(4)
    await world.until(() => serversOf(copy).length === 4 && connected(copy, 4)())
    await world.until(() => doc.status().connection === 'online' && doc.status().unsafe === 0)
    // Of four three decide: without the new one it would be two.
    await expectServed(world, [doc, copy], ['server-1'])
    await expectServed(world, [copy, doc], [])
    await world.dispose()
  })

  it('must be there, must be new, and must not be the eighth', async () => {
    const world = await World.create({ seed: 602, servers: 8 })
    const names = Array.from({ length: 7 }, (_, i) => `server-${i + 1}`)
    const { doc } = await documentOf(world, names, [])
    await expect(world.settle(doc.addServer(ticketOf(world, 'server-8')))).rejects.toMatchObject({
      code: 'CONFIG_INVALID'
    })
    await world.settle(doc.removeServer(idOf(world, 'server-7')))
    await expect(world.settle(doc.addServer(ticketOf(world, 'server-1')))).rejects.toMatchObject({
      code: 'CONFIG_INVALID'
    })
    const dead = ticketOf(world, 'server-8')
    await world.kill('server-8')
    await expect(world.settle(doc.addServer(dead))).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    await expect(world.settle(doc.addServer('nonsense'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    expect(doc.status()).toMatchObject({ pendingChanges: 0 })
    await world.dispose()
  })

  it('that does not take the document is said to refuse it, once', async () => {
    const world = await World.create({ seed: 606, servers: 4 })
    const { doc } = await documentOf(world, three, [])
    const problems: string[] = []
    doc.subscribe((event) => {
      if (event.type === 'problem') problems.push(event.error.message)
    })
    world.refuseCreates('server-4')
    await world.settle(doc.addServer(ticketOf(world, 'server-4')))
    await world.pass(30_000)
    expect(problems).toEqual([expect.stringContaining('does not take the document')])
    const [refusing] = doc.status().servers.filter(({ address }) => address === 'mem://server-4')
    expect(refusing).toMatchObject({ state: 'refused', lastError: { code: 'FORBIDDEN' } })
    // The others are enough.
    textOf(doc).insert(0, 'text')
    await world.settle(doc.settled('safe'))
    await world.settle(doc.removeServer(idOf(world, 'server-4')))
    expect(doc.status().servers.map(({ state }) => state)).toEqual(['connected', 'connected', 'connected'])
    await world.dispose()
  })

  it('gets the document from any device that was there, and from none that came later', async () => {
    const world = await World.create({ seed: 603, servers: 4 })
    const { doc, copy } = await documentOf(world, three)
    // Ada cannot reach it, although it was there when she looked.
    const added = doc.addServer(ticketOf(world, 'server-4'))
    await world.until(() => doc.status().pendingChanges > 0)
    world.cutBetween('ada', 'server-4')
    world.cutBetween('bob', 'server-4')
    await world.settle(added)
    const eve = await world.openDevice('eve')
    const late = await world.settle(eve.join(await world.settle(doc.invite())))
    await world.pass(5_000)
    expect(world.server('server-4').stats().counts.created).toBe(0)
    world.healBetween('bob', 'server-4')
    await world.until(() => world.server('server-4').stats().counts.created === 1, 120_000)
    await world.kill('server-1')
    textOf(late).insert(0, 'from the one who came later')
    await world.settle(late.settled('safe'))
    world.healBetween('ada', 'server-4')
    await world.until(sameText(doc, copy, late))
    await world.dispose()
  })

  it('that dies as it learns of the document goes on when it is back', async () => {
    for (const nth of [1, 2, 3])
      for (const when of ['before', 'after'] as const) {
        const world = await World.create({ seed: 604 + nth, servers: 4 })
        const { doc, copy } = await documentOf(world, three)
        textOf(doc).insert(0, 'text')
        await world.settle(doc.settled('safe'))
        const crash = world.crashAt('server-4', nth, when)
        await world.settle(doc.addServer(ticketOf(world, 'server-4')))
        textOf(doc).insert(0, 'more ')
        await world.settle(doc.rotate())
        await world.until(() => crash.happened || connected(doc, 4)())
        await world.pass(2_000)
        world.calm('server-4')
        if (!world.runs('server-4')) await world.startServer('server-4')
        await world.until(() => connected(doc, 4)() && connected(copy, 4)())
        await world.pass(1_000)
        await expectServed(world, [doc, copy], ['server-2'])
        await world.dispose()
      }
  })
})

describe('a server removed from a document', () => {
  it('is forgotten by devices, takes nothing more, and lets members read what it has', async () => {
    const world = await World.create({ seed: 620, servers: 4 })
    const four = [...three, 'server-4']
    const { doc, copy } = await documentOf(world, four)
    textOf(doc).insert(0, 'text')
    await world.settle(doc.settled('safe'))
    await world.settle(doc.removeServer(idOf(world, 'server-4')))
    await world.until(() => serversOf(doc).length === 3 && serversOf(copy).length === 3)
    await world.until(() => world.server('server-4').stats().connections === 0)
    const { envelopeStored } = world.server('server-4').stats().counts
    textOf(doc).insert(0, 'not for the fourth ')
    await world.settle(doc.settled('safe'))
    expect(world.server('server-4').stats().counts.envelopeStored).toBe(envelopeStored)
    await expectServed(world, [doc, copy], ['server-4', 'server-1'])
    await world.dispose()
  })

  it('may be the last but not fewer than the tolerance takes', async () => {
    const world = await World.create({ seed: 621, servers: 2 })
    const { doc, copy } = await documentOf(world, ['server-1', 'server-2'])
    await expect(world.settle(doc.removeServer('00'.repeat(32)))).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(world.settle(copy.removeServer(idOf(world, 'server-1')))).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await world.settle(doc.removeServer(idOf(world, 'server-1')))
    await expect(world.settle(doc.removeServer(idOf(world, 'server-2')))).rejects.toMatchObject({
      code: 'CONFIG_INVALID'
    })
    await expectServed(world, [doc, copy], ['server-1'])
    await world.dispose()
  })

  it('can come back, and goes on with what it missed', async () => {
    const world = await World.create({ seed: 622, servers: 4 })
    const { doc, copy } = await documentOf(world, [...three, 'server-4'])
    textOf(doc).insert(0, 'one ')
    textOf(copy).insert(0, 'two ')
    await world.settle(Promise.all([doc.settled('safe'), copy.settled('safe')]))
    const ticket = ticketOf(world, 'server-4')
    await world.settle(doc.removeServer(idOf(world, 'server-4')))
    for (let i = 0; i < 10; i++) {
      textOf(doc).insert(0, `${i} `)
      await world.settle(doc.rotate())
    }
    await world.settle(doc.settled('safe'))
    const eve = await world.openDevice('eve')
    const late = await world.settle(eve.join(await world.settle(doc.invite())))
    const added = doc.addServer(ticket)
    await world.until(() => doc.status().pendingChanges > 0)
    // Who reaches the server at first does not have itself what the server lacks.
    for (const name of ['ada', 'bob']) world.cutBetween(name, 'server-4')
    await world.settle(added)
    await world.until(connected(late, 4))
    await world.kill('server-1')
    await world.settle(late.rotate())
    await world.startServer('server-1')
    for (const name of ['ada', 'bob']) world.healBetween(name, 'server-4')
    await world.until(() => connected(doc, 4)() && connected(copy, 4)() && connected(late, 4)())
    textOf(doc).insert(0, 'again ')
    textOf(copy).insert(0, 'again too ')
    await world.settle(Promise.all([doc.settled('safe'), copy.settled('safe')]))
    await expectServed(world, [copy, doc, late], ['server-1'])
    await world.dispose()
  })
})

describe('a server that moves', () => {
  it('is found at its new address, by those too who were away', async () => {
    const world = await World.create({ seed: 630 })
    const { doc, copy } = await documentOf(world, three)
    world.cut('bob')
    const id = idOf(world, 'server-3')
    await world.settle(world.stop('server-3'))
    await world.startServer('server-3', 'moved')
    await world.settle(doc.replaceServer(id, `mem://moved#${id}`))
    await world.until(connected(doc, 3))
    expect(serversOf(doc)).toContain('mem://moved')
    world.heal('bob')
    await world.until(connected(copy, 3))
    await expectServed(world, [copy, doc], ['server-1'])
    await world.dispose()
  })
})

describe('a server replaced', () => {
  it('while it is dead and the others go on', async () => {
    const world = await World.create({ seed: 640, servers: 4 })
    const { doc, copy } = await documentOf(world, three)
    textOf(doc).insert(0, 'text')
    await world.settle(doc.settled('safe'))
    const id = idOf(world, 'server-2')
    await world.kill('server-2')
    textOf(copy).insert(0, 'meanwhile ')
    await world.settle(doc.replaceServer(id, ticketOf(world, 'server-4')))
    await world.until(() => connected(doc, 3)() && connected(copy, 3)())
    expect(doc.status()).toMatchObject({ unsafe: 0 })
    await expectServed(world, [doc, copy], ['server-1'])
    await world.dispose()
  })

  it('by a device that dies at every moment of it: it is replaced afterwards, once', async () => {
    for (let nth = 1; ; nth++) {
      const world = await World.create({ seed: 650 + nth, servers: 4 })
      const { doc, copy } = await documentOf(world, three)
      textOf(doc).insert(0, 'text ')
      await world.settle(doc.settled('safe'))
      const before = world.commits('ada')
      const crash = world.crashAt('ada', nth, nth % 2 === 0 ? 'before' : 'after')
      const replaced = doc.replaceServer(idOf(world, 'server-2'), ticketOf(world, 'server-4')).catch(() => undefined)
      await world.until(() => crash.happened || serversOf(doc).includes('mem://server-4'))
      await world.pass(500)
      if (!crash.happened) {
        await world.settle(replaced)
        expect(world.commits('ada') - before).toBeLessThan(nth)
        world.calm('ada')
        await world.dispose()
        expect(nth).toBeGreaterThan(3)
        return
      }
      const again = await (await world.openDevice('ada')).open(doc.id)
      // It may have died before the wish was durable.
      await world.until(() => again.status().pendingChanges === 0 && again.status().connection === 'online')
      if (!serversOf(again).includes('mem://server-4'))
        await world.settle(again.replaceServer(idOf(world, 'server-2'), ticketOf(world, 'server-4')))
      await world.until(() => connected(again, 3)() && connected(copy, 3)() && serversOf(copy).length === 3)
      expect(serversOf(copy)).toEqual(serversOf(again))
      await expectServed(world, [again, copy], ['server-2', 'server-1'])
      await world.dispose()
    }
  }, 60_000)

  it('and all the others too, while two type and one is away the whole time: nothing is lost', async () => {
    const world = await World.create({ seed: 660, servers: 6 })
    const { doc, copies } = await documentOf(world, three, ['bob', 'eve'])
    const [bob, eve] = copies as [Document, Document]
    textOf(doc).insert(0, 'common ')
    await world.until(sameText(doc, bob, eve))
    world.cut('eve')
    await world.until(() => eve.status().connection === 'offline')
    textOf(eve).insert(0, '[eve, away] ')
    const typed: string[] = []
    const type = async (who: Document, name: string) => {
      for (let i = 0; i < 4; i++) {
        const word = `${name}${typed.length};`
        typed.push(word)
        textOf(who).insert(textOf(who).length, word)
        await world.pass(20)
      }
    }
    for (const [i, old] of three.entries()) {
      const replacing = doc.replaceServer(idOf(world, old), ticketOf(world, `server-${i + 4}`))
      await type(bob, 'b')
      await type(doc, 'a')
      await world.settle(replacing)
      await world.until(() => connected(doc, 3)() && connected(bob, 3)())
      await type(bob, 'b')
      await world.settle(Promise.all([doc.settled('safe'), bob.settled('safe')]))
    }
    expect(serversOf(bob)).toEqual(['mem://server-4', 'mem://server-5', 'mem://server-6'])
    // Eve knows the old servers only; they still tell her what became of the document, and have what she missed.
    world.heal('eve')
    await world.until(() => eve.status().epoch === doc.status().epoch && connected(eve, 3)(), 120_000)
    await world.settle(eve.settled('safe'))
    await world.until(sameText(doc, bob, eve), 120_000)
    for (const word of [...typed, '[eve, away]']) expect(textOf(doc).toString()).toContain(word)
    await expectServed(world, [eve, doc, bob], three)
    for (const word of typed) expect(textOf(eve).toString()).toContain(word)
    await world.dispose()
  })

  it('and all the others too: what was safe is not less safe, and is not sent again', async () => {
    const world = await World.create({ seed: 665, servers: 6 })
    const { doc, copy } = await documentOf(world, three)
    for (let i = 0; i < 5; i++) {
      textOf(copy).insert(0, `${i} `)
      await world.settle(copy.settled('safe'))
    }
    textOf(copy).insert(0, 'last ')
    await world.settle(copy.settled('safe'))
    await world.pass(2_000)
    for (const [i, old] of three.entries()) {
      const fresh = `server-${i + 4}`
      world.cutBetween('bob', fresh)
      await world.settle(doc.replaceServer(idOf(world, old), ticketOf(world, fresh)))
      await world.until(() => copy.status().epoch === doc.status().epoch)
      expect(copy.status()).toMatchObject({ unsafe: 0, unsent: 0 })
    }
    for (const [i] of three.entries()) {
      world.healBetween('bob', `server-${i + 4}`)
      await world.until(connected(copy, i + 1))
      await world.pass(1_000)
      // Only the last messages of each, which the devices keep until the next ones.
      expect(world.server(`server-${i + 4}`).stats().counts.envelopeStored).toBeLessThan(5)
    }
    await world.settle(copy.settled('safe'))
    await expectServed(world, [copy, doc], three)
    await world.dispose()
  })

  it('and all the others too: who was away finds in the old ones what nobody else is there to tell', async () => {
    const world = await World.create({ seed: 668, servers: 6 })
    const { doc, copies } = await documentOf(world, three, ['bob', 'eve'])
    const [bob, eve] = copies as [Document, Document]
    textOf(doc).insert(0, 'common ')
    await world.until(sameText(doc, bob, eve))
    world.cut('eve')
    await world.until(() => eve.status().connection === 'offline')
    // So much that it does not come before she has learned that these servers were removed.
    const padding = 'x'.repeat(400_000)
    const words: string[] = []
    for (const [i, old] of three.entries()) {
      for (let n = 0; n < 4; n++)
        for (const [who, name] of [
          [doc, 'a'],
          [bob, 'b']
        ] as const) {
          const word = `${name}${i}${n} `
          words.push(word)
          textOf(who).insert(0, `${word}${padding}`)
          await world.settle(who.settled('safe'))
        }
      await world.until(sameText(doc, bob))
      await world.settle(doc.replaceServer(idOf(world, old), ticketOf(world, `server-${i + 4}`)))
      await world.until(() => doc.status().connection === 'online' && bob.status().connection === 'online')
      await world.until(() => doc.status().epoch === bob.status().epoch)
    }
    const text = textOf(doc).toString()
    for (const name of ['ada', 'bob']) await world.settle(world.stop(name))
    world.heal('eve')
    await world.until(() => textOf(eve).toString() === text, 300_000)
    for (const word of words) expect(text).toContain(word)
    await world.dispose()
  })

  it('with only one of the old ones left for who was away: the members have the rest', async () => {
    for (const left of three) {
      const world = await World.create({ seed: 670, servers: 6 })
      const { doc, copies } = await documentOf(world, three, ['bob', 'eve'])
      const [bob, eve] = copies as [Document, Document]
      textOf(doc).insert(0, 'common ')
      await world.until(sameText(doc, bob, eve))
      world.cut('eve')
      await world.until(() => eve.status().connection === 'offline')
      textOf(eve).insert(0, '[eve, away] ')
      for (const [i, old] of three.entries()) {
        textOf(doc).insert(0, `before ${old} goes `)
        textOf(bob).insert(0, `Bob before ${old} goes `)
        await world.settle(Promise.all([doc.settled('safe'), bob.settled('safe')]))
        await world.settle(doc.replaceServer(idOf(world, old), ticketOf(world, `server-${i + 4}`)))
        await world.until(() => connected(doc, 3)() && connected(bob, 3)())
      }
      for (const name of three) if (name !== left) await world.kill(name)
      world.heal('eve')
      await world.until(() => eve.status().epoch === doc.status().epoch && connected(eve, 3)(), 300_000)
      await world.until(sameText(doc, bob, eve), 300_000)
      expect(textOf(doc).toString()).toContain('[eve, away]')
      await expectServed(world, [eve, doc, bob], three)
      await world.dispose()
    }
  })
})

describe('a server that is slow to be left', () => {
  it('does not bring back one that was removed meanwhile', async () => {
    const world = await World.create({ seed: 7301, servers: 4 })
    const { doc } = await documentOf(world, [...three, 'server-4'], [])
    await world.until(connected(doc, 4))
    await world.pass(5_000)
    const slow = idOf(world, 'server-4')
    let left = () => {}
    const gate = new Promise<void>((resolve) => {
      left = resolve
    })
    const close = ServerLink.prototype.close
    const closes = vi.spyOn(ServerLink.prototype, 'close').mockImplementation(async function (this: ServerLink) {
      if (this.id === slow) await gate
      await close.call(this)
    })
    await world.settle(doc.removeServer(slow))
    await world.until(() => closes.mock.contexts.some((link) => link instanceof ServerLink && link.id === slow))
    await world.settle(doc.removeServer(idOf(world, 'server-3')))
    await world.pass(1_000)
    left()
    await world.pass(60_000)
    closes.mockRestore()
    expect(serversOf(doc)).toEqual(['mem://server-1', 'mem://server-2'])
    await world.dispose()
  })
})
