/** Frames between clients: who gets what, what is told to whom, and the bounds. */
import { createVirtualClock } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { FRAME, FRAME_BODY_BYTES_MAX } from '../src/protocol/index.js'
import { STANDBY_MAX } from '../src/switchboard.js'
import { relayHost } from './host.js'
import { datagram, newIdentity, RawClient } from './raw-client.js'

const bytes = (length: number, seed = 1) => Uint8Array.from({ length }, (_, index) => (index * 31 + seed) % 256)

const UNMETERED = { bytesPerSecond: 2 ** 40, burstBytes: 2 ** 40 }

describe('a datagram', () => {
  it('arrives with its sender’s id, byte for byte', async () => {
    await using host = await relayHost()
    const [ada, bob] = [newIdentity(), newIdentity()]
    using a = await RawClient.open(host.url, ada)
    using b = await RawClient.open(host.url, bob)
    for (const length of [0, 1, 1200, FRAME_BODY_BYTES_MAX - 33]) {
      a.send(datagram(bob.id, bytes(length)))
      expect(await b.next(FRAME.relayToClientDatagram)).toEqual(Uint8Array.of(6, ...ada.id, 0, ...bytes(length)))
    }
    const batch = Uint8Array.of(FRAME.clientToRelayBatch, ...ada.id, 1, 0, 100, ...bytes(300))
    b.send(batch)
    expect(await a.next(FRAME.relayToClientBatch)).toEqual(
      Uint8Array.of(FRAME.relayToClientBatch, ...bob.id, 1, 0, 100, ...bytes(300))
    )
    expect(host.relay.counters).toMatchObject({ framesForwarded: 5, framesDropped: 0, framesUnroutable: 0 })
  })

  it('to oneself comes back', async () => {
    await using host = await relayHost()
    const ada = newIdentity()
    using a = await RawClient.open(host.url, ada)
    a.send(datagram(ada.id, bytes(10)))
    expect(await a.next(FRAME.relayToClientDatagram)).toEqual(Uint8Array.of(6, ...ada.id, 0, ...bytes(10)))
  })

  it('to nobody is dropped and counted', async () => {
    await using host = await relayHost()
    using a = await RawClient.open(host.url)
    a.send(datagram(newIdentity().id, bytes(10)))
    await a.settled()
    expect(host.relay.counters).toMatchObject({ framesForwarded: 0, framesUnroutable: 1 })
  })

  it('of many in one read all arrive, in order', async () => {
    await using host = await relayHost()
    const bob = newIdentity()
    using a = await RawClient.open(host.url)
    using b = await RawClient.open(host.url, bob)
    const socket = (a.ws as unknown as { readonly _socket: { cork(): void; uncork(): void } })._socket
    socket.cork()
    for (let index = 0; index < 1500; index++) a.send(datagram(bob.id, Uint8Array.of(index >> 8, index & 255)))
    socket.uncork()
    for (let index = 0; index < 1500; index++) {
      const frame = await b.next(FRAME.relayToClientDatagram)
      expect([frame[34], frame[35]]).toEqual([index >> 8, index & 255])
    }
    expect(host.relay.counters.framesDropped).toBe(0)
  })

  it('above 64 KiB costs the sender its connection, before the relay has read it', async () => {
    await using host = await relayHost()
    using a = await RawClient.open(host.url)
    a.send(datagram(newIdentity().id, bytes(FRAME_BODY_BYTES_MAX - 32)))
    expect(await a.closed).toBe(1009)
    expect(host.relay.counters.protocolErrors).toBe(1)
  })
})

describe('a client that breaks the protocol', () => {
  it.each([
    ['a text message, even of the right bytes', String.fromCharCode(FRAME.ping, 1, 2, 3, 4, 5, 6, 7, 8)],
    ['an empty frame', new Uint8Array(0)],
    ['a frame of the relay', Uint8Array.of(FRAME.endpointGone, ...bytes(32))],
    ['a datagram without its ECN byte', Uint8Array.of(FRAME.clientToRelayDatagram, ...bytes(32))]
  ])('with %s loses its connection, and is told why', async (_, message) => {
    await using host = await relayHost()
    using a = await RawClient.open(host.url)
    const reason = new Promise<string>((resolve) => a.ws.once('close', (_code, text) => resolve(text.toString())))
    a.ws.send(message)
    expect(await a.closed).toBe(1002)
    expect(await reason).toMatch(/broke the iroh relay protocol/)
    expect(host.relay.counters.protocolErrors).toBe(1)
  })
})

describe('an endpoint that goes', () => {
  it('is reported to everyone it had sent to, and to nobody else', async () => {
    await using host = await relayHost()
    const [ada, bob, eve] = [newIdentity(), newIdentity(), newIdentity()]
    using a = await RawClient.open(host.url, ada)
    using b = await RawClient.open(host.url, bob)
    using e = await RawClient.open(host.url, eve)
    a.send(datagram(bob.id, bytes(1)))
    e.send(datagram(ada.id, bytes(1)))
    await b.next(FRAME.relayToClientDatagram)
    await a.next(FRAME.relayToClientDatagram)
    a[Symbol.dispose]()
    expect(await b.next(FRAME.endpointGone)).toEqual(Uint8Array.of(FRAME.endpointGone, ...ada.id))
    await e.settled()
    expect(host.relay.load.endpoints).toBe(2)
  })
})

describe('a second connection of an endpoint', () => {
  it.each([
    [['iroh-relay-v2'], FRAME.status],
    [['iroh-relay-v1'], FRAME.health]
  ])('gets its messages, and the first one again when it leaves (%j)', async (protocols, type) => {
    await using host = await relayHost()
    const [ada, bob] = [newIdentity(), newIdentity()]
    using a = await RawClient.open(host.url, ada)
    using old = await RawClient.open(host.url, bob, protocols)
    using young = await RawClient.open(host.url, bob, protocols)
    const replaced = await old.next(type)
    if (type === FRAME.status) expect([...replaced]).toEqual([FRAME.status, 1])
    else expect(new TextDecoder().decode(replaced)).toMatch(/same endpoint id/)
    a.send(datagram(bob.id, bytes(3)))
    await young.next(FRAME.relayToClientDatagram)
    young[Symbol.dispose]()
    const restored = await old.next(type)
    if (type === FRAME.status) expect([...restored]).toEqual([FRAME.status, 0])
    else expect(new TextDecoder().decode(restored)).toMatch(/healthy/)
    a.send(datagram(bob.id, bytes(4)))
    await old.next(FRAME.relayToClientDatagram)
    expect(host.relay.counters.clientsReplaced).toBe(1)
    // Nobody was told that it is gone: it never was.
    await a.settled()
  })

  it('leaves the newest in place when an older one goes', async () => {
    await using host = await relayHost()
    const [ada, bob] = [newIdentity(), newIdentity()]
    using a = await RawClient.open(host.url, ada)
    using old = await RawClient.open(host.url, bob)
    using young = await RawClient.open(host.url, bob)
    old[Symbol.dispose]()
    await expect.poll(() => host.relay.load.connections).toBe(2)
    a.send(datagram(bob.id, bytes(3)))
    await young.next(FRAME.relayToClientDatagram)
    await young.settled()
  })

  it(`is the end of the oldest when there are more than ${STANDBY_MAX} behind it`, async () => {
    await using host = await relayHost()
    const bob = newIdentity()
    const clients: RawClient[] = []
    for (let count = 0; count < STANDBY_MAX + 2; count++) clients.push(await RawClient.open(host.url, bob))
    expect(await clients[0]?.closed).toBe(1008)
    await clients.at(-1)?.settled()
    expect(host.relay.load).toMatchObject({ endpoints: 1, connections: STANDBY_MAX + 1 })
    for (const client of clients) client[Symbol.dispose]()
  })
})

describe('liveness', () => {
  it('answers the client’s pings', async () => {
    await using host = await relayHost()
    using a = await RawClient.open(host.url)
    a.send(Uint8Array.of(FRAME.ping, 8, 7, 6, 5, 4, 3, 2, 1))
    expect(await a.next(FRAME.pong)).toEqual(Uint8Array.of(FRAME.pong, 8, 7, 6, 5, 4, 3, 2, 1))
  })

  it('pings after 16 to 20 seconds of silence, and takes the right answer', async () => {
    const clock = createVirtualClock(0)
    await using host = await relayHost({}, { clock })
    using a = await RawClient.open(host.url)
    await clock.run({ untilMs: 15_999 })
    const ping = a.next(FRAME.ping)
    await clock.run({ untilMs: 20_000 })
    const asked = await ping
    expect(asked).toHaveLength(9)
    asked[0] = FRAME.pong
    a.send(asked)
    await a.settled()
    await clock.run({ untilMs: 30_000 })
    await a.settled()
    expect(host.relay.counters.clientsLost).toBe(0)
  })

  it('does not ping who talks', async () => {
    const clock = createVirtualClock(0)
    await using host = await relayHost({}, { clock })
    using a = await RawClient.open(host.url)
    for (let untilMs = 10_000; untilMs <= 60_000; untilMs += 10_000) {
      await clock.run({ untilMs })
      await a.settled()
    }
  })

  it.each([
    ['nothing', []],
    ['another pong', [FRAME.pong, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['a ping of its own', [FRAME.ping, 0, 0, 0, 0, 0, 0, 0, 0]]
  ])('gives up who answers a ping with %s', async (_, answer) => {
    const clock = createVirtualClock(0)
    await using host = await relayHost({}, { clock })
    const [ada, bob] = [newIdentity(), newIdentity()]
    using a = await RawClient.open(host.url, ada)
    using b = await RawClient.open(host.url, bob)
    a.send(datagram(bob.id, bytes(1)))
    await b.next(FRAME.relayToClientDatagram)
    await clock.run({ untilMs: 14_000 })
    await b.settled()
    await clock.run({ untilMs: 20_000 })
    await a.next(FRAME.ping)
    if (answer.length > 0) a.send(Uint8Array.from(answer))
    if (answer[0] === FRAME.ping) await a.next(FRAME.pong)
    else await expect.poll(() => host.relay.load.endpoints).toBe(2)
    await clock.run({ untilMs: 25_000 })
    expect(await a.closed).toBe(1006)
    expect(host.relay.counters.clientsLost).toBe(1)
    await b.next(FRAME.endpointGone)
  })
})

describe('a client that sends faster than it may', () => {
  it('is made to wait, told so once, and loses nothing', async () => {
    await using host = await relayHost({ bytesPerSecond: 1024 * 1024, burstBytes: 128 * 1024 })
    const bob = newIdentity()
    using a = await RawClient.open(host.url)
    using b = await RawClient.open(host.url, bob)
    const began = performance.now()
    const frames = 48
    for (let index = 0; index < frames; index++) a.send(datagram(bob.id, bytes(16 * 1024, index)))
    for (let index = 0; index < frames; index++) {
      expect((await b.next(FRAME.relayToClientDatagram)).subarray(34)).toEqual(bytes(16 * 1024, index))
    }
    // 768 KiB, of which 128 are free and a read's worth goes ahead.
    expect(performance.now() - began).toBeGreaterThan(450)
    expect(await a.next(FRAME.status)).toEqual(Uint8Array.of(FRAME.status, 2))
    await a.settled()
    expect(host.relay.counters.clientsThrottled).toBeGreaterThan(1)
    expect(host.relay.counters.framesDropped).toBe(0)
  })

  it('pays for tiny frames and for WebSocket pings as for larger ones', async () => {
    await using host = await relayHost({ bytesPerSecond: 256 * 1024, burstBytes: 128 * 1024 })
    using a = await RawClient.open(host.url)
    for (let index = 0; index < 300; index++) a.send(Uint8Array.of(FRAME.pong, 0, 0, 0, 0, 0, 0, 0, 0))
    await expect.poll(() => host.relay.counters.clientsThrottled).toBeGreaterThan(0)
    using b = await RawClient.open(host.url)
    const before = host.relay.counters.clientsThrottled
    for (let index = 0; index < 300; index++) b.ws.ping()
    await expect.poll(() => host.relay.counters.clientsThrottled).toBeGreaterThan(before)
  })
})

describe('a client that does not read', () => {
  it('has a bounded queue, loses what is beyond, and holds nobody else up', async () => {
    await using host = await relayHost({ queueBytesMax: 256 * 1024, ...UNMETERED })
    const [bob, carol] = [newIdentity(), newIdentity()]
    using a = await RawClient.open(host.url)
    using slow = await RawClient.open(host.url, bob)
    using c = await RawClient.open(host.url, carol)
    slow.ws.pause()
    // The kernels' buffers of both ends hold some megabytes before anything waits in the relay.
    while (host.relay.counters.framesDropped < 20) {
      for (let index = 0; index < 20; index++) a.send(datagram(bob.id, bytes(60_000)))
      await a.settled()
      expect(host.relay.load.queuedBytes).toBeLessThanOrEqual(256 * 1024 + 14)
    }
    a.send(datagram(carol.id, bytes(5)))
    await c.next(FRAME.relayToClientDatagram)
    slow.ws.resume()
    await expect.poll(() => host.relay.load.queuedBytes).toBe(0)
    expect(host.relay.counters.clientsLost).toBe(0)
  })

  it('has a queue bounded in frames too', async () => {
    await using host = await relayHost({ queueFramesMax: 16, ...UNMETERED })
    const bob = newIdentity()
    using a = await RawClient.open(host.url)
    using slow = await RawClient.open(host.url, bob)
    slow.ws.pause()
    while (host.relay.counters.framesDropped < 20) {
      for (let index = 0; index < 40; index++) a.send(datagram(bob.id, bytes(10_000)))
      await a.settled()
    }
    expect(host.relay.load.queuedBytes).toBeGreaterThan(0)
    expect(host.relay.load.queuedBytes).toBeLessThanOrEqual(16 * (10_000 + 34 + 4))
  })

  it('is not answered every WebSocket ping', async () => {
    await using host = await relayHost(UNMETERED)
    using slow = await RawClient.open(host.url)
    let pongs = 0
    slow.ws.on('pong', () => {
      pongs += 1
    })
    slow.ws.pause()
    const pings = 200_000
    for (let sent = 0; sent < pings; sent += 1000) {
      for (let count = 0; count < 1000; count++) slow.ws.ping(bytes(125))
      while (slow.ws.bufferedAmount > 1e6) await new Promise((resolve) => setImmediate(resolve))
    }
    slow.send(Uint8Array.of(FRAME.ping, 1, 2, 3, 4, 5, 6, 7, 8))
    slow.ws.resume()
    await slow.next(FRAME.pong)
    expect(pongs).toBeGreaterThan(100)
    expect(pongs).toBeLessThan(pings / 2)
  })

  it('is given up when its full queue has not moved for a while', async () => {
    const clock = createVirtualClock(0)
    await using host = await relayHost({ queueBytesMax: 256 * 1024, ...UNMETERED }, { clock })
    const bob = newIdentity()
    using a = await RawClient.open(host.url)
    using slow = await RawClient.open(host.url, bob)
    slow.ws.pause()
    while (host.relay.counters.framesDropped < 20) {
      for (let index = 0; index < 20; index++) a.send(datagram(bob.id, bytes(60_000)))
      await a.settled()
    }
    await clock.run({ untilMs: 10_001 })
    a.send(datagram(bob.id, bytes(60_000)))
    await expect.poll(() => host.relay.counters.clientsLost).toBe(1)
    await a.settled()
    expect(host.relay.load).toEqual({ endpoints: 1, connections: 1, queuedBytes: 0 })
  })

  it('is not given up when its queue was empty until now', async () => {
    const clock = createVirtualClock(0)
    await using host = await relayHost(
      { queueBytesMax: FRAME_BODY_BYTES_MAX + 1, pingIntervalMs: 3_600_000, ...UNMETERED },
      { clock }
    )
    const [bob, nobody] = [newIdentity(), newIdentity()]
    using a = await RawClient.open(host.url)
    using _b = await RawClient.open(host.url, bob)
    const socket = (a.ws as unknown as { readonly _socket: { cork(): void; uncork(): void } })._socket
    for (let nowMs = 11_000; host.relay.counters.framesDropped === 0; nowMs += 11_000) {
      await clock.run({ untilMs: nowMs })
      // A read takes 64 KiB, in the middle of the second frame: the rest of it comes with all the small ones.
      socket.cork()
      a.send(datagram(nobody.id, bytes(60_000)))
      a.send(datagram(bob.id, bytes(60_000)))
      for (let index = 0; index < 90; index++) a.send(datagram(bob.id, bytes(100)))
      socket.uncork()
      await a.settled()
    }
    expect(host.relay.counters.clientsLost).toBe(0)
  })

  it('shares the room of all queues: above it each has 64 KiB', async () => {
    const total = 512 * 1024
    await using host = await relayHost({ queueBytesTotalMax: total, ...UNMETERED })
    const targets = Array.from({ length: 4 }, newIdentity)
    using a = await RawClient.open(host.url)
    const slow = await Promise.all(targets.map((target) => RawClient.open(host.url, target)))
    for (const { ws } of slow) ws.pause()
    const droppedFor = async (target: Uint8Array) => {
      const before = host.relay.counters.framesDropped
      while (host.relay.counters.framesDropped < before + 20) {
        for (let index = 0; index < 20; index++) a.send(datagram(target, bytes(30_000)))
        await a.settled()
      }
    }
    for (const { id } of targets) await droppedFor(id)
    expect(host.relay.load.queuedBytes).toBeGreaterThan(total)
    expect(host.relay.load.queuedBytes).toBeLessThan(total + 30_048 + 3 * 64 * 1024)
    const bob = newIdentity()
    using b = await RawClient.open(host.url, bob)
    a.send(datagram(bob.id, bytes(60_000)))
    await b.next(FRAME.relayToClientDatagram)
    for (const client of slow) client[Symbol.dispose]()
    await expect.poll(() => host.relay.load.queuedBytes).toBe(0)
  })
})
