import { memoryStorage } from '@heddle/storage-memory'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HeddleError } from '../errors.js'
import { SubscribeMode } from '../wire/index.js'
import { startServer } from './index.js'
import { codeOf, gate, isNews, isSettled, receiptOf, settled } from './testing/expect.js'
import { type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
let host: ServerHost
let admin: TestDevice
beforeEach(async () => {
  world = await World.start(1)
  host = world.hosts[0] as ServerHost
  admin = await world.device()
  await admin.create([host])
})
afterEach(() => world[Symbol.asyncDispose]())

/** From now on every commit waits at a gate. */
const holdStorage = () => {
  const held = gate()
  host.onCommit = () => held.passed
  return held
}

describe('nothing is acknowledged before it is durable', () => {
  it('neither an upload, nor its duplicate, nor its delivery to others', async () => {
    const editor = await admin.add([host])
    await editor.subscribe(host)
    const other = await admin.connect(host)
    const held = holdStorage()
    const envelope = await admin.seal()
    const first = admin.upload(host, envelope)
    await settled()
    const again = admin.upload(host, envelope)
    const value = { group: admin.groupId, envelopes: [envelope] }
    const elsewhere = other.channel.request({ $case: 'upload', value })
    for (const promise of [first, again, elsewhere]) expect(await isSettled(promise)).toBe(false)
    const link = await editor.to(host)
    expect(link.news.some(isNews('deliver', ({ envelopes }) => envelopes.length > 0))).toBe(false)
    // What a new subscriber is told does not count it either.
    const subscribing = other.channel.request({
      $case: 'subscribe',
      value: { group: admin.groupId, mode: SubscribeMode.SUBSCRIBE_MODE_HEADS, afterPosition: 0n }
    })
    expect(await isSettled(subscribing)).toBe(false)
    held.open()
    expect(receiptOf(await first).position).toBe(1n)
    expect(receiptOf(await again).position).toBe(1n)
    await elsewhere
    expect((await subscribing).value.position).toBe(1n)
    await link.until(isNews('deliver', ({ envelopes }) => envelopes.length === 1))
  })

  it('neither a creation nor its repetition', async () => {
    const device = await world.device()
    await device.found([host])
    const held = holdStorage()
    const first = device.createOn(host)
    const again = device.createOn(host)
    expect(await isSettled(first)).toBe(false)
    expect(await isSettled(again)).toBe(false)
    expect(await codeOf(device.subscribe(host))).toBe('UNKNOWN_DOCUMENT')
    expect(await isSettled(first)).toBe(false)
    held.open()
    await Promise.all([first, again])
  })

  it('neither a promise nor a vote, their repetitions, nor a refusal that speaks of them', async () => {
    const reader = await admin.add([host])
    await reader.subscribe(host)
    let held = holdStorage()
    const promising = admin.prepare(host, 1n)
    await settled()
    const again = admin.prepare(host, 1n)
    for (const promise of [promising, again]) expect(await isSettled(promise)).toBe(false)
    held.open()
    const answer = await promising
    expect(await again).toEqual(answer)
    if (answer.$case !== 'promise') throw new Error(answer.$case)
    const proof = [{ promise: answer.value.promise, accept: undefined }]
    const { value } = await admin.value()
    held = holdStorage()
    const voting = admin.accept(host, 1n, value, proof)
    await settled()
    const votingAgain = admin.accept(host, 1n, value, proof)
    const outbid = admin.prepare(host, 2n)
    for (const promise of [voting, votingAgain, outbid]) expect(await isSettled(promise)).toBe(false)
    const link = await reader.to(host)
    expect(link.news.some(isNews('vote'))).toBe(false)
    held.open()
    const vote = await voting
    expect(vote.$case).toBe('vote')
    expect(await votingAgain).toEqual(vote)
    expect(await outbid).toMatchObject({ $case: 'promise', value: { value } })
    await link.until(isNews('vote'))
  })

  it('neither a decided slot, nor the Welcome in it, nor what follows from it', async () => {
    const reader = await admin.add([host])
    await reader.subscribe(host)
    const joiner = await world.device()
    const waiting = await joiner.to(host)
    const request = { group: admin.groupId, keyPackageRef: joiner.keyPackage.ref }
    expect(await codeOf(waiting.channel.request({ $case: 'welcomeRequest', value: request }))).toBe('NOT_FOUND')
    const decided = await admin.decide([host], { adds: [{ keyPackage: joiner.keyPackage.message }] })
    const held = holdStorage()
    const telling = admin.tell(host, decided)
    await settled()
    // Valid only after the slot: the server stores it on the strength of what is on its way.
    const uploading = admin.upload(host, await admin.seal())
    const asking = waiting.channel.request({ $case: 'welcomeRequest', value: request })
    const { channel } = await reader.to(host)
    const catchingUp = channel.request({ $case: 'catchUp', value: { group: admin.groupId, fromSlot: 1n } })
    for (const promise of [telling, uploading, asking, catchingUp]) expect(await isSettled(promise)).toBe(false)
    expect((await reader.to(host)).news.some(isNews('decided'))).toBe(false)
    expect(waiting.news).toEqual([])
    held.open()
    await Promise.all([telling, uploading])
    await (await reader.to(host)).until(isNews('decided'))
    await waiting.until(isNews('welcomeReply'))
    await Promise.allSettled([asking, catchingUp])
  })

  it('nor anything in a mailbox', async () => {
    const mailbox = new Uint8Array(16)
    const { channel } = await admin.to(host)
    await admin.subscribe(host)
    let held = holdStorage()
    const value = { group: admin.groupId, mailbox, expiresAtMs: BigInt(Date.now() + 60_000) }
    const opening = channel.request({ $case: 'mailboxOpen', value })
    expect(await isSettled(opening)).toBe(false)
    held.open()
    await opening
    held = holdStorage()
    const putting = channel.request({ $case: 'mailboxPut', value: { group: admin.groupId, mailbox, item: mailbox } })
    expect(await isSettled(putting)).toBe(false)
    expect((await admin.to(host)).news.some(isNews('mailboxItems'))).toBe(false)
    held.open()
    await putting
    await (await admin.to(host)).until(isNews('mailboxItems'))
  })
})

describe('a storage that fails', () => {
  it('stops the server, and nothing of what failed was acknowledged', async () => {
    const { server } = host
    await admin.upload(host, await admin.seal())
    const editor = await admin.add([host])
    await editor.subscribe(host)
    host.onCommit = () => {
      throw new HeddleError('STORAGE_UNAVAILABLE', 'no space left on device')
    }
    const before = await host.content()
    const uploads = [await admin.seal(), await admin.seal()].map((envelope) => codeOf(admin.upload(host, envelope)))
    expect(await server.failed).toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
    for (const code of await Promise.all(uploads))
      expect(['TRANSPORT_CLOSED', 'GOING_AWAY', 'INTERNAL']).toContain(code)
    const { channel } = await editor.to(host)
    await channel.closed
    expect((await editor.to(host)).news.some(isNews('deliver', ({ envelopes }) => envelopes.length > 0))).toBe(true)
    expect(await host.content()).toBe(before)
    await expect(admin.connect(host)).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })

    host.onCommit = undefined
    await host.stop()
    await host.start()
    admin.disconnect()
    expect((await admin.subscribe(host)).position).toBe(1n)
  })

  it('is what a second server on the same storage is to the first', async () => {
    const { context, crypto } = world
    const storage = await memoryStorage.create({}, context)
    const options = { storage, transports: [world.transport], context, crypto }
    await using first = await startServer({ ...options, listen: ['mem://first'] })
    await using second = await startServer({ ...options, listen: ['mem://second'] })
    expect(first.id).toEqual(second.id)
    const device = await world.device()
    const [a, b] = [
      { address: 'mem://first', server: first },
      { address: 'mem://second', server: second }
    ] as unknown as ServerHost[]
    await device.found([a as ServerHost])
    await expect(device.createOn(a as ServerHost)).rejects.toThrow()
    expect(await first.failed).toMatchObject({ code: 'STORAGE_CONFLICT' })
    await device.createOn(b as ServerHost)
    await device.upload(b as ServerHost, await device.seal())
  })
})

describe('a server that is started again', () => {
  it('is the same server and knows everything it acknowledged', async () => {
    const { id } = host.server
    const editor = await admin.add([host])
    await admin.upload(host, await admin.seal(), await admin.seal())
    const promise = await admin.prepare(host, 3n)
    const before = await host.content()
    await host.stop()
    await host.start()
    for (const device of [admin, editor]) device.disconnect()
    expect(host.server.id).toEqual(id)
    expect(await host.content()).toBe(before)
    expect(await admin.subscribe(host)).toMatchObject({ slot: 1n, position: 2n, heads: [{ seq: 2n }] })
    expect(await admin.prepare(host, 3n)).toEqual(promise)
    expect((await admin.prepare(host, 2n)).$case).toBe('nack')
    expect(receiptOf(await admin.upload(host, await admin.seal())).position).toBe(3n)
    await editor.upload(host, await editor.seal())
  })

  it('reads what a killed one had stored', async () => {
    await admin.upload(host, await admin.seal())
    // Killed: nothing is closed; the disk is opened anew.
    await host.kill()
    await host.start()
    admin.disconnect()
    expect((await admin.subscribe(host)).position).toBe(1n)
    await admin.upload(host, await admin.seal())
  })
})

describe('shutting down', () => {
  it('tells the devices and stores what was accepted', async () => {
    const link = await admin.to(host)
    const held = holdStorage()
    const uploading = codeOf(admin.upload(host, await admin.seal()))
    await settled()
    const stopping = host.stop()
    expect((await link.channel.closed).code).toBe('GOING_AWAY')
    held.open()
    await stopping
    expect(await uploading).toBe('GOING_AWAY')
    host.onCommit = undefined
    await host.start()
    admin.disconnect()
    expect((await admin.subscribe(host)).position).toBe(1n)
  })

  it("comes with the host's signal", async () => {
    const host2 = new AbortController()
    const context = { ...world.context, signal: host2.signal }
    const storage = await memoryStorage.create({}, world.context)
    const options = { storage, transports: [world.transport], crypto: world.crypto, listen: ['mem://other'] }
    const server = await startServer({ ...options, context })
    host2.abort()
    await server[Symbol.asyncDispose]()
    await using again = await startServer({ ...options, context: world.context })
    expect(again.id).toEqual(server.id)
  })

  it('says what is wrong with an address it cannot listen on', async () => {
    const { context, crypto, transport } = world
    const storage = await memoryStorage.create({}, context)
    const start = (listen: string) =>
      startServer({ storage, transports: [transport], listen: [listen], context, crypto })
    expect(await codeOf(start('carrier-pigeon://roof'))).toBe('CONFIG_INVALID')
    expect(await codeOf(start(host.address))).toBe('TRANSPORT_ADDRESS_IN_USE')
  })
})
