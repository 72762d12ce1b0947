import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type CommitPlan, PublicGroup } from '../group/index.js'
import type { Create, DecidedSlot } from '../wire/index.js'
import { SubscribeMode } from '../wire/index.js'
import type { ServerOptions } from './server.js'
import { codeOf, problemOf } from './testing/expect.js'
import { type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
let old: readonly ServerHost[]
let fresh: ServerHost
let admin: TestDevice
let editor: TestDevice

async function start(options: Partial<ServerOptions> = {}): Promise<void> {
  world = await World.start(4, options)
  old = world.hosts.slice(0, 3)
  fresh = world.hosts[3] as ServerHost
  admin = await world.device()
  await admin.create(old)
  editor = await admin.add(old)
  for (let i = 0; i < 3; i++) await follow(await admin.commit(old))
}
beforeEach(() => start())
afterEach(() => world[Symbol.asyncDispose]())

const entryOf = ({ server, address }: ServerHost) => ({ id: server.id, addresses: [address] })
const adding = (host: ServerHost): CommitPlan => ({ servers: [{ kind: 'add', server: entryOf(host) }] })
const follow = (decided: DecidedSlot) => editor.follow(decided)

/** Decides this among the old servers and returns what brings it to a new one. */
async function decideOn(plan: CommitPlan): Promise<Create> {
  const groupInfo = await admin.group.groupInfo()
  const decided = await admin.commit(old, plan)
  await follow(decided)
  return { groupInfo, decided }
}

async function bring(device: TestDevice, create: Create, host = fresh): Promise<void> {
  const { channel } = await device.to(host)
  await channel.request({ $case: 'create', value: create })
}

const catchUp = async (device: TestDevice, host: ServerHost, fromSlot: bigint) => {
  const { channel } = await device.to(host)
  const answer = await channel.request({ $case: 'catchUp', value: { group: device.groupId, fromSlot } })
  return answer.value.slots.map(({ slot }) => slot)
}

const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
  bytes.map((byte, i) => (i === (at + bytes.length) % bytes.length ? byte ^ 1 : byte))

describe('SRV-070: a document that comes to a server with the commit that brings the server in', () => {
  it('goes on there from the next epoch, and is brought once', async () => {
    const create = await decideOn(adding(fresh))
    await bring(editor, create)
    const slot = admin.group.epoch
    expect(await admin.subscribe(fresh)).toMatchObject({ slot, position: 0n, heads: [] })
    const before = await fresh.content()
    await bring(admin, create)
    expect(await fresh.content()).toBe(before)
    expect(fresh.server.stats().counts.created).toBe(1)
    // It has the slot it came with and those after, none before.
    expect(await catchUp(editor, fresh, slot - 1n)).toEqual([slot - 1n])
    expect(await catchUp(editor, fresh, 0n)).toEqual([])
    // It decides with the others: of four, three are needed.
    const decided = await admin.decide([...old.slice(0, 2), fresh])
    await admin.tell(fresh, decided)
    expect((await editor.subscribe(fresh)).slot).toBe(slot + 1n)
    await fresh.stop()
    await fresh.start()
    editor.disconnect()
    expect((await editor.subscribe(fresh)).slot).toBe(slot + 1n)
  })

  it('is refused with a certificate that does not prove the slot in that group', async () => {
    const { groupInfo, decided } = await decideOn(adding(fresh))
    if (decided === undefined) throw new Error('nothing was decided')
    const { votes } = decided.certificate
    const [first, ...others] = votes
    if (first === undefined) throw new Error('no votes')
    const withVotes = (changed: readonly (typeof first)[]) => ({ ...decided, certificate: { votes: changed } })
    const wrong: Record<string, Create> = {
      'too few votes': { groupInfo, decided: withVotes([first]) },
      'one vote twice': { groupInfo, decided: withVotes([first, first, first]) },
      'a forged vote': {
        groupInfo,
        decided: withVotes([{ ...first, signature: flipped(first.signature, 5) }, ...others])
      },
      'another value': { groupInfo, decided: { ...decided, value: flipped(decided.value, -1) } },
      'another slot': { groupInfo, decided: { ...decided, slot: decided.slot + 1n } },
      'the group of another epoch': { groupInfo: await admin.group.groupInfo(), decided }
    }
    const verified = vi.spyOn(PublicGroup, 'ofGroupInfo')
    for (const [what, create] of Object.entries(wrong)) {
      const { code } = await problemOf(bring(admin, create))
      expect(['INVALID', 'BAD_SIGNATURE'], what).toContain(code)
    }
    // The members' signatures are looked at last.
    expect(verified).not.toHaveBeenCalled()
    verified.mockRestore()
    // The same id and epoch, another context: a member's invention with servers of its own.
    const liar = await world.device()
    await liar.found(old, admin.groupId)
    for (const host of old) expect(await codeOf(liar.createOn(host))).toBe('ALREADY_EXISTS')
    const invented = await liar.group.groupInfo()
    expect(['INVALID', 'BAD_SIGNATURE']).toContain(
      (await problemOf(bring(liar, { groupInfo: invented, decided }))).code
    )
    expect(fresh.server.stats().counts.created).toBe(0)
    await bring(admin, { groupInfo, decided })
  })

  it('is refused from a device that is no member after the commit', async () => {
    const create = await decideOn({ ...adding(fresh), removes: [editor.memberId] })
    for (const device of [editor, await world.device()])
      expect(await codeOf(bring(device, create))).toBe('NOT_A_MEMBER')
    await bring(admin, create)
  })

  it('is refused when the slot does not bring this server in, or it was there before', async () => {
    const other = await decideOn({ policy: { ...admin.group.public.document.policy, rotationHours: 5 } })
    expect(await problemOf(bring(admin, other))).toMatchObject({ code: 'INVALID' })
    const create = await decideOn(adding(fresh))
    const later = await decideOn({})
    // What it has promised in between it must not forget.
    expect(await problemOf(bring(admin, later))).toMatchObject({
      code: 'INVALID',
      message: expect.stringContaining('already')
    })
    await bring(admin, create)
  })

  it('is refused when the operator does not want it, and where the id has another beginning', async () => {
    await world[Symbol.asyncDispose]()
    let open = true
    await start({ policy: { mayCreate: () => open } })
    const create = await decideOn(adding(fresh))
    open = false
    expect(await codeOf(bring(admin, create))).toBe('FORBIDDEN')
    open = true
    const squatter = await world.device()
    await squatter.found([fresh], admin.groupId)
    await squatter.createOn(fresh)
    expect(await codeOf(bring(admin, create))).toBe('ALREADY_EXISTS')
  })
})

describe('SRV-072: the chains of senders on a server that came later', () => {
  const sealed: Uint8Array[] = []
  beforeEach(async () => {
    sealed.length = 0
    for (let i = 0; i < 6; i++) sealed.push(await editor.seal())
    for (const host of old) await editor.upload(host, ...sealed.slice(0, 4))
    await bring(admin, await decideOn(adding(fresh)))
  })
  const at = (i: number): Uint8Array => sealed[i] as Uint8Array

  it('begin with what comes first, and have no gaps from there on', async () => {
    await editor.upload(fresh, at(3), at(4))
    expect(await codeOf(editor.upload(fresh, await editor.seal()))).toBe('SEQUENCE_GAP')
    // Neither does it say of what lies before that the sender has forked.
    expect(await codeOf(editor.upload(fresh, at(1)))).toBe('SEQUENCE_GAP')
    await editor.upload(fresh, at(4), at(5))
    expect(fresh.server.stats().counts.conflict).toBe(0)
    expect((await admin.subscribe(fresh)).heads.map(({ seq }) => seq)).toEqual([6n])
    for (const host of old) expect(await codeOf(editor.upload(host, at(5)))).toBe('SEQUENCE_GAP')
  })

  it("begin anew once for the sender's own device, whatever others have brought, across restarts", async () => {
    await admin.upload(fresh, at(0))
    expect(await codeOf(admin.upload(fresh, at(3)))).toBe('SEQUENCE_GAP')
    await editor.upload(fresh, at(3))
    await fresh.stop()
    await fresh.start()
    for (const device of [admin, editor]) device.disconnect()
    expect(await codeOf(editor.upload(fresh, at(5)))).toBe('SEQUENCE_GAP')
    await admin.upload(fresh, at(4))
    await editor.upload(fresh, at(5))
  })

  it('still show a fork', async () => {
    await editor.upload(fresh, at(3), at(4))
    const header = { seq: 5n }
    expect(await codeOf(editor.upload(fresh, await editor.sealAside(header)))).toBe('SEQUENCE_CONFLICT')
  })
})

describe('SRV-073: a server that was removed', () => {
  let left: ServerHost
  beforeEach(async () => {
    left = old[2] as ServerHost
    for (const host of old) await editor.upload(host, await editor.sealAside())
    const decided = await admin.decide(old, { servers: [{ kind: 'remove', id: left.server.id }] })
    for (const host of old) await admin.tell(host, decided)
    await follow(decided)
  })

  it('takes nothing more and lets members read what it has', async () => {
    expect(await problemOf(editor.upload(left, await editor.sealAside()))).toMatchObject({ code: 'STALE_EPOCH' })
    const { channel } = await admin.to(left)
    const value = { group: admin.groupId, mailbox: new Uint8Array(16), expiresAtMs: BigInt(Date.now() + 100_000) }
    expect(await codeOf(channel.request({ $case: 'mailboxOpen', value }))).toBe('STALE_EPOCH')
    expect(await codeOf(admin.prepare(left, 1n))).toBe('INVALID')
    const { heads, slot } = await editor.subscribe(left, SubscribeMode.SUBSCRIBE_MODE_HEADS)
    expect(heads).toHaveLength(1)
    expect(slot).toBe(admin.group.epoch)
    expect((await catchUp(editor, left, 0n)).at(-1)).toBe(admin.group.epoch - 1n)
  })

  it('comes back by a commit, and the senders begin anew there', async () => {
    await follow(await admin.commit(old.slice(0, 2)))
    const mine: Uint8Array[] = []
    for (let i = 0; i < 4; i++) mine.push(await editor.seal())
    const back = await admin.decide(old.slice(0, 2), adding(left))
    const { slot } = await editor.subscribe(left)
    const { channel } = await admin.to(old[0] as ServerHost)
    const missing = await channel.request({ $case: 'catchUp', value: { group: admin.groupId, fromSlot: slot } })
    await editor.tell(left, ...missing.value.slots, back)
    await follow(back)
    await editor.upload(left, mine[3] as Uint8Array)
    expect((await editor.subscribe(left)).heads).toMatchObject([{ seq: 4n }])
  })
})
