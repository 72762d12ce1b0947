/** Both forms of bytes the binding may want: what goes in comes out, and never a Buffer. */
import { describe, expect, it } from 'vitest'
import { byteForm, type NativeBytes } from '../src/native/bytes.js'

const failing = (code: string) => () => {
  throw Object.assign(new Error('no'), { code })
}

describe('the form of bytes', () => {
  it.each([
    ['arrays of numbers, when a Uint8Array is refused', failing('ArrayExpected'), true],
    ['Uint8Array, when it is taken', () => undefined, false],
    ['Uint8Array, when only these bytes are refused', failing('GenericFailure'), false]
  ])('is %s', (_, tryCall, isArray) => {
    const form = byteForm(tryCall)
    const parts = [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(255)]
    const packed = form.pack(parts, 3)
    expect(Array.isArray(packed)).toBe(isArray)
    const unpacked = form.unpack(packed)
    expect(unpacked).toEqual(Uint8Array.of(1, 2, 255))
    expect(Object.getPrototypeOf(unpacked)).toBe(Uint8Array.prototype)
    expect(unpacked.buffer.byteLength).toBe(3)
  })

  it('gives a Uint8Array of its own for a Buffer that shares its memory', () => {
    const form = byteForm(() => undefined)
    const unpacked = form.unpack(Buffer.from('pooled') as unknown as NativeBytes)
    expect(Object.getPrototypeOf(unpacked)).toBe(Uint8Array.prototype)
    expect(unpacked.buffer.byteLength).toBe(6)
  })
})
