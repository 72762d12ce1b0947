/**
 * Rule R over random schedules (SPEC SYNC-020 to SYNC-024). HEDDLE_SCHEDULES=from-to runs others than the ones of every
 * test run; `npm run sim:removal` runs 20,000.
 */
import { expect, it } from 'vitest'
import { runSchedule } from './removal-schedules.js'

const [from = 1, to = 600] = (process.env.HEDDLE_SCHEDULES ?? '').split('-').filter(Boolean).map(Number)

it(`a removal leaves one document and takes nothing back, schedules ${from} to ${to}`, async () => {
  let [written, kept, broken] = [0, 0, 0]
  for (let seed = from; seed <= to; seed++) {
    const outcome = await runSchedule(seed)
    const contents = [...outcome.documents.values()].map((content) => content.join())
    expect(new Set(contents).size, `seed ${seed}: ${contents.join(' | ')}`).toBe(1)
    expect(outcome.retracted, `seed ${seed}`).toEqual([])
    written += outcome.written
    kept += outcome.kept
    broken += outcome.broken
  }
  console.log(JSON.stringify({ schedules: to - from + 1, written, kept, broken }))
  expect(broken).toBe(0)
  // Schedules in which all of the removed member's edits arrive in time, or none, would show little.
  expect(kept / written).toBeGreaterThan(0.4)
  expect(kept / written).toBeLessThan(0.98)
}, 3_600_000)
