import { describe, expect, it } from 'vitest'
import { fromBase64Url, toBase64Url } from '../src/bytes.js'
import { Invite } from '../src/wire/index.js'
import { textOf, World } from './world.js'

describe('the cipher suite of a document', () => {
  for (const suite of ['post-quantum', 'x25519-chacha20'] as const)
    it(`JOIN-006: may be ${suite}: invited, edited, removed and branched as in any other`, async () => {
      const world = await World.create({ seed: 950 })
      const ada = await world.openDevice('ada')
      const doc = await world.settle(ada.create({ servers: world.tickets, suite }))
      expect(doc.status().suite).toBe(suite)
      textOf(doc).insert(0, 'hello ')
      const bob = await world.openDevice('bob')
      const copy = await world.settle(bob.join(await world.settle(doc.invite())))
      const carl = await world.openDevice('carl')
      const third = await world.settle(carl.join(await world.settle(doc.invite())))
      expect(copy.status().suite).toBe(suite)
      textOf(third).insert(0, 'well ')
      await world.until(() => [doc, copy, third].every((one) => textOf(one).toString() === 'well hello '))
      await world.settle(copy.rotate())
      await world.settle(doc.remove(third.memberId))
      await world.until(() => third.status().role === 'removed' && copy.members().length === 2)
      textOf(copy).insert(0, 'oh ')
      await world.until(() => textOf(doc).toString() === 'oh well hello ')
      expect(textOf(third).toString()).toBe('well hello ')
      let isThere = false
      copy.subscribe(({ type }) => {
        isThere ||= type === 'branch'
      })
      const branch = await world.settle(doc.branch())
      await world.until(() => isThere)
      expect(branch.status().suite).toBe(suite)
      const bobs = await world.settle(bob.open(branch.id))
      await world.until(() => textOf(bobs).toString() === 'oh well hello ')
      await world.kill('ada')
      const again = await (await world.openDevice('ada')).open(doc.id)
      expect(again.status().suite).toBe(suite)
      await world.dispose()
    })

  it('JOIN-006: is in the invite; one that this version does not know is refused before anything is asked', async () => {
    const world = await World.create({ seed: 951 })
    const ada = await world.openDevice('ada')
    const plain = await world.settle(ada.create({ servers: world.tickets }))
    const inviteOf = (link: string) => Invite.decode(fromBase64Url(link.slice('heddle:'.length)) ?? new Uint8Array(0))
    const invite = inviteOf(await world.settle(plain.invite()))
    expect(invite.suite).toBeUndefined()
    const strong = await world.settle(ada.create({ servers: world.tickets, suite: 'post-quantum' }))
    expect(inviteOf(await world.settle(strong.invite())).suite).toBe(0xf791)
    const bob = await world.openDevice('bob')
    const unknown = `heddle:${toBase64Url(Invite.encode({ ...invite, suite: 2 }))}`
    await expect(bob.join(unknown)).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' })
    expect(await bob.documents()).toEqual([])
    await world.dispose()
  })

  it('JOIN-006: a key package of another suite is not added', async () => {
    const world = await World.create({ seed: 952 })
    const ada = await world.openDevice('ada')
    const doc = await world.settle(ada.create({ servers: world.tickets }))
    const problems: string[] = []
    doc.subscribe((event) => event.type === 'problem' && problems.push(event.error.message))
    const link = await world.settle(doc.invite())
    const invite = Invite.decode(fromBase64Url(link.slice('heddle:'.length)) ?? new Uint8Array(0))
    const bob = await world.openDevice('bob')
    const stop = new AbortController()
    const joining = bob
      .join(`heddle:${toBase64Url(Invite.encode({ ...invite, suite: 0xf791 }))}`, stop.signal)
      .catch((error: unknown) => error)
    await world.until(() => problems.length > 0)
    expect(problems[0]).toContain('another cipher suite')
    stop.abort()
    await world.settle(joining)
    expect(doc.members()).toHaveLength(1)
    // The invite is not used up by it.
    const carl = await world.openDevice('carl')
    await world.settle(carl.join(link))
    expect(doc.members()).toHaveLength(2)
    await world.dispose()
  })

  it('is one there is', async () => {
    const world = await World.create({ seed: 953 })
    const ada = await world.openDevice('ada')
    const wrong = 'rot13' as 'x25519'
    await expect(ada.create({ servers: world.tickets, suite: wrong })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await world.dispose()
  })
})
