/**
 * Damaged bytes: 200,000 mutants of valid messages from one seed, over every frame and every other message (SPEC WIRE).
 * A codec takes exactly what the strict oracle takes and reads the same. `npm run fuzz:wire` searches longer and elsewhere.
 */
import { expect, test } from 'vitest'
import { FRAMES } from '../../core/src/wire/index.js'
import { fuzz } from './support/fuzz-run.js'
import { comparedSubjects } from './support/compared.js'
import { watchdog } from './support/watchdog.js'

const inputs = 200_000
const seed = 20_261_121
/** For one input, from the first byte to the answer. */
const slowestMsMax = 50
const rssBytesMax = 1_000_000_000
const keptBytesMax = 8_000_000

test('of 200,000 damaged messages none is misread, crashes a codec or hangs it', async () => {
  const all = await comparedSubjects()
  using watched = watchdog('fuzz.test.ts', 10_000)
  const run = fuzz(all, { inputs, seed, progress: watched.progress })
  expect(run.targets).toBeGreaterThanOrEqual(Object.keys(FRAMES).length + 60)
  // The search must reach both sides, and every kind of refusal.
  expect(run.accepted).toBeGreaterThan(inputs / 50)
  expect(run.refused).toBeGreaterThan(inputs / 3)
  expect(Object.keys(run.refusedByCode).sort()).toEqual(allCodes)
  expect(run.slowestMs).toBeLessThan(slowestMsMax)
  expect(run.rssBytesMax).toBeLessThan(rssBytesMax)
  expect(run.keptBytes).toBeLessThan(keptBytesMax)
  // That it finds what a lax decoder takes shows that it searches in the right places.
  expect(run.malformedTakenByTsProto).toBeGreaterThan(inputs / 10)
}, 300_000)

const allCodes = [
  ...['default_value', 'duplicate', 'enum', 'not_minimal', 'order', 'range', 'required', 'tag', 'too_few', 'too_large'],
  ...['too_long', 'too_many', 'too_short', 'truncated', 'unknown_field', 'unsorted', 'utf8', 'varint', 'wire_type']
]
