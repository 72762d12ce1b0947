/** Canonical messages have one encoding, and every other is refused (SPEC WIRE). */
import { describe, expect, test } from 'vitest'
import { DocumentExtension, Payload, Prepare, WireError } from './index.js'
import { bytesField, bytesOf, filled, longVarint, tag, varintField } from './testing/bytes.js'

const group = bytesField(1, filled(16))
const slot = varintField(2, 7)
const ctx = bytesField(3, filled(32))
const round = varintField(1, 1)
const leaf = varintField(2, 5)
const ballot = (...fields: readonly (readonly number[])[]) => bytesField(4, fields.flat())

function codeOf(decode: () => unknown): string {
  try {
    decode()
  } catch (error) {
    if (error instanceof WireError) return error.code
    throw error
  }
  return 'accepted'
}

const prepare = (...fields: readonly (readonly number[])[]) => codeOf(() => Prepare.decode(bytesOf(...fields)))

describe('a canonical message', () => {
  test('is accepted in its one encoding', () => {
    expect(prepare(group, slot, ctx, ballot(round, leaf))).toBe('accepted')
  })

  test.each([
    ['fields out of order', [slot, group, ctx, ballot(round)], 'order'],
    ['a value longer than need be', [group, [...tag(2, 0), ...longVarint(7)], ctx, ballot(round)], 'not_minimal'],
    ['a tag longer than need be', [group, [0x90, 0x00, 7], ctx, ballot(round)], 'not_minimal'],
    ['a length longer than need be', [[0x0a, 0x90, 0x00, ...filled(16)], slot, ctx, ballot(round)], 'not_minimal'],
    ['a default written out', [group, varintField(2, 0), ctx, ballot(round)], 'default_value'],
    ['an unknown field at the end', [group, slot, ctx, ballot(round), varintField(99, 1)], 'unknown_field'],
    ['an unknown field in between', [group, slot, ctx, ballot(round), bytesField(5, filled(3))], 'unknown_field'],
    ['a field twice', [group, slot, slot, ctx, ballot(round)], 'duplicate']
  ] as const)('is refused with %s', (_, fields, code) => {
    expect(prepare(...fields)).toBe(code)
  })

  test.each([
    ['fields out of order', ballot(leaf, round), 'order'],
    ['a value longer than need be', ballot([...tag(1, 0), ...longVarint(1)]), 'not_minimal'],
    ['a default written out', ballot(round, varintField(2, 0)), 'default_value'],
    ['an unknown field', ballot(round, varintField(99, 1)), 'unknown_field']
  ] as const)('is refused when a message inside it has %s', (_, inner, code) => {
    expect(prepare(group, slot, ctx, inner)).toBe(code)
  })

  test('is refused with a value in any number of bytes but the least', () => {
    for (let bits = 0n; bits < 63n; bits += 7n) {
      const value = 2n ** bits
      expect(prepare(group, varintField(2, value), ctx, ballot(round))).toBe('accepted')
      expect(prepare(group, [...tag(2, 0), ...longVarint(value)], ctx, ballot(round))).toBe('not_minimal')
    }
    const tenBytesOfZero = [...tag(2, 0), 0x81, ...filled(8, 0x80), 0x00]
    expect(prepare(group, tenBytesOfZero, ctx, ballot(round))).toBe('not_minimal')
  })

  test('is refused with an empty text written out', () => {
    expect(codeOf(() => Payload.decode(bytesOf(bytesField(2, []))))).toBe('too_short')
    expect(codeOf(() => DocumentExtension.decode(bytesOf(bytesField(1, []))))).toBe('too_short')
  })
})
