/** The listening side, over real endpoints: addresses, limits, relays that are away, and what is left afterwards. */
import { networkInterfaces } from 'node:os'
import { describe, expect, it } from 'vitest'
import { collectGarbage } from '../src/native/garbage.js'
import { type Iroh, loadIroh } from '../src/native/index.js'
import { parseOptions } from '../src/options.js'
import { IrohTransport } from '../src/transport.js'
import { testContext } from './context.js'
import { addressOf, connected, nextOf, streamed, testHost } from './host.js'
import { identity } from './identities.js'
import { rawConnection } from './raw-peer.js'

const KEY = Buffer.from(identity(2).publicKey).toString('hex')

describe('listen', () => {
  it('opens no other address of the machine than the one given', async () => {
    const { iroh, sockets } = await watchedIroh()
    await using transport = new IrohTransport(parseOptions({}), testContext(), iroh)
    const { signal } = new AbortController()
    for (const address of ['iroh://127.0.0.1:0', 'iroh://[::1]:0']) {
      await transport.listen({ identity: identity(2), alpn: 'heddle/1', address, signal })
    }
    expect(sockets).toHaveLength(4)
    for (const socket of sockets) expect(socket).toMatch(/^(127\.0\.0\.1|\[::1\]):\d+$/)
  })

  it('answers with its key and real port', async () => {
    await using host = await testHost()
    const listener = await host.listen('iroh://127.0.0.1:0')
    expect(listener.addresses).toEqual([expect.stringMatching(`^iroh://${KEY}\\?addr=127\\.0\\.0\\.1:[1-9]\\d*$`)])
    await host.dial(addressOf(listener), { expectPeer: identity(2).publicKey })
  })

  it('on all addresses names those of the machine, and loopback apart', async () => {
    await using host = await testHost()
    const { addresses } = await host.listen('iroh://0.0.0.0:0')
    const outside = Object.values(networkInterfaces())
      .flatMap((found) => found ?? [])
      .filter((one) => one.family === 'IPv4' && !one.internal)
    expect(addresses).toHaveLength(outside.length > 0 ? 2 : 1)
    for (const { address } of outside) expect(addresses[0]).toContain(`addr=${address}:`)
    expect(addresses.at(-1)).toMatch(/\?addr=127\.0\.0\.1:[1-9]\d*$/)
    await using client = await testHost()
    for (const address of addresses) await (await client.dial(address))[Symbol.asyncDispose]()
  })

  it('and dialling share an endpoint exactly when it is bound on all addresses', async () => {
    const { iroh, sockets } = await watchedIroh()
    await using transport = new IrohTransport(parseOptions({}), testContext(), iroh)
    await using far = await testHost()
    const { signal } = new AbortController()
    const address = addressOf(await far.listen())
    const choice = { identity: identity(6), alpn: 'heddle/1', signal }
    const narrow = await transport.listen({ ...choice, address: 'iroh://127.0.0.1:0' })
    await transport.dial(address, choice)
    expect(sockets).toHaveLength(4)
    await transport.listen({ ...choice, identity: identity(7), address: 'iroh://0.0.0.0:0' })
    await transport.dial(address, { ...choice, identity: identity(7) })
    expect(sockets).toHaveLength(6)
    await narrow[Symbol.asyncDispose]()
  })

  it('on IPv6', async () => {
    await using host = await testHost()
    const address = addressOf(await host.listen('iroh://[::1]:0'))
    expect(address).toMatch(/\?addr=\[::1\]:[1-9]\d*$/)
    await host.dial(address)
  })

  it.each([
    ['ws://127.0.0.1:0', 'CONFIG_INVALID', /no iroh address/],
    ['iroh://203.0.113.7:0', 'CONFIG_INVALID', /no address of this machine/],
    [`iroh://${KEY.replace(/^../, '00')}?addr=127.0.0.1:4000`, 'CONFIG_INVALID', /key of somebody else/]
  ])('refuses %s with %s', async (address, code, message) => {
    await using host = await testHost()
    await expect(host.listen(address)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  })

  it('names a port that another endpoint holds, and what to do', async () => {
    await using host = await testHost()
    await using other = await testHost()
    const [, socket] = addressOf(await host.listen()).split('addr=')
    await expect(other.listen(`iroh://${socket}`)).rejects.toMatchObject({
      code: 'TRANSPORT_ADDRESS_IN_USE',
      message: expect.stringMatching(/UDP port is taken; choose another port/)
    })
  })

  it('with an aborted signal does not start, and stops again when the transport is disposed of meanwhile', async () => {
    const host = await testHost()
    await expect(host.listen(undefined, AbortSignal.abort())).rejects.toMatchObject({ code: 'ABORTED' })
    const late = expect(host.listen()).rejects.toMatchObject({ code: 'DISPOSED' })
    await host[Symbol.asyncDispose]()
    await late
  })

  it('takes its address again, in another protocol too, while connections of before live on', async () => {
    await using host = await testHost()
    await using client = await testHost()
    const { near, far, listener } = await connected(client, host)
    const address = addressOf(listener)
    await listener[Symbol.asyncDispose]()
    await expect(client.dial(address)).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    const { signal } = new AbortController()
    const again = await host.transport.listen({ identity: identity(2), alpn: 'other/2', address, signal })
    await expect(client.dial(address)).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    await client.dial(address, { alpn: 'other/2' })
    await nextOf(again.connections)
    await streamed(near, far)
  })
})

describe('a listener with relays', () => {
  it('does not wait for one that is away, and names it in its addresses', async () => {
    const relays = ['http://127.0.0.1:9', 'https://127.0.0.1:9/second']
    await using host = await testHost({ relays, relayTimeoutMs: 50 })
    const listener = await host.listen()
    expect(listener.addresses).toEqual([
      expect.stringMatching(/\?addr=127\.0\.0\.1:\d+&relay=http:\/\/127\.0\.0\.1:9\/$/),
      expect.stringMatching(/\?addr=127\.0\.0\.1:\d+&relay=https:\/\/127\.0\.0\.1:9\/second$/)
    ])
    expect(host.log.map(([event]) => event)).toContain('iroh.relay-unreachable')
    // The direct address beside it works.
    await using client = await testHost()
    await client.dial(addressOf(listener))
  })

  it('stops waiting when it is aborted', async () => {
    await using host = await testHost({ relays: ['http://127.0.0.1:9'], relayTimeoutMs: 60_000 })
    const caller = new AbortController()
    const outcome = expect(host.listen(undefined, caller.signal)).rejects.toMatchObject({ code: 'ABORTED' })
    setImmediate(() => caller.abort())
    await outcome
  })
})

describe('strangers', () => {
  it('wait outside when too many do already, and come in when there is room again', async () => {
    await using host = await testHost({ pendingConnectionsMax: 2 })
    await using client = await testHost()
    const listener = await host.listen()
    const address = addressOf(listener)
    const silent = await rawConnection(address)
    await using other = await rawConnection(address)
    await expect.poll(() => client.dial(address).catch(({ code }) => code)).toBe('TRANSPORT_UNREACHABLE')
    expect(host.transport.counters.refusedBusy).toBeGreaterThan(0)
    silent.quic.close(0, 'never mind')
    await silent[Symbol.asyncDispose]()
    await expect.poll(() => host.transport.counters.handshakesRefused).toBe(1)
    await client.dial(address)
    other.quic.close(0, 'never mind')
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

  it('are refused above connectionsMax, until a connection ends', async () => {
    await using host = await testHost({ connectionsMax: 1 })
    await using client = await testHost()
    const { near, far, listener } = await connected(client, host)
    await expect(client.dial(addressOf(listener))).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    await near[Symbol.asyncDispose]()
    await far[Symbol.asyncDispose]()
    await client.dial(addressOf(listener))
  })

  it('are refused at once by an endpoint that only dials', async () => {
    const { iroh, sockets } = await watchedIroh()
    await using dialling = new IrohTransport(parseOptions({}), testContext(), iroh)
    await using host = await testHost()
    const { signal } = new AbortController()
    const address = addressOf(await host.listen())
    await dialling.dial(address, { identity: identity(1), alpn: 'heddle/1', signal })
    const port = sockets[0]?.split(':').at(-1)
    const key = Buffer.from(identity(1).publicKey).toString('hex')
    await using stranger = await testHost()
    await expect(stranger.dial(`iroh://${key}?addr=127.0.0.1:${port}`, { as: 3 })).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringMatching(/refused to accept/)
    })
  })
})

describe('what ends', () => {
  it('closes connections nobody has taken when the listener is disposed of', async () => {
    await using host = await testHost()
    const listener = await host.listen()
    const untaken = await host.dial(addressOf(listener))
    await expect.poll(() => host.transport.counters.connectionsAccepted).toBe(1)
    await listener[Symbol.asyncDispose]()
    expect(await untaken.closed).toEqual({ by: 'remote' })
  })

  it('leaves no handle, no timer and nothing in memory, while its transport goes on', async () => {
    await using client = await testHost()
    await using server = await testHost()
    const listener = await server.listen()
    const gone: WeakRef<object>[] = []
    const visit = async () => {
      const near = await client.dial(addressOf(listener))
      const far = await nextOf(listener.connections)
      const streams = await streamed(near, far)
      for (const item of [near, far, streams.near, streams.far]) gone.push(new WeakRef(item))
      await near[Symbol.asyncDispose]()
      await far[Symbol.asyncDispose]()
    }
    await visit()
    const before = process.getActiveResourcesInfo().length
    for (let round = 0; round < 20; round++) await visit()
    await expect.poll(() => process.getActiveResourcesInfo().length).toBeLessThanOrEqual(before)
    const left = () => collectGarbage().then(() => gone.filter((item) => item.deref() !== undefined).length)
    // What the last visit touched may still be on the stack.
    await expect.poll(left).toBeLessThanOrEqual(4)
  })
})

/** iroh, and the sockets of every endpoint bound with it. */
async function watchedIroh(): Promise<{ readonly iroh: Iroh; readonly sockets: readonly string[] }> {
  const iroh = await loadIroh()
  const sockets: string[] = []
  return {
    sockets,
    iroh: {
      publicKey: (secretKey) => iroh.publicKey(secretKey),
      async bind(options) {
        const endpoint = await iroh.bind(options)
        sockets.push(...endpoint.sockets)
        return endpoint
      }
    }
  }
}
