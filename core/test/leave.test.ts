import { afterEach, describe, expect, it, vi } from 'vitest'
import { HeddleError } from '../src/errors.js'
import { MemberGroup } from '../src/group/index.js'
import type { Document } from '../src/index.js'
import { textOf, World } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

async function documentOf(world: World, others: Readonly<Record<string, 'admin' | 'editor' | 'reader'>>) {
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const copies: Document[] = []
  for (const [name, role] of Object.entries(others)) {
    const device = await world.openDevice(name)
    copies.push(await world.settle(device.join(await world.settle(doc.invite({ role })))))
  }
  return { doc, copies }
}

const sameText =
  (...documents: Document[]) =>
  () =>
    new Set(documents.map((one) => textOf(one).toString())).size === 1

describe('a device that leaves', () => {
  for (const role of ['editor', 'reader', 'admin'] as const)
    it(`is removed by an admin's device as ${role}`, async () => {
      const world = await World.create({ seed: 700 })
      const { doc, copies } = await documentOf(world, { bob: role })
      const [copy] = copies as [Document]
      if (role !== 'reader') textOf(copy).insert(0, 'last words')
      await world.settle(copy.leave())
      expect(copy.status()).toMatchObject({ role: 'removed', connection: 'removed', leaving: false })
      expect(doc.members()).toHaveLength(1)
      await world.until(() => textOf(doc).toString() === (role === 'reader' ? '' : 'last words'))
      await expect(copy.leave()).rejects.toMatchObject({ code: 'REMOVED' })
      await world.dispose()
    })

  it('takes no more edits and changes from then on, across restarts, and says so', async () => {
    const world = await World.create({ seed: 701 })
    const { doc, copies } = await documentOf(world, { bob: 'admin' })
    const [copy] = copies as [Document]
    textOf(copy).insert(0, 'before')
    await world.until(sameText(doc, copy))
    await world.settle(world.stop('ada'))
    await world.settle(copy.leave({ until: 'requested' }))
    expect(copy.status()).toMatchObject({ role: 'admin', leaving: true })
    const problems: string[] = []
    copy.subscribe((event) => {
      if (event.type === 'problem') problems.push(event.error.message)
    })
    textOf(copy).insert(0, 'after ')
    textOf(copy).insert(0, 'after ')
    await world.pass(1_000)
    expect(problems).toEqual(['this device is leaving the document and takes no more edits and changes'])
    await expect(copy.settled('stored')).rejects.toMatchObject({ code: 'FORBIDDEN' })
    for (const change of [() => copy.rotate(), () => copy.setPolicy({ rotationHours: 1 })])
      await expect(change()).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await world.kill('bob')
    const again = await (await world.openDevice('bob')).open(copy.id)
    expect(textOf(again).toString()).toBe('before')
    expect(again.status()).toMatchObject({ leaving: true, unsent: 0 })
    const admin = await (await world.openDevice('ada')).open(doc.id)
    await world.until(() => again.status().role === 'removed' && admin.members().length === 1)
    expect(textOf(admin).toString()).toBe('before')
    await world.dispose()
  })

  it('goes on with it when it dies at any moment', async () => {
    for (const nth of [1, 2, 3, 4])
      for (const when of ['before', 'after'] as const) {
        const world = await World.create({ seed: 702 + nth })
        const { doc, copies } = await documentOf(world, { bob: 'editor' })
        const [copy] = copies as [Document]
        textOf(copy).insert(0, 'words ')
        await world.settle(copy.settled('safe'))
        const crash = world.crashAt('bob', nth, when)
        copy.leave().catch(() => undefined)
        await world.until(() => crash.happened || copy.status().role === 'removed')
        world.calm('bob')
        const again = crash.happened ? await (await world.openDevice('bob')).open(copy.id) : copy
        // Before the wish was durable, it was not said.
        if (!again.status().leaving && again.status().role !== 'removed') await world.settle(again.leave())
        await world.until(() => again.status().role === 'removed' && doc.members().length === 1)
        await world.dispose()
      }
  })

  it('is removed by one of many admins, who do not contend', async () => {
    const world = await World.create({ seed: 710 })
    const { doc, copies } = await documentOf(world, { bob: 'admin', carl: 'admin', dora: 'admin', eve: 'editor' })
    const eve = copies.at(-1) as Document
    await world.until(() => [doc, ...copies].every((one) => one.members().length === 5))
    const epoch = doc.status().epoch
    const promises = () => [1, 2, 3].reduce((sum, i) => sum + world.server(`server-${i}`).stats().counts.promise, 0)
    const before = promises()
    await world.settle(eve.leave())
    await world.until(() => [doc, ...copies.slice(0, 3)].every((one) => one.status().pendingChanges === 0))
    expect(doc.status().epoch).toBe(epoch + 1n)
    expect(promises() - before).toBeLessThanOrEqual(3)
    await world.dispose()
  })

  it('is removed by the admins who are there, whoever is not', async () => {
    for (const away of ['ada', 'bob', 'carl']) {
      const world = await World.create({ seed: 711 })
      const { doc, copies } = await documentOf(world, { bob: 'admin', carl: 'admin', eve: 'editor' })
      const [bob, carl, eve] = copies as [Document, Document, Document]
      await world.until(() => [doc, bob, carl, eve].every((one) => one.members().length === 4))
      const there = { ada: doc, bob, carl }
      await world.kill(away)
      await world.settle(eve.leave())
      for (const [name, one] of Object.entries(there))
        if (name !== away) await world.until(() => one.members().length === 3)
      await world.dispose()
    }
  })

  it('is no admin that would leave nobody who is', async () => {
    const world = await World.create({ seed: 712 })
    const { doc, copies } = await documentOf(world, { bob: 'editor' })
    const [copy] = copies as [Document]
    await expect(doc.leave()).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('admin first')
    })
    await world.settle(doc.setRole(copy.memberId, 'admin'))
    await world.until(() => copy.status().role === 'admin')
    // Both at once: one goes, the other learns that it has to stay.
    const left = [doc.leave(), copy.leave()].map((leave) =>
      leave.then(
        () => 'left',
        (error: { readonly code: string }) => error.code
      )
    )
    expect((await world.settle(Promise.all(left))).sort()).toEqual(['FORBIDDEN', 'left'])
    const stays = doc.status().role === 'removed' ? copy : doc
    expect(stays.status()).toMatchObject({ role: 'admin', leaving: false })
    textOf(stays).insert(0, 'goes on')
    await world.settle(stays.settled('safe'))
    await world.dispose()
  })

  it('is removed in the end when that fails at first, and by who was no admin meanwhile, across restarts', async () => {
    const world = await World.create({ seed: 713 })
    const { doc, copies } = await documentOf(world, { bob: 'admin', eve: 'editor' })
    const [bob, eve] = copies as [Document, Document]
    await world.until(() => [doc, bob, eve].every((one) => one.members().length === 3))
    const { buildCommit } = MemberGroup.prototype
    let failures = 0
    const failing = vi.spyOn(MemberGroup.prototype, 'buildCommit').mockImplementation(function (
      this: MemberGroup,
      plan
    ) {
      if ((plan?.removes?.length ?? 0) === 0) return buildCommit.call(this, plan)
      failures++
      throw new HeddleError('INVALID', 'it cannot be built')
    })
    await world.settle(eve.leave({ until: 'requested' }))
    await world.until(() => failures === 2 && [doc, bob].every((one) => one.status().pendingChanges === 1))
    // Not over and over in one epoch.
    await world.pass(60_000)
    expect(failures).toBe(2)
    await world.settle(bob.setRole(doc.memberId, 'editor'))
    await world.until(() => doc.status().role === 'editor' && failures === 3)
    await world.kill('ada')
    const ada = await world.settle((await world.openDevice('ada')).open(doc.id))
    await world.settle(bob.setRole(ada.memberId, 'admin'))
    await world.until(() => ada.status().role === 'admin' && failures === 5)
    expect(ada.status().pendingChanges).toBe(1)
    await world.kill('bob')
    failing.mockRestore()
    await world.settle(ada.rotate())
    await world.until(() => ada.members().length === 2 && eve.status().role === 'removed')
    expect(ada.status().pendingChanges).toBe(0)
    await world.dispose()
  })
})
