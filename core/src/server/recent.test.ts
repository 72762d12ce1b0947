import { describe, expect, it } from 'vitest'
import { TokenBucket } from './limits.js'
import { RecentLog } from './recent.js'

const envelope = (position: number, length = 100) => ({
  position: BigInt(position),
  member: new Uint8Array(16),
  bytes: new Uint8Array(length)
})
const positions = (page: ReturnType<RecentLog['after']>) => page?.map(({ position }) => Number(position))

describe('the latest envelopes in memory', () => {
  it('are those that fit, and it says when an older one is asked for', () => {
    const log = new RecentLog(10 * 228)
    expect(log.after(0n, 10, 1_000)).toBeUndefined()
    for (let position = 1; position <= 500; position++) log.push(envelope(position))
    expect(positions(log.after(490n, 100, 1e6))).toEqual([491, 492, 493, 494, 495, 496, 497, 498, 499, 500])
    expect(log.after(489n, 100, 1e6)).toBeUndefined()
    expect(positions(log.after(500n, 100, 1e6))).toEqual([])
  })

  it('come in pages, at least one at a time', () => {
    const log = new RecentLog(1e6)
    for (let position = 8; position <= 12; position++) log.push(envelope(position))
    expect(positions(log.after(7n, 3, 1e6))).toEqual([8, 9, 10])
    expect(positions(log.after(7n, 9, 250))).toEqual([8, 9])
    expect(positions(log.after(9n, 9, 1))).toEqual([10])
  })

  it('hold nothing larger than their bound, whatever comes', () => {
    const log = new RecentLog(1_000)
    log.push(envelope(1, 5_000))
    expect(log.after(0n, 10, 1e6)).toBeUndefined()
    log.push(envelope(2))
    expect(positions(log.after(1n, 10, 1e6))).toEqual([2])
  })

  it('share the last frames made of them, small ones only', () => {
    const log = new RecentLog(1_000)
    let made = 0
    const make = (length: number) => () => {
      made++
      return new Uint8Array(length)
    }
    const frame = log.frame('a', make(10))
    expect(log.frame('a', make(10))).toBe(frame)
    for (const name of ['b', 'c', 'd', 'e']) log.frame(name, make(10))
    expect(log.frame('a', make(10))).not.toBe(frame)
    log.frame('large', make(600 * 1024))
    log.frame('large', make(600 * 1024))
    expect(made).toBe(8)
  })
})

describe('a token bucket', () => {
  it('gives its burst at once, then as time goes, and says how long to wait', () => {
    let nowMs = 0
    const clock = { now: () => nowMs, setTimer: () => ({ [Symbol.dispose]: () => {} }) }
    const bucket = new TokenBucket(clock, 10, 3)
    expect([bucket.take(), bucket.take(), bucket.take()]).toEqual([0, 0, 0])
    expect(bucket.take()).toBe(100)
    nowMs = 60
    expect(bucket.take()).toBe(40)
    nowMs = 100
    expect(bucket.take()).toBe(0)
    nowMs = 100_000
    expect([bucket.take(), bucket.take(), bucket.take(), bucket.take() > 0]).toEqual([0, 0, 0, true])
    nowMs = 50_000
    expect(bucket.take()).toBeGreaterThan(0)
  })
})
