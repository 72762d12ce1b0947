/** The dialling side, over real sockets: every way not to get a connection says why, and leaves nothing behind. */
import { getEventListeners } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createVirtualClock } from '@heddle/transport-memory'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { sameBytes } from '../src/bytes.js'
import { connectNode } from '../src/socket/node.js'
import { addressOf, nextOf, testHost } from './host.js'
import { identity } from './identities.js'
import { tcpDetour } from './tcp-proxy.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function listening(server: Server): Promise<string> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A server that takes connections and never says anything. */
async function silentServer(): Promise<{
  readonly address: string
  readonly sockets: Set<Socket>
  arrived(): Promise<void>
}> {
  const sockets = new Set<Socket>()
  let notify = () => {}
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => {
      sockets.delete(socket)
      notify()
    })
    socket.on('error', () => {})
    socket.resume()
    notify()
  })
  const changed = () =>
    new Promise<void>((resolve) => {
      notify = resolve
    })
  return {
    address: await listening(server),
    sockets,
    arrived: async () => {
      while (sockets.size === 0) await changed()
    }
  }
}

describe('dialling', () => {
  it('where nothing listens names the address and the reason', async () => {
    await using host = await testHost()
    await expect(host.dial('ws://127.0.0.1:9')).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringMatching(/^ws:\/\/127\.0\.0\.1:9 cannot be reached: .*ECONNREFUSED/),
      cause: expect.any(Error)
    })
  })

  it('a name nobody has is unreachable', async () => {
    await using host = await testHost()
    await expect(host.dial('ws://heddle.invalid:80')).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringMatching(/heddle\.invalid/)
    })
  })

  it('a web server says what it answered', async () => {
    const address = await listening(createHttpServer((_, response) => response.writeHead(200).end('hello')))
    await using host = await testHost()
    await expect(host.dial(address)).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringContaining('HTTP 200')
    })
  })

  it.each([
    ['a hello above 1024 bytes', new Uint8Array(2000), /handshake message of 2000 bytes/],
    ['a message above 256 KiB', new Uint8Array(300_000), /Max payload size exceeded/],
    ['zeros', new Uint8Array(142), /another message than ServerHello/],
    ['text', 'hello', /a text message/]
  ])('a server that answers the handshake with %s is unreachable', async (_, message, why) => {
    const server = createHttpServer()
    const upgrader = new WebSocketServer({ server, handleProtocols: () => 'heddle.1' })
    upgrader.on('connection', (ws) => ws.on('message', () => ws.send(message)))
    await using host = await testHost()
    await expect(host.dial(await listening(server))).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringMatching(why)
    })
    await expect.poll(() => upgrader.clients.size).toBe(0)
  })

  it('a server that does not answer is given up after dialTimeoutMs, and its socket is closed', async () => {
    const clock = createVirtualClock(0)
    const silent = await silentServer()
    await using host = await testHost({ dialTimeoutMs: 700 }, { clock })
    const dialling = host.dial(silent.address)
    const outcome = expect(dialling).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringContaining('no answer within 700 ms')
    })
    await silent.arrived()
    await clock.run({ untilMs: 700 })
    await outcome
    await expect.poll(() => silent.sockets.size).toBe(0)
  })

  it.each([
    ['the caller', async (caller: AbortController) => caller.abort(new Error('enough'))],
    ['the host', async (_caller: AbortController, host: AbortController) => host.abort()]
  ])('is aborted by %s under way, and its socket is closed', async (_, abort) => {
    const silent = await silentServer()
    const shutdown = new AbortController()
    const caller = new AbortController()
    await using host = await testHost({}, { signal: shutdown.signal })
    const outcome = expect(host.dial(silent.address, caller.signal)).rejects.toMatchObject({ code: 'ABORTED' })
    await silent.arrived()
    await abort(caller, shutdown)
    await outcome
    await expect.poll(() => silent.sockets.size).toBe(0)
  })

  it('is aborted by the disposal of the transport', async () => {
    const silent = await silentServer()
    const host = await testHost()
    const outcome = expect(host.dial(silent.address)).rejects.toMatchObject({ code: 'ABORTED' })
    await silent.arrived()
    await host[Symbol.asyncDispose]()
    await outcome
  })

  it('that is aborted during the handshake leaves no connection at the server', async () => {
    await using server = await testHost()
    const listener = await server.listen()
    const caller = new AbortController()
    const random = (length: number) => {
      caller.abort()
      return new Uint8Array(length)
    }
    await using late = await testHost({}, { random })
    await expect(late.dial(addressOf(listener), caller.signal)).rejects.toMatchObject({ code: 'ABORTED' })
    await server.dial(addressOf(listener))
    await nextOf(listener.connections)
    expect(server.transport.counters).toMatchObject({ connectionsAccepted: 1, handshakesRefused: 1 })
  })

  it('leaves nothing on the signals that could have aborted it', async () => {
    const shutdown = new AbortController()
    await using host = await testHost({}, { signal: shutdown.signal })
    const address = addressOf(await host.listen())
    const { signal } = new AbortController()
    for (let i = 0; i < 3; i++) {
      const connection = await host.dial(address, signal)
      const stream = await connection.open(signal)
      await stream.write(Uint8Array.of(1), signal)
      await connection[Symbol.asyncDispose]()
      await host.dial('ws://127.0.0.1:9', signal).catch(() => {})
    }
    expect(getEventListeners(signal, 'abort')).toEqual([])
    await expect.poll(() => getEventListeners(shutdown.signal, 'abort')).toEqual([])
  })

  it('refuses what is no address with CONFIG_INVALID', async () => {
    await using host = await testHost()
    await expect(host.dial('mem://x')).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('reaches the server through a proxy only as long as the server has no names', async () => {
    await using open = await testHost()
    await using named = await testHost({ names: ['127.0.0.1:1'] })
    for (const [host, isTaken] of [[open, true] as const, [named, false] as const]) {
      await using detour = await tcpDetour(addressOf(await host.listen()))
      const dialling = host.dial(detour.address)
      if (isTaken) await expect(dialling).resolves.toBeDefined()
      else await expect(dialling).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    }
  })

  it('notices that a server behind a dead cable is gone', async () => {
    const clock = createVirtualClock(0)
    await using host = await testHost({ pingIntervalMs: 100, deadAfterMs: 250 }, { clock })
    const listener = await host.listen()
    await using detour = await tcpDetour(addressOf(listener))
    const connection = await host.dial(detour.address)
    const stream = await connection.open()
    await stream.write(Uint8Array.of(1))
    const far = await nextOf((await nextOf(listener.connections)).incoming)
    detour.freeze()
    await clock.run({ untilMs: 1000 })
    expect(await connection.closed).toMatchObject({ by: 'lost' })
    await expect(stream.write(Uint8Array.of(2))).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    await expect(nextOf(far.frames).then(() => nextOf(far.frames))).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })
})

describe('what goes over the wire', () => {
  it('goes on after the socket was full', async () => {
    await using host = await testHost({ windowBytes: 64 * 1024 * 1024 })
    const listener = await host.listen()
    const connection = await host.dial(addressOf(listener))
    const stream = await connection.open()
    const frames = Array.from({ length: 4 }, (_, index) => new Uint8Array(8 * 1024 * 1024).fill(index + 1))
    const writing = Promise.all(frames.map((frame) => stream.write(frame)))
    const far = await nextOf((await nextOf(listener.connections)).incoming)
    for (const frame of frames) expect(sameBytes(await nextOf(far.frames), frame)).toBe(true)
    await writing
  })

  it('carries the peer keys of both ends', async () => {
    await using host = await testHost()
    const listener = await host.listen()
    const connection = await host.dial(addressOf(listener))
    expect(connection.peer).toEqual(identity(2).publicKey)
    expect((await nextOf(listener.connections)).peer).toEqual(identity(1).publicKey)
    const other = connectNode(addressOf(listener), 'other.1', new AbortController().signal)
    await expect(other).rejects.toThrow(/HTTP 400/)
  })
})
