import { expect, it } from 'vitest'
import type { ServerLink } from './links.js'
import { Recovery } from './recovery.js'
import type { Room } from './room.js'

it('DEV-040: a stuck device that was offline when it was time to ask does so when a server is there, and goes on', () => {
  let nowMs = 0
  let timers: { readonly atMs: number; readonly run: () => void }[] = []
  const setTimer = (delayMs: number, run: () => void) => {
    const timer = { atMs: nowMs + delayMs, run }
    timers.push(timer)
    return {
      [Symbol.dispose]: () => {
        timers = timers.filter((one) => one !== timer)
      }
    }
  }
  const pass = (ms: number) => {
    const endMs = nowMs + ms
    for (;;) {
      const next = timers.toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined || next.atMs > endMs) break
      timers = timers.filter((one) => one !== next)
      nowMs = next.atMs
      next.run()
    }
    nowMs = endMs
  }
  const room = {
    id: 'doc',
    groupId: new Uint8Array(16),
    group: { public: {} },
    pool: { random: () => 0.5 },
    wake: () => {},
    emit: () => {},
    context: { random: (n: number) => new Uint8Array(n), log: () => {}, clock: { now: () => nowMs, setTimer } }
  } as unknown as Room
  const link = { id: 'server', channel: undefined } as unknown as ServerLink
  let links: readonly ServerLink[] = [link]
  const askedMs: number[] = []
  const recovery = new Recovery(room, { say: () => askedMs.push(nowMs), links: () => links, kick: () => {} })
  recovery.begin({ slot: 3n, valueHash: new Uint8Array(32), by: 'somebody' })
  pass(1)
  links = []
  pass(30_000)
  expect(askedMs).toEqual([0])
  links = [link]
  for (let i = 0; i < 3; i++) recovery.ready(link)
  pass(1_000)
  expect(askedMs).toEqual([0, 30_001])
  pass(20_000)
  expect(askedMs).toEqual([0, 30_001, 50_001])
  recovery[Symbol.dispose]()
})
