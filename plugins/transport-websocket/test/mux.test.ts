/** The multiplexer: fair, bounded, and unmoved by whatever a peer sends. */
import { createVirtualClock } from '@heddle/transport-memory'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter, sameBytes } from '../src/bytes.js'
import { newCounters } from '../src/counters.js'
import type { Settings } from '../src/handshake/messages.js'
import { MuxConnection } from '../src/mux/connection.js'
import { KIND } from '../src/mux/entries.js'
import { systemClock } from './context.js'
import { identity } from './identities.js'
import { type PairedSocket, type SocketPair, socketPair, type Tap } from './socket-pair.js'

const KIB = 1024
const SETTINGS: Settings = { windowBytes: 64 * KIB, streamsMax: 4, frameBytesMax: 300 * KIB }
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const settled = async () => {
  for (let i = 0; i < 5; i++) await turn()
}

interface Choice {
  readonly local?: Partial<Settings>
  readonly remote?: Partial<Settings>
  readonly clock?: typeof systemClock
}

function connection(socket: PairedSocket, side: 'dialling' | 'listening', choice: Choice = {}): MuxConnection {
  return new MuxConnection({
    socket,
    side,
    peer: identity(1).publicKey,
    remoteName: side === 'dialling' ? 'the server' : 'the client',
    local: { ...SETTINGS, ...choice.local },
    remote: { ...SETTINGS, ...choice.remote },
    clock: choice.clock ?? systemClock,
    log: () => {},
    counters: newCounters(),
    pingIntervalMs: 5000,
    deadAfterMs: 12_000,
    closeTimeoutMs: 2000,
    afterTurn: (callback) => void setImmediate(callback)
  })
}

function connected(toServer?: Tap, toClient?: Tap) {
  const sockets = socketPair(toServer, toClient)
  return { sockets, client: connection(sockets.client, 'dialling'), server: connection(sockets.server, 'listening') }
}

async function streamOf(from: MuxConnection, to: MuxConnection) {
  const near = await from.open()
  await near.write(Uint8Array.of(7))
  const { value: far } = await to.incoming[Symbol.asyncIterator]().next()
  await far.frames[Symbol.asyncIterator]().next()
  return { near, far }
}

/** The kinds and streams of the entries in a message. */
function entriesOf(message: Uint8Array): string[] {
  const reader = new ByteReader(message)
  const names = Object.fromEntries(Object.entries(KIND).map(([name, kind]) => [kind, name]))
  const entries: string[] = []
  while (reader.left > 0) {
    const id = reader.varint()
    const kind = reader.u8()
    const hasNumber = kind === KIND.part || kind === KIND.last || kind === KIND.window || kind === KIND.streams
    const number = hasNumber ? reader.varint() : undefined
    if (kind === KIND.part || kind === KIND.last) reader.bytes(number ?? 0)
    entries.push(`${names[kind]} ${id}${number === undefined ? '' : ` ${number}`}`)
  }
  return entries
}

describe('sending', () => {
  it('puts frames of one turn into one message after the first, however they are awaited', async () => {
    const { client, server, sockets } = connected()
    const { near, far } = await streamOf(client, server)
    await settled()
    const before = sockets.client.sent
    for (let i = 0; i < 500; i++) await near.write(Uint8Array.of(i % 256))
    await settled()
    expect(sockets.client.sent - before).toBeLessThanOrEqual(3)
    for (let i = 0; i < 500; i++) {
      expect((await far.frames[Symbol.asyncIterator]().next()).value).toEqual(Uint8Array.of(i % 256))
    }
  })

  it('sends the first frame after a pause without waiting for the turn to end', async () => {
    const { client, server, sockets } = connected()
    const { near } = await streamOf(client, server)
    await settled()
    const before = sockets.client.sent
    await near.write(Uint8Array.of(1))
    await Promise.resolve()
    expect(sockets.client.sent).toBe(before + 1)
  })

  it('lets a small frame of another stream pass in the middle of a large one', async () => {
    const order: string[] = []
    const { client, server, sockets } = connected((bytes) => {
      order.push(...entriesOf(bytes))
      return bytes
    })
    const large = await streamOf(client, server)
    const small = await streamOf(client, server)
    order.length = 0
    sockets.client.isFull = true
    const writing = large.near.write(new Uint8Array(250 * KIB))
    await settled()
    await Promise.all([small.near.write(Uint8Array.of(1)), settled().then(() => sockets.client.drain())])
    const frame = await large.far.frames[Symbol.asyncIterator]().next()
    await writing
    expect(frame.value?.length).toBe(250 * KIB)
    expect(order.indexOf('last 3 1')).toBeLessThan(order.findIndex((entry) => entry.startsWith('last 1')))
  })

  it('waits while the socket is full, and goes on when it has drained', async () => {
    const { client, server, sockets } = connected()
    const { near, far } = await streamOf(client, server)
    await settled()
    sockets.client.isFull = true
    await near.write(Uint8Array.of(1))
    await settled()
    let isWritten = false
    const writing = near.write(Uint8Array.of(2)).then(() => {
      isWritten = true
    })
    await settled()
    expect(isWritten).toBe(false)
    sockets.client.drain()
    await writing
    await far.frames[Symbol.asyncIterator]().next()
    expect((await far.frames[Symbol.asyncIterator]().next()).value).toEqual(Uint8Array.of(2))
  })

  it('carries a frame larger than the window to a reader that waits, and holds it back from one that does not', async () => {
    let received = 0
    const { client, server } = connected((bytes) => {
      received += bytes.length
      return bytes
    })
    const { near, far } = await streamOf(client, server)
    const frame = Uint8Array.from({ length: 300 * KIB }, (_, index) => index % 251)
    const writing = near.write(frame)
    await settled()
    expect(received).toBeLessThan(66 * KIB)
    expect(sameBytes((await far.frames[Symbol.asyncIterator]().next()).value, frame)).toBe(true)
    await writing
  })

  it('keeps to the window after large frames, too', async () => {
    let received = 0
    const { client, server } = connected((bytes) => {
      received += bytes.length
      return bytes
    })
    const { near, far } = await streamOf(client, server)
    for (let i = 0; i < 5; i++) {
      const writing = near.write(new Uint8Array(300 * KIB))
      await far.frames[Symbol.asyncIterator]().next()
      await writing
    }
    await settled()
    received = 0
    const writes = Promise.allSettled(Array.from({ length: 100 }, () => near.write(new Uint8Array(10 * KIB))))
    await settled()
    expect(received).toBeLessThan(66 * KIB)
    await client[Symbol.asyncDispose]()
    await writes
  })

  it('completes an aborted write that has begun, from a copy', async () => {
    const { client, server } = connected()
    const { near, far } = await streamOf(client, server)
    const frame = new Uint8Array(200 * KIB).fill(5)
    const controller = new AbortController()
    const writing = near.write(frame, controller.signal)
    await settled()
    controller.abort()
    await expect(writing).rejects.toMatchObject({ code: 'ABORTED' })
    frame.fill(9)
    const second = near.write(Uint8Array.of(1))
    const first = (await far.frames[Symbol.asyncIterator]().next()).value
    expect(sameBytes(first, new Uint8Array(200 * KIB).fill(5))).toBe(true)
    expect((await far.frames[Symbol.asyncIterator]().next()).value).toEqual(Uint8Array.of(1))
    await second
  })

  it('keeps to the smaller of both frame limits', async () => {
    const sockets = socketPair()
    const client = connection(sockets.client, 'dialling', { remote: { frameBytesMax: 100 } })
    const stream = await client.open()
    await expect(stream.write(new Uint8Array(101))).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE' })
  })
})

describe('opening streams', () => {
  it('waits for the peer to be done with one when as many are open as it allows', async () => {
    const { client, server } = connected()
    const streams = [1, 2, 3, 4].map(() => streamOf(client, server))
    const first = await streams[0]
    await Promise.all(streams)
    let isOpen = false
    const fifth = client.open().then((stream) => {
      isOpen = true
      return stream
    })
    await settled()
    expect(isOpen).toBe(false)

    // Finished on both sides, but the last frame is still unread: it takes room at the peer.
    await first?.near.write(Uint8Array.of(9))
    await first?.near.finish()
    await first?.far.finish()
    await settled()
    expect(isOpen).toBe(false)
    expect((await first?.far.frames[Symbol.asyncIterator]().next())?.value).toEqual(Uint8Array.of(9))
    await (await fifth).write(Uint8Array.of(1))
    expect((await server.incoming[Symbol.asyncIterator]().next()).value?.id).toBe(9)
  })

  it('can be aborted while it waits', async () => {
    const { client, server } = connected()
    for (let i = 0; i < 4; i++) await streamOf(client, server)
    const controller = new AbortController()
    const opening = client.open(controller.signal)
    await settled()
    controller.abort()
    await expect(opening).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('goes on for ever when streams are disposed of, taken or not', async () => {
    const { client, server, sockets } = connected()
    for (let i = 0; i < 100; i++) {
      const stream = await client.open()
      await stream.write(new Uint8Array(1000))
      await settled()
      await stream[Symbol.asyncDispose]()
      await settled()
    }
    expect(server.incoming.size).toBe(0)
    expect(sockets.server.closedWith).toBeUndefined()
  })

  it('says nothing of streams that were disposed of before they could be announced', async () => {
    const entries: string[] = []
    const { client } = connected((bytes) => {
      entries.push(...entriesOf(bytes))
      return bytes
    })
    for (let i = 0; i < 20; i++) await (await client.open())[Symbol.asyncDispose]()
    await settled()
    // The first leaves at once, as every first entry after a pause; the other nineteen are gone by the end of the turn.
    expect(entries).toEqual(['open 1', 'reset 1'])
  })
})

describe('a peer that breaks the protocol', () => {
  const entry = (id: number, kind: number, ...rest: number[]) => {
    const writer = new ByteWriter().varint(id).u8(kind)
    for (const number of rest) writer.varint(number)
    return writer
  }
  const data = (id: number, kind: number, length: number) => entry(id, kind, length).bytes(new Uint8Array(length))
  const open = (id: number) => entry(id, KIND.open)
  const joined = (...writers: ByteWriter[]) => {
    const whole = new ByteWriter()
    for (const writer of writers) whole.bytes(writer.take())
    return whole.take()
  }

  it.each([
    ['a frame on a stream that was never opened', joined(data(1, KIND.last, 1)), 'MALFORMED'],
    ['a stream of our own numbers', joined(open(2)), 'MALFORMED'],
    ['stream numbers that fall', joined(open(3), open(1)), 'MALFORMED'],
    ['a stream opened twice', joined(open(1), open(1)), 'MALFORMED'],
    ['a stream number without end', joined(open(0x8000_0001)), 'MALFORMED'],
    ['more streams than allowed', joined(open(1), open(3), open(5), open(7), open(9)), 'MALFORMED'],
    ['more bytes than the window', joined(open(1), data(1, KIND.last, 64 * KIB)), 'MALFORMED'],
    ['more empty frames than the window', joined(open(1), ...repeat(1025, () => data(1, KIND.last, 0))), 'MALFORMED'],
    ['a part too small', joined(open(1), data(1, KIND.part, 16 * KIB - 1)), 'MALFORMED'],
    [
      'the end in the middle of a frame',
      joined(open(1), data(1, KIND.part, 16 * KIB), entry(1, KIND.finish)),
      'MALFORMED'
    ],
    ['a frame after the end', joined(open(1), entry(1, KIND.finish), data(1, KIND.last, 1)), 'MALFORMED'],
    ['two ends', joined(open(1), entry(1, KIND.finish), entry(1, KIND.finish)), 'MALFORMED'],
    ['an unknown kind', joined(open(1), entry(1, 9)), 'MALFORMED'],
    ['an unknown kind for the connection', joined(entry(0, KIND.open)), 'MALFORMED'],
    ['windows that overflow', joined(open(1), entry(1, KIND.window, 0xffff_ffff)), 'MALFORMED'],
    ['stream grants that overflow', joined(entry(0, KIND.streams, 0xffff_ffff)), 'MALFORMED'],
    ['a number of six bytes', Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 1, 0), 'MALFORMED'],
    ['a number above 32 bits', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x7f, 0), 'MALFORMED'],
    ['a number not in its shortest form', Uint8Array.of(0x81, 0x00, 0), 'MALFORMED'],
    ['an entry cut off', joined(open(1)).subarray(0, 1), 'MALFORMED'],
    ['bytes announced and not sent', joined(open(1), entry(1, KIND.last, 5)), 'MALFORMED']
  ])('is hung up on, and its streams fail: %s', async (_, message, code) => {
    const { sockets, ...pair } = halfConnected()
    sockets.client.send(message)
    expect(await pair.server.closed).toMatchObject({ by: 'local', cause: { code } })
    expect(sockets.server.closedWith).toEqual({ code: 4400, reason: code })
    await expect(pair.server.open()).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })

  it('is hung up on for a frame above the limit, once its bytes are too many', async () => {
    const { sockets, server } = halfConnected({ local: { frameBytesMax: 20 * KIB } })
    sockets.client.send(joined(open(1), data(1, KIND.part, 16 * KIB), data(1, KIND.last, 4 * KIB + 1)))
    expect(await server.closed).toMatchObject({ by: 'local', cause: { code: 'FRAME_TOO_LARGE' } })
    expect(sockets.server.closedWith?.code).toBe(4413)
  })

  it('may still send on a stream this side has given up', async () => {
    const { sockets, server } = halfConnected()
    sockets.client.send(joined(open(1)))
    await settled()
    const { value: stream } = await server.incoming[Symbol.asyncIterator]().next()
    await stream[Symbol.asyncDispose]()
    sockets.client.send(
      joined(data(1, KIND.last, 10), entry(1, KIND.window, 5), entry(1, KIND.finish), entry(1, KIND.reset))
    )
    await settled()
    expect(sockets.server.closedWith).toBeUndefined()
  })

  it('cannot make this side hold answers: a thousand pings get one pong while the socket is full', async () => {
    const answers: string[] = []
    const sockets = socketPair(undefined, (bytes) => {
      answers.push(...entriesOf(bytes))
      return bytes
    })
    connection(sockets.server, 'listening')
    sockets.server.isFull = true
    sockets.client.send(joined(entry(0, KIND.ping)))
    await settled()
    for (let i = 0; i < 1000; i++) sockets.client.send(joined(entry(0, KIND.ping)))
    await settled()
    expect(answers).toEqual(['pong 0'])
    sockets.server.drain()
    await settled()
    expect(answers).toEqual(['pong 0', 'pong 0'])
  })

  it('gets an end of the connection at worst, whatever it sends', async () => {
    const kinds = fc.integer({ min: 0, max: 9 })
    const ids = fc.integer({ min: 0, max: 9 })
    const sensible = fc
      .tuple(ids, kinds, fc.integer({ min: 0, max: 20_000 }))
      .map(([id, kind, number]) =>
        (kind === KIND.part || kind === KIND.last ? data(id, kind, number) : entry(id, kind, number)).take()
      )
    const messages = fc.array(fc.oneof(sensible, fc.uint8Array({ maxLength: 50 })), { maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(messages, async (parts) => {
        const { sockets, server } = halfConnected()
        const taking = (async () => {
          for await (const stream of server.incoming)
            void stream.frames[Symbol.asyncIterator]()
              .next()
              .catch(() => {})
        })()
        for (const bytes of [joined(open(1)), ...parts]) sockets.client.send(new Uint8Array(bytes))
        await turn()
        await server[Symbol.asyncDispose]()
        await taking
        expect(['local', 'remote']).toContain((await server.closed).by)
      }),
      { numRuns: 500, seed: 7 }
    )
  })

  function halfConnected(choice: Choice = {}): { readonly sockets: SocketPair; readonly server: MuxConnection } {
    const sockets = socketPair()
    sockets.client.attach({ message: () => {}, drained: () => {}, closed: () => {} })
    return { sockets, server: connection(sockets.server, 'listening', choice) }
  }
  function repeat<T>(times: number, make: () => T): T[] {
    return Array.from({ length: times }, make)
  }
})

describe('keep-alive', () => {
  it('pings a silent peer, and gives it up after deadAfterMs', async () => {
    const clock = createVirtualClock(0)
    const sent: string[] = []
    const sockets = socketPair((bytes) => {
      sent.push(`${clock.now()} ${entriesOf(bytes).join()}`)
      return undefined
    })
    const client = connection(sockets.client, 'dialling', { clock })
    await clock.run({ untilMs: 11_999 })
    expect(sent).toEqual(['5000 ping 0', '10000 ping 0'])
    await clock.run({ untilMs: 12_000 })
    expect(await client.closed).toMatchObject({ by: 'lost', cause: { message: expect.stringContaining('12000 ms') } })
  })

  it('keeps an idle connection for as long as the peer answers', async () => {
    const clock = createVirtualClock(0)
    const sockets = socketPair()
    const client = connection(sockets.client, 'dialling', { clock })
    const server = connection(sockets.server, 'listening', { clock })
    await clock.run({ untilMs: 3_600_000 })
    const stream = await client.open()
    await stream.write(Uint8Array.of(1))
    expect((await server.incoming[Symbol.asyncIterator]().next()).done).toBe(false)
  })

  it('does not take its own sleep for the silence of the peer', async () => {
    const timers: (() => void)[] = []
    const clock = {
      now: () => 0,
      setTimer(_delayMs: number, callback: () => void) {
        timers.push(callback)
        return { [Symbol.dispose]: () => {} }
      }
    }
    const sockets = socketPair()
    const client = connection(sockets.client, 'dialling', { clock })
    // However late the timer comes, it stands for one period: first a ping, and time to answer it.
    timers.shift()?.()
    timers.shift()?.()
    const { closedWith } = sockets.client
    expect(closedWith).toBeUndefined()
    await expect(client.open()).resolves.toBeDefined()
  })
})

describe('a reset', () => {
  it('drops what was not read, unless the writer had finished', async () => {
    const { client, server } = connected()
    const [cut, done] = [await streamOf(client, server), await streamOf(client, server)]
    await cut.near.write(Uint8Array.of(1))
    await done.near.write(Uint8Array.of(2))
    await done.near.finish()
    await Promise.all([cut.near[Symbol.asyncDispose](), done.near[Symbol.asyncDispose]()])
    await settled()
    await expect(cut.far.frames[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    expect((await done.far.frames[Symbol.asyncIterator]().next()).value).toEqual(Uint8Array.of(2))
    expect((await done.far.frames[Symbol.asyncIterator]().next()).done).toBe(true)
  })
})

describe('the end of a connection', () => {
  it('lets what was written before a goodbye be read after it', async () => {
    const { client, server } = connected()
    const { near, far } = await streamOf(client, server)
    await near.write(Uint8Array.of(1))
    await near.write(Uint8Array.of(2))
    await client[Symbol.asyncDispose]()
    expect(await server.closed).toEqual({ by: 'remote' })
    const frames = far.frames[Symbol.asyncIterator]()
    expect((await frames.next()).value).toEqual(Uint8Array.of(1))
    expect((await frames.next()).value).toEqual(Uint8Array.of(2))
    await expect(frames.next()).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })

  it('sends what is ready before the goodbye', async () => {
    const { client, server } = connected()
    const { near, far } = await streamOf(client, server)
    await settled()
    await near.write(Uint8Array.of(1))
    const finishing = near.finish()
    await client[Symbol.asyncDispose]()
    await finishing
    const frames = far.frames[Symbol.asyncIterator]()
    expect((await frames.next()).value).toEqual(Uint8Array.of(1))
    expect((await frames.next()).done).toBe(true)
  })

  it('fails writes, finishes and opens that wait', async () => {
    const { client, server } = connected()
    for (let i = 0; i < 3; i++) await streamOf(client, server)
    const { near } = await streamOf(client, server)
    const waits = [near.write(new Uint8Array(200 * KIB)), near.write(Uint8Array.of(1)), near.finish(), client.open()]
    const outcomes = Promise.allSettled(waits)
    await settled()
    await client[Symbol.asyncDispose]()
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'TRANSPORT_CLOSED' } })
    }
  })

  it('does not wait longer than closeTimeoutMs for a peer that does not answer', async () => {
    const clock = createVirtualClock(0)
    const sockets = socketPair()
    const client = connection(sockets.client, 'dialling', { clock })
    sockets.client.close = () => {}
    let isDone = false
    const closing = client[Symbol.asyncDispose]().then(() => {
      isDone = true
    })
    await clock.run({ untilMs: 1999 })
    expect(isDone).toBe(false)
    await clock.run({ untilMs: 2001 })
    await closing
  })
})
