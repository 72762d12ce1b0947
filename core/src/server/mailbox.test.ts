import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemContext } from '../plugin/index.js'
import { Role } from '../wire/index.js'
import { codeOf, isNews, settled } from './testing/expect.js'
import { type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
let host: ServerHost
let admin: TestDevice
let nowMs = Date.now()
const id = (byte: number) => new Uint8Array(16).fill(byte)
const item = (text: string) => new TextEncoder().encode(text)

beforeEach(async () => {
  nowMs = Date.now()
  // The system's timers, and a time of day that a test can move.
  const system = systemContext()
  const clock = { now: () => nowMs, setTimer: system.clock.setTimer }
  world = await World.start(1, {}, { ...system, clock })
  host = world.hosts[0] as ServerHost
  admin = await world.device()
  await admin.create([host])
})
afterEach(() => world[Symbol.asyncDispose]())

const open = async (device: TestDevice, mailbox: Uint8Array, forMs = 60_000) => {
  const { channel } = await device.to(host)
  const value = { group: admin.groupId, mailbox, expiresAtMs: BigInt(nowMs + forMs) }
  await channel.request({ $case: 'mailboxOpen', value })
}
const put = async (device: TestDevice, mailbox: Uint8Array, text: string) => {
  const { channel } = await device.to(host)
  await channel.request({ $case: 'mailboxPut', value: { group: admin.groupId, mailbox, item: item(text) } })
}
const close = async (device: TestDevice, mailbox: Uint8Array) => {
  const { channel } = await device.to(host)
  await channel.request({ $case: 'mailboxClose', value: { group: admin.groupId, mailbox } })
}
/** Of these mailboxes those that there are. */
const kept = async (bytes: readonly number[]) => {
  const stranger = await world.device()
  const there: number[] = []
  for (const byte of bytes)
    await put(stranger, id(byte), 'x').then(
      () => there.push(byte),
      ({ code }) => expect(code).toBe('NOT_FOUND')
    )
  return there
}
const texts = (items: readonly Uint8Array[]) => items.map((bytes) => new TextDecoder().decode(bytes))

describe('a mailbox', () => {
  it('takes items from anyone who knows its id and pushes them to its owner alone', async () => {
    const editor = await admin.add([host])
    const stranger = await world.device()
    await editor.subscribe(host)
    await admin.subscribe(host)
    await open(editor, id(1))
    await put(stranger, id(1), 'let me in')
    await put(stranger, id(1), 'let me in')
    await put(stranger, id(1), 'me too')
    const link = await editor.to(host)
    const { value } = await link.until(isNews('mailboxItems', ({ items }) => items.length === 2))
    expect(texts(value.items)).toEqual(['let me in', 'me too'])
    expect(value.mailbox).toEqual(id(1))
    await admin.subscribe(host)
    await settled()
    expect((await admin.to(host)).news.some(isNews('mailboxItems'))).toBe(false)
  })

  it('is told of on subscribing, after a restart too, and no more once it is closed', async () => {
    await open(admin, id(2))
    await put(await world.device(), id(2), 'hello')
    await host.stop()
    await host.start()
    admin.disconnect()
    await admin.subscribe(host)
    const { value } = await (await admin.to(host)).until(isNews('mailboxItems'))
    expect(texts(value.items)).toEqual(['hello'])
    await close(admin, id(2))
    await close(admin, id(2))
    expect(await codeOf(put(await world.device(), id(2), 'late'))).toBe('NOT_FOUND')
    expect(await host.content()).not.toContain('68656c6c6f')
  })

  it('that was never opened or has expired takes nothing', async () => {
    const stranger = await world.device()
    expect(await codeOf(put(stranger, id(3), 'x'))).toBe('NOT_FOUND')
    expect(await codeOf(open(admin, id(3), -1))).toBe('INVALID')
    await open(admin, id(3), 60_000)
    await put(stranger, id(3), 'in time')
    nowMs += 60_001
    expect(await codeOf(put(stranger, id(3), 'too late'))).toBe('NOT_FOUND')
    await admin.subscribe(host)
    await settled()
    expect((await admin.to(host)).news.some(isNews('mailboxItems'))).toBe(false)
    expect(await host.content()).not.toContain(Buffer.from('in time').toString('hex'))
  })

  it('that has expired is not told of', async () => {
    await open(admin, id(8))
    await put(await world.device(), id(8), 'old')
    nowMs += 60_001
    await admin.subscribe(host)
    await settled()
    expect((await admin.to(host)).news.some(isNews('mailboxItems'))).toBe(false)
  })

  it('belongs to who opened it; an admin may close it', async () => {
    const [one, two] = [await admin.add([host]), await admin.add([host])]
    await open(one, id(4))
    expect(await codeOf(open(two, id(4)))).toBe('FORBIDDEN')
    expect(await codeOf(close(two, id(4)))).toBe('FORBIDDEN')
    await put(await world.device(), id(4), 'kept')
    await open(one, id(4), 120_000)
    await one.subscribe(host)
    expect(texts((await (await one.to(host)).until(isNews('mailboxItems'))).value.items)).toEqual(['kept'])
    await close(admin, id(4))
    expect(await codeOf(put(await world.device(), id(4), 'x'))).toBe('NOT_FOUND')
  })

  it('goes with the member who opened it', async () => {
    const editor = await admin.add([host])
    await open(editor, id(5))
    await admin.commit([host], { removes: [editor.memberId] })
    expect(await codeOf(put(await world.device(), id(5), 'x'))).toBe('NOT_FOUND')
  })

  it('of members takes no room from the admins', async () => {
    for (let n = 0; n < 2; n++) {
      const reader = await admin.add([host], Role.ROLE_READER)
      for (let i = 0; i < 40; i++) await open(reader, id(40 * n + i))
    }
    for (let i = 0; i < 64; i++) await open(admin, id(100 + i))
    expect(await codeOf(open(admin, id(99)))).toBe('LIMIT_EXCEEDED')
  })

  it('of a member that has a few already replaces its own that would expire first, and no other', async () => {
    const [reader, other] = [await admin.add([host], Role.ROLE_READER), await admin.add([host])]
    await open(other, id(1), 1_000)
    await open(reader, id(10), 60_000)
    await open(reader, id(11), 50_000)
    for (let i = 2; i < 5; i++) await open(reader, id(10 + i), 60_000 + i)
    expect(await kept([1, 10, 11, 12, 13, 14])).toEqual([1, 10, 12, 13, 14])
    // One that is its own already takes no room.
    await open(reader, id(10), 120_000)
    expect(await kept([1, 10, 12, 13, 14])).toHaveLength(5)
  })

  it('of members that are no admins has bounded room in all', async () => {
    await world[Symbol.asyncDispose]()
    world = await World.start(1, { limits: { mailboxesOfOthersMax: 5 } })
    host = world.hosts[0] as ServerHost
    admin = await world.device()
    await admin.create([host])
    const [one, two] = [await admin.add([host]), await admin.add([host], Role.ROLE_READER)]
    const three = await admin.add([host])
    for (let i = 0; i < 4; i++) await open(one, id(10 + i))
    await open(two, id(20))
    expect(await codeOf(open(three, id(30)))).toBe('LIMIT_EXCEEDED')
    await open(two, id(21))
    expect(await kept([10, 11, 12, 13, 20, 21])).toEqual([10, 11, 12, 13, 21])
    await open(admin, id(40))
    await admin.commit([host], { removes: [one.memberId] })
    await open(three, id(30))
  })

  it('beyond what a member may have goes with its being an admin', async () => {
    const other = await admin.add([host], Role.ROLE_ADMIN)
    for (let i = 0; i < 6; i++) await open(other, id(10 + i))
    await admin.commit([host], { roles: [{ memberId: other.memberId, role: Role.ROLE_EDITOR }] })
    expect(await kept([10, 11, 12, 13, 14, 15])).toEqual([10, 11, 12, 13])
  })

  it('is kept for a month at most', async () => {
    const dayMs = 24 * 60 * 60 * 1000
    expect(await codeOf(open(admin, id(9), 31 * dayMs + 1))).toBe('INVALID')
    await open(admin, id(9), 31 * dayMs)
  })

  it('is bounded in items, and a document in mailboxes', async () => {
    const stranger = await world.device()
    await open(admin, id(6))
    for (let i = 0; i < 4; i++) await put(stranger, id(6), `item ${i}`)
    expect(await codeOf(put(stranger, id(6), 'one too many'))).toBe('LIMIT_EXCEEDED')
    for (let i = 0; i < 63; i++) await open(admin, id(100 + i))
    expect(await codeOf(open(admin, id(99)))).toBe('LIMIT_EXCEEDED')
    await open(admin, id(100))
    nowMs += 60_001
    await open(admin, id(99))
  })

  it('takes only so many items a second from one connection', async () => {
    const stranger = await world.device()
    await open(admin, id(7))
    let code = ''
    for (let i = 0; i < 200 && code === ''; i++)
      code = await put(stranger, id(7), 'same').then(
        () => '',
        ({ code }) => code
      )
    expect(code).toBe('LIMIT_EXCEEDED')
    nowMs += 1_000
    await put(stranger, id(7), 'same')
  })
})

describe('a Welcome', () => {
  const ask = async (joiner: TestDevice) => {
    const { channel } = await joiner.to(host)
    const value = { group: admin.groupId, keyPackageRef: joiner.keyPackage.ref }
    return (await channel.request({ $case: 'welcomeRequest', value })).value
  }

  it('is given once decided, with the position from which its joiner can read', async () => {
    await admin.upload(host, await admin.seal(), await admin.seal())
    const joiner = await world.device()
    expect(await codeOf(ask(joiner))).toBe('NOT_FOUND')
    const plan = { adds: [{ keyPackage: joiner.keyPackage.message, role: Role.ROLE_READER }] }
    const decided = await admin.commit([host], plan)
    const link = await joiner.to(host)
    const pushed = await link.until(isNews('welcomeReply'))
    expect(pushed.value).toMatchObject({ decided: { slot: 0n }, position: 2n, group: admin.groupId })
    await joiner.join(pushed.value.decided, pushed.value.tree)
    expect(joiner.group.epoch).toBe(1n)
    await admin.upload(host, await admin.seal())
    const { tree } = pushed.value
    expect(await ask(joiner)).toEqual({ group: admin.groupId, decided, position: 2n, tree })
    // The group has moved on; the tree is still that of the epoch the Welcome leads to.
    await admin.commit([host])
    expect(admin.group.public.ratchetTree()).not.toEqual(tree)
    await host.stop()
    await host.start()
    joiner.disconnect()
    expect(await ask(joiner)).toEqual({ group: admin.groupId, decided, position: 2n, tree })
  })

  it('is not given before the slot is decided, though a server has accepted it', async () => {
    const joiner = await world.device()
    const { value } = await admin.value({ adds: [{ keyPackage: joiner.keyPackage.message }] })
    await admin.accept(host, 1n, value, await admin.promises([host], 1n))
    expect(await codeOf(ask(joiner))).toBe('NOT_FOUND')
  })

  it('is waited for on one connection for a few key packages only, which leaves room for others', async () => {
    const { channel } = await (await world.device()).to(host)
    const askFor = (byte: number) => {
      const value = { group: admin.groupId, keyPackageRef: new Uint8Array(32).fill(byte) }
      return codeOf(channel.request({ $case: 'welcomeRequest', value }))
    }
    for (let i = 0; i < 8; i++) expect(await askFor(i)).toBe('NOT_FOUND')
    expect(await askFor(8)).toBe('LIMIT_EXCEEDED')
    expect(await askFor(7)).toBe('NOT_FOUND')
    const joiner = await world.device()
    expect(await codeOf(ask(joiner))).toBe('NOT_FOUND')
    // What has been given makes room again.
    const decided = await admin.commit([host], { adds: [{ keyPackage: joiner.keyPackage.message }] })
    expect((await (await joiner.to(host)).until(isNews('welcomeReply'))).value.decided).toEqual(decided)
    const next = await world.device()
    const other = await joiner.to(host)
    for (let i = 0; i < 8; i++) {
      const value = { group: admin.groupId, keyPackageRef: new Uint8Array(32).fill(100 + i) }
      expect(await codeOf(other.channel.request({ $case: 'welcomeRequest', value }))).toBe('NOT_FOUND')
    }
    expect(await codeOf(ask(next))).toBe('NOT_FOUND')
  })

  it('is waited for by a bounded number of joiners, and not by those who left', async () => {
    await world[Symbol.asyncDispose]()
    world = await World.start(1, { limits: { welcomeWaitersPerDocumentMax: 1 } })
    host = world.hosts[0] as ServerHost
    admin = await world.device()
    await admin.create([host])
    const [one, two] = [await world.device(), await world.device()]
    expect(await codeOf(ask(one))).toBe('NOT_FOUND')
    expect(await codeOf(ask(one))).toBe('NOT_FOUND')
    expect(await codeOf(ask(two))).toBe('LIMIT_EXCEEDED')
    await (await one.to(host)).channel[Symbol.asyncDispose]()
    await settled()
    expect(await codeOf(ask(two))).toBe('NOT_FOUND')
  })
})
