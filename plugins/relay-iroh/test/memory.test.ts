/** What clients cost a relay in a process of its own: by being there, and by not reading. */
import { expect, it } from 'vitest'
import { FRAME_BODY_BYTES_MAX } from '../src/protocol/index.js'
import { Process } from './process/process.js'
import type { RelayReport } from './process/relay.js'
import { datagram, newIdentity, RawClient } from './raw-client.js'

const CLIENTS = 1000
const RSS_BYTES_MAX = 60_000_000

it(`${CLIENTS} idle clients take less than ${RSS_BYTES_MAX / 1e6} MB`, { timeout: 120_000 }, async ({ annotate }) => {
  await using relay = new Process('./relay.ts', ['{}'])
  const { url } = await relay.next<{ url: string }>()
  // The code that a connection runs through is compiled and warm before it counts.
  for (let count = 0; count < 50; count++) (await RawClient.open(url))[Symbol.dispose]()
  const before = await relay.ask<RelayReport>({ gc: true })
  const clients: RawClient[] = []
  while (clients.length < CLIENTS) {
    clients.push(...(await Promise.all(Array.from({ length: 50 }, () => RawClient.open(url)))))
  }
  const after = await relay.ask<RelayReport>({ gc: true })
  const rssBytes = after.rssBytes - before.rssBytes
  const usedBytes = after.usedBytes - before.usedBytes
  await annotate(`${CLIENTS} idle clients: ${toMB(usedBytes)} MB more in use, ${toMB(rssBytes)} MB more resident`)
  expect(after.load).toEqual({ endpoints: CLIENTS, connections: CLIENTS, queuedBytes: 0 })
  // Pages that were free already hide what is in use, and the other way round.
  expect(Math.max(rssBytes, usedBytes)).toBeLessThan(RSS_BYTES_MAX)
  for (const client of clients) client[Symbol.dispose]()
})

it('a frame that waits does not keep in memory what was read with it', { timeout: 60_000 }, async ({ annotate }) => {
  await using relay = new Process('./relay.ts', [JSON.stringify({ bytesPerSecond: 2 ** 40, burstBytes: 2 ** 40 })])
  const { url } = await relay.next<{ url: string }>()
  const [bob, nobody] = [newIdentity(), newIdentity()]
  using a = await RawClient.open(url)
  using slow = await RawClient.open(url, bob)
  slow.ws.pause()
  const reported = () => relay.ask<RelayReport>({ gc: true })
  // Fill the kernels' buffers first.
  while ((await reported()).load.queuedBytes === 0) {
    for (let count = 0; count < 20; count++) a.send(datagram(bob.id, new Uint8Array(30_000)))
    await a.settled()
  }
  const before = await reported()
  for (let count = 0; count < 400; count++) {
    a.send(datagram(bob.id, new Uint8Array(10)))
    a.send(datagram(nobody.id, new Uint8Array(FRAME_BODY_BYTES_MAX - 33)))
  }
  await a.settled()
  const after = await reported()
  const usedBytes = after.usedBytes - before.usedBytes
  await annotate(`${after.load.queuedBytes - before.load.queuedBytes} bytes more wait, ${usedBytes} more are in use`)
  expect(after.load.queuedBytes).toBeGreaterThan(before.load.queuedBytes)
  expect(usedBytes).toBeLessThan(5_000_000)
})

function toMB(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
