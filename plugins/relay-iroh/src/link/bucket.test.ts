/** The token bucket: what it lets pass over any stretch of time. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TokenBucket } from './bucket.js'

describe('a token bucket', () => {
  it('lets a burst pass, then as much as the rate allows', () => {
    const bucket = new TokenBucket(1000, 500, 0)
    bucket.take(500, 0)
    expect(bucket.waitMs(0)).toBe(0)
    bucket.take(100, 0)
    expect(bucket.waitMs(0)).toBe(100)
    expect(bucket.waitMs(60)).toBe(40)
    expect(bucket.waitMs(100)).toBe(0)
  })

  it('makes nobody wait longer than a second, and saves no more than a burst', () => {
    const bucket = new TokenBucket(1000, 500, 0)
    bucket.take(1_000_000, 0)
    expect(bucket.waitMs(0)).toBe(1000)
    bucket.take(501, 3_600_000)
    expect(bucket.waitMs(3_600_000)).toBe(1)
  })

  it('is not refilled by a clock that goes back', () => {
    const bucket = new TokenBucket(1000, 500, 10_000)
    bucket.take(600, 10_000)
    expect(bucket.waitMs(5_000)).toBe(100)
    expect(bucket.waitMs(5_050)).toBe(50)
  })

  it('lets at most burst and rate pass to who waits when told to', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 100 }), (amounts) => {
        const bucket = new TokenBucket(1000, 500, 0)
        let nowMs = 0
        let passed = 0
        for (const amount of amounts) {
          nowMs += bucket.waitMs(nowMs)
          expect(passed).toBeLessThanOrEqual(500 + nowMs)
          bucket.take(amount, nowMs)
          passed += amount
        }
      })
    )
  })
})
