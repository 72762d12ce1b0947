import { expect, test } from 'vitest'
import { firstViolation, flooded, rough, type Scenario, simulate } from './testing/simulation.js'

const lying: Scenario = { ...rough, servers: 4, faultBound: 1, liars: 1 }

test.each<[string, number, Scenario]>([
  ['devices and servers that crash, on a network that loses, repeats and parts', 1_000, rough],
  ['five servers', 100, { ...rough, servers: 5, devices: 4 }],
  ['one server, one device', 100, { ...rough, servers: 1, devices: 1 }],
  ['a slow disk', 100, { ...rough, fsyncMs: 80 }],
  [
    'many devices in each other’s way, with little else wrong',
    40,
    { ...rough, devices: 8, loss: 0, faultsPerSecond: 0.5 }
  ],
  ['a lying member', 120, { ...rough, intruder: true }],
  ['a lying server among four', 100, lying],
  ['a lying server among five', 100, { ...lying, servers: 5 }],
  ['a lying member with a lying server among five', 100, { ...lying, servers: 5, intruder: true }]
])(
  'one value per slot, no contradiction, and in the end everybody is served: %s',
  (_, seeds, scenario) => {
    expect(firstViolation(scenario, seeds)).toBeUndefined()
  },
  120_000
)

// With n = 4 a lying member and a lying server together can hold a slot up, but never decide it twice: liveness against
// both takes five servers.
test('one value per slot, no contradiction: a lying member with a lying server among four', () => {
  const seeds = Array.from({ length: 50 }, (_, i) => i + 1)
  const violations = seeds.map((seed) => simulate(seed, { ...lying, intruder: true, deadlineMs: 8_000 }).violation)
  expect(violations.filter((violation) => violation !== undefined && !violation.startsWith('not live'))).toEqual([])
})

test('a member that floods Prepares keeps nobody from committing', () => {
  expect(firstViolation(flooded, 8)).toBeUndefined()
})

test('the same seed gives the same run, another seed another', () => {
  const seeds = Array.from({ length: 25 }, (_, i) => i + 1)
  const traces = seeds.map((seed) => simulate(seed, { ...rough, intruder: true }).trace)
  expect(seeds.map((seed) => simulate(seed, { ...rough, intruder: true }).trace)).toEqual(traces)
  expect(new Set(traces).size).toBe(seeds.length)
})
