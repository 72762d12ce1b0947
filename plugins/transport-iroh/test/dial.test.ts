/** The dialling side, over real endpoints: every way not to get a connection says why, and leaves nothing behind. */
import { createSocket } from 'node:dgram'
import { getEventListeners, once } from 'node:events'
import { createVirtualClock } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { describeFailure } from '../src/native/index.js'
import { addressOf, nextOf, streamed, type TestHost, testHost } from './host.js'
import { identity } from './identities.js'
import { rawEndpoint, rawHello, send } from './raw-peer.js'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** The address of identity `number` at a UDP port that says nothing, and when something has arrived there. */
async function silentPeer(number: number) {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  const arrived = once(socket, 'message')
  await once(socket, 'listening')
  const address = `iroh://${hex(identity(number).publicKey)}?addr=127.0.0.1:${socket.address().port}`
  return { address, arrived, [Symbol.dispose]: () => void socket.close() }
}

describe('dialling', () => {
  it('where nobody answers is given up after dialTimeoutMs, and names the address', async () => {
    const clock = createVirtualClock(0)
    using silent = await silentPeer(9)
    await using host = await testHost({ dialTimeoutMs: 700 }, { clock })
    const outcome = expect(host.dial(silent.address)).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: `${silent.address} cannot be reached: no answer within 700 ms`
    })
    await silent.arrived
    await clock.run({ untilMs: 700 })
    await outcome
    expect(clock.pending).toBe(0)
  })

  it('another protocol is unreachable, and says so', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen())
    await expect(host.dial(address, { alpn: 'other/7' })).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringMatching(/doesn't support any known protocol/)
    })
    await expect(host.dial(address, { alpn: '' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('a peer with another key at the address is UNAUTHENTICATED', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen())
    const another = address.replace(hex(identity(2).publicKey), hex(identity(9).publicKey))
    await expect(host.dial(another)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
      message: expect.stringContaining('has another key')
    })
    expect(host.transport.counters).toMatchObject({ connectionsAccepted: 0, connectionsDialled: 0 })
  })

  it('an address of another key than expected asks nobody', async () => {
    await using host = await testHost()
    using silent = await silentPeer(9)
    await expect(host.dial(silent.address, { expectPeer: identity(2).publicKey })).rejects.toMatchObject({
      code: 'UNAUTHENTICATED'
    })
  })

  it('works although somebody else now sits at one of the addresses', async () => {
    await using host = await testHost()
    await using other = await testHost()
    const right = addressOf(await host.listen())
    const wrong = await other.transport.listen({
      identity: identity(3),
      alpn: 'heddle/1',
      address: 'iroh://127.0.0.1:0',
      signal: new AbortController().signal
    })
    const [, stale] = addressOf(wrong).split('?')
    const [key, socket] = right.split('?')
    const clients = await Promise.all(Array.from({ length: 20 }, () => testHost()))
    const peers = clients.map(async (client) => (await client.dial(`${key}?${stale}&${socket}`)).peer)
    for (const peer of await Promise.all(peers)) expect(peer).toEqual(identity(2).publicKey)
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()))
  })

  it('itself is unreachable', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen())
    await expect(host.dial(address, { as: 2 })).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringContaining('Connecting to ourself')
    })
  })

  it('with a public key that is not of the secret key is refused here', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen())
    const { signal } = new AbortController()
    for (const secretKey of [identity(3).secretKey, new Uint8Array(31)]) {
      const impostor = { secretKey, publicKey: identity(1).publicKey }
      const dialling = host.transport.dial(address, { identity: impostor, alpn: 'heddle/1', signal })
      await expect(dialling).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    }
  })

  it.each([
    ['the caller', (caller: AbortController) => caller.abort(new Error('enough'))],
    ['the host', (_caller: AbortController, host: AbortController) => host.abort()]
  ])('is aborted by %s under way', async (_, abort) => {
    using silent = await silentPeer(9)
    const shutdown = new AbortController()
    const caller = new AbortController()
    await using host = await testHost({}, { signal: shutdown.signal })
    const outcome = expect(host.dial(silent.address, { signal: caller.signal })).rejects.toMatchObject({
      code: 'ABORTED'
    })
    await silent.arrived
    abort(caller, shutdown)
    await outcome
  })

  it('is aborted by the disposal of the transport', async () => {
    using silent = await silentPeer(9)
    const host = await testHost()
    const outcome = expect(host.dial(silent.address)).rejects.toMatchObject({ code: 'ABORTED' })
    await silent.arrived
    await host[Symbol.asyncDispose]()
    await outcome
  })

  it('that is aborted under way closes the connection it gets after all', async () => {
    const endpoint = await rawEndpoint(9)
    await using host = await testHost()
    const caller = new AbortController()
    const address = `iroh://${hex(identity(9).publicKey)}?addr=${endpoint.sockets[0]}`
    const outcome = expect(host.dial(address, { signal: caller.signal })).rejects.toMatchObject({ code: 'ABORTED' })
    const incoming = await endpoint.accept()
    caller.abort()
    await outcome
    const quic = await incoming?.accept()
    expect(await quic?.closed()).toMatch(/closed by peer: refused/)
    await endpoint.close()
  })

  it('that is aborted when QUIC is through leaves no connection at either end', async () => {
    const endpoint = await rawEndpoint(9)
    await using host = await testHost()
    const caller = new AbortController()
    const address = `iroh://${hex(identity(9).publicKey)}?addr=${endpoint.sockets[0]}`
    const outcome = expect(host.dial(address, { signal: caller.signal })).rejects.toMatchObject({ code: 'ABORTED' })
    const quic = await (await endpoint.accept())?.accept()
    await quic?.acceptStream()
    caller.abort()
    await outcome
    expect(await quic?.closed()).toMatch(/closed by peer: refused/)
    await endpoint.close()
  })

  it.each([
    ['the wrong version', rawHello(2), 'UNSUPPORTED_VERSION', /version 2/],
    ['a frame too large', Uint8Array.of(0, 0, 1, 0), 'FRAME_TOO_LARGE', /256 bytes/],
    ['garbage', Uint8Array.of(0, 0, 0, 3, 9, 9, 9), 'TRANSPORT_UNREACHABLE', /kind 9/],
    ['an end', undefined, 'TRANSPORT_UNREACHABLE', /hung up/]
  ])('a peer that answers HELLO with %s fails with %s', async (_, answer, code, message) => {
    const endpoint = await rawEndpoint(9)
    await using host = await testHost()
    const address = `iroh://${hex(identity(9).publicKey)}?addr=${endpoint.sockets[0]}`
    const outcome = expect(host.dial(address)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    const quic = await (await endpoint.accept())?.accept()
    const control = await quic?.acceptStream()
    if (control !== undefined) await (answer === undefined ? control.finish() : send(control, answer))
    await outcome
    expect(await quic?.closed()).toMatch(/closed by peer/)
    await endpoint.close()
  })

  it('shares one endpoint for all dials of an identity, also when they are at once', async () => {
    await using host = await testHost()
    const server = await rawEndpoint(9)
    const address = `iroh://${hex(identity(9).publicKey)}?addr=${server.sockets[0]}`
    const caller = new AbortController()
    const dialling = [1, 2, 3].map(() => host.dial(address, { signal: caller.signal }).catch(describeFailure))
    const peers = new Set<string>()
    for (let index = 0; index < 3; index++) {
      const quic = await (await server.accept())?.accept()
      peers.add(hex(quic?.peer ?? new Uint8Array(0)))
    }
    expect([...peers]).toEqual([hex(identity(1).publicKey)])
    caller.abort()
    await Promise.all(dialling)
    await server.close()
  })

  it('leaves nothing on the signals that could have aborted it', async () => {
    const shutdown = new AbortController()
    await using host = await testHost({ dialTimeoutMs: 50 }, { signal: shutdown.signal })
    const address = addressOf(await host.listen())
    using silent = await silentPeer(9)
    const { signal } = new AbortController()
    for (let i = 0; i < 3; i++) {
      const connection = await host.dial(address, { signal })
      const stream = await connection.open(signal)
      await stream.write(Uint8Array.of(1), signal)
      await connection[Symbol.asyncDispose]()
      await host.dial(silent.address, { signal }).catch(() => {})
    }
    expect(getEventListeners(signal, 'abort')).toEqual([])
    await expect.poll(() => getEventListeners(shutdown.signal, 'abort')).toEqual([])
  })

  it('each other at once gives both a connection of their own, and both work', async () => {
    await using first = await testHost()
    await using second = await testHost()
    const { signal } = new AbortController()
    const listen = (host: TestHost, number: number) =>
      host.transport.listen({ identity: identity(number), alpn: 'heddle/1', address: 'iroh://127.0.0.1:0', signal })
    const [listener, other] = await Promise.all([listen(first, 1), listen(second, 2)])
    const [near, far] = await Promise.all([
      first.dial(addressOf(other), { as: 1 }),
      second.dial(addressOf(listener), { as: 2 })
    ])
    await streamed(near, await nextOf(other.connections))
    await streamed(far, await nextOf(listener.connections))
    await near[Symbol.asyncDispose]()
    await expect(far.open()).resolves.toBeDefined()
  })

  it('reaches a listener again that was disposed of and started at the same address', async () => {
    await using client = await testHost()
    const first = await testHost()
    const address = addressOf(await first.listen())
    const lost = await client.dial(address)
    await first[Symbol.asyncDispose]()
    expect(await lost.closed).toMatchObject({ by: 'remote' })
    await using second = await testHost()
    const listener = await second.listen(address)
    expect(addressOf(listener)).toBe(address)
    const again = await client.dial(address)
    expect(again.peer).toEqual(identity(2).publicKey)
    expect((await nextOf(listener.connections)).peer).toEqual(identity(1).publicKey)
  })
})
