/**
 * What every decoder refuses (SPEC WIRE), one test for each way of being wrong. The first block are the inputs that the
 * decoders of common protobuf libraries were measured to accept.
 */
import { describe, expect, test } from 'vitest'
import { Frame, HelloAck, Hello, LIMITS, Ping, Problem, Subscribe, WireError, type WireErrorCode } from './index.js'
import type { Codec } from './runtime.js'
import { bytesField, bytesOf, filled, longVarint, tag, varint, varintField } from './testing/bytes.js'

function expectRefused(codec: Codec<unknown>, bytes: Uint8Array, code: WireErrorCode, where: string): void {
  let thrown: unknown
  try {
    codec.decode(bytes)
  } catch (error) {
    thrown = error
  }
  expect(thrown).toBeInstanceOf(WireError)
  const error = thrown as WireError
  expect({ code: error.code, where: `${error.type}.${error.field}` }).toEqual({ code, where })
  expect(error.offset).toBeGreaterThanOrEqual(0)
  expect(error.offset).toBeLessThanOrEqual(bytes.length)
}

const group = bytesField(1, filled(16))
const fullMode = varintField(2, 1)

describe('what common decoders accept and ours refuse', () => {
  test('a child that overruns its parent, though the input goes on', () => {
    // Frame.hello says 2 bytes; inside it Hello.agent says 5, which exist in the frame but not in Hello.
    const overrun = bytesOf(tag(10, 2), [2], tag(3, 2), [5], filled(5))
    expectRefused(Frame, overrun, 'truncated', 'Hello.agent')
  })

  test('tag 0, with and without garbage after it', () => {
    expectRefused(Ping, bytesOf(varintField(1, 1), [0]), 'tag', 'Ping.')
    expectRefused(Ping, bytesOf(varintField(1, 1), [0, 0xff, 0xff]), 'tag', 'Ping.')
  })

  test('field number 0 with a wire type', () => {
    expectRefused(Ping, bytesOf([0x02, 1, 0x61]), 'tag', 'Ping.')
  })

  test('a length that wraps at 32 bits', () => {
    // 2^32 + 3: a decoder that keeps 32 bits reads 3.
    expectRefused(Hello, bytesOf(tag(3, 2), varint(2n ** 32n + 3n), filled(3)), 'range', 'Hello.agent')
    expectRefused(Hello, bytesOf(tag(3, 2), varint(2n ** 40n + 3n), filled(3)), 'varint', 'Hello.agent')
    expectRefused(Hello, bytesOf(tag(3, 2), varint(2n ** 32n - 1n), filled(3)), 'truncated', 'Hello.agent')
  })

  test('text that is not UTF-8', () => {
    const wrong: readonly (readonly number[])[] = [
      [0xff],
      [0xc0, 0x80], // overlong zero
      [0xed, 0xa0, 0x80], // a surrogate
      [0xf4, 0x90, 0x80, 0x80], // above U+10FFFF
      [0xe2, 0x82], // cut off
      [0x61, 0x80] // a continuation without a start
    ]
    for (const text of wrong) expectRefused(Hello, bytesOf(bytesField(3, text)), 'utf8', 'Hello.agent')
  })

  test('a uint32 above 2^32', () => {
    expectRefused(HelloAck, bytesOf(varintField(1, 2n ** 32n)), 'range', 'HelloAck.version')
    expectRefused(HelloAck, bytesOf(varintField(1, 2n ** 32n + 1n)), 'range', 'HelloAck.version')
    expectRefused(HelloAck, bytesOf(varintField(1, 2n ** 63n + 1n)), 'varint', 'HelloAck.version')
  })

  test('a group, empty or with content', () => {
    expectRefused(Ping, bytesOf(tag(9, 3), tag(9, 4)), 'wire_type', 'Ping.#9')
    expectRefused(Ping, bytesOf(tag(9, 3), varintField(1, 1), tag(9, 4)), 'wire_type', 'Ping.#9')
    expectRefused(Ping, bytesOf(tag(9, 4)), 'wire_type', 'Ping.#9')
  })

  test('a singular field twice', () => {
    expectRefused(Ping, bytesOf(varintField(1, 1), varintField(1, 2)), 'duplicate', 'Ping.nonce')
  })

  test('two members of one oneof, equal or different', () => {
    const ping = bytesField(14, varintField(1, 1))
    const pong = bytesField(15, varintField(1, 1))
    expectRefused(Frame, bytesOf(ping, pong), 'duplicate', 'Frame.pong')
    expectRefused(Frame, bytesOf(ping, ping), 'duplicate', 'Frame.ping')
  })

  test('an enum value nobody defined', () => {
    expectRefused(Subscribe, bytesOf(group, varintField(2, 99)), 'enum', 'Subscribe.mode')
  })

  test('a negative enum value', () => {
    expectRefused(Subscribe, bytesOf(group, varintField(2, 2n ** 64n - 1n)), 'varint', 'Subscribe.mode')
    expectRefused(Problem, bytesOf(varintField(1, 2n ** 31n)), 'range', 'Problem.code')
  })

  test('an unknown value of an open enum is kept', () => {
    expect(Problem.decode(bytesOf(varintField(1, 2n ** 31n - 1n))).code).toBe(2 ** 31 - 1)
  })
})

describe('truncation', () => {
  test('is refused at every byte of a message', () => {
    const whole = Subscribe.encode({ group: new Uint8Array(16).fill(1), mode: 1, afterPosition: 12345678901n })
    expect(Subscribe.decode(whole).afterPosition).toBe(12345678901n)
    for (let length = 0; length < whole.length; length++) {
      // A cut between two fields leaves a shorter message: what is missing there is required or a default.
      try {
        const cut = Subscribe.decode(whole.slice(0, length))
        expect(cut.afterPosition).toBe(0n)
        expect(length).toBe(20)
      } catch (error) {
        expect(error).toBeInstanceOf(WireError)
      }
    }
  })

  test.each([
    ['a tag of two bytes', bytesOf([0x80])],
    ['a varint', bytesOf(tag(1, 0), [0x80])],
    ['a missing varint', bytesOf(tag(1, 0))],
    ['an unknown fixed32', bytesOf(tag(9, 5), [1, 2, 3])],
    ['an unknown fixed64', bytesOf(tag(9, 1), [1, 2, 3, 4, 5, 6, 7])],
    ['an unknown length', bytesOf(tag(9, 2), [4, 1, 2, 3])]
  ])('inside %s', (_, bytes) => {
    expect(() => Ping.decode(bytes)).toThrow(expect.objectContaining({ name: 'WireError', code: 'truncated' }))
  })
})

describe('varints', () => {
  test('of ten bytes carry all 64 bits', () => {
    expect(Ping.decode(bytesOf(varintField(1, 2n ** 64n - 1n))).nonce).toBe(2n ** 64n - 1n)
  })

  test('of every length are read exactly', () => {
    for (let bits = 0n; bits < 64n; bits++) {
      for (const value of [2n ** bits - 1n, 2n ** bits, 2n ** bits + 1n]) {
        expect(Ping.decode(bytesOf(varintField(1, value))).nonce).toBe(value)
      }
    }
  })

  test('of more than 64 bits are refused', () => {
    expectRefused(Ping, bytesOf(tag(1, 0), filled(9, 0xff), [0x02]), 'varint', 'Ping.nonce')
    expectRefused(Ping, bytesOf(tag(1, 0), filled(9, 0x80), [0x80, 0x01]), 'varint', 'Ping.nonce')
    expectRefused(Ping, bytesOf(tag(1, 0), filled(30, 0x80), [0x00]), 'varint', 'Ping.nonce')
  })

  test('of a tag above 32 bits are refused', () => {
    expectRefused(Ping, bytesOf([0x88, 0x80, 0x80, 0x80, 0x10, 1]), 'tag', 'Ping.')
    expectRefused(Ping, bytesOf([0x88, 0x80, 0x80, 0x80, 0x80, 0x01, 1]), 'tag', 'Ping.')
  })
})

describe('wire types', () => {
  test('of a known field must be its own', () => {
    expectRefused(Ping, bytesOf(tag(1, 2), [1, 1]), 'wire_type', 'Ping.nonce')
    expectRefused(Ping, bytesOf(tag(1, 1), filled(8)), 'wire_type', 'Ping.nonce')
    expectRefused(Subscribe, bytesOf(varintField(1, 1), fullMode), 'wire_type', 'Subscribe.group')
  })

  test('6 and 7 do not exist', () => {
    expectRefused(Ping, bytesOf(tag(9, 6)), 'wire_type', 'Ping.#9')
    expectRefused(Ping, bytesOf(tag(9, 7)), 'wire_type', 'Ping.#9')
  })

  test('repeated numbers come packed, in one piece', () => {
    expect(Hello.decode(bytesOf(bytesField(1, [1, 2]))).versions).toEqual([1, 2])
    expectRefused(Hello, bytesOf(varintField(1, 1)), 'wire_type', 'Hello.versions')
    expectRefused(Hello, bytesOf(bytesField(1, [1]), bytesField(1, [2])), 'duplicate', 'Hello.versions')
  })

  test('packed numbers do not overrun their field', () => {
    expectRefused(Hello, bytesOf(bytesField(1, [1, 0x80]), [0x01]), 'truncated', 'Hello.versions')
  })
})

describe('limits', () => {
  test('of length, below and above', () => {
    expectRefused(Subscribe, bytesOf(bytesField(1, filled(15)), fullMode), 'too_short', 'Subscribe.group')
    expectRefused(Subscribe, bytesOf(bytesField(1, filled(17)), fullMode), 'too_long', 'Subscribe.group')
    const longest = LIMITS.Hello.agent.bytesMax
    const versions = bytesField(1, [1])
    expect(Hello.decode(bytesOf(versions, bytesField(3, filled(longest)))).agent).toHaveLength(longest)
    expectRefused(Hello, bytesOf(versions, bytesField(3, filled(longest + 1))), 'too_long', 'Hello.agent')
  })

  test('of text are counted in bytes', () => {
    const longest = LIMITS.Hello.agent.bytesMax
    const euro = [0xe2, 0x82, 0xac]
    const text = (count: number) =>
      bytesOf(bytesField(1, [1]), bytesField(3, Array.from({ length: count }, () => euro).flat()))
    expect(Hello.decode(text(Math.floor(longest / 3))).agent).toHaveLength(Math.floor(longest / 3))
    expectRefused(Hello, text(Math.floor(longest / 3) + 1), 'too_long', 'Hello.agent')
  })

  test('of items, below and above', () => {
    const most = LIMITS.Hello.versions.itemsMax
    expect(Hello.decode(bytesOf(bytesField(1, filled(most, 1)))).versions).toHaveLength(most)
    expectRefused(Hello, bytesOf(bytesField(1, filled(most + 1, 1))), 'too_many', 'Hello.versions')
    expectRefused(Hello, bytesOf([]), 'too_few', 'Hello.versions')
  })

  test('of values', () => {
    const least = LIMITS.HelloAck.frameBytesMax.valueMin
    const version = varintField(1, 1)
    expect(HelloAck.decode(bytesOf(version, varintField(4, least))).frameBytesMax).toBe(least)
    expectRefused(HelloAck, bytesOf(version, varintField(4, least - 1)), 'range', 'HelloAck.frame_bytes_max')
    expectRefused(HelloAck, bytesOf(version), 'required', 'HelloAck.frame_bytes_max')
  })

  test('of the whole message, before anything in it is read', () => {
    const size = LIMITS.Ping.maxSize
    const padded = (length: number) => bytesOf(bytesField(9, filled(length - 2)))
    expect(Ping.decode(padded(size)).nonce).toBe(0n)
    expectRefused(Ping, padded(size + 1), 'too_large', 'Ping.')
    expectRefused(Frame, bytesOf(bytesField(14, filled(size + 1, 0xff))), 'too_large', 'Ping.')
  })

  test('of required fields', () => {
    expectRefused(Subscribe, bytesOf(fullMode), 'required', 'Subscribe.group')
    expectRefused(Subscribe, bytesOf(group), 'required', 'Subscribe.mode')
    expectRefused(Subscribe, bytesOf(group, varintField(2, 0)), 'required', 'Subscribe.mode')
  })
})

describe('what messages that are not canonical tolerate', () => {
  test('fields in any order, defaults written out, varints longer than need be', () => {
    const expected = { group: new Uint8Array(16).fill(0x61), mode: 1, afterPosition: 0n }
    expect(Subscribe.decode(bytesOf(fullMode, group))).toEqual(expected)
    expect(Subscribe.decode(bytesOf(group, fullMode, varintField(3, 0)))).toEqual(expected)
    expect(Subscribe.decode(bytesOf(group, tag(2, 0), longVarint(1)))).toEqual(expected)
    expect(Subscribe.decode(bytesOf([0x8a, 0x00, 0x90, 0x00], filled(16), fullMode))).toEqual(expected)
  })

  test('unknown fields of every wire type, as many as the bound and no more', () => {
    const unknown = [
      varintField(100, 2n ** 64n - 1n),
      [...tag(101, 1), ...filled(8)],
      bytesField(102, filled(3)),
      [...tag(103, 5), ...filled(4)]
    ]
    const versions = bytesField(1, [1])
    const eightTimes = Array.from({ length: 8 }, () => unknown).flat()
    expect(Hello.decode(bytesOf(versions, ...eightTimes)).versions).toEqual([1])
    expectRefused(Hello, bytesOf(versions, ...eightTimes, varintField(104, 1)), 'unknown_field', 'Hello.#104')
  })

  test('the bound on unknown fields is for each message, not for the frame', () => {
    const inner = bytesField(10, [
      ...bytesField(1, [1]),
      ...Array.from({ length: 32 }, () => varintField(100, 1)).flat()
    ])
    const outer = Array.from({ length: 32 }, () => varintField(100, 1)).flat()
    expect(Frame.decode(bytesOf(inner, outer)).body?.$case).toBe('hello')
  })

  test('a body of a later version: the frame decodes and has none', () => {
    expect(Frame.decode(bytesOf(varintField(1, 7), bytesField(999, filled(40))))).toEqual({
      request: 7n,
      body: undefined
    })
  })
})

test('a refusal says in words where and why', () => {
  expect(() => Subscribe.decode(bytesOf(bytesField(1, filled(15)), fullMode))).toThrow(
    'Subscribe.group at byte 2: too few bytes (15 bytes, at least 16)'
  )
})
