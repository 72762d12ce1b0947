/** The virtual clock: order, rest between timers, and an end that is never silent. */
import { describe, expect, it } from 'vitest'
import { createVirtualClock } from '@heddle/transport-memory'

describe('the virtual clock', () => {
  it('fires timers by time, equal times in the order they were set', async () => {
    const clock = createVirtualClock(1000)
    const fired: string[] = []
    const at = (delayMs: number, name: string) => clock.setTimer(delayMs, () => fired.push(`${name}@${clock.now()}`))
    at(5, 'b')
    at(3, 'a')
    at(5, 'c')
    at(0, 'now')
    at(-4, 'past')
    at(50, 'later')
    await clock.run({ untilMs: 1010 })
    expect(fired).toEqual(['now@1000', 'past@1000', 'a@1003', 'b@1005', 'c@1005'])
    expect([clock.now(), clock.pending]).toEqual([1010, 1])
  })

  it('keeps the order of thousands of timers, set and disposed of at random', async () => {
    const clock = createVirtualClock(0)
    let state = 1
    const random = (bound: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state % bound
    }
    const fired: number[] = []
    const expected: { readonly atMs: number; readonly index: number }[] = []
    for (let index = 0; index < 3000; index++) {
      const atMs = random(500)
      const timer = clock.setTimer(atMs, () => fired.push(index))
      if (random(3) === 0) timer[Symbol.dispose]()
      else expected.push({ atMs, index })
    }
    await clock.run({ untilMs: 500 })
    expected.sort((a, b) => a.atMs - b.atMs || a.index - b.index)
    expect(fired).toEqual(expected.map(({ index }) => index))
  })

  it('lets everything a timer started come to rest before the next one fires', async () => {
    const clock = createVirtualClock(0)
    const events: string[] = []
    clock.setTimer(1, async () => {
      for (let i = 0; i < 10; i++) await Promise.resolve()
      events.push('the chain of the first')
      clock.setTimer(0, () => events.push('a timer it set'))
    })
    clock.setTimer(1, () => events.push('the second'))
    await clock.run({ untilMs: 1 })
    expect(events).toEqual(['the chain of the first', 'the second', 'a timer it set'])
  })

  it('does not fire a disposed timer, nor one twice', async () => {
    const clock = createVirtualClock(0)
    let fired = 0
    const timer = clock.setTimer(5, () => fired++)
    const other = clock.setTimer(5, () => fired++)
    other[Symbol.dispose]()
    await clock.run({ untilMs: 10 })
    timer[Symbol.dispose]()
    await clock.run({ untilMs: 20 })
    expect([fired, clock.pending]).toEqual([1, 0])
  })

  it('stops as soon as the condition holds', async () => {
    const clock = createVirtualClock(0)
    let count = 0
    const tick = () => {
      count += 1
      clock.setTimer(10, tick)
    }
    tick()
    await clock.run({ until: () => count === 4 })
    expect(clock.now()).toBe(30)
  })

  it('throws when the condition can hold no more, and when its time is over', async () => {
    const clock = createVirtualClock(0)
    await expect(clock.run({ until: () => false })).rejects.toThrow(/no timer is left/)
    clock.setTimer(100, () => {})
    await expect(clock.run({ until: () => false, untilMs: 50 })).rejects.toThrow(
      /50 ms of virtual time, and its time is over/
    )
  })

  it('waits for what the host says it has to wait for', async () => {
    let settles = 0
    const clock = createVirtualClock(0, {
      settle: async () => {
        settles += 1
      }
    })
    clock.setTimer(1, () => {})
    await clock.run({ untilMs: 1 })
    expect(settles).toBe(2)
  })
})
