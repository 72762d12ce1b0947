/**
 * Valid messages: our codecs, ts-proto's full codecs, protobufjs and the strict oracle write the same bytes and read the
 * same message, 2000 random messages of every type. `npm run fuzz:wire -- --valid 50000` compares more.
 */
import { expect, test } from 'vitest'
import { compareOnValid } from './support/oracle-run.js'
import { comparedSubjects } from './support/compared.js'

const perType = 2_000
const seed = 20_261_121

test('four implementations agree on 2000 random messages of every type', async () => {
  const all = await comparedSubjects()
  expect(all.length).toBeGreaterThan(60)
  const { messages, tooLarge } = compareOnValid(all, perType, seed)
  expect(messages).toBe(perType * all.length)
  expect(tooLarge).toBeLessThan(messages / 20)
}, 300_000)
