/** Shutting down: what clients are told, and that it ends whatever they do. */
import { createVirtualClock } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { FRAME } from '../src/protocol/index.js'
import { relayHost } from './host.js'
import { datagram, newIdentity, RawClient } from './raw-client.js'

describe('a relay that is disposed of', () => {
  it('tells every client to come back within a second and for how long to try, and closes', async () => {
    await using host = await relayHost()
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(host.url)))
    const silent = await RawClient.connect(host.url)
    await host.relay[Symbol.asyncDispose]()
    const delaysMs = []
    for (const client of clients) {
      const view = new DataView((await client.next(FRAME.restarting)).buffer)
      delaysMs.push(view.getUint32(1))
      expect(view.getUint32(5)).toBe(5000)
      expect(await client.closed).toBe(1001)
    }
    expect(Math.max(...delaysMs)).toBeLessThan(1000)
    expect(new Set(delaysMs).size).toBeGreaterThan(5)
    expect(await silent.closed).toBe(1001)
    expect(host.relay.load).toEqual({ endpoints: 0, connections: 0, queuedBytes: 0 })
    expect(host.relay.counters.clientsLost).toBe(0)
  })

  it('delivers what was queued before it closes', async () => {
    await using host = await relayHost()
    const bob = newIdentity()
    using a = await RawClient.open(host.url)
    using b = await RawClient.open(host.url, bob)
    for (let index = 0; index < 100; index++) a.send(datagram(bob.id, Uint8Array.of(index)))
    await a.settled()
    await host.relay[Symbol.asyncDispose]()
    for (let index = 0; index < 100; index++) expect((await b.next(FRAME.relayToClientDatagram))[34]).toBe(index)
    await b.next(FRAME.restarting)
  })

  it('waits no longer than closeTimeoutMs for who does not answer', async () => {
    const clock = createVirtualClock(0)
    await using host = await relayHost({ closeTimeoutMs: 300 }, { clock })
    using deaf = await RawClient.open(host.url)
    deaf.ws.pause()
    const disposed = host.relay[Symbol.asyncDispose]()
    await clock.run({ untilMs: 300 })
    await disposed
    expect(host.relay.load.connections).toBe(0)
  })

  it('may be disposed of again', async () => {
    await using host = await relayHost()
    await Promise.all([host.relay[Symbol.asyncDispose](), host.relay[Symbol.asyncDispose]()])
  })
})
