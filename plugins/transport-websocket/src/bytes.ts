/**
 * Reading and writing the transport's own small formats: the handshake and the multiplexer's entries. Reading checks every
 * bound and throws MALFORMED; what is read is a view of the input.
 */
import { HeddleError } from '@heddle/core'

/** Largest value a varint carries here. */
export const VARINT_MAX = 0xffff_ffff

export class ByteReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw malformed('the message ends in the middle of an entry')
    this.#at += 1
    return byte
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8()
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16()
  }

  /** Little-endian base 128, in its shortest form, up to 32 bits. */
  varint(): number {
    let value = 0
    for (let index = 0; index < 5; index++) {
      const byte = this.u8()
      value += (byte & 0x7f) * 2 ** (7 * index)
      if (byte < 0x80) {
        if (byte === 0 && index > 0) throw malformed('a number is not in its shortest form')
        if (value > VARINT_MAX) break
        return value
      }
    }
    throw malformed('a number does not fit 32 bits')
  }

  /** A view of the next bytes. */
  bytes(length: number): Uint8Array {
    if (length > this.left) throw malformed(`the message ends ${length - this.left} bytes early`)
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  end(): void {
    if (this.left > 0) throw malformed(`${this.left} bytes are left over`)
  }
}

/** A buffer that grows; `take` hands it over and begins a new one. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>
  #length = 0

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
    return this
  }

  u16(value: number): this {
    return this.u8(value >>> 8).u8(value & 0xff)
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value & 0xffff)
  }

  varint(value: number): this {
    this.#reserve(5)
    let rest = value
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#bytes[this.#length++] = rest
    return this
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** What was written, owned by the caller. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.subarray(0, this.#length)
    this.#bytes = new Uint8Array(256)
    this.#length = 0
    return taken
  }

  #reserve(length: number): void {
    const needed = this.#length + length
    if (needed <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = grown
  }
}

export function malformed(why: string): HeddleError {
  return new HeddleError('MALFORMED', `the peer broke the WebSocket transport's protocol: ${why}`)
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}
