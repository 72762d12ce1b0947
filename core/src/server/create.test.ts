import { createVirtualClock } from '@heddle/transport-memory'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { PublicGroup } from '../group/index.js'
import { decodeGroupInfoMessage, encodeGroupInfoMessage } from '../group/mls/index.js'
import { systemContext } from '../plugin/index.js'
import { HourlyQuota } from './hourly-quota.js'
import type { CreateRequest } from './parts.js'
import { codeOf, problemOf } from './testing/expect.js'
import { type ServerHost, World } from './testing/world.js'

let world: World
afterEach(async () => {
  vi.restoreAllMocks()
  await world[Symbol.asyncDispose]()
})

const start = async (servers = 1): Promise<readonly ServerHost[]> => {
  world = await World.start(servers)
  return world.hosts
}
const only = (hosts: readonly ServerHost[]): ServerHost => {
  const [host] = hosts
  if (host === undefined) throw new Error('no server')
  return host
}

describe('creating a document', () => {
  it('is done once and may be asked again', async () => {
    const host = only(await start())
    const device = await world.device()
    await device.create([host])
    const before = await host.content()
    await device.createOn(host)
    expect(await host.content()).toBe(before)
    expect(host.server.stats().counts.created).toBe(1)
    expect(await device.subscribe(host)).toMatchObject({ slot: 0n, position: 0n })
  })

  it('makes a document that was asked for in vain before usable at once', async () => {
    const host = only(await start())
    const device = await world.device()
    await device.found([host])
    expect(await codeOf(device.subscribe(host))).toBe('UNKNOWN_DOCUMENT')
    await device.createOn(host)
    await device.subscribe(host)
  })

  it('is refused for an id that has another beginning', async () => {
    const host = only(await start())
    const [first, second] = [await world.device(), await world.device()]
    await first.create([host])
    await second.found([host], first.groupId)
    expect(await codeOf(second.createOn(host))).toBe('ALREADY_EXISTS')
  })

  it('is refused when this server is not listed, and when another device asks', async () => {
    const [host, other] = (await start(2)) as [ServerHost, ServerHost]
    const [device, stranger] = [await world.device(), await world.device()]
    await device.found([other])
    expect(await codeOf(device.createOn(host))).toBe('INVALID')
    await device.found([host])
    const { channel } = await stranger.to(host)
    const groupInfo = await device.group.groupInfo()
    expect(await codeOf(channel.request({ $case: 'create', value: { groupInfo, decided: undefined } }))).toBe(
      'NOT_A_MEMBER'
    )
  })

  it('is refused after epoch 0, with a wrong signature, and for bytes that are no GroupInfo', async () => {
    const host = only(await start())
    const device = await world.device()
    await device.create([host])
    await device.commit([host])
    const { channel } = await device.to(host)
    const groupInfo = await device.group.groupInfo()
    expect(await codeOf(channel.request({ $case: 'create', value: { groupInfo, decided: undefined } }))).toBe('INVALID')

    const other = await world.device()
    await other.found([host])
    const forged = (await other.group.groupInfo()).slice()
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    const link = await other.to(host)
    expect(
      await codeOf(link.channel.request({ $case: 'create', value: { groupInfo: forged, decided: undefined } }))
    ).toBe('BAD_SIGNATURE')
    const garbage = { groupInfo: Uint8Array.of(1, 2, 3), decided: undefined }
    expect(await codeOf(link.channel.request({ $case: 'create', value: garbage }))).toBe('MALFORMED')
    expect(host.server.stats().counts.created).toBe(1)
  })

  it('is up to the policy of the server', async () => {
    world = await World.start(1, { policy: { mayCreate: ({ crdtType }) => crdtType === 'other/1' } })
    const host = only(world.hosts)
    const device = await world.device()
    expect(await codeOf(device.create([host]))).toBe('FORBIDDEN')
    expect(await host.content()).not.toContain('test/1')
  })

  it('is up to the policy before anything of it is verified', async () => {
    const asked: CreateRequest[] = []
    const mayCreate = (request: CreateRequest) => asked.push(request) < 0
    world = await World.start(1, { policy: { mayCreate } })
    const host = only(world.hosts)
    const device = await world.device()
    await device.found([host])
    const verified = vi.spyOn(PublicGroup, 'ofGroupInfo')
    expect(await codeOf(device.createOn(host))).toBe('FORBIDDEN')
    expect(asked).toEqual([{ peer: device.endpoint.publicKey, group: device.groupId, crdtType: 'test/1' }])
    expect(verified).not.toHaveBeenCalled()
  })

  it('with more than one member is refused before their signatures are verified', async () => {
    const host = only(await start())
    const device = await world.device()
    await device.create([host])
    await device.add([host])
    const groupInfo = decodeGroupInfoMessage(await device.group.groupInfo())
    const groupContext = { ...groupInfo.groupContext, groupId: new Uint8Array(16).fill(9), epoch: 0n }
    const claim = encodeGroupInfoMessage({ ...groupInfo, groupContext })
    const verified = vi.spyOn(PublicGroup, 'ofGroupInfo')
    const { channel } = await device.to(host)
    const refused = await problemOf(
      channel.request({ $case: 'create', value: { groupInfo: claim, decided: undefined } })
    )
    expect(refused).toMatchObject({ code: 'INVALID', message: expect.stringContaining('only member') })
    expect(verified).not.toHaveBeenCalled()
  })

  it('is limited in rate', async () => {
    world = await World.start(1, { limits: { openRequestsBurst: 3, openRequestsPerSecond: 1 } })
    const device = await world.device()
    const host = only(world.hosts)
    await device.create([host])
    await device.createOn(host)
    await device.createOn(host)
    expect(await codeOf(device.createOn(host))).toBe('LIMIT_EXCEEDED')
  })
})

describe('how many documents one device may create', () => {
  it('is bounded by the hour over all its connections, without counting repetitions or other devices', async () => {
    const clock = createVirtualClock(Date.now())
    world = await World.start(1, { limits: { createsPerPeerPerHour: 2 } }, { ...systemContext(), clock })
    const host = only(world.hosts)
    const device = await world.device()
    await device.create([host])
    for (let i = 0; i < 3; i++) await device.createOn(host)
    device.disconnect()
    await device.create([host])
    await device.found([host])
    device.disconnect()
    const refused = await problemOf(device.createOn(host))
    expect(refused).toMatchObject({ code: 'LIMIT_EXCEEDED', info: { retryAfterMs: 1_800_000 } })
    const other = await world.device()
    await other.create([host])
    await clock.run({ untilMs: clock.now() + 1_800_000 })
    device.disconnect()
    await device.createOn(host)
    expect(host.server.stats().counts.created).toBe(4)
  })

  it('counts what turns out not to be valid, which is verified no more beyond the bound', async () => {
    world = await World.start(1, { limits: { createsPerPeerPerHour: 2 } })
    const host = only(world.hosts)
    const device = await world.device()
    await device.found([host])
    const forged = (await device.group.groupInfo()).slice()
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    const { channel } = await device.to(host)
    const verified = vi.spyOn(PublicGroup, 'ofGroupInfo')
    const codes: string[] = []
    for (let i = 0; i < 4; i++)
      codes.push(await codeOf(channel.request({ $case: 'create', value: { groupInfo: forged, decided: undefined } })))
    expect(codes).toEqual(['BAD_SIGNATURE', 'BAD_SIGNATURE', 'LIMIT_EXCEEDED', 'LIMIT_EXCEEDED'])
    expect(verified).toHaveBeenCalledTimes(2)
  })

  it('is not remembered for longer than an hour', () => {
    let nowMs = 0
    const quota = new HourlyQuota({ ...systemContext().clock, now: () => nowMs }, 1)
    for (let i = 0; i < 10; i++, nowMs += 1_000) expect(quota.take(new Uint8Array(32).fill(i))).toBe(0)
    expect(quota.take(new Uint8Array(32).fill(1))).toBeGreaterThan(0)
    expect(quota.size).toBe(10)
    nowMs = 3_604_000
    expect(quota.take(new Uint8Array(32).fill(50))).toBe(0)
    expect(quota.size).toBe(6)
  })
})

describe('who may ask what', () => {
  it('shuts non-members out of everything but what is meant for them', async () => {
    const host = only(await start())
    const member = await world.device()
    await member.create([host])
    const stranger = await world.device()
    const { channel } = await stranger.to(host)
    const group = member.groupId
    const id = new Uint8Array(16)
    const { prepare } = member.prepareRequest(1n)
    const requests = [
      { $case: 'subscribe', value: { group, mode: 1, afterPosition: 0n } },
      { $case: 'upload', value: { group, envelopes: [await member.seal()] } },
      { $case: 'fetch', value: { group, member: member.memberId, fromSeq: 1n, max: 1 } },
      { $case: 'catchUp', value: { group, fromSlot: 0n } },
      { $case: 'prepare', value: { prepare } },
      { $case: 'mailboxOpen', value: { group, mailbox: id, expiresAtMs: BigInt(Date.now() + 60_000) } },
      { $case: 'mailboxClose', value: { group, mailbox: id } }
    ] as const
    const before = await host.content()
    for (const request of requests)
      expect([request.$case, await codeOf(channel.request(request))]).toEqual([request.$case, 'NOT_A_MEMBER'])
    expect(await host.content()).toBe(before)
  })

  it('answers for a document it does not hold', async () => {
    const host = only(await start())
    const device = await world.device()
    await device.found([host])
    expect(await codeOf(device.upload(host, await device.seal()))).toBe('UNKNOWN_DOCUMENT')
    expect(await codeOf(device.prepare(host, 1n))).toBe('UNKNOWN_DOCUMENT')
    expect(host.server.stats().documentsInMemory).toBe(0)
  })
})
