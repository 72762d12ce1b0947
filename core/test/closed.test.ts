/**
 * What becomes of a document that an admin closes by a ReInit (SPEC GROUP-013): it can be read and edited on every device,
 * nothing is sent or changed any more, and nothing that was edited is lost.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { toHex } from '../src/bytes.js'
import { MemberGroup } from '../src/group/index.js'
import type { Document } from '../src/index.js'
import { textOf, World } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const read = (document: Document): string => textOf(document).toString()
const problemsOf = (document: Document): string[] => {
  const codes: string[] = []
  document.subscribe((event) => event.type === 'problem' && codes.push(event.error.code))
  return codes
}

async function party(seed: number) {
  const world = await World.create({ seed })
  const ada = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
  const bobs = await world.openDevice('bob')
  const bob = await world.settle(bobs.join(await world.settle(ada.invite())))
  write(ada, 'start')
  await world.until(() => read(bob) === 'start ')
  return { world, ada, bobs, bob }
}

/** What this member commits next closes the group. */
function closeBy(document: Document, change: (commit: Uint8Array) => Uint8Array = (commit) => commit): void {
  const { buildCommit } = MemberGroup.prototype
  vi.spyOn(MemberGroup.prototype, 'buildCommit').mockImplementation(async function (this: MemberGroup, plan) {
    if (toHex(this.memberId) !== document.memberId) return await buildCommit.call(this, plan)
    const built = await buildCommit.call(this, { reinit: { suite: 1 } })
    return { ...built, commit: change(built.commit) }
  })
}

describe('a closed document', () => {
  it('says so, keeps what is edited across restarts, and sends nothing', async () => {
    const { world, ada, bobs, bob } = await party(8101)
    const problems = problemsOf(bob)
    closeBy(ada)
    await world.settle(ada.rotate())
    await world.until(() => bob.status().closed)
    const { sent } = bob.status()
    write(bob, 'typed')
    await world.settle(bob.settled('stored'))
    await expect(world.settle(bob.settled('sent'))).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await world.pass(100_000)
    expect(bob.status()).toMatchObject({ closed: true, connection: 'online', sent, unsent: 1 })
    expect(problems).toEqual(['FORBIDDEN'])

    await world.settle(bob[Symbol.asyncDispose]())
    const again = await world.settle(bobs.open(bob.id))
    expect(read(again)).toBe('typed start ')
    write(again, 'more')
    await world.settle(again.settled('stored'))
    await world.pass(100_000)
    expect(again.status()).toMatchObject({ closed: true, connection: 'online', sent, unsent: 2 })
    await world.dispose()
  })

  it('is still read by who was away, and what was sealed before goes out', async () => {
    const { world, ada, bob } = await party(8102)
    world.cut('server-1')
    world.cut('server-2')
    write(bob, 'sealed')
    await world.until(() => read(ada).includes('sealed'))
    const arrived = bob.settled('safe')
    await world.pass(1_000)
    expect(bob.status().unsafe).toBe(1)
    world.cut('bob')
    world.heal('server-1')
    write(ada, 'last')
    closeBy(ada)
    await world.settle(ada.rotate())
    world.heal('bob')
    world.heal('server-2')
    await world.settle(arrived)
    await world.until(() => bob.status().closed && read(bob) === read(ada))
    expect(read(bob)).toContain('last')
    await world.dispose()
  })

  it('takes no more changes: what waited for one hears that', async () => {
    const { world, ada, bob } = await party(8103)
    world.cut('bob')
    const rotated = bob.rotate().then(
      () => 'done',
      ({ code }) => code
    )
    await world.pass(1_000)
    closeBy(ada)
    await world.settle(ada.rotate())
    world.heal('bob')
    expect(await world.settle(rotated)).toBe('FORBIDDEN')
    expect(bob.status()).toMatchObject({ closed: true, pendingChanges: 0 })
    for (const change of [() => ada.rotate(), () => ada.invite(), () => ada.branch(), () => bob.leave()])
      await expect(change()).rejects.toMatchObject({ code: 'FORBIDDEN' })
    // The time to renew keys comes and goes.
    await world.pass(72 * 3_600_000)
    expect(bob.status()).toMatchObject({ closed: true, pendingChanges: 0, connection: 'online' })
    await world.dispose()
  })

  it('that a device can only follow without keys is left as it is, with the edits kept', async () => {
    const { world, ada, bob } = await party(8104)
    closeBy(ada, (commit) => {
      // Its end is the membership tag, which only members can check.
      const poison = commit.slice()
      poison[poison.length - 1] = (poison.at(-1) ?? 0) ^ 1
      return poison
    })
    await world.settle(ada.rotate())
    await world.until(() => bob.status().closed)
    const { sent } = bob.status()
    write(bob, 'typed')
    await world.settle(bob.settled('stored'))
    await world.pass(100_000)
    expect(bob.status()).toMatchObject({ stuck: { recovery: 'impossible' }, sent, unsent: 1 })
    expect(bob.status().stuck?.message).toContain('closed this document for good')
    await world.dispose()
  })
})
