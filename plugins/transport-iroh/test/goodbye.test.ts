/** How connections end: what was written arrives, nobody waits for ever, and a silent peer is given up. */
import { createVirtualClock } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { loadIroh } from '../src/native/index.js'
import { parseOptions } from '../src/options.js'
import { IrohTransport } from '../src/transport.js'
import { cableIn } from './cable.js'
import { testContext } from './context.js'
import { addressOf, connected, nextOf, streamed, testHost } from './host.js'
import { identity } from './identities.js'
import { control, framed, rawConnection, rawEndpoint, rawHello, rawPeer, send } from './raw-peer.js'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe('disposing of a connection', () => {
  it('lets what was written arrive, finished or not, from streams nobody has taken yet too', async () => {
    await using host = await testHost()
    for (let round = 0; round < 20; round++) {
      const { near, far, listener } = await connected(host)
      const frames = Array.from({ length: 20 }, (_, index) => new Uint8Array(1000).fill(index))
      const finished = await near.open()
      const unfinished = await near.open()
      for (const frame of frames) {
        await finished.write(frame)
        await unfinished.write(frame)
      }
      void finished.finish()
      await near[Symbol.asyncDispose]()
      expect(await far.closed).toMatchObject({ by: 'remote' })
      const got: number[] = []
      const ends: unknown[] = []
      for await (const stream of far.incoming) {
        let count = 0
        try {
          for await (const _ of stream.frames) count += 1
          ends.push('finished')
        } catch (error) {
          ends.push((error as { code: unknown }).code)
        }
        got.push(count)
      }
      expect(got).toEqual([20, 20])
      expect(ends).toEqual(['finished', 'TRANSPORT_CLOSED'])
      await listener[Symbol.asyncDispose]()
    }
  })

  it('on both sides at once ends for both as theirs', async () => {
    await using host = await testHost({ closeTimeoutMs: 60_000 })
    const { near, far } = await connected(host)
    await streamed(near, far)
    await Promise.all([near[Symbol.asyncDispose](), far[Symbol.asyncDispose]()])
    expect((await near.closed).by).toBe('local')
  })

  it('waits no longer than closeTimeoutMs for a peer that does not hang up', async () => {
    const clock = createVirtualClock(0)
    await using host = await testHost({ closeTimeoutMs: 900 }, { clock })
    const listener = await host.listen()
    await using raw = await rawPeer(addressOf(listener))
    const connection = await nextOf(listener.connections)
    let isDisposed = false
    const disposing = connection[Symbol.asyncDispose]().then(() => {
      isDisposed = true
    })
    await clock.run({ untilMs: 899 })
    expect(isDisposed).toBe(false)
    await clock.run({ untilMs: 900 })
    await disposing
    expect(await raw.closed).toMatch(/normal/)
    expect(clock.pending).toBe(0)
  })

  it('does not wait for a reader that reads nothing', async () => {
    await using host = await testHost({ closeTimeoutMs: 60_000 })
    const { near, far } = await connected(host)
    const { near: stream, far: other } = await streamed(near, far)
    const writes = Array.from({ length: 40 }, () => stream.write(new Uint8Array(32 * 1024)))
    const outcomes = Promise.allSettled(writes)
    await near[Symbol.asyncDispose]()
    const written = (await outcomes).filter(({ status }) => status === 'fulfilled').length
    let came = 0
    await (async () => {
      for await (const _ of other.frames) came += 1
    })().catch(() => {})
    expect(came).toBeGreaterThanOrEqual(written)
    expect(written).toBeGreaterThan(0)
  })
})

describe('a goodbye', () => {
  it('that promises streams which never come is believed only for closeTimeoutMs', async () => {
    const clock = createVirtualClock(0)
    await using host = await testHost({ closeTimeoutMs: 700 }, { clock })
    const listener = await host.listen()
    await using raw = await rawPeer(addressOf(listener))
    const connection = await nextOf(listener.connections)
    await raw.lane(framed(Uint8Array.of(4)))
    const stream = await nextOf(connection.incoming)
    await send(raw.control, control({ kind: 'bye', streams: 50 }))
    expect(await connection.closed).toEqual({ by: 'remote' })
    const over = nextOf(connection.incoming).catch(String)
    await clock.run({ untilMs: 700 })
    expect(await over).toMatch(/the iteration ended/)
    expect(await raw.closed).toMatch(/normal/)
    expect(await nextOf(stream.frames)).toEqual(Uint8Array.of(4))
    await expect(nextOf(stream.frames)).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })
})

describe('a peer that falls silent', () => {
  it('is asked and given up, and what came before is still read', async () => {
    const clock = createVirtualClock(0)
    const cable = cableIn(await loadIroh())
    const options = parseOptions({ pingIntervalMs: 100, deadAfterMs: 250 })
    await using transport = new IrohTransport(options, testContext({ clock }), cable.iroh)
    await using far = await testHost()
    const listener = await far.listen()
    const { signal } = new AbortController()
    const connection = await transport.dial(addressOf(listener), { identity: identity(1), alpn: 'heddle/1', signal })
    const pair = await streamed(connection, await nextOf(listener.connections))
    // In one packet.
    await Promise.all([pair.far.write(Uint8Array.of(1)), pair.far.write(Uint8Array.of(2))])
    expect(await nextOf(pair.near.frames)).toEqual(Uint8Array.of(1))
    cable.cut()
    let isClosed = false
    void connection.closed.then(() => {
      isClosed = true
    })
    await clock.run({ until: () => isClosed })
    expect(clock.now()).toBeLessThanOrEqual(350)
    expect(await connection.closed).toMatchObject({ by: 'lost', cause: { code: 'TRANSPORT_CLOSED' } })
    expect(await nextOf(pair.near.frames)).toEqual(Uint8Array.of(2))
    await expect(nextOf(pair.near.frames)).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
    await expect(pair.near.write(Uint8Array.of(3))).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })

  it('is not given up as long as it answers', async () => {
    await using host = await testHost({ pingIntervalMs: 50, deadAfterMs: 1000 })
    const { near, far } = await connected(host)
    let end: string | undefined
    void near.closed.then(({ by }) => {
      end = by
    })
    const started = Date.now()
    await expect.poll(() => Date.now() - started, { timeout: 5000 }).toBeGreaterThan(1500)
    expect(end).toBeUndefined()
    await streamed(near, far)
  })

  it('cannot make this side queue answers it does not read', async () => {
    await using host = await testHost()
    const listener = await host.listen()
    await using raw = await rawPeer(addressOf(listener))
    const connection = await nextOf(listener.connections)
    const ping = control({ kind: 'ping' })
    const pings = Uint8Array.from({ length: 3000 * ping.length }, (_, index) => ping[index % ping.length] ?? 0)
    void (async () => {
      for (;;) await send(raw.control, pings)
    })().catch(() => {})
    expect(await connection.closed).toMatchObject({ by: 'local', cause: { code: 'MALFORMED' } })
    expect(await raw.closed).toMatch(/malformed/)
  })
})

describe('half a connection', () => {
  it('is hung up on when the peer opens no lane in time', async () => {
    const clock = createVirtualClock(0)
    await using host = await testHost({ handshakeTimeoutMs: 500 }, { clock })
    const listener = await host.listen()
    await using raw = await rawConnection(addressOf(listener))
    const closed = raw.quic.closed()
    await clock.run({ until: () => host.transport.counters.handshakesTimedOut === 1 })
    expect(clock.now()).toBe(500)
    expect(await closed).toMatch(/refused/)
    expect(host.transport.counters).toMatchObject({ connectionsAccepted: 0, handshakesRefused: 1 })
  })

  it('is given up by the dialling side when HELLO is not answered', async () => {
    const clock = createVirtualClock(0)
    const endpoint = await rawEndpoint(9)
    await using host = await testHost({ dialTimeoutMs: 500 }, { clock })
    const address = `iroh://${hex(identity(9).publicKey)}?addr=${endpoint.sockets[0]}`
    const outcome = expect(host.dial(address)).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    const quic = await (await endpoint.accept())?.accept()
    await quic?.acceptStream()
    await clock.run({ untilMs: 500 })
    await outcome
    expect(await quic?.closed()).toMatch(/refused/)
    await endpoint.close()
  })

  it.each([
    ['another first lane', Uint8Array.of(1), /first lane/],
    ['another version', Uint8Array.of(0, ...rawHello(3)), /version 3/],
    ['another message', Uint8Array.of(0, ...control({ kind: 'ping' })), /ping before hello/]
  ])('that begins with %s is refused and counted', async (_, bytes, message) => {
    await using host = await testHost()
    const listener = await host.listen()
    await using raw = await rawConnection(addressOf(listener))
    await send(await raw.quic.openStream(), bytes)
    expect(await raw.quic.closed()).toMatch(/refused/)
    await expect.poll(() => host.transport.counters.handshakesRefused).toBe(1)
    expect(String(host.log[0]?.[1].message)).toMatch(message)
    await host.dial(addressOf(listener))
  })
})
