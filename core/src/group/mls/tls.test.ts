import { encode } from 'ts-mls/codec/tlsEncoder.js'
import { varLenDataEncoder } from 'ts-mls/codec/variableLength.js'
import { expect, test } from 'vitest'
import { TlsReader, TlsWriter } from './tls.js'

const malformed = expect.objectContaining({ code: 'MALFORMED' })

test('what was written is read back', () => {
  const long = new Uint8Array(20_000).fill(7)
  const writer = new TlsWriter(1)
    .uint8(1)
    .uint16(2)
    .uint32(0xffffffff)
    .uint64(2n ** 64n - 1n)
  const bytes = writer.vector(Uint8Array.of(1, 2)).vector(long).raw(Uint8Array.of(9)).finish()
  const reader = new TlsReader(bytes)
  expect([reader.uint8(), reader.uint16(), reader.uint32()]).toEqual([1, 2, 0xffffffff])
  expect(reader.uint64()).toBe(2n ** 64n - 1n)
  expect(reader.vector()).toEqual(Uint8Array.of(1, 2))
  expect(reader.vector()).toEqual(long)
  expect(() => reader.end()).toThrow(malformed)
  expect(reader.more).toBe(true)
  expect(reader.rest()).toEqual(Uint8Array.of(9))
  reader.end()
})

test.each([0, 1, 63, 64, 65, 16_383, 16_384, 100_000])('a vector of %i bytes is as ts-mls writes it', (length) => {
  const data = new Uint8Array(length).fill(3)
  const bytes = new TlsWriter().vector(data).finish()
  expect(bytes).toEqual(encode(varLenDataEncoder)(data))
  expect(new TlsReader(bytes).vector()).toEqual(data)
})

test('lengths that are not minimal, not valid or beyond the end are malformed', () => {
  const vectors = [
    [0x40, 0x01, 0xff],
    [0x80, 0, 0, 1, 0xff],
    [0x80, 0, 0x3f, 0xff],
    [0xc0, 0, 0, 0],
    [2, 1],
    [0x40],
    []
  ]
  for (const bytes of vectors) expect(() => new TlsReader(Uint8Array.from(bytes)).vector()).toThrow(malformed)
  expect(() => new TlsReader(new Uint8Array(7)).uint64()).toThrow(malformed)
})
