import { HeddleError } from '@heddle/core'
import { describe, expect, it } from 'vitest'
import { parseDuration } from './duration.js'

describe('parseDuration', () => {
  it('knows seconds, minutes, hours, days and weeks', () => {
    expect(['90s', '30m', '1h', '2d', '1w'].map(parseDuration)).toEqual([
      90_000, 1_800_000, 3_600_000, 172_800_000, 604_800_000
    ])
  })

  it.each(['', '5', '1.5h', '-1h', '0h', '1 h', '1y', '1h30m', '9999999h'])('refuses "%s"', (text) => {
    expect(() => parseDuration(text)).toThrow(HeddleError)
    expect(() => parseDuration(text)).toThrow(/is no duration/)
  })
})
