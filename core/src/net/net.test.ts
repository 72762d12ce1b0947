import { createMemoryNetwork, createVirtualClock, memoryTransport } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { HeddleError } from '../errors.js'
import type { Clock, Connection, Context, FrameStream, Transport } from '../plugin/index.js'
import { ERRORS, Frame } from '../wire/index.js'
import {
  acceptChannel,
  alpn,
  type DeviceChannel,
  errorOf,
  type News,
  openChannel,
  problemOf,
  type ReceivedFrame,
  type ServerChannel
} from './index.js'

const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  }
}

function contextWith(clock: Clock, signal = new AbortController().signal): Context {
  return {
    signal,
    log: () => {},
    clock,
    random: (length) => new Uint8Array(length).fill(7),
    limits: { frameBytesMax: 16_777_216 }
  }
}

interface Ends {
  readonly device: Connection
  readonly server: Connection
}

async function connect(clock: Clock): Promise<Ends> {
  const network = createMemoryNetwork({ clock })
  const context = contextWith(clock)
  const start = (host: string): Promise<Transport> => memoryTransport.create({ network, host }, context)
  const [a, b] = [await start('device'), await start('server')]
  const signal = context.signal
  const identity = (byte: number) => ({
    publicKey: new Uint8Array(32).fill(byte),
    secretKey: new Uint8Array(32).fill(byte + 1)
  })
  const listener = await b.listen?.({ identity: identity(9), alpn, address: 'mem://server', signal })
  if (listener === undefined) throw new Error('the memory transport listens')
  const dialling = a.dial('mem://server', { identity: identity(1), alpn, signal })
  const accepted = await listener.connections[Symbol.asyncIterator]().next()
  return { device: await dialling, server: accepted.value as Connection }
}

interface Pair {
  readonly device: DeviceChannel
  readonly server: ServerChannel
  readonly news: News[]
  readonly run: Promise<void>
}

async function openPair(
  handle: (frame: ReceivedFrame, server: ServerChannel) => void | Promise<void>,
  clock: Clock = systemClock
): Promise<Pair> {
  const ends = await connect(clock)
  const news: News[] = []
  const context = contextWith(clock)
  const accepting = acceptChannel(ends.server, { context, agent: 'test server' })
  const device = await openChannel(ends.device, {
    context,
    agent: 'test device',
    onNews: (body) => {
      news.push(body)
    }
  })
  const server = await accepting
  return { device, server, news, run: server.run((frame) => handle(frame, server)) }
}

const group = new Uint8Array(16).fill(3)
const catchUp = { $case: 'catchUp', value: { group, fromSlot: 0n } } as const
const noSlots = { $case: 'decided', value: { group, slots: [] } } as const

describe('a channel', () => {
  it('negotiates version 1 and tells the largest frame', async () => {
    const { device, server } = await openPair(() => {})
    expect(device.version).toBe(1)
    expect(device.frameBytesMax).toBeGreaterThan(65_536)
    expect(device.peer).toEqual(new Uint8Array(32).fill(9))
    expect(server.peer).toEqual(new Uint8Array(32).fill(1))
  })

  it('gives each request its own answer, in whatever order they come', async () => {
    const held: bigint[] = []
    const { device } = await openPair(async ({ request }, server) => {
      held.push(request)
      if (held.length < 2) return
      for (const number of held.reverse())
        await server.send(number, {
          $case: 'decided',
          value: { group: new Uint8Array(16).fill(Number(number)), slots: [] }
        })
    })
    const [first, second] = await Promise.all([device.request(catchUp), device.request(catchUp)])
    expect(first.value.group[0]).not.toBe(second.value.group[0])
    expect(first.value.group[0]).toBe(Number(held[1]))
  })

  it('throws what a Problem says, and goes on', async () => {
    let asked = 0
    const { device } = await openPair(async ({ request }, server) => {
      if (asked++ === 0)
        await server.refuse(request, new HeddleError('BEHIND', 'tell me', { info: { group, slot: 4n } }))
      else await server.send(request, noSlots)
    })
    const error = await device.request(catchUp).catch((cause: unknown) => cause)
    expect(HeddleError.is(error, 'BEHIND') && error.info.slot).toBe(4n)
    await expect(device.request(catchUp)).resolves.toEqual(noSlots)
  })

  it('ends on a Problem with a fatal code, on both sides for that reason', async () => {
    const { device, server } = await openPair(({ request }, server) =>
      server.refuse(request, new HeddleError('MALFORMED', 'no'))
    )
    await expect(device.request(catchUp)).rejects.toMatchObject({ code: 'MALFORMED' })
    expect((await device.closed).code).toBe('MALFORMED')
    expect((await server.closed).code).toBe('MALFORMED')
    await expect(device.request(catchUp)).rejects.toMatchObject({ code: 'MALFORMED' })
  })

  it('ends when an answer is of a type its request does not have', async () => {
    const { device } = await openPair(({ request }, server) => server.send(request, { $case: 'done', value: {} }))
    await expect(device.request(catchUp)).rejects.toMatchObject({ code: 'UNEXPECTED_FRAME' })
    expect((await device.closed).code).toBe('UNEXPECTED_FRAME')
  })

  it('passes news to the handler in order and refuses requests as news', async () => {
    const { device, server, news } = await openPair(() => {})
    await server.send(0n, noSlots)
    await server.send(0n, {
      $case: 'problem',
      value: problemOf(new HeddleError('NOT_A_MEMBER', 'out', { info: { group } }))
    })
    await server.send(0n, { $case: 'done', value: {} })
    expect((await device.closed).code).toBe('UNEXPECTED_FRAME')
    expect(news.map((body) => body.$case)).toEqual(['decided', 'problem'])
  })

  it('reads nothing further while the handler of news is busy', async () => {
    const ends = await connect(systemClock)
    const context = contextWith(systemClock)
    const accepting = acceptChannel(ends.server, { context, agent: '' })
    let release = () => {}
    const busy = new Promise<void>((resolve) => {
      release = resolve
    })
    let seen = 0
    const device = await openChannel(ends.device, {
      context,
      agent: '',
      onNews: () => {
        seen++
        return busy
      }
    })
    const server = await accepting
    server.run(({ request }) => server.send(request, noSlots))
    for (let i = 0; i < 3; i++) await server.send(0n, noSlots)
    const answer = device.request(catchUp)
    const first = await Promise.race([
      answer.then(() => 'answer'),
      new Promise((resolve) => setImmediate(resolve, 'turn'))
    ])
    expect([first, seen]).toEqual(['turn', 1])
    release()
    await answer
    expect(seen).toBe(3)
  })

  it('answers Ping by itself', async () => {
    const { device } = await openPair(() => {
      throw new Error('a Ping must not reach the handler')
    })
    const pong = await device.request({ $case: 'ping', value: { nonce: 77n } })
    expect(pong.value.nonce).toBe(77n)
  })

  it('answers a Ping of the server by itself, whether it has a number or not, and stays open', async () => {
    const answers: ReceivedFrame[] = []
    let answered = () => {}
    const twice = new Promise<void>((resolve) => {
      answered = resolve
    })
    const { device, server, news } = await openPair(async (frame) => {
      if (frame.body.$case !== 'pong') return server.send(frame.request, noSlots)
      if (answers.push(frame) === 2) answered()
    })
    await server.send(0n, { $case: 'ping', value: { nonce: 5n } })
    await server.send(8n, { $case: 'ping', value: { nonce: 6n } })
    await Promise.race([twice, device.closed])
    expect(answers.map(({ request, body }) => [request, body.value])).toEqual([
      [0n, { nonce: 5n }],
      [8n, { nonce: 6n }]
    ])
    expect(news).toEqual([])
    await expect(device.request(catchUp)).resolves.toEqual(noSlots)
  })

  it('stops waiting when the caller aborts and ignores the late answer', async () => {
    let answerNow = () => {}
    const { device } = await openPair(({ request }, server) => {
      answerNow = () => {
        server.send(request, noSlots)
      }
    })
    const abort = new AbortController()
    const asked = device.request(catchUp, { signal: abort.signal })
    abort.abort()
    await expect(asked).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(device.request(catchUp, { signal: abort.signal })).rejects.toMatchObject({ code: 'ABORTED' })
    answerNow()
    await expect(device.request({ $case: 'ping', value: { nonce: 1n } })).resolves.toBeDefined()
  })

  it('fails a request that is not answered in time and lives on', async () => {
    const clock = createVirtualClock(0)
    const opening = openPair(() => {}, clock)
    const { device } = await opening
    const asked = device.request(catchUp, { timeoutMs: 50 }).catch((cause: unknown) => cause)
    await clock.run({ untilMs: 49 })
    expect(await Promise.race([asked, Promise.resolve('waiting')])).toBe('waiting')
    await clock.run({ untilMs: 51 })
    expect(await asked).toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    await expect(device.request({ $case: 'ping', value: { nonce: 2n } })).resolves.toBeDefined()
  })

  it('stays open through silence as long as pings are answered, and dies when they are not', async () => {
    const clock = createVirtualClock(0)
    const { device, server } = await openPair(() => {}, clock)
    await clock.run({ untilMs: 600_000 })
    expect(server.end).toBeUndefined()
    await expect(device.request({ $case: 'ping', value: { nonce: 3n } })).resolves.toBeDefined()

    const silent = await connect(clock)
    const silentServer = (async () => {
      const stream = (await silent.server.incoming[Symbol.asyncIterator]().next()).value as FrameStream
      const frames = stream.frames[Symbol.asyncIterator]()
      const hello = Frame.decode((await frames.next()).value as Uint8Array)
      const value = { version: 1, features: [], agent: '', frameBytesMax: 70_000 }
      await stream.write(Frame.encode({ request: hello.request, body: { $case: 'helloAck', value } }))
    })()
    const lonely = await openChannel(silent.device, { context: contextWith(clock), agent: '', onNews: () => {} })
    await silentServer
    let reason: HeddleError | undefined
    lonely.closed.then((end) => {
      reason = end
    })
    await clock.run({ untilMs: clock.now() + 90_000 })
    expect(reason?.code).toBe('TRANSPORT_CLOSED')
  })

  it('ends with the host', async () => {
    const ends = await connect(systemClock)
    const host = new AbortController()
    const accepting = acceptChannel(ends.server, { context: contextWith(systemClock), agent: '' })
    const context = contextWith(systemClock, host.signal)
    const device = await openChannel(ends.device, { context, agent: '', onNews: () => {} })
    const server = await accepting
    server.run(() => {})
    host.abort()
    expect((await device.closed).code).toBe('ABORTED')
    expect((await server.closed).code).toBe('TRANSPORT_CLOSED')
  })
})

describe('a server accepting a channel', () => {
  const rawStream = async (): Promise<{ stream: FrameStream; accepting: Promise<unknown>; device: Connection }> => {
    const ends = await connect(systemClock)
    const accepting = acceptChannel(ends.server, { context: contextWith(systemClock), agent: '' }).catch(
      (cause: unknown) => cause
    )
    return { stream: await ends.device.open(), accepting, device: ends.device }
  }
  const readFrame = async (stream: FrameStream) => {
    for await (const bytes of stream.frames) return Frame.decode(bytes)
    throw new Error('the stream ended')
  }

  it('refuses a device with no common version', async () => {
    const { stream, accepting } = await rawStream()
    await stream.write(
      Frame.encode({ request: 1n, body: { $case: 'hello', value: { versions: [9], features: [], agent: '' } } })
    )
    expect((await readFrame(stream)).body).toMatchObject({
      $case: 'problem',
      value: { code: ERRORS.UNSUPPORTED_VERSION.code }
    })
    expect(await accepting).toMatchObject({ code: 'UNSUPPORTED_VERSION' })
  })

  it('refuses anything before Hello', async () => {
    const { stream, accepting } = await rawStream()
    await stream.write(Frame.encode({ request: 1n, body: catchUp }))
    expect((await readFrame(stream)).body).toMatchObject({
      $case: 'problem',
      value: { code: ERRORS.UNEXPECTED_FRAME.code }
    })
    expect(await accepting).toMatchObject({ code: 'UNEXPECTED_FRAME' })
  })

  it('tells who sends bytes that are no frame, and closes', async () => {
    const { stream, accepting, device } = await rawStream()
    await stream.write(Uint8Array.of(255, 255, 255))
    expect((await readFrame(stream)).body).toMatchObject({ $case: 'problem', value: { code: ERRORS.MALFORMED.code } })
    await device[Symbol.asyncDispose]()
    expect(await accepting).toMatchObject({ code: 'MALFORMED' })
  })

  it('refuses a frame that only servers send', async () => {
    const { device, server, run } = await openPair(() => {})
    // The type forbids it; a hostile device does not care.
    await expect(device.request({ $case: 'done', value: {} } as never)).rejects.toMatchObject({
      code: 'UNEXPECTED_FRAME'
    })
    await run
    expect((await server.closed).code).toBe('UNEXPECTED_FRAME')
  })

  it('refuses a Ping without a request number', async () => {
    const { stream, accepting } = await rawStream()
    const hello = { $case: 'hello', value: { versions: [1], features: [], agent: '' } } as const
    await stream.write(Frame.encode({ request: 1n, body: hello }))
    const server = (await accepting) as ServerChannel
    server.run(() => {
      throw new Error('a Ping must not reach the handler')
    })
    await stream.write(Frame.encode({ request: 0n, body: { $case: 'ping', value: { nonce: 1n } } }))
    const seen: Frame[] = []
    for await (const bytes of stream.frames) seen.push(Frame.decode(bytes))
    expect(seen.at(-1)).toMatchObject({
      request: 0n,
      body: { $case: 'problem', value: { code: ERRORS.UNEXPECTED_FRAME.code } }
    })
    expect((await server.closed).code).toBe('UNEXPECTED_FRAME')
  })

  it('drops a connection that does not say Hello', async () => {
    const clock = createVirtualClock(0)
    const ends = await connect(clock)
    const accepting = acceptChannel(ends.server, { context: contextWith(clock), agent: '' }).catch(
      (cause: unknown) => cause
    )
    await clock.run({ untilMs: 20_000 })
    expect(await accepting).toMatchObject({ code: 'TRANSPORT_CLOSED' })
    expect((await ends.device.closed).by).toBe('remote')
  })
})

describe('a Problem', () => {
  it('carries code, message, document, slot and delay both ways', () => {
    const error = new HeddleError('LIMIT_EXCEEDED', 'too fast', { info: { group, slot: 5n, retryAfterMs: 250 } })
    expect(errorOf(problemOf(error))).toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: 'too fast',
      info: { group, slot: 5n, retryAfterMs: 250 }
    })
  })

  it('tells a peer nothing of an error that is local to the process', () => {
    const problem = problemOf(new HeddleError('STORAGE_CORRUPT', '/var/lib/secret is damaged'))
    expect(problem).toMatchObject({ code: ERRORS.INTERNAL.code, message: ERRORS.INTERNAL.summary })
  })

  it('fits the frame however long and odd the message is', () => {
    const odd = `${'a'.repeat(1023)}\ud83d\ude00${'\ud83d\ude00'.repeat(900)}`
    const value = problemOf(new HeddleError('INVALID', odd))
    const encoded = Frame.encode({ request: 1n, body: { $case: 'problem', value } })
    expect(Frame.decode(encoded).body).toMatchObject({ value: { message: 'a'.repeat(1023) } })
  })
})
