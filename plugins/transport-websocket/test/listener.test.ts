/** The listening side, over real sockets: addresses, HTTP, limits, and strangers that send anything. */
import { createServer } from 'node:net'
import { createVirtualClock } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { nodeCrypto } from '../src/crypto/node.js'
import { authenticateToServer } from '../src/handshake/client.js'
import { KIND } from '../src/mux/entries.js'
import { connectNode } from '../src/socket/node.js'
import type { Socket, SocketEnd } from '../src/socket/socket.js'
import { addressOf, nextOf, testHost } from './host.js'
import { identity } from './identities.js'
import { answerOf, closeCode, rawTcp, rawWebSocket } from './raw-client.js'

describe('listen', () => {
  it('answers with the real port, and with every address of the machine when it listens on all', async () => {
    await using host = await testHost()
    expect(addressOf(await host.listen('ws://127.0.0.1:0/sync'))).toMatch(/^ws:\/\/127\.0\.0\.1:[1-9]\d*\/sync$/)
    const all = await host.listen('ws://0.0.0.0:0')
    expect(all.addresses.at(-1)).toMatch(/^ws:\/\/127\.0\.0\.1:[1-9]\d*$/)
    await using client = await testHost()
    for (const address of all.addresses) await client.dial(address)
  })

  it('listens on IPv6', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen('ws://[::1]:0'))
    expect(address).toMatch(/^ws:\/\/\[::1\]:[1-9]\d*$/)
    await host.dial(address)
  })

  it('names the port that is taken and what to do', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const bound = other.address()
    const port = typeof bound === 'object' ? bound?.port : 0
    await using host = await testHost()
    await expect(host.listen(`ws://127.0.0.1:${port}`)).rejects.toMatchObject({
      code: 'TRANSPORT_ADDRESS_IN_USE',
      message: expect.stringMatching(new RegExp(`port ${port} is taken; choose another port`)),
      info: { port }
    })
    other.close()
  })

  it.each([
    ['http://127.0.0.1:0', /its scheme is "http:"/],
    ['127.0.0.1:8080', /no WebSocket address/],
    ['', /no URL/],
    ['ws://', /no URL/],
    ['ws://127.0.0.1:99999', /no URL/],
    ['ws://me:secret@127.0.0.1:0', /user name/],
    ['ws://127.0.0.1:0/?room=1', /query/],
    ['ws://203.0.113.7:0', /no address of this machine/],
    ['wss://127.0.0.1:0', /needs the option "tls"/]
  ])('refuses %s with CONFIG_INVALID', async (address, message) => {
    await using host = await testHost()
    await expect(host.listen(address)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(message)
    })
  })

  it('does not start with an aborted signal, and stops again when aborted or disposed of while it starts', async () => {
    const host = await testHost()
    await expect(host.listen(undefined, AbortSignal.abort())).rejects.toMatchObject({ code: 'ABORTED' })
    const controller = new AbortController()
    const aborting = expect(host.listen(undefined, controller.signal)).rejects.toMatchObject({ code: 'ABORTED' })
    controller.abort()
    await aborting
    const late = expect(host.listen()).rejects.toMatchObject({ code: 'DISPOSED' })
    await host[Symbol.asyncDispose]()
    await late
  })
})

describe('the disposal of a listener', () => {
  it('closes connections nobody has taken, handshakes and idle sockets', async () => {
    await using host = await testHost()
    const listener = await host.listen()
    const address = addressOf(listener)
    const untaken = await host.dial(address)
    await expect.poll(() => host.transport.counters.connectionsAccepted).toBe(1)
    const silent = closeCode(await rawWebSocket(address))
    const request = await rawTcp(address)
    const answer = answerOf(request)
    request.write('GET / HTTP/1.1\r\n')
    await expect.poll(() => host.transport.counters.connectionsAccepted).toBe(1)
    await listener[Symbol.asyncDispose]()
    expect(await untaken.closed).toEqual({ by: 'remote' })
    expect(await silent).toBe(4001)
    expect(await answer).toBe('')
  })
})

describe('HTTP on the same port', () => {
  const get = (address: string, path: string, method = 'GET') =>
    fetch(`${address.replace('ws:', 'http:')}${path}`, { method })

  it('answers GET /healthz with what the option gives', async () => {
    await using host = await testHost({ health: ({ connectionsAccepted }) => ({ ok: true, connectionsAccepted }) })
    const address = addressOf(await host.listen())
    const answer = await get(address, '/healthz?verbose=1')
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(await answer.json()).toEqual({ ok: true, connectionsAccepted: 0 })
    expect((await get(address, '/healthz', 'POST')).status).toBe(404)
  })

  it('answers 500 when the option throws, and says so in the log', async () => {
    await using host = await testHost({
      health: () => {
        throw new Error('disk on fire')
      }
    })
    expect((await get(addressOf(await host.listen()), '/healthz')).status).toBe(500)
    expect(host.log).toContainEqual(['websocket.health-failed', { message: 'Error: disk on fire' }])
  })

  it('answers everything else with 404, and its own path with 426', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen())
    expect((await get(address, '/healthz')).status).toBe(404)
    expect((await get(address, '/admin')).status).toBe(404)
    expect((await get(address, '/')).status).toBe(426)
  })

  it('upgrades on its own path and protocol only', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen('ws://127.0.0.1:0/sync'))
    await expect(rawWebSocket(address.replace('/sync', '/other'))).rejects.toThrow(/404/)
    await expect(rawWebSocket(address, 'chat')).rejects.toThrow(/400/)
    await expect(host.dial(address.replace('/sync', '/other'))).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringContaining('HTTP 404')
    })
    await host.dial(address)
  })
})

describe('a stranger', () => {
  it('is dropped when it does not prove itself in time', async () => {
    const clock = createVirtualClock(0)
    await using host = await testHost({ handshakeTimeoutMs: 500, closeTimeoutMs: 100 }, { clock })
    const ws = await rawWebSocket(addressOf(await host.listen()))
    const closing = closeCode(ws)
    await clock.run({ until: () => host.transport.counters.handshakesTimedOut === 1 })
    expect(clock.now()).toBe(500)
    expect(await closing).toBe(4408)
    await clock.run({ untilMs: 1000 })
  })

  it('waits outside when too many do already, and comes in when there is room again', async () => {
    await using host = await testHost({ pendingConnectionsMax: 2 })
    const address = addressOf(await host.listen())
    const silent = [await rawWebSocket(address), await rawWebSocket(address)]
    await expect(host.dial(address)).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringContaining('HTTP 503')
    })
    expect(host.transport.counters.refusedBusy).toBe(1)
    await Promise.all(
      silent.map((ws) => {
        const closing = closeCode(ws)
        ws.send('text')
        return closing
      })
    )
    await host.dial(address)
  })

  it('cannot fill the queue of accepted connections', async () => {
    await using host = await testHost({ pendingConnectionsMax: 2 })
    await using client = await testHost()
    const listener = await host.listen()
    const address = addressOf(listener)
    const first = await client.dial(address)
    await client.dial(address)
    await expect(client.dial(address)).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    // One that leaves before it was taken makes room, and is not handed out.
    await first[Symbol.asyncDispose]()
    const third = await client.dial(address)
    const taken = [await nextOf(listener.connections), await nextOf(listener.connections)]
    await third[Symbol.asyncDispose]()
    expect(await taken[1]?.closed).toEqual({ by: 'remote' })
  })

  it.each([
    ['no HTTP at all', Uint8Array.from({ length: 5000 }, (_, index) => (index * 7919) % 256)],
    ['half a request', new TextEncoder().encode('GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n')],
    [
      'an upgrade without a key',
      new TextEncoder().encode(
        'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: heddle.1\r\n\r\n'
      )
    ]
  ])('that sends %s leaves the listener as it was', async (_, bytes) => {
    await using host = await testHost({ handshakeTimeoutMs: 300 })
    const address = addressOf(await host.listen())
    const socket = await rawTcp(address)
    const answer = answerOf(socket)
    socket.end(bytes)
    expect(await answer).not.toMatch(/101 Switching/)
    await host.dial(address)
  })

  it.each([
    ['text', 'hello', 4400],
    ['an empty message', new Uint8Array(0), 4400],
    ['a hello of zeros', new Uint8Array(200), 4400],
    ['a hello above 1024 bytes', new Uint8Array(1025).fill(1), 4400],
    ['a message above 256 KiB', new Uint8Array(256 * 1024 + 1), 1009]
  ])('that sends %s instead of a hello is hung up on and counted', async (_, message, code) => {
    await using host = await testHost()
    const listener = await host.listen()
    const ws = await rawWebSocket(addressOf(listener))
    const closing = closeCode(ws)
    ws.send(message)
    expect(await closing).toBe(code)
    await host.dial(addressOf(listener))
    await nextOf(listener.connections)
    expect(host.transport.counters).toMatchObject({ handshakesRefused: 1, connectionsAccepted: 1 })
    expect(host.log.map(([event]) => event)).toEqual(['websocket.handshake-refused'])
  })

  it('that breaks the WebSocket protocol itself is hung up on', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen())
    const socket = await rawTcp(address)
    const answer = answerOf(socket)
    socket.write(
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: heddle.1\r\n\r\n'
    )
    // Reserved bits, an unmasked frame, an unknown opcode.
    socket.write(Uint8Array.of(0xff, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8))
    expect(await answer).toMatch(/101 Switching/)
    await host.dial(address)
    expect(host.transport.counters.handshakesRefused).toBe(1)
  })

  it('that hangs up for the sake of the key says so in the log', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen())
    const dialling = host.dial(address, undefined, identity(7).publicKey)
    await expect(dialling).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    await expect.poll(() => host.log).toHaveLength(1)
    expect(host.log[0]?.[1].message).toMatch(/has another key than the one expected of it/)
  })

  it('is refused by a server that does not go by the name it dialled', async () => {
    await using named = await testHost({ names: ['server.example'] })
    const address = addressOf(await named.listen())
    await expect(named.dial(address)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
      message: expect.stringContaining('127.0.0.1')
    })
    await using local = await testHost({ names: ['server.example:443', '127.0.0.1'] })
    await local.dial(addressOf(await local.listen()))
  })
})

describe('an authenticated peer that turns bad', () => {
  it.each([
    ['garbage', Uint8Array.from({ length: 1000 }, (_, index) => (index * 131) % 256), 4400],
    ['a message above 256 KiB', new Uint8Array(256 * 1024 + 1), 1009]
  ])('with %s loses its own connection and no other', async (_, message, code) => {
    await using host = await testHost()
    const listener = await host.listen()
    const good = await host.dial(addressOf(listener))
    const atServer = await nextOf(listener.connections)
    const { socket, end } = await authenticatedSocket(addressOf(listener))
    const victim = await nextOf(listener.connections)
    socket.send(message)
    expect(await victim.closed).toMatchObject({ by: 'local', cause: { code: 'MALFORMED' } })
    expect(await end).toMatchObject({ code })
    expect(host.transport.counters.protocolErrors).toBe(1)
    expect(host.log.map(([event]) => event)).toEqual(['websocket.protocol-error'])

    const stream = await good.open()
    await stream.write(Uint8Array.of(1))
    expect(await nextOf((await nextOf(atServer.incoming)).frames)).toEqual(Uint8Array.of(1))
  })

  it('may send its first frames before the server has checked its proof', async () => {
    await using host = await testHost()
    const listener = await host.listen()
    const { socket } = await authenticatedSocket(addressOf(listener))
    for (let id = 1; id < 100; id += 2) socket.send(Uint8Array.of(id, KIND.open, id, KIND.last, 1, id))
    const { incoming } = await nextOf(listener.connections)
    for (let id = 1; id < 100; id += 2) expect(await nextOf((await nextOf(incoming)).frames)).toEqual(Uint8Array.of(id))
  })
})

/** A socket whose owner has proven itself and now sends what it likes. */
async function authenticatedSocket(
  address: string
): Promise<{ readonly socket: Socket; readonly end: Promise<SocketEnd> }> {
  const never = new AbortController().signal
  const socket = await connectNode(address, 'heddle.1', never)
  await authenticateToServer(socket, {
    crypto: nodeCrypto,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    signer: await nodeCrypto.signer(identity(5)),
    settings: { windowBytes: 65_536, streamsMax: 4, frameBytesMax: 1000 },
    alpn: 'heddle/1',
    serverName: new URL(address).host,
    expectPeer: undefined,
    signal: never
  })
  const end = new Promise<SocketEnd>((closed) => socket.attach({ message: () => {}, drained: () => {}, closed }))
  return { socket, end }
}
