import { expect, test } from 'vitest'
import { PreemptionBudget } from './index.js'

test('the first raises of a device in a slot are free, each later one waits twice as long as the one before', () => {
  const budget = new PreemptionBudget()
  expect([0, 0, 0].map((at) => budget.holdMs(4, at))).toEqual([0, 0, 0])
  const waits: number[] = []
  let nowMs = 0
  for (let raise = 0; raise < 12; raise++) {
    const hold = budget.holdMs(4, nowMs)
    waits.push(hold)
    nowMs += hold
    expect(budget.holdMs(4, nowMs)).toBe(0)
  }
  expect(waits).toEqual([50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 20_000, 20_000, 20_000])
})

test('time that has passed anyway counts, and other devices are not made to wait', () => {
  const budget = new PreemptionBudget()
  for (let raise = 0; raise < 3; raise++) budget.holdMs(4, 1_000)
  expect(budget.holdMs(4, 1_020)).toBe(30)
  expect(budget.holdMs(5, 1_020)).toBe(0)
  expect(budget.holdMs(4, 1_050)).toBe(0)
})

test('a clock that is set back does not make the wait longer', () => {
  const budget = new PreemptionBudget()
  for (let raise = 0; raise < 3; raise++) budget.holdMs(4, 1_000_000)
  expect(budget.holdMs(4, 0)).toBe(50)
})

test('a new slot forgives half', () => {
  const budget = new PreemptionBudget()
  for (let raise = 0; raise < 3; raise++) budget.holdMs(4, 0)
  budget.nextSlot()
  expect([0, 0].map((at) => budget.holdMs(4, at))).toEqual([0, 0])
  expect(budget.holdMs(4, 0)).toBe(50)
})
