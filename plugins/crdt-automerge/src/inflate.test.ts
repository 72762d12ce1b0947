/** RFC 1951, against what zlib writes. */
import { constants, deflateRawSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { inflateRaw } from './inflate.js'

const plain = (length: number, period: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => ((i % period) * (i % 7919) + (i >> 5)) & 0xff)

describe('inflateRaw', () => {
  test('reads every kind of block', () => {
    for (const length of [0, 1, 3, 300, 5_000, 70_000]) {
      for (const period of [1, 3, 251, 65_537]) {
        const bytes = plain(length, period)
        for (const options of [{ level: 0 }, { level: 1 }, { level: 9 }, { strategy: constants.Z_FIXED }]) {
          const packed = deflateRawSync(bytes, options)
          expect(Buffer.compare(inflateRaw(packed, length), bytes)).toBe(0)
        }
      }
    }
  })

  test('stops at its bound', () => {
    const packed = deflateRawSync(new Uint8Array(2 ** 24))
    expect(() => inflateRaw(packed, 2 ** 20)).toThrow(/more than 1048576 bytes/)
    expect(() => inflateRaw(deflateRawSync(plain(5000, 65_537), { level: 0 }), 4999)).toThrow(RangeError)
  })

  test('throws for what is cut off or changed, or gives other bytes', () => {
    const bytes = plain(2_000, 251)
    const packed = Uint8Array.from(deflateRawSync(bytes))
    for (let length = 0; length < packed.length; length++) {
      expect(() => inflateRaw(packed.subarray(0, length), 10_000)).toThrow(RangeError)
    }
    for (let bit = 0; bit < 8 * packed.length; bit++) {
      const flipped = packed.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      try {
        expect(inflateRaw(flipped, 10_000).length).toBeLessThanOrEqual(10_000)
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
      }
    }
  })
})
