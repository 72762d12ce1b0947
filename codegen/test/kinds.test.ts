/** Kinds of fields the protocol itself does not use, or not everywhere, by hand-written bytes (SPEC WIRE). */
import { describe, expect, test } from 'vitest'
import { type Codec, WireError } from '../../core/src/wire/index.js'
import { bytesField, bytesOf, filled, longVarint, tag, varint, varintField } from '../../core/src/wire/testing/bytes.js'
import {
  Choice,
  Empty,
  Frame,
  Lists,
  Plain,
  Present,
  SortedRecord,
  STORAGE_RECORDS
} from './fixtures/generated/index.js'

function codeOf(codec: Codec<unknown>, ...parts: readonly (readonly number[])[]): string {
  try {
    codec.decode(bytesOf(...parts))
  } catch (error) {
    if (error instanceof WireError) return `${error.code} ${error.type}.${error.field}`
    throw error
  }
  return 'accepted'
}

const bounded = varintField(3000, 10)
const pair = bytesField(7, [])
const blob = bytesField(6, [1])

describe('numbers', () => {
  const decode = (...parts: readonly (readonly number[])[]) => Plain.decode(bytesOf(...parts, bounded))

  test('with zigzag reach both ends', () => {
    expect(decode(varintField(3, 0xffff_ffff)).s32).toBe(-0x8000_0000)
    expect(decode(varintField(3, 0xffff_fffe)).s32).toBe(0x7fff_ffff)
    expect(decode(varintField(4, 2n ** 64n - 1n)).s64).toBe(-(2n ** 63n))
    expect(decode(varintField(4, 2n ** 64n - 2n)).s64).toBe(2n ** 63n - 1n)
    expect(codeOf(Plain, varintField(3, 2n ** 32n), bounded)).toBe('range Plain.s32')
  })

  test('of fixed width are little-endian and whole', () => {
    expect(decode([...tag(5, 5), 1, 2, 3, 0xff]).f32).toBe(0xff030201)
    expect(decode([...tag(6, 1), 1, 2, 3, 4, 5, 6, 7, 0xff]).f64).toBe(0xff07060504030201n)
    expect(codeOf(Plain, [...tag(5, 5), 1, 2, 3])).toBe('truncated Plain.f32')
    for (let length = 0; length < 8; length++) {
      expect(codeOf(Plain, [...tag(6, 1), ...filled(length)])).toBe('truncated Plain.f64')
    }
  })

  test('within bounds, at a tag of three bytes', () => {
    expect(codeOf(Plain, varintField(3000, 9))).toBe('range Plain.bounded')
    expect(codeOf(Plain, varintField(3000, 301))).toBe('range Plain.bounded')
    expect(codeOf(Plain, varintField(3000, 300))).toBe('accepted')
    expect(codeOf(Plain, [0xc0, 0xbb, 0x81, 0x00, 10])).toBe('accepted')
  })

  test('that are bools are 0 or 1', () => {
    expect(decode(varintField(7, 1)).flag).toBe(true)
    expect(decode([...tag(7, 0), ...longVarint(1)]).flag).toBe(true)
    expect(codeOf(Plain, varintField(7, 2), bounded)).toBe('range Plain.flag')
  })

  test('that are closed enums with a gap are one of the defined values', () => {
    expect(decode(varintField(8, 200)).closed).toBe(200)
    expect(codeOf(Plain, varintField(8, 2), bounded)).toBe('enum Plain.closed')
    expect(decode(varintField(9, 2)).open).toBe(2)
  })
})

describe('presence', () => {
  const present = (...parts: readonly (readonly number[])[]) => Present.decode(bytesOf(...parts))

  test('tells a zero that is written from one that is not, in a canonical message too', () => {
    expect(present(varintField(1, 0), varintField(3, 0), pair)).toMatchObject({
      number: 0,
      flag: false,
      data: undefined
    })
    expect(present(pair).number).toBeUndefined()
    expect(codeOf(Present, pair, varintField(8, 0))).toBe('default_value Present.plain')
  })

  test('is checked against limits only when there is something', () => {
    expect(codeOf(Present, bytesField(5, filled(3)), pair)).toBe('too_short Present.data')
    expect(codeOf(Present, varintField(2, 10n ** 12n + 1n), pair)).toBe('range Present.big')
    expect(codeOf(Present, bytesField(6, []), pair)).toBe('accepted')
  })

  test('of an empty message is kept apart from its absence', () => {
    expect(present(pair).pair).toEqual({ first: 0, second: new Uint8Array(0) })
    expect(codeOf(Present, varintField(8, 1))).toBe('required Present.pair')
    expect(Plain.decode(bytesOf(bounded)).pair).toBeUndefined()
  })

  test('is single', () => {
    expect(codeOf(Present, varintField(1, 0), varintField(1, 0), pair)).toBe('duplicate Present.number')
    expect(codeOf(Present, pair, pair)).toBe('duplicate Present.pair')
  })

  test('survives a field that is called like a variable of its reader', () => {
    expect(present(pair, varintField(9, 5)).tag).toBe(5)
  })
})

describe('lists', () => {
  test('of numbers are checked one by one', () => {
    expect(Lists.decode(bytesOf(bytesField(1, [...varint(1000), 1]), blob)).numbers).toEqual([1000, 1])
    expect(codeOf(Lists, bytesField(1, [1, 0]), blob)).toBe('range Lists.numbers')
    expect(codeOf(Lists, bytesField(1, filled(21, 1)), blob)).toBe('too_many Lists.numbers')
    expect(codeOf(Lists, bytesField(4, [1, 2]), blob)).toBe('enum Lists.colours')
    expect(codeOf(Lists, bytesField(5, [2]), blob)).toBe('range Lists.flags')
    expect(codeOf(Lists, bytesField(3, filled(12)), blob)).toBe('truncated Lists.fixed')
  })

  test('in a canonical message are minimal and never empty', () => {
    expect(codeOf(Lists, bytesField(1, []), blob)).toBe('default_value Lists.numbers')
    expect(codeOf(Lists, bytesField(1, longVarint(1)), blob)).toBe('not_minimal Lists.numbers')
    expect(codeOf(Lists, blob, bytesField(1, [1]))).toBe('order Lists.')
  })

  test('keep items that are empty', () => {
    expect(Lists.decode(bytesOf(blob, bytesField(7, []), bytesField(7, []))).texts).toEqual(['', ''])
    expect(codeOf(Lists, bytesField(6, []))).toBe('too_short Lists.blobs')
    expect(codeOf(Lists)).toBe('too_few Lists.blobs')
  })
})

describe('sorted fields', () => {
  const text = (value: string) => bytesField(3, [...new TextEncoder().encode(value)])
  const pairOf = (first: number, second: readonly number[]) =>
    bytesField(4, [...varintField(1, first), ...bytesField(2, second)])
  const fixed = (...values: readonly bigint[]) => {
    const bytes = new Uint8Array(new BigUint64Array(values).buffer)
    return bytesField(2, [...bytes])
  }

  test('ascend strictly, numbers by value', () => {
    expect(codeOf(SortedRecord, bytesField(1, [1, 2, ...varint(300)]))).toBe('accepted')
    expect(codeOf(SortedRecord, bytesField(1, [2, 1]))).toBe('unsorted SortedRecord.numbers')
    expect(codeOf(SortedRecord, bytesField(1, [2, 2]))).toBe('unsorted SortedRecord.numbers')
    // Little-endian bytes would be in order.
    expect(codeOf(SortedRecord, fixed(0x0100n, 0x01n))).toBe('unsorted SortedRecord.fixed')
    expect(codeOf(SortedRecord, fixed(0x01n, 0x0100n))).toBe('accepted')
  })

  test('ascend strictly, strings as their UTF-8 and not as their UTF-16', () => {
    expect(codeOf(SortedRecord, text('Z'), text('a'), text('aa'))).toBe('accepted')
    expect(codeOf(SortedRecord, text('aa'), text('a'))).toBe('unsorted SortedRecord.texts')
    expect(codeOf(SortedRecord, text('\uffee'), text('\u{10000}'))).toBe('accepted')
    expect(codeOf(SortedRecord, text('\u{10000}'), text('\uffee'))).toBe('unsorted SortedRecord.texts')
  })

  test('ascend strictly by a field of their items', () => {
    expect(codeOf(SortedRecord, pairOf(9, []), pairOf(1, [0]), pairOf(0, [0, 0]))).toBe('accepted')
    expect(codeOf(SortedRecord, pairOf(1, [7]), pairOf(2, [7]))).toBe('unsorted SortedRecord.pairs')
    expect(codeOf(SortedRecord, pairOf(1, [0xff]), pairOf(2, [0x7f, 1]))).toBe('unsorted SortedRecord.pairs')
  })

  test('are not written out of order either', () => {
    const value = { numbers: [1, 2], fixed: [], texts: [], pairs: [] }
    expect(SortedRecord.encode(value)).toEqual(bytesOf(bytesField(1, [1, 2])))
    expect(() => SortedRecord.encode({ ...value, numbers: [2, 2] })).toThrow('SortedRecord.numbers to be encoded')
    const second = (byte: number) => ({ first: 0, second: Uint8Array.of(byte) })
    expect(() => SortedRecord.encode({ ...value, pairs: [second(2), second(1)] })).toThrow('SortedRecord.pairs')
    expect(() => SortedRecord.encode({ ...value, texts: ['\u{10000}', '\uffee'] })).toThrow('SortedRecord.texts')
  })

  test('stand in records that say under which keys they are stored', () => {
    expect(STORAGE_RECORDS.SortedRecord).toEqual({
      server: { number: 7, ofDocument: false, key: '' },
      device: { number: 0x61, ofDocument: true, key: 'colour' }
    })
  })
})

describe('oneofs', () => {
  test('that are required have a member, even one that is zero', () => {
    expect(Choice.decode(bytesOf(varintField(1, 0))).needed).toEqual({ $case: 'number', value: 0 })
    expect(codeOf(Choice, bytesField(7, []))).toBe('required Choice.needed')
    expect(() => Choice.encode({ needed: undefined as never, wanted: undefined })).toThrow('Choice.needed')
  })

  test('have one member each', () => {
    expect(codeOf(Choice, varintField(1, 0), varintField(2, 5))).toBe('duplicate Choice.bounded')
    expect(codeOf(Choice, varintField(1, 0), bytesField(7, []))).toBe('accepted')
  })

  test('check the limits of the member', () => {
    expect(codeOf(Choice, varintField(2, 4))).toBe('range Choice.bounded')
    expect(codeOf(Choice, varintField(3, 7))).toBe('enum Choice.colour')
    expect(codeOf(Choice, varintField(1, 1), bytesField(6, [1]))).toBe('too_short Choice.data')
  })
})

describe('a canonical message inside one that is not', () => {
  const inner = (...fields: readonly (readonly number[])[]) => bytesField(4, fields.flat())

  test('is held to its one encoding, and what follows it is not', () => {
    expect(codeOf(Choice, inner(varintField(1, 0)))).toBe('default_value Choice_Inner.value')
    expect(codeOf(Choice, inner(bytesField(2, varintField(1, 0))))).toBe('default_value Pair.first')
    expect(codeOf(Choice, inner(varintField(9, 1)))).toBe('unknown_field Choice_Inner.#9')
    const after = [...varintField(99, 1), ...tag(98, 0), ...longVarint(1)]
    expect(codeOf(Choice, inner(varintField(1, 1)), after)).toBe('accepted')
  })

  test('is the body of a frame', () => {
    expect(codeOf(Frame, bytesField(11, bytesField(1, [])))).toBe('default_value Answer.data')
    expect(codeOf(Frame, bytesField(11, []), varintField(1, 0))).toBe('accepted')
  })
})

test('a message without fields is empty, or has unknown ones', () => {
  expect(Empty.decode(new Uint8Array(0))).toEqual({})
  expect(Empty.encode({})).toEqual(new Uint8Array(0))
  expect(codeOf(Empty, varintField(1, 1))).toBe('accepted')
  expect(codeOf(Empty, bytesField(1, filled(63)))).toBe('too_large Empty.')
})
