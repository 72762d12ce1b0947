/**
 * Rule R over random schedules (SPEC SYNC-020 to SYNC-029). HEDDLE_SCHEDULES=from-to runs others than the ones of every
 * test run; `npm run sim:removal` runs 5,000 of each
 * kind, 20,000 in all.
 */
import { expect, it } from 'vitest'
import { RemovalMode } from '../src/wire/index.js'
import { runSchedule } from './removal-schedules.js'

const [from = 1, to = 150] = (process.env.HEDDLE_SCHEDULES ?? '').split('-').filter(Boolean).map(Number)

it.each([
  { mode: 'vouched', restarts: false },
  { mode: 'vouched', restarts: true },
  { mode: 'strict', restarts: false },
  { mode: 'strict', restarts: true }
])(
  `a removal leaves one document, schedules ${from} to ${to}: $mode, restarts $restarts`,
  async ({ mode, restarts }) => {
    let [written, kept, broken, takenBack] = [0, 0, 0, 0]
    const removalMode = mode === 'strict' ? RemovalMode.REMOVAL_MODE_STRICT : RemovalMode.REMOVAL_MODE_VOUCHED
    for (let seed = from; seed <= to; seed++) {
      const outcome = await runSchedule(seed, removalMode, restarts)
      const contents = [...outcome.documents.values()].map((content) => content.join())
      expect(new Set(contents).size, `seed ${seed}: ${contents.join(' | ')}`).toBe(1)
      if (mode === 'vouched') expect(outcome.retracted, `seed ${seed}`).toEqual([])
      if (outcome.retracted.length > 0) takenBack++
      written += outcome.written
      kept += outcome.kept
      broken += outcome.broken
    }
    const figures = { mode, restarts, schedules: to - from + 1, written, kept, broken, takenBack }
    if (process.env.HEDDLE_SCHEDULES !== undefined) process.stdout.write(`${JSON.stringify(figures)}\n`)
    // Schedules in which all of the removed member's edits arrive in time, or none, would show little.
    expect(kept / written).toBeGreaterThan(0.3)
    expect(kept / written).toBeLessThan(0.98)
    if (mode === 'vouched') expect(broken).toBe(0)
    else expect(takenBack).toBeGreaterThan(0)
  },
  3_600_000
)
