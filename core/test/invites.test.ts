/** Invites of a device as its app handles them: listing and revoking (SPEC JOIN-003, JOIN-010). */
import { describe, expect, it } from 'vitest'
import { World } from './world.js'

async function started(seed: number) {
  const world = await World.create({ seed })
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  return { world, ada, doc }
}

describe('invites', () => {
  it('are listed by the device that made them, as long as they can be followed', async () => {
    const { world, doc } = await started(351)
    const link = await world.settle(doc.invite({ role: 'admin', expiresInMs: 3_600_000 }))
    await world.settle(doc.invite({ role: 'reader', expiresInMs: 60_000 }))
    expect(doc.invites().map(({ role }) => role)).toEqual(['admin', 'reader'])
    const [first] = doc.invites()
    expect(first?.id).toMatch(/^[0-9a-f]{32}$/)
    expect(link).not.toContain(first?.id)
    const copy = await world.settle((await world.openDevice('bob')).join(link))
    await world.until(() => doc.invites().length === 1)
    expect(copy.invites()).toEqual([])
    await world.pass(61_000)
    expect(doc.invites()).toEqual([])
    await world.dispose()
  })

  it('that are revoked nobody is added by, also after a restart and on servers that were away', async () => {
    const { world, doc } = await started(352)
    const link = await world.settle(doc.invite())
    const [invite] = doc.invites()
    world.cutBetween('ada', 'server-3')
    await world.settle(doc.revokeInvite(invite?.id ?? ''))
    expect(doc.invites()).toEqual([])
    // Only the server that has not heard of it knows the mailbox still.
    const given = new AbortController()
    const bob = await world.openDevice('bob')
    for (const server of ['server-1', 'server-2']) world.cutBetween('bob', server)
    const joining = bob.join(link, given.signal)
    await world.pass(5_000)
    await world.kill('ada')
    world.healBetween('ada', 'server-3')
    const again = await world.settle((await world.openDevice('ada')).open(doc.id))
    await world.pass(10_000)
    expect(again.members()).toHaveLength(1)
    for (const server of ['server-1', 'server-2']) world.healBetween('bob', server)
    await expect(world.settle(joining, 120_000)).rejects.toMatchObject({ code: 'INVITE_USED' })
    expect(again.members()).toHaveLength(1)
    await world.dispose()
  })

  it('are revoked by their link as well, once they are this device’s and not used', async () => {
    const { world, doc } = await started(353)
    const link = await world.settle(doc.invite())
    await world.settle(doc.revokeInvite(link))
    await expect(world.settle(doc.revokeInvite('00'.repeat(16)))).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(world.settle(doc.revokeInvite('heddle:nothing'))).rejects.toMatchObject({ code: 'INVITE_INVALID' })
    const used = await world.settle(doc.invite({ role: 'admin' }))
    const copy = await world.settle((await world.openDevice('bob')).join(used))
    await expect(world.settle(doc.revokeInvite(used))).rejects.toMatchObject({ code: 'INVITE_USED' })
    await expect(world.settle(copy.revokeInvite(link))).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await world.dispose()
  })
})
