/**
 * Rule R over random schedules (SPEC SYNC-020 to SYNC-029). HEDDLE_SCHEDULES=from-to runs others than the ones of every
 * test run; `npm run sim:removal` runs 5,000 of each kind.
 */
import { expect, it } from 'vitest'
import { RemovalMode } from '../src/wire/index.js'
import { runSchedule } from './removal-schedules.js'

const [from = 1, to = 100] = (process.env.HEDDLE_SCHEDULES ?? '').split('-').filter(Boolean).map(Number)

it.each([
  { mode: 'vouched', restarts: false, lies: false },
  { mode: 'vouched', restarts: true, lies: false },
  { mode: 'vouched', restarts: true, lies: true },
  { mode: 'strict', restarts: false, lies: false },
  { mode: 'strict', restarts: true, lies: false },
  { mode: 'strict', restarts: true, lies: true }
])(
  `a removal leaves one document, schedules ${from} to ${to}: $mode, restarts $restarts, lies $lies`,
  async ({ mode, restarts, lies }) => {
    let [written, kept, broken, takenBack] = [0, 0, 0, 0]
    const removalMode = mode === 'strict' ? RemovalMode.REMOVAL_MODE_STRICT : RemovalMode.REMOVAL_MODE_VOUCHED
    for (let seed = from; seed <= to; seed++) {
      const outcome = await runSchedule(seed, { mode: removalMode, restarts, lies })
      const contents = [...outcome.documents.values()].map((content) => content.join())
      expect(new Set(contents).size, `seed ${seed}: ${contents.join(' | ')}`).toBe(1)
      if (mode === 'vouched') expect(outcome.retracted, `seed ${seed}`).toEqual([])
      if (outcome.retracted.length > 0) takenBack++
      written += outcome.written
      kept += outcome.kept
      broken += outcome.broken
    }
    const figures = { mode, restarts, lies, schedules: to - from + 1, written, kept, broken, takenBack }
    if (process.env.HEDDLE_SCHEDULES !== undefined) process.stdout.write(`${JSON.stringify(figures)}\n`)
    // Schedules in which all of the removed member's edits arrive in time, or none, would show little.
    expect(kept / written).toBeGreaterThan(0.3)
    expect(kept / written).toBeLessThan(0.98)
    if (mode === 'vouched' && !lies) expect(broken).toBe(0)
    if (mode === 'strict') expect(takenBack).toBeGreaterThan(0)
  },
  3_600_000
)
