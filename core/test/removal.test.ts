/**
 * What becomes of the last edits of a member who loses the right to write (SPEC SYNC-020 to SYNC-024): what a remaining
 * member had applied, everybody gets; what nobody had, nobody takes, whichever server brings it up later.
 */
import { describe, expect, it } from 'vitest'
import type { Device, Document } from '../src/index.js'
import { textOf, World } from './world.js'

const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const wordsOf = (document: Document): string => textOf(document).toString().trim().split(' ').sort().join(' ')
const has = (document: Document, word: string): boolean => wordsOf(document).split(' ').includes(word)
const servers = ['server-1', 'server-2', 'server-3']

async function party(seed: number) {
  const world = await World.create({ seed })
  const devices: Device[] = []
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const joined: Document[] = []
  for (const name of ['bob', 'carol', 'rob']) {
    const device = await world.openDevice(name)
    devices.push(device)
    joined.push(await world.settle(device.join(await world.settle(doc.invite()))))
  }
  const [bob, carol, rob] = joined as [Document, Document, Document]
  write(rob, 'start')
  await world.until(() => [doc, bob, carol].every((one) => has(one, 'start')))
  const only = (name: string, server: string) => {
    for (const far of servers) if (far !== server) world.cutBetween(name, far)
  }
  const everywhere = (name: string) => {
    for (const one of servers) world.healBetween(name, one)
  }
  const agree = (word: string, all = [doc, bob, carol]) =>
    all.every((one) => has(one, word) && wordsOf(one) === wordsOf(doc))
  /** Rob writes a word that server 2 alone gets, and Bob alone reads. */
  const writeLate = async () => {
    only('rob', 'server-2')
    only('bob', 'server-2')
    world.cutBetween('ada', 'server-2')
    world.cutBetween('carol', 'server-2')
    write(rob, 'late')
    await world.until(() => has(bob, 'late'))
  }
  const reunite = () => {
    for (const name of ['ada', 'bob', 'carol']) everywhere(name)
  }
  return { world, devices, doc, bob, carol, rob, only, everywhere, writeLate, reunite, agree }
}

describe('a removed member', () => {
  it('keeps the edits that a remaining member had applied, everywhere', async () => {
    const { world, doc, rob, writeLate, reunite, agree } = await party(701)
    await writeLate()
    await world.settle(doc.remove(rob.memberId))
    expect(has(doc, 'late')).toBe(false)
    reunite()
    await world.until(() => agree('late'))
    await world.dispose()
  })

  it('keeps them when the only server that has them is gone: who applied them says them again', async () => {
    const { world, doc, bob, rob, writeLate, reunite, agree } = await party(702)
    await writeLate()
    write(bob, 'ontop')
    await world.settle(bob.settled('sent'))
    await world.settle(doc.remove(rob.memberId))
    await world.kill('server-2')
    reunite()
    await world.until(() => agree('late') && has(doc, 'ontop'), 300_000)
    await world.dispose()
  })

  it('loses what no remaining member had applied when it learned of the removal', async () => {
    const { world, doc, bob, carol, rob, only, everywhere, agree } = await party(703)
    only('rob', 'server-3')
    for (const name of ['ada', 'bob', 'carol']) world.cutBetween(name, 'server-3')
    write(rob, 'lost')
    await world.settle(rob.settled('sent'))
    await world.settle(doc.remove(rob.memberId))
    await world.until(() => [bob, carol].every((one) => one.status().epoch === doc.status().epoch))
    for (const name of ['ada', 'carol', 'rob']) everywhere(name)
    // Bob hears the server that has it, and no other.
    world.healBetween('bob', 'server-3')
    for (const far of ['server-1', 'server-2']) world.cutBetween('bob', far)
    write(carol, 'after')
    await world.until(() => agree('after'))
    await world.pass(120_000)
    expect([doc, bob, carol].filter((one) => has(one, 'lost'))).toEqual([])
    expect(wordsOf(bob)).toBe(wordsOf(doc))
    expect(rob.status().role).toBe('removed')
    await world.dispose()
  })

  it('keeps them when the device that had them was killed before it could say so', async () => {
    for (const nth of [1, 2, 3, 4, 5]) {
      const { world, doc, bob, carol, rob, writeLate, reunite, agree } = await party(710 + nth)
      await writeLate()
      await world.settle(doc.remove(rob.memberId))
      world.crashAt('bob', nth, nth % 2 === 0 ? 'before' : 'after')
      reunite()
      await world.pass(10_000)
      world.calm('bob')
      if (world.runs('bob')) await world.kill('bob')
      const again = await world.settle((await world.openDevice('bob')).open(doc.id))
      await world.until(() => agree('late', [doc, again, carol]), 300_000)
      await world.dispose()
      expect(bob.id).toBe(doc.id)
    }
  })
})

describe('a member removed from a document with strict removal', () => {
  it('loses what only some had applied: who had it takes it back, also what was built on it there', async () => {
    const { world, devices, doc, bob, carol, rob, writeLate, reunite, agree } = await party(731)
    await world.settle(doc.setPolicy({ removalMode: 'strict' }))
    await world.until(() => [bob, carol, rob].every((one) => one.policy().removalMode === 'strict'))
    const problems: string[] = []
    bob.subscribe((event) => event.type === 'problem' && problems.push(event.error.code))
    await writeLate()
    await world.settle(doc.remove(rob.memberId))
    reunite()
    await world.until(() => problems.includes('CRDT_TAINTED'))
    await world.settle(bob[Symbol.asyncDispose]())
    const again = await world.settle((devices[0] as Device).open(doc.id))
    expect(has(again, 'late')).toBe(false)
    write(carol, 'after')
    write(again, 'again')
    await world.until(() => agree('after', [doc, again, carol]) && has(doc, 'again'))
    await world.pass(120_000)
    expect([doc, again, carol].filter((one) => has(one, 'late'))).toEqual([])
    await world.dispose()
  })

  it('keeps what a remaining member had built on before', async () => {
    const { world, doc, bob, carol, rob, writeLate, reunite, agree } = await party(732)
    await world.settle(doc.setPolicy({ removalMode: 'strict' }))
    await world.until(() => [bob, carol, rob].every((one) => one.policy().removalMode === 'strict'))
    await writeLate()
    write(bob, 'ontop')
    await world.settle(bob.settled('sent'))
    await world.settle(doc.remove(rob.memberId))
    reunite()
    await world.until(() => agree('late') && has(doc, 'ontop'), 300_000)
    await world.dispose()
  })
})

describe('a member that becomes a reader', () => {
  it('has what it wrote in between counted once it may write again, and not before', async () => {
    const { world, doc, bob, carol, rob, agree } = await party(721)
    world.cut('rob')
    write(rob, 'between')
    await world.settle(rob.settled('stored'))
    await world.settle(doc.setRole(rob.memberId, 'reader'))
    write(doc, 'meanwhile')
    world.heal('rob')
    await world.until(() => rob.status().role === 'reader' && has(rob, 'meanwhile'))
    await world.pass(30_000)
    expect([doc, bob, carol].filter((one) => has(one, 'between'))).toEqual([])
    expect(has(rob, 'between')).toBe(true)
    await world.settle(doc.setRole(rob.memberId, 'editor'))
    await world.until(() => agree('between', [doc, bob, carol, rob]))
    await world.dispose()
  })

  it('has what was under way at one server passed over, and said again later', async () => {
    const { world, doc, bob, carol, rob, only, everywhere, agree } = await party(722)
    only('rob', 'server-3')
    for (const name of ['ada', 'bob', 'carol']) world.cutBetween(name, 'server-3')
    write(rob, 'between')
    await world.settle(rob.settled('sent'))
    await world.settle(doc.setRole(rob.memberId, 'reader'))
    await world.until(() => [bob, carol].every((one) => one.status().epoch === doc.status().epoch))
    for (const name of ['ada', 'bob', 'carol', 'rob']) everywhere(name)
    write(doc, 'meanwhile')
    await world.until(() => has(rob, 'meanwhile') && rob.status().role === 'reader')
    await world.pass(60_000)
    expect([doc, bob, carol].filter((one) => has(one, 'between'))).toEqual([])
    await world.settle(doc.setRole(rob.memberId, 'editor'))
    await world.until(() => agree('between', [doc, bob, carol, rob]))
    write(rob, 'new')
    await world.until(() => agree('new', [doc, bob, carol, rob]))
    await world.dispose()
  })
})
