/** Encoders refuse what decoders would: nothing malformed leaves this process (SPEC WIRE). */
import { describe, expect, test } from 'vitest'
import { Decided, Hello, HelloAck, LIMITS, Prepare, Subscribe, Upload, Value, WireError } from './index.js'

function refusal(encode: () => unknown): string {
  try {
    encode()
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    expect(error.offset).toBeUndefined()
    return `${error.code} ${error.type}.${error.field}`
  }
  return 'encoded'
}

const hello = { versions: [1], features: [], agent: '' }
const helloAck = { version: 1, features: [], agent: '', frameBytesMax: 65536 }
const subscribe = { group: new Uint8Array(16), mode: 1, afterPosition: 0n } as const
const ballot = { round: 1n, leaf: 0, incarnation: 0n }
const prepare = { group: new Uint8Array(16), slot: 0n, ctx: new Uint8Array(32), ballot }

describe('encode refuses', () => {
  test.each([
    ['too few bytes', () => Subscribe.encode({ ...subscribe, group: new Uint8Array(15) }), 'too_short Subscribe.group'],
    ['too many bytes', () => Subscribe.encode({ ...subscribe, group: new Uint8Array(17) }), 'too_long Subscribe.group'],
    ['a long text', () => Hello.encode({ ...hello, agent: '€'.repeat(43) }), 'too_long Hello.agent'],
    ['a lone high surrogate', () => Hello.encode({ ...hello, agent: 'a\ud83d' }), 'utf8 Hello.agent'],
    ['a lone low surrogate', () => Hello.encode({ ...hello, agent: '\ude00a' }), 'utf8 Hello.agent'],
    ['two low surrogates', () => Hello.encode({ ...hello, agent: '\udc00\udc00' }), 'utf8 Hello.agent'],
    ['two high surrogates', () => Hello.encode({ ...hello, agent: '\ud83d\ud83d' }), 'utf8 Hello.agent'],
    ['no items', () => Hello.encode({ ...hello, versions: [] }), 'too_few Hello.versions'],
    ['too many items', () => Hello.encode({ ...hello, versions: new Array(17).fill(1) }), 'too_many Hello.versions'],
    ['a small value', () => HelloAck.encode({ ...helloAck, frameBytesMax: 65535 }), 'range HelloAck.frame_bytes_max'],
    ['a uint32 above 2^32', () => HelloAck.encode({ ...helloAck, version: 2 ** 32 }), 'range HelloAck.version'],
    ['a negative uint32', () => HelloAck.encode({ ...helloAck, version: -1 }), 'range HelloAck.version'],
    ['a fraction', () => HelloAck.encode({ ...helloAck, version: 1.5 }), 'range HelloAck.version'],
    ['not a number', () => HelloAck.encode({ ...helloAck, version: Number.NaN }), 'range HelloAck.version'],
    ['a uint64 above 2^64', () => Prepare.encode({ ...prepare, slot: 2n ** 64n }), 'range Prepare.slot'],
    ['a negative uint64', () => Prepare.encode({ ...prepare, slot: -1n }), 'range Prepare.slot'],
    ['an enum that is not set', () => Subscribe.encode({ ...subscribe, mode: 0 }), 'required Subscribe.mode'],
    ['an undefined enum value', () => Subscribe.encode({ ...subscribe, mode: 9 as 1 }), 'enum Subscribe.mode'],
    ['a missing message', () => Prepare.encode({ ...prepare, ballot: undefined as never }), 'required Prepare.ballot'],
    [
      'a wrong inner value',
      () => Prepare.encode({ ...prepare, ballot: { ...ballot, round: 0n } }),
      'range Ballot.round'
    ]
  ])('%s', (_, encode, expected) => {
    expect(refusal(encode)).toBe(expected)
  })

  test('a message larger than its greatest size, though each field is within its own', () => {
    const value = Value.encode({ content: new Uint8Array(200_000), signature: new Uint8Array(64) })
    const votes = [{ statement: new Uint8Array(1), signature: new Uint8Array(64) }]
    const decided = { slot: 1n, value, certificate: { votes } }
    const count = Math.ceil(LIMITS.Decided.maxSize / value.length) + 1
    expect(count).toBeLessThanOrEqual(LIMITS.Decided.slots.itemsMax)
    const message = { group: new Uint8Array(16), slots: new Array<typeof decided>(count).fill(decided) }
    expect(refusal(() => Decided.encode(message))).toBe('too_large Decided.')
  })

  test('a message one byte larger than its greatest size, and none of that size', () => {
    const group = new Uint8Array(16)
    const first = new Uint8Array(15_000_000)
    const around = Upload.encode({ group, envelopes: [first, new Uint8Array(1_000_000)] }).length - 1_000_000
    const upload = (size: number) => ({ group, envelopes: [first, new Uint8Array(size - around)] })
    expect(Upload.encode(upload(LIMITS.Upload.maxSize)).length).toBe(LIMITS.Upload.maxSize)
    expect(refusal(() => Upload.encode(upload(LIMITS.Upload.maxSize + 1)))).toBe('too_large Upload.')
  })
})

test('what is at a limit is encoded and decodes to itself', () => {
  const text = '€'.repeat(42)
  const longest = { ...hello, versions: new Array<number>(16).fill(2 ** 32 - 1), agent: `${text}ab` }
  expect(Hello.decode(Hello.encode(longest))).toEqual(longest)
  const surrogates = { ...hello, agent: 'a😀b' }
  expect(Hello.decode(Hello.encode(surrogates))).toEqual(surrogates)
  const bom = { ...hello, agent: '\ufeffx' }
  expect(Hello.decode(Hello.encode(bom))).toEqual(bom)
})
