/** Lanes against bare iroh: whatever a peer sends on them, it loses its own connection at most, and holds little here. */
import type { Connection } from '@heddle/core'
import { describe, expect, it } from 'vitest'
import { LANE, RESET, u32 } from '../src/connection/wire.js'
import type { QuicStream } from '../src/native/index.js'
import { addressOf, connected, nextOf, streamed, type TestHost, testHost } from './host.js'
import { control, framed, type RawPeer, rawHello, rawPeer, send } from './raw-peer.js'

const KIB = 1024
const FINISH = Uint8Array.of(255, 255, 255, 255)

interface Attacked extends AsyncDisposable {
  readonly host: TestHost
  readonly raw: RawPeer
  /** The listener's end of the connection. */
  readonly connection: Connection
  /** A ping and its answer. */
  trip(): Promise<void>
}

async function attacked(streamsMax = 128): Promise<Attacked> {
  const limits = { frameBytesMax: 100 * KIB }
  const host = await testHost({ streamsMax, closeTimeoutMs: 300 }, { limits })
  const listener = await host.listen()
  const raw = await rawPeer(addressOf(listener))
  const connection = await nextOf(listener.connections)
  return {
    host,
    raw,
    connection,
    async trip() {
      await send(raw.control, control({ kind: 'ping' }))
      await raw.control.read()
    },
    async [Symbol.asyncDispose]() {
      await raw[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
    }
  }
}

describe('a peer that breaks the protocol loses its connection:', () => {
  const bye = (streams: number) => control({ kind: 'bye', streams })
  const reset = (stream: number, flags = RESET.ownStream | RESET.noMoreWrites) =>
    control({ kind: 'reset', flags, stream })

  it.each<readonly [string, (raw: RawPeer) => Promise<unknown>, RegExp]>([
    ['a second control lane', async ({ quic }) => send(await quic.openStream(), Uint8Array.of(LANE.control)), /kind 0/],
    ['a lane of no known kind', async ({ quic }) => send(await quic.openStream(), Uint8Array.of(9)), /kind 9/],
    [
      'a frame on a data lane after FINISH',
      (raw) => raw.lane(Uint8Array.of(...FINISH, ...framed(FINISH))),
      /after its end/
    ],
    ['an unknown control message', (raw) => send(raw.control, framed(Uint8Array.of(77))), /kind 77 and 1 bytes/],
    ['an empty control message', (raw) => send(raw.control, framed(new Uint8Array(0))), /kind undefined/],
    ['a ping with more to it', (raw) => send(raw.control, framed(Uint8Array.of(1, 1))), /kind 1 and 2 bytes/],
    ['a second HELLO', (raw) => send(raw.control, rawHello()), /second hello/],
    ['RESET of nothing', (raw) => send(raw.control, reset(1, 1)), /kind 3/],
    ['RESET of stream 0', (raw) => send(raw.control, reset(0)), /stream 0/],
    ['RESET of a stream far ahead', (raw) => send(raw.control, reset(129)), /stream 129/],
    ['RESET of a stream this side never opened', (raw) => send(raw.control, reset(1, 2)), /stream 1/],
    [
      'a goodbye after more streams than can be',
      (raw) => send(raw.control, bye(0xffff_ffff)),
      /goodbye after 4294967295/
    ],
    ['the end of the control lane', (raw) => raw.control.finish(), /ended the control lane/]
  ])('%s', async (_, attack, message) => {
    await using it = await attacked()
    await attack(it.raw)
    const end = await it.connection.closed
    expect(end).toMatchObject({ by: 'local', cause: { code: 'MALFORMED' } })
    expect(String(end.cause)).toMatch(message)
    expect(await it.raw.closed).toMatch(/closed by peer: malformed \(code 1\)/)
    expect(it.host.transport.counters.protocolErrors).toBe(1)
    expect(it.host.log.map(([event]) => event)).toEqual(['iroh.protocol-error'])
  })

  it('a goodbye after fewer streams than there were', async () => {
    await using it = await attacked()
    for (let index = 0; index < 2; index++) {
      await it.raw.lane(framed(Uint8Array.of(1)))
      await nextOf(it.connection.incoming)
    }
    await send(it.raw.control, bye(1))
    const end = await it.connection.closed
    expect(end).toMatchObject({ by: 'local', cause: { code: 'MALFORMED' } })
    expect(String(end.cause)).toMatch(/goodbye after 1/)
  })

  it.each([
    ['a data lane', async (raw: RawPeer) => raw.lane(Uint8Array.from(u32(100 * KIB + 1)))],
    ['the control lane', async (raw: RawPeer) => send(raw.control, Uint8Array.from(u32(17)))]
  ])('a frame above the limit on %s, before its bytes come', async (_, attack) => {
    await using it = await attacked()
    await attack(it.raw)
    expect(await it.connection.closed).toMatchObject({ by: 'local', cause: { code: 'FRAME_TOO_LARGE' } })
    expect(await it.raw.closed).toMatch(/frameTooLarge/)
  })

  it('and nobody else does', async () => {
    await using host = await testHost()
    const good = await connected(host)
    await using raw = await rawPeer(addressOf(good.listener))
    const bad = await nextOf(good.listener.connections)
    await send(raw.control, framed(Uint8Array.of(77)))
    await bad.closed
    await streamed(good.near, good.far)
  })
})

describe('a data lane', () => {
  it('carries frames cut in any way', async () => {
    await using it = await attacked()
    const bytes = [
      framed(Uint8Array.of(1, 2, 3)),
      framed(new Uint8Array(0)),
      framed(new Uint8Array(300).fill(5)),
      FINISH
    ]
    const whole = Uint8Array.from(bytes.flatMap((part) => [...part]))
    const lane = await it.raw.lane(whole.subarray(0, 1))
    for (let at = 1; at < whole.length; at += 7) await send(lane, whole.subarray(at, at + 7))
    const frames: Uint8Array[] = []
    for await (const frame of (await nextOf(it.connection.incoming)).frames) frames.push(frame)
    expect(frames).toEqual([Uint8Array.of(1, 2, 3), new Uint8Array(0), new Uint8Array(300).fill(5)])
  })

  it.each([
    ['ends without FINISH', (lane: QuicStream) => lane.finish()],
    ['is reset by QUIC', (lane: QuicStream) => lane.reset()]
  ])('that %s was reset, and the connection stays', async (_, end) => {
    await using it = await attacked()
    const lane = await it.raw.lane(framed(Uint8Array.of(1)))
    const { frames } = await nextOf(it.connection.incoming)
    expect(await nextOf(frames)).toEqual(Uint8Array.of(1))
    await end(lane)
    await expect(nextOf(frames)).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    await it.raw.lane(framed(Uint8Array.of(2)))
    expect(await nextOf((await nextOf(it.connection.incoming)).frames)).toEqual(Uint8Array.of(2))
  })

  it('that is reset by QUIC takes no frame either, without waiting for RESET', async () => {
    await using it = await attacked()
    const lane = await it.raw.lane(framed(Uint8Array.of(1)))
    const stream = await nextOf(it.connection.incoming)
    await nextOf(stream.frames)
    await lane.reset()
    await expect(nextOf(stream.frames)).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    await expect(stream.write(Uint8Array.of(2))).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    await expect(stream.finish()).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })

  it.each([
    ['ends', (lane: QuicStream) => lane.finish()],
    ['is reset', (lane: QuicStream) => lane.reset()]
  ])('that %s before its first byte never was, and is counted', async (_, end) => {
    await using it = await attacked()
    await end(await it.raw.quic.openStream())
    await it.raw.lane(framed(Uint8Array.of(2)))
    const stream = await nextOf(it.connection.incoming)
    expect(await nextOf(stream.frames)).toEqual(Uint8Array.of(2))
    const flags = RESET.ownStream | RESET.noMoreWrites
    await send(it.raw.control, control({ kind: 'reset', flags, stream: 2 }))
    await expect(nextOf(stream.frames)).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })

  it('whose RESET comes first is never shown', async () => {
    await using it = await attacked()
    const flags = RESET.ownStream | RESET.noMoreWrites | RESET.noMoreReads
    await send(it.raw.control, control({ kind: 'reset', flags, stream: 1 }), control({ kind: 'ping' }))
    await it.raw.control.read()
    const hidden = await it.raw.lane(framed(Uint8Array.of(1)))
    await hidden.reset()
    await it.raw.lane(framed(Uint8Array.of(2)))
    expect(await nextOf((await nextOf(it.connection.incoming)).frames)).toEqual(Uint8Array.of(2))
  })

  it('that was finished and then given up is read to its end, also when RESET comes first', async () => {
    await using it = await attacked()
    const flags = RESET.ownStream | RESET.noMoreReads
    await send(it.raw.control, control({ kind: 'reset', flags, stream: 1 }), control({ kind: 'ping' }))
    await it.raw.control.read()
    await it.raw.lane(Uint8Array.of(...framed(Uint8Array.of(1)), ...FINISH))
    const stream = await nextOf(it.connection.incoming)
    await expect(stream.write(Uint8Array.of(9))).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    const frames: Uint8Array[] = []
    for await (const frame of stream.frames) frames.push(frame)
    expect(frames).toEqual([Uint8Array.of(1)])
  })
})

describe('streams', () => {
  it('may be opened one after the other without end', async () => {
    await using host = await testHost()
    const { near, far } = await connected(host)
    for (let index = 0; index < 300; index++) {
      const pair = await streamed(near, far)
      // In turn: both give it up, one does, or it ends in order.
      if (index % 3 === 0) await pair.near[Symbol.asyncDispose]()
      if (index % 3 === 1) await pair.far[Symbol.asyncDispose]()
      if (index % 3 === 2) {
        await Promise.all([pair.near.finish(), pair.far.finish()])
        for await (const _ of pair.near.frames) throw new Error('nothing was written')
        for await (const _ of pair.far.frames) throw new Error('nothing was written')
      }
    }
  })

  it('wait for their turn when the peer has as many as it takes, and an aborted one takes no turn', async () => {
    await using host = await testHost({ streamsMax: 3 })
    // QUIC allows 100 before it hears of a bound, the control lane being one of them.
    const { near, far } = await connected(host)
    const pairs = [await streamed(near, far), await streamed(near, far), await streamed(near, far)]
    const waiting: Promise<unknown>[] = []
    for (let index = 0; index < 96; index++) waiting.push(near.open())
    await Promise.all(waiting)
    const caller = new AbortController()
    const aborted = near.open(caller.signal)
    const last = near.open()
    caller.abort()
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
    let isOpen = false
    void last.then(() => {
      isOpen = true
    })
    // A round trip during which it would have opened.
    await pairs[0]?.near.write(Uint8Array.of(1))
    await nextOf(pairs[0]?.far.frames ?? ([] as never))
    expect(isOpen).toBe(false)
    await Promise.all(waiting.map(async (stream) => ((await stream) as AsyncDisposable)[Symbol.asyncDispose]()))
    for (const pair of pairs) await pair.near[Symbol.asyncDispose]()
    const stream = await last
    await stream.write(Uint8Array.of(5))
    expect(await nextOf((await nextOf(far.incoming)).frames)).toEqual(Uint8Array.of(5))
  })

  it('that nobody takes hold only so much, however many a peer opens and ends', async () => {
    await using it = await attacked(4)
    let opened = 0
    const opening = (async () => {
      for (; opened < 200; opened++) {
        const lane = await it.raw.lane(Uint8Array.of(...framed(new Uint8Array(100)), ...FINISH))
        await lane.finish()
        // It wants no answer, so that QUIC is done with the stream.
        const flags = RESET.ownStream | RESET.noMoreReads
        await send(it.raw.control, control({ kind: 'reset', flags, stream: opened + 1 }))
      }
    })()
    opening.catch(() => {
      // It ends with the connection.
    })
    // The control lane is the clock: many round trips without progress.
    for (let quiet = 0, before = -1; quiet < 30 && opened < 200; ) {
      await it.trip()
      quiet = before === opened ? quiet + 1 : 0
      before = opened
    }
    expect(opened).toBeLessThan(200)
    for (let taken = 0; taken < 150; taken++) {
      const stream = await nextOf(it.connection.incoming)
      expect(await nextOf(stream.frames)).toHaveLength(100)
      await stream[Symbol.asyncDispose]()
    }
  })

  it('are reset although the peer reads nothing and QUIC is full', async () => {
    await using host = await testHost()
    const { near, far } = await connected(host)
    const { near: stream, far: other } = await streamed(near, far)
    const writes = Array.from({ length: 64 }, () => stream.write(new Uint8Array(64 * KIB)))
    const outcomes = Promise.allSettled(writes)
    await streamed(near, far)
    await stream[Symbol.asyncDispose]()
    expect((await outcomes).at(-1)).toMatchObject({ status: 'rejected', reason: { code: 'TRANSPORT_CLOSED' } })
    await expect.poll(() => other.write(Uint8Array.of(1)).then(String, ({ code }) => code)).toBe('TRANSPORT_CLOSED')
    await expect(nextOf(other.frames)).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    // Its place is free again: QUIC gives no more than 100 before the peer has read them to their ends.
    for (let index = 0; index < 130; index++) {
      const pair = await streamed(near, far)
      await pair.far[Symbol.asyncDispose]()
    }
  })

  it('send a frame that was begun to its end when its write is aborted, as it was', async () => {
    await using host = await testHost()
    const { near, far } = await connected(host)
    const pair = await streamed(near, far)
    const caller = new AbortController()
    const frame = new Uint8Array(4 * KIB * KIB).map((_, index) => index % 251)
    const original = frame.slice()
    const writing = pair.near.write(frame, caller.signal)
    const outcome = expect(writing).rejects.toMatchObject({ code: 'ABORTED' })
    for (let trip = 0; trip < 5; trip++) await streamed(near, far)
    caller.abort()
    await outcome
    frame.fill(0xee)
    const last = pair.near.write(Uint8Array.of(1))
    expect(Buffer.compare(await nextOf(pair.far.frames), original)).toBe(0)
    expect(await nextOf(pair.far.frames)).toEqual(Uint8Array.of(1))
    await last
  })

  it('take frames from one buffer that is used again as soon as a write resolves', async () => {
    await using host = await testHost()
    const { near, far } = await connected(host)
    const pair = await streamed(near, far)
    const buffer = new Uint8Array(200)
    const writing = (async () => {
      for (let index = 0; index < 2000; index++) await pair.near.write(buffer.fill(index % 256))
    })()
    for (let index = 0; index < 2000; index++) {
      expect(await nextOf(pair.far.frames)).toEqual(new Uint8Array(200).fill(index % 256))
    }
    await writing
  })

  it('deliver frames larger than what is read ahead, to a reader that waits', async () => {
    await using host = await testHost()
    const { near, far } = await connected(host)
    const pair = await streamed(near, far)
    const frame = new Uint8Array(5 * KIB * KIB).map((_, index) => index % 251)
    const writing = pair.near.write(frame)
    expect(Buffer.compare(await nextOf(pair.far.frames), frame)).toBe(0)
    await writing
  })

  it('hold a peer that sends a large frame to nobody', async () => {
    await using it = await attacked()
    const lane = await it.raw.lane()
    const part = new Uint8Array(16 * KIB)
    let sent = 0
    void (async () => {
      for (; sent < 4096; sent += 16) await send(lane, framed(part))
    })().catch(() => {})
    for (let quiet = 0, before = -1; quiet < 30; ) {
      await it.trip()
      quiet = before === sent ? quiet + 1 : 0
      before = sent
    }
    expect(sent).toBeLessThan(2048)
  })
})
