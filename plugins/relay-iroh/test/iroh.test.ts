/** iroh's own client, as it is published, on one machine: it finds a direct path after the relay has brought both together. */
import { tokens } from '@heddle/relay-iroh'
import { expect, it } from 'vitest'
import { relayHost } from './host.js'
import { bindEndpoint, type Online, type Sent } from './process/endpoint.js'
import { Process } from './process/process.js'

const MEGABYTES_10 = 10_000_000

it('two endpoints that know an id and the relay are online within a second and exchange 10 MB', {
  timeout: 60_000
}, async ({ annotate }) => {
  await using host = await relayHost()
  await using a = new Process('./endpoint.ts', [host.url])
  await using b = new Process('./endpoint.ts', [host.url])
  const ada = await a.next<Online>()
  const bob = await b.next<Online>()
  await annotate(`online after ${ada.onlineMs.toFixed(0)} and ${bob.onlineMs.toFixed(0)} ms`)
  expect(Math.max(ada.onlineMs, bob.onlineMs)).toBeLessThan(1000)
  const sent = await a.ask<Sent>({ do: 'send', to: bob.id, bytes: MEGABYTES_10, seed: 7 })
  const back = await b.ask<Sent>({ do: 'send', to: ada.id, bytes: 100_000, seed: 8 })
  expect([sent.rightBytes, back.rightBytes]).toEqual([MEGABYTES_10, 100_000])
  expect(host.relay.counters).toMatchObject({ clientsAccepted: 2, protocolErrors: 0, framesDropped: 0 })
  expect(host.relay.counters.framesForwarded).toBeGreaterThan(5)
})

it('an endpoint is let in by the token in its relay configuration', { timeout: 30_000 }, async () => {
  await using host = await relayHost({ authorize: tokens(['for friends']) })
  const friend = await bindEndpoint(host.url, 'for friends')
  await friend.online()
  const stranger = await bindEndpoint(host.url, 'guessed')
  await expect.poll(() => host.relay.counters.clientsDenied).toBeGreaterThan(0)
  expect(host.relay.load.endpoints).toBe(1)
  await Promise.all([friend.close(), stranger.close()])
})

it('an endpoint comes back to a relay that restarts', { timeout: 60_000 }, async () => {
  const first = await relayHost()
  await using a = new Process('./endpoint.ts', [first.url])
  await using b = new Process('./endpoint.ts', [first.url])
  const [, bob] = [await a.next<Online>(), await b.next<Online>()]
  await first[Symbol.asyncDispose]()
  await using second = await relayHost({ port: Number(new URL(first.url).port) })
  await expect.poll(() => second.relay.load.endpoints, { timeout: 30_000 }).toBe(2)
  const sent = await a.ask<Sent>({ do: 'send', to: bob.id, bytes: 100_000, seed: 9 })
  expect(sent.rightBytes).toBe(100_000)
})
