import { memoryStorage } from '@heddle/storage-memory'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { fromHex, toHex } from '../src/bytes.js'
import { DocumentStore } from '../src/device/store.js'
import { generateKeyPackage, loadKeyPackage, MemberGroup, PublicGroup } from '../src/group/index.js'
import { createCrypto, parseTicket } from '../src/index.js'
import {
  ControlPayload,
  DecidedSlot,
  EnvelopeHeader,
  EnvelopeKind,
  FollowRecord,
  Role,
  Value,
  ValueContent
} from '../src/wire/index.js'
import type { Device, Document, DocumentEvent } from '../src/index.js'
import { textOf, World } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

interface Party {
  readonly world: World
  readonly devices: Record<string, Device>
  readonly docs: Record<string, Document>
}

/** A document of ada's with the members named, all with the text "common ". */
async function party(
  seed: number,
  others: Readonly<Record<string, 'admin' | 'editor' | 'reader'>>,
  stays: readonly string[] = []
): Promise<Party> {
  const world = await World.create({ seed })
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  textOf(doc).insert(0, 'common ')
  const devices: Record<string, Device> = { ada }
  const docs: Record<string, Document> = { ada: doc }
  for (const [name, role] of Object.entries(others)) {
    const device = await world.openDevice(name, { followBranches: !stays.includes(name) })
    devices[name] = device
    docs[name] = await world.settle(device.join(await world.settle(doc.invite({ role }))))
  }
  const all = Object.values(docs)
  await world.until(() =>
    all.every((one) => textOf(one).toString() === 'common ' && one.members().length === all.length)
  )
  return { world, devices, docs }
}

const get = <T>(record: Record<string, T>, name: string): T => {
  const found = record[name]
  if (found === undefined) throw new Error(`there is no ${name}`)
  return found
}

/** The document on another device, once it is there and has this text. */
async function opened(world: World, device: Device, id: string, text: string): Promise<Document> {
  let ids: readonly string[] = []
  let asking = false
  await world.until(() => {
    if (!asking) {
      asking = true
      void device.documents().then((known) => {
        ids = known
        asking = false
      })
    }
    return ids.includes(id)
  })
  const document = await world.settle(device.open(id))
  await world.until(() => textOf(document).toString() === text)
  return document
}

describe('a branch', () => {
  it('GROUP-040: takes a member along, with content and roles, and goes its own way', async () => {
    const { world, devices, docs } = await party(900, { bob: 'editor' })
    const [old, copy] = [get(docs, 'ada'), get(docs, 'bob')]
    const events: DocumentEvent[] = []
    copy.subscribe((event) => events.push(event))
    textOf(old).insert(0, 'unsaved ')
    const branch = await world.settle(old.branch())
    expect(branch.id).not.toBe(old.id)
    expect(branch.status()).toMatchObject({ branchOf: old.id, role: 'admin', epoch: 1n })
    const bobs = await opened(world, get(devices, 'bob'), branch.id, 'unsaved common ')
    expect(bobs.status()).toMatchObject({ branchOf: old.id, role: 'editor' })
    expect(bobs.members().map(({ role }) => role)).toEqual(branch.members().map(({ role }) => role))
    await world.until(() => events.some(({ type }) => type === 'branch'))
    expect(events.filter(({ type }) => type === 'branch')).toEqual([
      { type: 'branch', documentId: branch.id, by: old.memberId, joined: true }
    ])
    textOf(bobs).insert(0, 'new ')
    textOf(copy).insert(0, 'old ')
    await world.until(() => textOf(branch).toString() === 'new unsaved common ')
    await world.until(() => textOf(old).toString() === 'old unsaved common ')
    await world.settle(old.remove(copy.memberId))
    await world.until(() => copy.status().role === 'removed')
    textOf(branch).insert(0, 'still ')
    await world.until(() => textOf(bobs).toString() === 'still new unsaved common ')
    await world.dispose()
  })

  it('GROUP-041: of four goes on without who is away and who declines; both can be invited', async () => {
    const { world, devices, docs } = await party(901, { bob: 'admin', carl: 'reader', dora: 'editor' }, ['dora'])
    const old = get(docs, 'ada')
    const asked: DocumentEvent[] = []
    get(docs, 'dora').subscribe((event) => event.type === 'branch' && asked.push(event))
    await world.kill('carl')
    const startedMs = world.clock.now()
    const branch = await world.settle(old.branch())
    expect(world.clock.now() - startedMs).toBeGreaterThan(9_000)
    expect(branch.members().map(({ role }) => role)).toEqual(['admin', 'admin'])
    await opened(world, get(devices, 'bob'), branch.id, 'common ')
    expect(asked).toEqual([{ type: 'branch', documentId: branch.id, by: old.memberId, joined: false }])
    expect(await get(devices, 'dora').documents()).toEqual([old.id])
    const carl = await world.openDevice('carl')
    await carl.open(old.id)
    await world.pass(30_000)
    expect(await carl.documents()).toEqual([old.id])
    for (const device of [carl, get(devices, 'dora')]) {
      const late = await world.settle(device.join(await world.settle(branch.invite({ role: 'reader' }))))
      await world.until(() => textOf(late).toString() === 'common ')
    }
    expect(branch.members()).toHaveLength(4)
    await world.dispose()
  })

  it('waits no longer than until all have answered, and asks only whom it is to ask', async () => {
    const { world, devices, docs } = await party(902, { bob: 'editor', carl: 'editor' })
    const [old, bob] = [get(docs, 'ada'), get(docs, 'bob')]
    const asks = () => world.logged.filter(({ node, event }) => node === 'carl' && event === 'join.failed').length
    const before = asks()
    const startedMs = world.clock.now()
    const branch = await world.settle(old.branch({ members: [bob.memberId] }))
    expect(world.clock.now() - startedMs).toBeLessThan(2_000)
    await opened(world, get(devices, 'bob'), branch.id, 'common ')
    await world.pass(30_000)
    expect(await get(devices, 'carl').documents()).toEqual([old.id])
    expect(asks()).toBe(before)
    expect(branch.members()).toHaveLength(2)
    await world.dispose()
  })

  it('is begun by admins only, with servers there can be', async () => {
    const { world, devices, docs } = await party(903, { bob: 'editor' })
    const [old, bob] = [get(docs, 'ada'), get(docs, 'bob')]
    await expect(bob.branch()).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await expect(old.branch({ members: ['00'] })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(old.branch({ faultBound: 1 })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await expect(old.branch({ timeoutMs: 0 })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    const stop = new AbortController()
    world.cut('bob')
    const aborted = old.branch({}, stop.signal).catch((error: unknown) => error)
    await world.pass(1_000)
    stop.abort()
    expect(await aborted).toMatchObject({ code: 'ABORTED' })
    await world.pass(20_000)
    expect(await get(devices, 'ada').documents()).toEqual([old.id])
    await world.dispose()
  })

  it('is not followed by who was removed while answers were waited for', async () => {
    const { world, devices, docs } = await party(904, { bob: 'editor', carl: 'editor' })
    const [old, carl] = [get(docs, 'ada'), get(docs, 'carl')]
    // Bob answers, Carl does not: the branch waits.
    world.cut('carl')
    const branching = old.branch()
    await world.pass(3_000)
    await world.settle(old.remove(get(docs, 'bob').memberId))
    const branch = await world.settle(branching)
    expect(branch.members()).toHaveLength(1)
    world.heal('carl')
    await world.until(() => carl.members().length === 2)
    await world.pass(60_000)
    for (const name of ['bob', 'carl']) expect(await get(devices, name).documents()).toEqual([old.id])
    await world.dispose()
  })

  it('JOIN-011: is entered by nobody who was not in the document, whatever else he has', async () => {
    const { world, docs } = await party(905, { bob: 'editor' })
    const old = get(docs, 'ada')
    const branching = old.branch()
    await world.until(() => world.logged.some(({ event }) => event === 'branch.begun'))
    await world.kill('bob')
    const branch = await world.settle(branching)
    await world.settle(world.stop('ada'))
    const read = async (name: string, id: string) => {
      const { plugin, options } = memoryStorage({ shared: world.disk(name) })
      const storage = await plugin.create(options, world.contextOf(`who reads the disk of ${name}`))
      return new DocumentStore(storage, fromHex(id) ?? new Uint8Array(0))
    }
    const told = await read('ada', branch.id)
    const [decided] = await told.entries('decided')
    const value = Value.decode(DecidedSlot.decode(decided?.value ?? new Uint8Array(0)).value)
    const { welcome } = ValueContent.decode(value.content)
    const bobs = await read('bob', old.id)
    const [record] = await bobs.follows()
    if (record === undefined) throw new Error('Bob has not answered')
    const stolen = loadKeyPackage(record.keyPackage)
    const crypto = createCrypto(world.contextOf('a thief').random)
    const deps = { crypto, now: () => world.clock.now() }
    const tree = MemberGroup.load(await told.entries('group'), deps).public.ratchetTree()
    const before = MemberGroup.load(await bobs.entries('group'), deps)
    const { device } = before.me
    const own = await generateKeyPackage({ crypto, device, nowMs: world.clock.now() })
    await expect(MemberGroup.join({ welcome, tree, keyPackage: own }, deps)).rejects.toThrow('not for this')
    await expect(MemberGroup.join({ welcome, tree, keyPackage: stolen }, deps)).rejects.toThrow('pre-shared key')
    const member = await MemberGroup.join({ welcome, tree, keyPackage: stolen, predecessor: before }, deps)
    expect(toHex(member.public.groupId)).toBe(branch.id)
    await world.dispose()
  })

  it('GROUP-042: leaves the old state or goes on when the device that begins it dies at any moment', async () => {
    const outcomes = new Set<string>()
    for (let nth = 1; nth <= 8; nth++)
      for (const when of ['before', 'after'] as const) {
        const { world, devices, docs } = await party(910 + nth, { bob: 'editor' })
        const old = get(docs, 'ada')
        const crash = world.crashAt('ada', nth, when)
        let isDone = false
        old.branch().then(
          () => {
            isDone = true
          },
          () => undefined
        )
        await world.until(() => crash.happened || isDone)
        world.calm('ada')
        const ada = crash.happened ? await world.openDevice('ada') : get(devices, 'ada')
        const again = await world.settle(ada.open(old.id))
        const ids = (await ada.documents()).filter((id) => id !== old.id)
        outcomes.add(ids.length === 0 ? 'old' : 'new')
        const branch = await world.settle(ids[0] === undefined ? again.branch() : ada.open(ids[0]))
        const bobs = await opened(world, get(devices, 'bob'), branch.id, 'common ')
        textOf(bobs).insert(0, 'new ')
        await world.until(() => textOf(branch).toString() === 'new common ' && branch.members().length === 2)
        expect(textOf(again).toString()).toBe('common ')
        expect(await ada.documents()).toHaveLength(2)
        await world.dispose()
      }
    expect([...outcomes].sort()).toEqual(['new', 'old'])
  }, 60_000)

  it('GROUP-042: is come along to by a device that dies at any moment and is back in time', async () => {
    let died = 0
    for (let nth = 1; nth <= 6; nth++)
      for (const when of ['before', 'after'] as const) {
        const { world, devices, docs } = await party(930 + nth, { bob: 'editor' })
        const old = get(docs, 'ada')
        const crash = world.crashAt('bob', nth, when)
        const branching = old.branch()
        let id: string | undefined
        branching.then((branch) => {
          id = branch.id
        })
        await world.until(() => crash.happened || id !== undefined)
        await world.pass(crash.happened ? 500 : 5_000)
        world.calm('bob')
        if (crash.happened) died++
        const bob = crash.happened ? await world.openDevice('bob') : get(devices, 'bob')
        await world.settle(bob.open(old.id))
        const branch = await world.settle(branching)
        const bobs = await opened(world, bob, branch.id, 'common ')
        textOf(bobs).insert(0, 'new ')
        await world.until(() => textOf(branch).toString() === 'new common ')
        await world.dispose()
      }
    expect(died).toBeGreaterThan(6)
  }, 60_000)

  it('JOIN-012: is not joined when who announced it is no admin there', async () => {
    const { world, docs } = await party(906, { bob: 'editor', carl: 'editor' })
    const [old, carl] = [get(docs, 'ada'), get(docs, 'carl')]
    const branching = old.branch()
    await world.until(() => world.logged.some(({ event }) => event === 'branch.begun'))
    await world.kill('bob')
    await world.settle(branching)
    const { plugin, options } = memoryStorage({ shared: world.disk('bob') })
    const storage = await plugin.create(options, world.contextOf('who changes the disk of bob'))
    const store = new DocumentStore(storage, fromHex(old.id) ?? new Uint8Array(0))
    const [record] = await store.follows()
    if (record === undefined) throw new Error('Bob has not answered')
    const value = FollowRecord.encode({ ...record, by: fromHex(carl.memberId) ?? new Uint8Array(0) })
    await storage.commit({ put: [{ key: store.key('follow', record.branch.group), value }] })
    const bob = await world.openDevice('bob')
    const problems: string[] = []
    const copy = await bob.open(old.id)
    copy.subscribe((event) => event.type === 'problem' && problems.push(event.error.message))
    await world.until(() => problems.length > 0)
    expect(problems[0]).toContain('who announced it, is no admin')
    expect(await bob.documents()).toEqual([old.id])
    await world.dispose()
  })

  it('JOIN-012: is not joined when somebody is an admin there who is none here', async () => {
    const { world, devices, docs } = await party(908, { bob: 'editor', carl: 'editor' })
    const [old, bob, carl] = [get(docs, 'ada'), get(docs, 'bob'), get(docs, 'carl')]
    const { member } = PublicGroup.prototype
    const { branch: begin } = MemberGroup.prototype
    let isLying = false
    vi.spyOn(PublicGroup.prototype, 'member').mockImplementation(function (this: PublicGroup, id) {
      const entry = member.call(this, id)
      const isCarl = entry !== undefined && toHex(id) === carl.memberId
      return isLying && isCarl ? { ...entry, role: Role.ROLE_ADMIN } : entry
    })
    vi.spyOn(MemberGroup.prototype, 'branch').mockImplementation(async function (this: MemberGroup, start) {
      isLying = true
      const begun = await begin.call(this, start)
      isLying = false
      return begun
    })
    const problems: string[] = []
    for (const one of [bob, carl])
      one.subscribe((event) => event.type === 'problem' && problems.push(event.error.message))
    const branch = await world.settle(old.branch())
    expect(branch.members().map(({ role }) => role)).toEqual(['admin', 'editor', 'admin'])
    await world.until(() => problems.length === 2)
    for (const problem of problems) expect(problem).toContain('an admin of the branch who is none of the document')
    await world.pass(60_000)
    for (const name of ['bob', 'carl']) expect(await get(devices, name).documents()).toEqual([old.id])
    await world.dispose()
  })

  it('is not made while too few servers of the document answer', async () => {
    const { world, devices, docs } = await party(909, { bob: 'editor' })
    const old = get(docs, 'ada')
    for (const server of ['server-2', 'server-3']) world.cut(server)
    await expect(world.settle(old.branch({ timeoutMs: 2_000 }))).rejects.toMatchObject({
      code: 'NO_QUORUM',
      message: expect.stringContaining('nobody could come along')
    })
    expect(await get(devices, 'ada').documents()).toEqual([old.id])
    await world.dispose()
  })

  it('goes on when its own servers answer, after its maker was told that too few do', async () => {
    const { world, devices, docs } = await party(960, { bob: 'editor' })
    const old = get(docs, 'ada')
    await world.startServer('server-4')
    const servers = world.tickets.slice(3)
    world.cut('server-4')
    const error: unknown = await world.settle(old.branch({ servers }).catch((cause: unknown) => cause))
    expect(error).toMatchObject({ code: 'NO_QUORUM', message: expect.stringContaining('goes on when they answer') })
    const ids = await get(devices, 'ada').documents()
    expect(ids).toHaveLength(2)
    const branch = await world.settle(get(devices, 'ada').open(ids.find((id) => id !== old.id) ?? ''))
    expect(branch.status()).toMatchObject({ branchOf: old.id, epoch: 0n })
    world.heal('server-4')
    await world.until(() => branch.status().epoch === 1n)
    const bobs = await opened(world, get(devices, 'bob'), branch.id, 'common ')
    expect(bobs.members()).toHaveLength(2)
    await world.dispose()
  })

  it('GROUP-040: of somebody who is no admin is not come along to', async () => {
    const { world, devices, docs } = await party(907, { bob: 'editor', carl: 'editor' })
    const [old, bob, carl] = [get(docs, 'ada'), get(docs, 'bob'), get(docs, 'carl')]
    const servers = world.tickets.map(parseTicket)
    const branch = {
      group: new Uint8Array(16).fill(7),
      servers: servers.sort((a, b) => (toHex(a.id) < toHex(b.id) ? -1 : 1)),
      faultBound: 0,
      members: [],
      answerByMs: BigInt(world.clock.now() + 60_000)
    }
    const encrypt = MemberGroup.prototype.encrypt
    const spy = vi.spyOn(MemberGroup.prototype, 'encrypt').mockImplementation(function (
      this: MemberGroup,
      plaintext,
      aad
    ) {
      const isBobs = toHex(this.memberId) === bob.memberId
      if (!isBobs || EnvelopeHeader.decode(aad).kind !== EnvelopeKind.ENVELOPE_KIND_CONTROL)
        return encrypt.call(this, plaintext, aad)
      const control = { $case: 'branch', value: branch } as const
      return encrypt.call(this, ControlPayload.encode({ ...ControlPayload.decode(plaintext), control }), aad)
    })
    const problems: string[] = []
    carl.subscribe((event) => event.type === 'problem' && problems.push(event.error.message))
    await world.settle(bob.leave({ until: 'requested' }))
    await world.until(() => problems.length > 0)
    spy.mockRestore()
    expect(problems[0]).toContain('announces a branch and is no admin')
    await world.pass(5_000)
    expect(await get(devices, 'carl').documents()).toEqual([old.id])
    expect(world.logged.filter(({ event }) => event === 'join.failed' || event === 'branch.joined')).toEqual([])
    await world.dispose()
  })
})
