/**
 * iroh's own client where nothing but the relay connects the two: in network namespaces with no route between them. Needs
 * root and iproute2, and says so where it is skipped.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Echoed, Online, Sent } from './process/endpoint.js'
import { makeNamespaces, type Namespaces } from './process/namespaces.js'
import { Process } from './process/process.js'
import type { RelayReport } from './process/relay.js'

const MEGABYTES_10 = 10_000_000
const PORT = 3340
const TIMEOUT_MS = 120_000

let namespaces: Namespaces | undefined
let whyNot = ''
beforeAll(async () => {
  namespaces = await makeNamespaces().catch((error: Error) => {
    whyNot = `no network namespaces here: ${error.message}`
    process.stderr.write(`The iroh relay is not tested without a direct route: ${whyNot}\n`)
    return undefined
  })
})
afterAll(() => namespaces?.[Symbol.asyncDispose]())

describe('without a direct route', { timeout: TIMEOUT_MS }, () => {
  beforeEach(({ skip }) => skip(namespaces === undefined, whyNot))

  it('10 MB go through the relay, byte for byte', async ({ annotate }) => {
    const spaces = there()
    expect(await spaces.routeToRight()).toMatch(/unreachable/)
    await using relay = startRelay(spaces)
    await relay.next()
    await using left = startEndpoint(spaces, spaces.left)
    await using right = startEndpoint(spaces, spaces.right)
    await left.next<Online>()
    const { id } = await right.next<Online>()
    const sent = await left.ask<Sent>({ do: 'send', to: id, bytes: MEGABYTES_10, seed: 3 })
    expect(sent).toMatchObject({ rightBytes: MEGABYTES_10, paths: { isRelayed: true, isDirect: false } })
    const { counters } = await relay.ask<RelayReport>({})
    expect(counters.bytesForwarded).toBeGreaterThan(MEGABYTES_10)
    await annotate(
      `10 MB relayed in ${sent.ms.toFixed(0)} ms, ${counters.framesForwarded} frames, ${counters.framesDropped} dropped`
    )
  })

  it('nothing is lost when the relay is killed in the middle and started again', async ({ annotate }) => {
    const spaces = there()
    await using killed = startRelay(spaces)
    await killed.next()
    await using left = startEndpoint(spaces, spaces.left)
    await using right = startEndpoint(spaces, spaces.right)
    await left.next<Online>()
    const { id } = await right.next<Online>()
    const sending = left.ask<Sent>({ do: 'send', to: id, bytes: MEGABYTES_10, seed: 5 })
    let forwarded = 0
    while (forwarded < 1_000_000) forwarded = (await killed.ask<RelayReport>({})).counters.bytesForwarded ?? 0
    await killed.kill()
    expect(forwarded).toBeLessThan(MEGABYTES_10)
    await using relay = startRelay(spaces)
    await relay.next()
    const sent = await sending
    expect(sent).toMatchObject({ rightBytes: MEGABYTES_10, paths: { isRelayed: true, isDirect: false } })
    expect((await relay.ask<RelayReport>({})).counters.bytesForwarded).toBeGreaterThan(0)
    await annotate(`10 MB over a relay killed after ${(forwarded / 1e6).toFixed(1)} MB: ${sent.ms.toFixed(0)} ms`)
  })

  it('a relayed round trip is not many times a direct one', async ({ annotate }) => {
    const spaces = there()
    await using relay = startRelay(spaces)
    await relay.next()
    await using left = startEndpoint(spaces, spaces.left)
    await using neighbour = startEndpoint(spaces, spaces.left)
    await using right = startEndpoint(spaces, spaces.right)
    await left.next<Online>()
    const near = await neighbour.next<Online>()
    const far = await right.next<Online>()
    // Until the neighbours have found their direct path.
    await expect
      .poll(async () => (await left.ask<Echoed>({ do: 'echo', to: near.id, count: 50, bytes: 64 })).paths.isRelayed, {
        timeout: 20_000
      })
      .toBe(false)
    await left.ask<Echoed>({ do: 'echo', to: far.id, count: 300, bytes: 64 })
    const direct = await left.ask<Echoed>({ do: 'echo', to: near.id, count: 1000, bytes: 64 })
    const relayed = await left.ask<Echoed>({ do: 'echo', to: far.id, count: 1000, bytes: 64 })
    const ratio = relayed.p50Ms / direct.p50Ms
    await annotate(
      `64 bytes there and back, p50: relayed ${relayed.p50Ms.toFixed(2)} ms, direct ${direct.p50Ms.toFixed(2)} ms, ` +
        `ratio ${ratio.toFixed(1)}`
    )
    const near10 = await left.ask<Sent>({ do: 'send', to: near.id, bytes: MEGABYTES_10, seed: 1 })
    const far10 = await left.ask<Sent>({ do: 'send', to: far.id, bytes: MEGABYTES_10, seed: 2 })
    await annotate(`10 MB: relayed ${far10.ms.toFixed(0)} ms, direct ${near10.ms.toFixed(0)} ms`)
    expect([near10.rightBytes, far10.rightBytes]).toEqual([MEGABYTES_10, MEGABYTES_10])
    expect(relayed.paths).toEqual({ isRelayed: true, isDirect: false })
    expect(direct.paths).toMatchObject({ isRelayed: false })
    expect(ratio).toBeLessThan(15)
  })
})

function there(): Namespaces {
  if (namespaces === undefined) throw new Error(whyNot)
  return namespaces
}

function startRelay({ relay }: Namespaces): Process {
  return new Process('./relay.ts', [JSON.stringify({ hostname: '0.0.0.0', port: PORT })], relay)
}

function startEndpoint({ relayAddress }: Namespaces, prefix: readonly string[]): Process {
  return new Process('./endpoint.ts', [`http://${relayAddress}:${PORT}`], prefix)
}
