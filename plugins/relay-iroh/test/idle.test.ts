/** What idle clients cost a relay in a process of its own. */
import { expect, it } from 'vitest'
import { Process } from './process/process.js'
import type { RelayReport } from './process/relay.js'
import { RawClient } from './raw-client.js'

const CLIENTS = 1000
const RSS_BYTES_MAX = 60_000_000

it(`${CLIENTS} idle clients take less than ${RSS_BYTES_MAX / 1e6} MB`, { timeout: 120_000 }, async () => {
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
  console.info(`${CLIENTS} idle clients: ${toMB(usedBytes)} MB more in use, ${toMB(rssBytes)} MB more resident`)
  expect(after.load).toEqual({ endpoints: CLIENTS, connections: CLIENTS, queuedBytes: 0 })
  // Pages that were free already hide what is in use, and the other way round.
  expect(Math.max(rssBytes, usedBytes)).toBeLessThan(RSS_BYTES_MAX)
  for (const client of clients) client[Symbol.dispose]()
})

function toMB(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
