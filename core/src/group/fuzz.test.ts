import { expect, test } from 'vitest'
import { fuzz } from './testing/fuzz.js'

/** `npm run fuzz:mls -- --inputs <n> --seed <n>` asks for more. */
const inputs = Number(process.env.HEDDLE_FUZZ_INPUTS ?? 4_000)
const seed = Number(process.env.HEDDLE_FUZZ_SEED ?? 77)

test(`${inputs} mutated messages from seed ${seed} are answered by a typed error, and soon`, {
  timeout: 60_000 + inputs * 20
}, async () => {
  const reports = await fuzz(inputs, seed)
  if (process.env.HEDDLE_FUZZ_INPUTS !== undefined) process.stdout.write(`${JSON.stringify(reports, null, 2)}\n`)
  const total = Object.values(reports).reduce((sum, report) => sum + report.inputs, 0)
  expect(total).toBeGreaterThan(0.95 * inputs)
  // A fuzzer that is let in most of the time, or turned away at the door always, finds nothing.
  for (const [name, { inputs: count, refused, codes }] of Object.entries(reports)) {
    expect(refused, name).toBeGreaterThan(count / 2)
    expect(Object.keys(codes).length, name).toBeGreaterThan(1)
  }
})
