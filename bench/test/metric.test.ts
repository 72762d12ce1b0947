import { describe, expect, it } from 'vitest'
import { median, metric, percentile } from '../src/metric.js'

describe('rounds become one number', () => {
  it('is the middle one of an odd number of rounds, whatever their order', () => {
    expect(median([30, 10, 20])).toBe(10 + 10)
    expect(metric({ id: 'a.b', label: 'b', unit: 'ms' }, [9, 1, 5])).toMatchObject({ value: 5, rounds: [9, 1, 5] })
  })

  it('gives percentiles by nearest rank, in numeric order', () => {
    const values = Array.from({ length: 100 }, (_, i) => i + 1)
    expect(percentile(values, 50)).toBe(50)
    expect(percentile(values, 99)).toBe(99)
    expect(percentile(values, 100)).toBe(100)
    expect(percentile([7], 99)).toBe(7)
    expect(percentile(Float64Array.of(100, 20, 3), 100)).toBe(100)
  })

  it('refuses to make a number of nothing', () => {
    expect(() => percentile([], 50)).toThrow(RangeError)
  })
})
