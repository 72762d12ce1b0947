/**
 * What happens at the edges of a device's life in a document: long absence, being demoted or removed at a bad moment,
 * admins that vanish half-way, failing disks, closing with things in flight.
 */
import { describe, expect, it } from 'vitest'
import { type Device, type Document, type Entry, HeddleError, type RoleName } from '../src/index.js'
import { textOf, World } from './world.js'

interface Party {
  readonly world: World
  readonly ada: Device
  readonly doc: Document
}

async function founded(seed: number): Promise<Party> {
  const world = await World.create({ seed })
  const ada = await world.openDevice('ada')
  return { world, ada, doc: await world.settle(ada.create({ servers: world.tickets })) }
}

async function joined({ world, doc }: Party, name: string, role: RoleName = 'editor'): Promise<Document> {
  const device = await world.openDevice(name)
  return await world.settle(device.join(await world.settle(doc.invite({ role }))))
}

const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const read = (document: Document): string => textOf(document).toString()
const everything = { gte: new Uint8Array(0), lt: new Uint8Array(40).fill(0xff) }

function entriesOf(world: World, name: string): Entry[] {
  const out: Entry[] = []
  for (let gte = everything.gte; ; ) {
    const page = world.disk(name).page({ ...everything, gte })
    const last = page.at(-1)
    if (last === undefined) return out
    out.push(...page)
    gte = new Uint8Array([...last.key, 0])
  }
}

const others = (document: Document) => document.members().filter(({ isSelf }) => !isSelf)

async function rotate({ world, doc }: Party, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await world.settle(doc.rotate())
}

const together = (world: World, ...documents: Document[]): Promise<void> =>
  world.until(() => new Set(documents.map((one) => `${one.status().epoch} ${read(one)}`)).size === 1)

describe('a device that was away', () => {
  it('reads all that was written meanwhile, over more epochs than keys are kept for', async () => {
    const party = await founded(301)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    await world.until(() => copy.status().connection === 'online')
    world.cut('bob')
    const words: string[] = []
    for (let i = 0; i < 30; i++) {
      write(doc, `w${i}.`)
      words.push(`w${i}.`)
      await world.settle(doc.settled('safe'))
      await rotate(party, 1)
    }
    world.heal('bob')
    await together(world, doc, copy)
    for (const word of words) expect(read(copy)).toContain(word)
    write(copy, 'back')
    await world.settle(copy.settled('safe'))
    await together(world, doc, copy)
    expect(copy.status()).toMatchObject({ waiting: 0, unsafe: 0 })
    await world.dispose()
  })

  it('goes on where it was when it dies while it reads', async () => {
    for (const nth of [1, 2, 3, 5, 8]) {
      const party = await founded(302)
      const { world, doc } = party
      await joined(party, 'bob')
      await world.pass(1_000)
      world.cut('bob')
      for (let i = 0; i < 14; i++) {
        write(doc, `w${i}.`)
        await world.settle(doc.settled('safe'))
        await rotate(party, 1)
      }
      const crash = world.crashAt('bob', nth, 'after')
      world.heal('bob')
      await world.pass(20_000)
      world.calm('bob')
      if (!crash.happened) await world.kill('bob')
      const copy = await world.settle((await world.openDevice('bob')).open(doc.id))
      await together(world, doc, copy)
      for (let i = 0; i < 14; i++) expect(read(copy)).toContain(`w${i}.`)
      await world.dispose()
    }
  })

  it('says once more what it had sealed too long ago for anybody to open', async () => {
    const party = await founded(318)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    const third = await joined(party, 'carol')
    await world.until(() => copy.status().connection === 'online')
    // Sealed, but cut off before any server has it.
    const sent = copy.status().sent
    write(copy, 'long ago')
    await world.until(() => copy.status().sent > sent)
    world.cut('bob')
    await rotate(party, 12)
    expect(read(doc)).toBe('')
    world.heal('bob')
    await world.settle(copy.settled('safe'))
    await together(world, doc, copy, third)
    expect(read(doc)).toBe('long ago ')
    expect(doc.status().servers.map(({ state }) => state)).toEqual(['connected', 'connected', 'connected'])
    write(copy, 'now')
    await together(world, doc, copy, third)
    expect(read(third)).toBe('now long ago ')
    await world.dispose()
  })
})

describe('a device that joins', () => {
  it('gets what was sealed before and sent later also when who added it is gone (SYNC-017)', async () => {
    const party = await founded(340)
    const { world, doc } = party
    const bob = await joined(party, 'bob')
    const dora = await joined(party, 'dora', 'admin')
    await together(world, doc, bob, dora)
    const { sent } = bob.status()
    write(bob, 'before')
    await world.until(() => bob.status().sent > sent)
    world.cut('bob')
    const carol = await joined(party, 'carol')
    await together(world, doc, dora, carol)
    await world.kill('ada')
    world.heal('bob')
    write(bob, 'after')
    await world.until(() => read(dora) === 'after before ')
    expect(read(carol)).toBe('')
    await together(world, bob, dora, carol)
    // A second member answers, too: the word of one is not enough.
    await world.until(() => carol.status().lacking === 0)
    expect(carol.status().waiting).toBe(0)
    write(bob, 'now')
    await together(world, bob, dora, carol)
    await world.dispose()
  })
})

describe('a device that comes back', () => {
  it('does not forget keys by what one server that lags behind has', async () => {
    const party = await founded(331)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    await world.until(() => copy.status().connection === 'online')
    world.cut('bob')
    // Server 3 learns the decisions, and gets no message.
    world.tap.liars.set('server-3', (frame, direction) =>
      direction === 'to-server' && frame.body?.$case === 'upload' ? [] : [frame]
    )
    for (let i = 0; i < 12; i++) {
      write(doc, `w${i}.`)
      await world.settle(doc.settled('safe'))
      await rotate(party, 1)
    }
    for (const server of ['server-1', 'server-2']) await world.kill(server)
    world.heal('bob')
    await world.pass(10_000)
    for (const server of ['server-1', 'server-2']) await world.startServer(server)
    await world.until(() => copy.status().epoch === doc.status().epoch)
    await world.pass(10_000)
    for (let i = 0; i < 12; i++) expect(read(copy)).toContain(`w${i}.`)
    world.tap.liars.clear()
    await world.dispose()
  })

  it('stops before it says anything twice when its storage was set back', async () => {
    const party = await founded(332)
    const { world, ada, doc } = party
    const copy = await joined(party, 'bob')
    write(doc, 'one')
    await world.settle(doc.settled('safe'))
    await world.settle(ada[Symbol.asyncDispose]())
    const backup = entriesOf(world, 'ada')
    await world.kill('ada')
    const second = await world.settle((await world.openDevice('ada')).open(doc.id))
    write(second, 'two')
    await world.settle(second.settled('safe'))
    await world.until(() => read(copy).includes('two'))
    // A server that lacks it cannot show that it was said.
    await world.pass(1_000)
    await world.kill('ada')
    world.disk('ada').apply({ delRange: [everything], put: backup })
    const third = await world.settle((await world.openDevice('ada')).open(doc.id))
    const sent = third.status().sent
    const problems: string[] = []
    third.subscribe((event) => event.type === 'problem' && problems.push(event.error.code))
    write(third, 'three')
    await world.until(() => problems.includes('STORAGE_CORRUPT'))
    await world.pass(1_000)
    expect(third.status().sent).toBe(sent)
    await expect(third.invite()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' })
    await world.dispose()
  })

  it('asks no server for what it announces of senders nobody knows', async () => {
    const party = await founded(333)
    const { world, doc } = party
    await world.settle(doc.settled('safe'))
    let fetches = 0
    const heads = Array.from({ length: 500 }, (_, i) => ({
      member: new Uint8Array(16).fill(7).map((byte, at) => (at === 0 ? i & 0xff : at === 1 ? i >> 8 : byte)),
      seq: 5n,
      hash: new Uint8Array(32)
    }))
    world.tap.liars.set('server-1', (frame, direction) => {
      const { body } = frame
      if (body?.$case === 'fetch') fetches++
      if (direction === 'to-server' || body?.$case !== 'subscribed') return [frame]
      return [{ request: frame.request, body: { $case: 'subscribed', value: { ...body.value, heads } } }]
    })
    world.cut('ada')
    await world.pass(1_000)
    world.heal('ada')
    await world.pass(20_000)
    expect(doc.status().servers.map(({ state }) => state)).toEqual(['connected', 'connected', 'connected'])
    expect(fetches).toBe(0)
    world.tap.liars.clear()
    await world.dispose()
  })
})

describe('giving joiners the state', () => {
  it('is made up for by another admin when the one who added them is removed first', async () => {
    const party = await founded(303)
    const { world, doc } = party
    const carol = await joined(party, 'carol', 'admin')
    write(doc, 'from the beginning')
    await together(world, doc, carol)
    const bob = await world.openDevice('bob')
    const link = await world.settle(doc.invite())
    const joining = bob.join(link)
    // Ada goes for good as soon as her commit is decided: what she owes Bob never leaves her.
    await world.until(() => doc.members().length === 3)
    await world.kill('ada')
    const copy = await world.settle(joining)
    await world.pass(5_000)
    expect(read(copy)).toBe('')
    const ada = others(carol).find(({ role }) => role === 'admin')?.id ?? ''
    await world.settle(carol.remove(ada))
    await together(world, carol, copy)
    expect(read(copy)).toBe('from the beginning ')
    await world.dispose()
  })

  it('comes before the admin gives up its role', async () => {
    const party = await founded(304)
    const { world, doc } = party
    write(doc, 'before')
    await world.settle(doc.settled('safe'))
    const bob = await world.openDevice('bob')
    const link = await world.settle(doc.invite({ role: 'admin' }))
    world.cut('ada')
    const joining = bob.join(link)
    await world.pass(3_000)
    // All at once when Ada is back: the join request, and her wish to be an editor.
    const demoted = doc.setRole(doc.memberId, 'editor').catch((error: unknown) => error)
    world.heal('ada')
    const copy = await world.settle(joining)
    await together(world, doc, copy)
    expect(read(copy)).toBe('before ')
    // Alone she was the last admin, which the rules forbid to give up; or she waited for Bob.
    const outcome = await world.settle(demoted)
    expect(outcome === undefined || HeddleError.is(outcome, 'INVALID')).toBe(true)
    await world.dispose()
  })

  it('covers messages of before that arrive only after the join', async () => {
    const party = await founded(305)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    await world.until(() => copy.status().connection === 'online')
    // Bob's message is sealed before Carol joins, and known to a server that nobody else hears from.
    for (const server of ['server-2', 'server-3']) world.cut(server)
    await world.until(() => copy.status().connection === 'degraded')
    write(copy, 'late')
    await world.settle(copy.settled('sent'))
    await world.kill('bob')
    world.cut('server-1')
    for (const server of ['server-2', 'server-3']) world.heal(server)
    await world.until(() => doc.status().connection === 'online')
    const third = await joined(party, 'carol')
    world.heal('server-1')
    await together(world, doc, third)
    expect(read(third)).toBe('late ')
    await world.dispose()
  })

  it('works for messages that overtake it', async () => {
    const party = await founded(306)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    write(doc, 'before')
    await together(world, doc, copy)
    // Ada does not get to sealing the state before Bob has written in the new epoch.
    const carol = await world.openDevice('carol')
    const link = await world.settle(doc.invite())
    const joining = carol.join(link)
    await world.until(() => doc.members().length === 3)
    world.cut('ada')
    await world.until(() => copy.members().length === 3)
    write(copy, 'after')
    const third = await world.settle(joining)
    await world.until(() => third.status().connection === 'online')
    await world.pass(2_000)
    world.heal('ada')
    await together(world, doc, copy, third)
    expect(read(third)).toBe('after before ')
    expect(third.status().waiting).toBe(0)
    await world.dispose()
  })
})

describe('members and roles', () => {
  it('lets one of two admins win who remove each other at once', async () => {
    const party = await founded(307)
    const { world, doc } = party
    const copy = await joined(party, 'bob', 'admin')
    await world.until(() => copy.status().connection === 'online')
    const removals = [doc.remove(copy.memberId), copy.remove(doc.memberId)]
    const ends = await world.settle(Promise.allSettled(removals))
    expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    await world.until(() => [doc, copy].filter((one) => one.status().connection === 'removed').length === 1)
    const [winner, loser] = doc.status().connection === 'removed' ? [copy, doc] : [doc, copy]
    expect(winner.members()).toHaveLength(1)
    await expect(world.settle(loser.rotate())).rejects.toMatchObject({ code: 'REMOVED' })
    await world.dispose()
  })

  it('carries out what is asked of one member several times at once, in order', async () => {
    const party = await founded(308)
    const { world, doc } = party
    await joined(party, 'bob')
    const [bob] = others(doc)
    if (bob === undefined) throw new Error('bob is no member')
    await world.settle(Promise.all([doc.setRole(bob.id, 'reader'), doc.setRole(bob.id, 'admin')]))
    expect(others(doc)[0]?.role).toBe('admin')
    const ends = Promise.allSettled([doc.remove(bob.id), doc.remove(bob.id), doc.setRole(bob.id, 'editor')])
    const [first, second, third] = await world.settle(ends)
    expect([first.status, second.status]).toEqual(['fulfilled', 'fulfilled'])
    expect(third).toMatchObject({ reason: { code: 'INTENT_OBSOLETE' } })
    await world.dispose()
  })

  it('refuses one impossible change without the others', async () => {
    const party = await founded(309)
    const { world, doc } = party
    await joined(party, 'bob')
    const [bob] = others(doc)
    if (bob === undefined) throw new Error('bob is no member')
    const ends = Promise.allSettled([doc.setRole(doc.memberId, 'reader'), doc.remove(bob.id), doc.rotate()])
    const [last, removed, rotated] = await world.settle(ends)
    expect(last).toMatchObject({ status: 'rejected', reason: { code: 'INVALID' } })
    expect([removed.status, rotated.status]).toEqual(['fulfilled', 'fulfilled'])
    expect(doc.members()).toHaveLength(1)
    await world.dispose()
  })

  it('sends what a demoted editor had sealed once it may write again, and does not complain for ever', async () => {
    const party = await founded(310)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    await world.until(() => copy.status().connection === 'online')
    let problems = 0
    copy.subscribe(({ type }) => {
      if (type === 'problem') problems++
    })
    write(copy, 'sealed')
    await world.until(() => copy.status().sent > 0)
    world.cut('bob')
    await world.settle(doc.setRole(copy.memberId, 'reader'))
    world.heal('bob')
    await world.until(() => copy.status().role === 'reader')
    write(copy, 'as a reader')
    await world.pass(120_000)
    expect(problems).toBeLessThan(10)
    await world.settle(doc.setRole(copy.memberId, 'editor'))
    await world.settle(copy.settled('safe'))
    await together(world, doc, copy)
    expect(read(doc)).toContain('sealed')
    expect(read(doc)).toContain('as a reader')
    await world.dispose()
  })
})

describe('invites', () => {
  it('are forgotten when they have expired, and refused then', async () => {
    const party = await founded(311)
    const { world, doc } = party
    const link = await world.settle(doc.invite({ expiresInMs: 60_000 }))
    const records = world.disk('ada')
    const before = recordCount(records)
    await world.pass(61_000)
    write(doc, 'a turn')
    await world.settle(doc.settled('safe'))
    expect(countOf(records, 'v')).toBe(0)
    expect(recordCount(records)).toBeGreaterThan(before - 1)
    const bob = await world.openDevice('bob')
    await expect(world.settle(bob.join(link))).rejects.toMatchObject({ code: 'INVITE_EXPIRED' })
    await world.dispose()
  })

  it('admit one device only, and tell the second one so', async () => {
    const party = await founded(312)
    const { world, doc } = party
    const link = await world.settle(doc.invite())
    const [bob, carol] = [await world.openDevice('bob'), await world.openDevice('carol')]
    await world.settle(bob.join(link))
    await expect(world.settle(carol.join(link))).rejects.toMatchObject({ code: 'INVITE_USED' })
    expect(doc.members()).toHaveLength(2)
    // Carol's private keys stay while somebody might still add her, and no longer.
    expect(joinsOn(world.disk('carol'))).toBe(1)
    await world.pass(24 * 3_600_000)
    await expect(world.settle(carol.join(link))).rejects.toMatchObject({ code: 'INVITE_USED' })
    expect(joinsOn(world.disk('carol'))).toBe(0)
    await expect(world.settle(carol.join(link))).rejects.toMatchObject({ code: 'INVITE_EXPIRED' })
    await world.dispose()
  })

  it('can be made offline and followed before their maker is back', async () => {
    const party = await founded(313)
    const { world, doc } = party
    world.cut('ada')
    await world.until(() => doc.status().connection === 'offline')
    const link = await world.settle(doc.invite())
    const bob = await world.openDevice('bob')
    const joining = bob.join(link)
    await world.pass(5_000)
    world.heal('ada')
    const copy = await world.settle(joining)
    expect(copy.members()).toHaveLength(2)
    await world.dispose()
  })
})

describe('closing', () => {
  it('leaves nothing behind with everything in flight', async () => {
    const party = await founded(314)
    const { world, ada, doc } = party
    const copy = await joined(party, 'bob')
    const bobId = copy.memberId
    const carol = await world.openDevice('carol')
    const ends: string[] = []
    const note = (what: string, task: PromiseLike<unknown>) =>
      task.then(
        () => ends.push(`${what} done`),
        (error: unknown) => ends.push(`${what} ${HeddleError.is(error) ? error.code : error}`)
      )
    note('join', carol.join(await world.settle(doc.invite())))
    for (const server of ['server-2', 'server-3']) await world.kill(server)
    write(doc, 'last words')
    note('rotate', doc.rotate())
    note('remove', doc.remove(bobId))
    note('invite', doc.invite())
    note('safe', doc.settled('safe'))
    note('create', ada.create({ servers: world.tickets }))
    note('close', ada[Symbol.asyncDispose]())
    note('close carol', carol[Symbol.asyncDispose]())
    await world.until(() => ends.length === 8)
    expect(ends).toContain('close done')
    expect(ends).toContain('safe DISPOSED')
    expect(ends).toContain('rotate DISPOSED')
    for (const server of ['server-2', 'server-3']) await world.startServer(server)
    await world.kill('ada')
    const again = await world.settle((await world.openDevice('ada')).open(doc.id))
    expect(read(again)).toBe('last words ')
    // What was asked for and not decided goes on.
    await world.until(() => again.status().pendingChanges === 0 && copy.status().connection === 'removed')
    await world.dispose()
  })

  it('rejects who waits for a document that is closed or removed', async () => {
    const party = await founded(315)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    world.cut('bob')
    await world.until(() => copy.status().connection === 'offline')
    write(copy, 'unsent')
    const waiting = copy.settled('safe')
    const removing = copy.rotate()
    waiting.catch(() => {})
    removing.catch(() => {})
    await world.settle(doc.remove(copy.memberId))
    world.heal('bob')
    await expect(world.settle(waiting)).rejects.toMatchObject({ code: 'REMOVED' })
    await expect(world.settle(removing)).rejects.toMatchObject({ code: 'REMOVED' })
    await world.settle(copy.settled('stored'))
    expect(read(copy)).toContain('unsent')
    world.cut('ada')
    await world.until(() => doc.status().connection === 'offline')
    write(doc, 'unsent')
    const closing = doc.settled('safe')
    closing.catch(() => {})
    await world.settle(doc[Symbol.asyncDispose]())
    await expect(world.settle(closing)).rejects.toMatchObject({ code: 'DISPOSED' })
    await expect(doc.settled('safe')).rejects.toMatchObject({ code: 'DISPOSED' })
    await world.dispose()
  })
})

describe('a disk that fails', () => {
  it('stops the document, tells why, and loses nothing that was stored', async () => {
    const party = await founded(316)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    write(copy, 'stored')
    await world.settle(copy.settled('safe'))
    const problems: string[] = []
    copy.subscribe((event) => event.type === 'problem' && problems.push(event.error.code))
    const failure = new HeddleError('STORAGE_UNAVAILABLE', 'the disk is full')
    world.failDisk('bob', failure)
    write(copy, 'lost')
    await expect(world.settle(copy.settled('stored'))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    expect(problems).toEqual(['STORAGE_UNAVAILABLE'])
    await expect(world.settle(copy.rotate())).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    await expect(world.settle(copy.invite())).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    expect(copy.status().connection).toBe('offline')
    world.failDisk('bob', undefined)
    await world.settle(world.stop('bob'))
    const again = await world.settle((await world.openDevice('bob')).open(doc.id))
    write(again, 'again')
    await world.settle(again.settled('safe'))
    await together(world, doc, again)
    expect(read(doc)).toBe('again stored ')
    await world.dispose()
  })
})

describe('an app', () => {
  it('whose listener throws harms nobody but itself', async () => {
    const party = await founded(317)
    const { world, doc } = party
    const copy = await joined(party, 'bob')
    doc.subscribe(() => {
      throw new Error('a mistake of the app')
    })
    write(doc, 'still there')
    await world.settle(doc.settled('safe'))
    await world.settle(doc.rotate())
    await together(world, doc, copy)
    expect(read(copy)).toBe('still there ')
    await world.dispose()
  })
})

/** Records on a disk of one kind of a document: the letter after "d" and the group id. */
function countOf(disk: ReturnType<World['disk']>, letter: string): number {
  const all = disk.page({ gte: Uint8Array.of(0x64), lt: Uint8Array.of(0x65) })
  return all.filter(({ key }) => key[17] === letter.charCodeAt(0)).length
}

const recordCount = (disk: ReturnType<World['disk']>): number =>
  disk.page({ gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) }).length

/** Joins on a disk that wait for their Welcome. */
const joinsOn = (disk: ReturnType<World['disk']>): number =>
  disk.page({ gte: Uint8Array.of(0x6a), lt: Uint8Array.of(0x6b) }).length
