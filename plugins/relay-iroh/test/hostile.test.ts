/**
 * Hostile clients against a relay in a process of its own, while an honest pair goes on exchanging: whatever they do, the
 * pair is served, the relay's memory stays bounded, and afterwards nothing is left of them.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { FRAME } from '../src/protocol/index.js'
import type { AttackName } from './process/hostile.js'
import { Process } from './process/process.js'
import type { RelayReport } from './process/relay.js'
import { datagram, type Identity, newIdentity, RawClient } from './raw-client.js'

const QUEUE_BYTES_TOTAL_MAX = 16 * 1024 * 1024
const RSS_GROWTH_BYTES_MAX = 100_000_000
/** So little that every attacker gets to feel it, and more than the pair needs. */
const BURST_BYTES = 128 * 1024
/** The machine is busy with the attack and perhaps with more; an attack lasts 700 ms. */
const ROUND_TRIP_MS_MAX = 5_000
const ROUND_TRIPS_MIN = 5
const PACE_MS = 3
/** Where frames may be lost, the pair repeats them, as QUIC would. */
const REPEAT_MS = 250

interface Attack {
  readonly name: AttackName
  /** What the relay must have counted. */
  readonly counter?: string
  /** Frames for the pair may be dropped, as a network would. */
  readonly isLossy?: boolean
}

const ATTACKS: readonly Attack[] = [
  { name: 'garbageForHandshakes', counter: 'handshakesRefused' },
  { name: 'wrongSignatures', counter: 'handshakesRefused' },
  { name: 'replayedProofs', counter: 'handshakesRefused' },
  { name: 'silentConnections', counter: 'refusedBusy' },
  { name: 'textMessages', counter: 'protocolErrors' },
  { name: 'oversizedFrames', counter: 'protocolErrors' },
  { name: 'fragments', counter: 'protocolErrors' },
  { name: 'pingsWithoutReading', counter: 'clientsThrottled' },
  { name: 'floodOfTinyFrames', counter: 'clientsThrottled' },
  { name: 'floodOfLargeFrames', counter: 'clientsThrottled' },
  { name: 'floodAtTheVictim', counter: 'clientsThrottled', isLossy: true },
  { name: 'thousandsOfDestinations', counter: 'framesUnroutable' },
  { name: 'slowReaders', counter: 'framesDropped' }
]

let relay: Process
let attacker: Process
let url: string
let baseline: RelayReport

beforeAll(async () => {
  relay = new Process('./relay.ts', [
    JSON.stringify({ queueBytesTotalMax: QUEUE_BYTES_TOTAL_MAX, burstBytes: BURST_BYTES })
  ])
  attacker = new Process('./hostile.ts', [])
  url = (await relay.next<{ url: string }>()).url
  baseline = await relay.ask<RelayReport>({ gc: true })
}, 30_000)

afterAll(async () => {
  await attacker[Symbol.asyncDispose]()
  await relay[Symbol.asyncDispose]()
})

it.for(ATTACKS)('$name hurts nobody else', { timeout: 60_000 }, async (attack, { annotate }) => {
  const { name, counter, isLossy = false } = attack
  const [ada, bob] = [newIdentity(), newIdentity()]
  using a = await RawClient.open(url, ada)
  using b = await RawClient.open(url, bob)
  const before = await relay.ask<RelayReport>({})
  const stop = new AbortController()
  const exchanging = exchange(a, b, { ada, bob, isLossy }, stop.signal)
  await attacker.ask({ name, url, victim: Buffer.from(bob.id).toString('hex') })
  const during = await relay.ask<RelayReport>({})
  stop.abort()
  const { roundTrips, longestMs } = await exchanging
  const growth = during.rssBytes - baseline.rssBytes
  await annotate(
    `${name}: ${roundTrips} round trips, longest ${longestMs.toFixed(0)} ms; ` +
      `${(growth / 1e6).toFixed(0)} MB more, ${(during.cpuMs - before.cpuMs).toFixed(0)} ms CPU`
  )
  if (counter !== undefined) expect(during.counters[counter]).toBeGreaterThan(before.counters[counter] ?? 0)
  expect(roundTrips).toBeGreaterThan(ROUND_TRIPS_MIN)
  expect(longestMs).toBeLessThan(ROUND_TRIP_MS_MAX)
  expect(growth).toBeLessThan(RSS_GROWTH_BYTES_MAX)
  expect(during.load.queuedBytes).toBeLessThan(QUEUE_BYTES_TOTAL_MAX + 100 * 64 * 1024)
  // What they had sent is still read at the rate they may, and only then their end.
  await expect
    .poll(async () => (await relay.ask<RelayReport>({})).load, { timeout: 40_000 })
    .toEqual({ endpoints: 2, connections: 2, queuedBytes: 0 })
})

/** The pair: what one sends comes back from the other, byte for byte, again and again; a frame that is lost stops it. */
async function exchange(
  a: RawClient,
  b: RawClient,
  { ada, bob, isLossy }: { readonly ada: Identity; readonly bob: Identity; readonly isLossy: boolean },
  signal: AbortSignal
): Promise<{ readonly roundTrips: number; readonly longestMs: number }> {
  const isFrom = (frame: Uint8Array, { id }: Identity) => Buffer.from(frame.subarray(1, 33)).equals(id)
  let arrived: (payload: Uint8Array) => void = () => {}
  b.ws.on('message', (data: Buffer) => {
    if (data[0] === FRAME.relayToClientDatagram && isFrom(data, ada)) b.send(datagram(ada.id, data.subarray(34)))
  })
  a.ws.on('message', (data: Buffer) => {
    if (data[0] === FRAME.relayToClientDatagram && isFrom(data, bob)) arrived(data.subarray(34))
  })
  let roundTrips = 0
  let longestMs = 0
  while (!signal.aborted) {
    const payload = crypto.getRandomValues(new Uint8Array(1000))
    const beganMs = performance.now()
    await new Promise<void>((resolve) => {
      const send = () => a.send(datagram(bob.id, payload))
      const timer = isLossy ? setInterval(send, REPEAT_MS) : undefined
      arrived = (received) => {
        if (!Buffer.from(payload).equals(received)) return
        clearInterval(timer)
        resolve()
      }
      send()
    })
    roundTrips += 1
    longestMs = Math.max(longestMs, performance.now() - beganMs)
    await new Promise((resolve) => setTimeout(resolve, PACE_MS))
  }
  return { roundTrips, longestMs }
}
