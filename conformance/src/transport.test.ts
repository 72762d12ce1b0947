/** The suite against a right transport (the memory network's) and against every broken one: each must fail its check. */
import type { HostLimits } from '@heddle/core'
import { createMemoryNetwork, memoryTransport } from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { transportSuite } from './transport.js'
import type { TransportSubject } from './transport-bench.js'
import { mutateTransport, TRANSPORT_MUTANTS } from './transport-mutants.js'

const clock = {
  now: () => Date.now(),
  setTimer(delayMs: number, callback: () => void) {
    const timer = setTimeout(callback, delayMs)
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  }
}

function memorySubject(): TransportSubject {
  const network = createMemoryNetwork({ clock })
  let names = 0
  return {
    manifest: memoryTransport.manifest,
    create: (limits: HostLimits) =>
      memoryTransport.create(
        { network },
        {
          signal: new AbortController().signal,
          log: () => {},
          clock,
          random: (length) => crypto.getRandomValues(new Uint8Array(length)),
          limits
        }
      ),
    freeAddress: () => `mem://suite-${++names}`,
    unreachableAddress: () => 'mem://nobody',
    detour: async (address) => ({
      address,
      sever: async () => network.cut(address),
      [Symbol.asyncDispose]: async () => network.heal(address)
    })
  }
}

describe('the transport suite', () => {
  it('has a mutant for every check and a check for every mutant', () => {
    const checks = transportSuite(memorySubject).map((check) => check.id)
    expect(new Set(checks).size).toBe(checks.length)
    expect(TRANSPORT_MUTANTS.map((mutant) => mutant.caughtBy).sort()).toEqual([...checks].sort())
  })

  it.each(TRANSPORT_MUTANTS.map((mutant) => [mutant.id, mutant] as const))('catches %s', async (_, mutant) => {
    const suite = transportSuite(() => mutateTransport(memorySubject(), mutant), { patienceMs: 250 })
    const check = suite.find(({ id }) => id === mutant.caughtBy)
    await expect(check?.run()).rejects.toThrow(Error)
  })

  it('passes all checks through an unbroken wrapper', async () => {
    for (const check of transportSuite(() => mutateTransport(memorySubject(), { id: 'none', caughtBy: '' }))) {
      await check.run()
    }
  })
})
