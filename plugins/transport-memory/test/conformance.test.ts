/** The memory transport keeps the transport contract: delivered in microtasks, and with latency by timers. */
import { type TransportSubject, transportSuite } from '@heddle/conformance'
import { createMemoryNetwork, type Latency, memoryTransport } from '@heddle/transport-memory'
import { describe, it } from 'vitest'
import { systemClock, testContext } from './context.js'

let random = 7
const jitter: Latency = () => {
  random = (Math.imul(random, 1664525) + 1013904223) >>> 0
  return random % 3
}

describe.each([
  ['in microtasks', 0],
  ['with jitter', jitter]
])('the memory transport %s', (_, latencyMs) => {
  for (const check of transportSuite(() => subject(latencyMs))) it(`${check.id}: ${check.title}`, () => check.run())
})

function subject(latencyMs: number | Latency): TransportSubject {
  const network = createMemoryNetwork({ clock: systemClock, latencyMs })
  let names = 0
  return {
    manifest: memoryTransport.manifest,
    create: (limits) => memoryTransport.create({ network }, testContext({ limits })),
    freeAddress: () => `mem://suite-${++names}`,
    unreachableAddress: () => 'mem://nobody',
    detour: async (address) => ({
      address,
      sever: async () => network.cut(address),
      [Symbol.asyncDispose]: async () => network.heal(address)
    })
  }
}
