import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toHex } from '../bytes.js'
import type { BodyOf, News } from '../net/index.js'
import { parseEnvelope } from '../sync/index.js'
import { SubscribeMode } from '../wire/index.js'
import { codeOf, gate, isNews, settled } from './testing/expect.js'
import { type Link, type ServerHost, type TestDevice, World } from './testing/world.js'

const heads = SubscribeMode.SUBSCRIBE_MODE_HEADS
let world: World
let host: ServerHost
let writer: TestDevice
let reader: TestDevice

const begin = async (options: Parameters<typeof World.start>[1] = {}) => {
  world = await World.start(1, options)
  host = world.hosts[0] as ServerHost
  writer = await world.device()
  await writer.create([host])
  reader = await writer.add([host])
}
beforeEach(() => begin())
afterEach(() => world[Symbol.asyncDispose]())

/** Text of "sender:seq" for all that was delivered, and the last frame. */
function delivered(news: readonly News[]) {
  const frames = news.filter(isNews('deliver')).map(({ value }) => value)
  const names = frames.flatMap(({ envelopes }) =>
    envelopes.map((bytes) => {
      const { member, seq } = parseEnvelope(bytes).header
      return `${toHex(member) === toHex(writer.memberId) ? 'writer' : 'reader'}:${seq}`
    })
  )
  return { names, last: frames.at(-1), frames }
}
const caughtUpAt = (link: Link, position: bigint) =>
  link.until(isNews('deliver', ({ caughtUp, throughPosition }) => caughtUp && throughPosition >= position))

describe('a full subscription', () => {
  it('says at once that there is nothing, then sends what comes', async () => {
    await reader.subscribe(host)
    const link = await reader.to(host)
    expect((await link.until(isNews('deliver'))).value).toMatchObject({
      caughtUp: true,
      throughPosition: 0n,
      envelopes: []
    })
    await writer.upload(host, await writer.seal())
    await caughtUpAt(link, 1n)
    await writer.upload(host, await writer.seal())
    await caughtUpAt(link, 2n)
    expect(delivered(link.news).names).toEqual(['writer:1', 'writer:2'])
  })

  it('begins after the position the reader has, from storage as from memory', async () => {
    for (let i = 0; i < 5; i++) await writer.upload(host, await writer.seal())
    for (const restart of [false, true]) {
      if (restart) {
        await host.stop()
        await host.start()
        reader.disconnect()
      }
      expect(await reader.subscribe(host, undefined, 3n)).toMatchObject({ position: 5n, heads: [{ seq: 5n }] })
      const link = await reader.to(host)
      await caughtUpAt(link, 5n)
      expect(delivered(link.news)).toMatchObject({ names: ['writer:4', 'writer:5'], last: { afterPosition: 3n } })
    }
  })

  it('leaves out what the reader sent itself and still moves on', async () => {
    await reader.subscribe(host)
    await writer.upload(host, await writer.seal())
    await reader.upload(host, await reader.seal(), await reader.seal())
    await writer.upload(host, await writer.seal())
    const link = await reader.to(host)
    await caughtUpAt(link, 4n)
    expect(delivered(link.news).names).toEqual(['writer:1', 'writer:2'])
  })

  it('delivers a long log in pages that follow each other', async () => {
    const text = 'z'.repeat(60_000)
    for (let i = 0; i < 30; i++) await writer.upload(host, await writer.seal({}, text))
    await reader.subscribe(host)
    const link = await reader.to(host)
    await caughtUpAt(link, 30n)
    const { frames, names } = delivered(link.news)
    expect(names).toEqual(Array.from({ length: 30 }, (_, i) => `writer:${i + 1}`))
    expect(frames.length).toBeGreaterThan(4)
    let position = 0n
    for (const frame of frames) {
      expect(frame.afterPosition).toBe(position)
      position = frame.throughPosition
      expect(frame.caughtUp).toBe(position === 30n)
    }
  })

  it('replaces the one before on the same connection, and ends on request', async () => {
    await reader.subscribe(host)
    await reader.subscribe(host, heads)
    await writer.upload(host, await writer.seal())
    const link = await reader.to(host)
    await link.until(isNews('heads'))
    expect(delivered(link.news).names).toEqual([])
    await link.channel.request({ $case: 'unsubscribe', value: { group: reader.groupId } })
    await writer.upload(host, await writer.seal())
    await settled()
    expect(link.news.filter(isNews('heads')).length).toBe(1)
  })

  it('of a reader who is ahead of the log begins at its end', async () => {
    await writer.upload(host, await writer.seal())
    expect(await reader.subscribe(host, undefined, 77n)).toMatchObject({ position: 1n })
    await writer.upload(host, await writer.seal())
    const link = await reader.to(host)
    await caughtUpAt(link, 2n)
    expect(delivered(link.news).names).toEqual(['writer:2'])
  })

  it('gets the same frame as others who are as far, and each its own where it wrote itself', async () => {
    const others = [await writer.add([host]), await writer.add([host])]
    await reader.subscribe(host)
    for (const other of others) await other.subscribe(host)
    await writer.upload(host, await writer.seal())
    const [first] = others as [TestDevice]
    await first.upload(host, await first.seal())
    for (const device of [reader, ...others]) {
      const link = await device.to(host)
      await caughtUpAt(link, 2n)
      const members = link.news
        .filter(isNews('deliver'))
        .flatMap(({ value }) => value.envelopes.map((bytes) => toHex(parseEnvelope(bytes).header.member)))
      const expected = [writer, first].filter((sender) => sender !== device).map(({ memberId }) => toHex(memberId))
      expect(members).toEqual(expected)
    }
  })

  it('to a reader that does not read costs only itself', async () => {
    const stuck = gate()
    let read = 0
    const slow = await reader.connect(host, () => {
      read++
      return stuck.passed
    })
    const value = { group: reader.groupId, mode: SubscribeMode.SUBSCRIBE_MODE_FULL, afterPosition: 0n }
    await slow.channel.request({ $case: 'subscribe', value })
    const quick = await writer.add([host])
    await quick.subscribe(host)
    const text = 'w'.repeat(100_000)
    for (let i = 0; i < 40; i++) await writer.upload(host, await writer.seal({}, text))
    await caughtUpAt(await quick.to(host), 40n)
    expect(read).toBeLessThanOrEqual(1)
    // The server has sent what the stream takes and holds positions, not frames: 4 MB were written since.
    expect(host.server.stats().counts.envelopeDelivered).toBeLessThan(40 + 15)
    stuck.open()
    await caughtUpAt(slow, 40n)
    expect(delivered(slow.news).names.length).toBe(40)
  })

  it('ends with its connection, in both modes', async () => {
    await reader.subscribe(host)
    const other = await writer.add([host])
    await other.subscribe(host, heads)
    expect(host.server.stats().subscriptions).toBe(2)
    for (const device of [reader, other]) await (await device.to(host)).channel[Symbol.asyncDispose]()
    await settled()
    expect(host.server.stats().subscriptions).toBe(0)
  })

  it('is bounded in number for a connection', async () => {
    await world[Symbol.asyncDispose]()
    await begin({ limits: { subscriptionsPerConnectionMax: 1 } })
    await writer.subscribe(host)
    await writer.subscribe(host)
    await writer.create([host])
    expect(await codeOf(writer.subscribe(host))).toBe('LIMIT_EXCEEDED')
  })
})

describe('a subscription of heads', () => {
  it('begins with all heads and sends those that grew, the latest of each', async () => {
    await writer.upload(host, await writer.seal())
    const { heads: first, position } = await reader.subscribe(host, heads)
    expect(first).toMatchObject([{ member: writer.memberId, seq: 1n }])
    expect(position).toBe(1n)
    for (let i = 0; i < 20; i++) await writer.upload(host, await writer.seal())
    await reader.upload(host, await reader.seal())
    await writer.upload(host, await writer.seal())
    const link = await reader.to(host)
    const { value } = await link.until(isNews('heads', (news) => news.heads.some(({ seq }) => seq === 22n)))
    expect(value.heads).toMatchObject([{ member: writer.memberId, seq: 22n, hash: writer.previous }])
    expect(value.throughPosition).toBe(23n)
    // Coalesced: far fewer frames than messages; none for the reader's own.
    const frames = link.news.filter(isNews('heads')).map((news: BodyOf<'heads'>) => news.value)
    expect(frames.length).toBeLessThan(15)
    expect(frames.flatMap((frame) => frame.heads).every(({ member }) => toHex(member) === toHex(writer.memberId))).toBe(
      true
    )
    expect(delivered(link.news).names).toEqual([])
  })
})

describe('fetching', () => {
  const fetch = async (member: Uint8Array, fromSeq: bigint, max: number) => {
    const { channel } = await reader.to(host)
    const value = { group: reader.groupId, member, fromSeq, max }
    const answer = await channel.request({ $case: 'fetch', value })
    return answer.value.envelopes.map((bytes) => parseEnvelope(bytes).header.seq)
  }

  it("gives a sender's envelopes by number, as many as asked for, none beyond the last", async () => {
    for (let i = 0; i < 5; i++) await writer.upload(host, await writer.seal(), ...[])
    await reader.upload(host, await reader.seal())
    expect(await fetch(writer.memberId, 2n, 3)).toEqual([2n, 3n, 4n])
    expect(await fetch(writer.memberId, 5n, 100)).toEqual([5n])
    expect(await fetch(writer.memberId, 6n, 100)).toEqual([])
    expect(await fetch(new Uint8Array(16), 1n, 10)).toEqual([])
  })

  it('gives fewer when they are large, and at least one', async () => {
    const text = 'v'.repeat(200_000)
    for (let i = 0; i < 3; i++) await writer.upload(host, await writer.seal({}, text))
    expect(await fetch(writer.memberId, 1n, 10)).toEqual([1n])
    expect(await fetch(writer.memberId, 2n, 10)).toEqual([2n])
  })
})
