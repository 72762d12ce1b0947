/**
 * TLS presentation language with MLS vectors (RFC 9420 section 2.1): a writer and a reader for what is encoded on every
 * message and for what the room stores. MLS messages themselves go through ts-mls' codecs in `codec.ts`.
 */
import { HeddleError } from '../../errors.js'

const VECTOR_BYTES_MAX = 0x3fffffff

/** Bytes of a vector with its length before it. */
export function vectorBytes(length: number): number {
  return length + (length < 0x40 ? 1 : length < 0x4000 ? 2 : 4)
}

export class TlsWriter {
  #buffer: Uint8Array
  #length = 0

  constructor(capacity = 256) {
    this.#buffer = new Uint8Array(capacity)
  }

  uint8(value: number): this {
    const at = this.#reserve(1)
    this.#buffer[at] = value
    return this
  }
  uint16(value: number): this {
    const at = this.#reserve(2)
    this.#buffer[at] = value >> 8
    this.#buffer[at + 1] = value
    return this
  }
  uint32(value: number): this {
    const at = this.#reserve(4)
    this.#buffer[at] = value >> 24
    this.#buffer[at + 1] = value >> 16
    this.#buffer[at + 2] = value >> 8
    this.#buffer[at + 3] = value
    return this
  }
  uint64(value: bigint): this {
    return this.uint32(Number((value >> 32n) & 0xffffffffn)).uint32(Number(value & 0xffffffffn))
  }
  /** The bytes as they are. */
  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length)
    this.#buffer.set(bytes, at)
    return this
  }
  /** The bytes with their length before them, in the shortest form. */
  vector(bytes: Uint8Array): this {
    return this.vectorLength(bytes.length).raw(bytes)
  }
  /** What stands before the bytes of a vector. */
  vectorLength(length: number): this {
    if (length < 0x40) return this.uint8(length)
    if (length < 0x4000) return this.uint16(length | 0x4000)
    if (length <= VECTOR_BYTES_MAX) return this.uint32((length | 0x80000000) >>> 0)
    throw new HeddleError('INVALID', `A vector of ${length} bytes cannot be encoded`)
  }
  /** What was written, in an array of its own. The writer must not be used after it. */
  finish(): Uint8Array {
    if (this.#length === this.#buffer.length) return this.#buffer
    const written = this.#buffer.slice(0, this.#length)
    this.#buffer.fill(0, 0, this.#length) // may hold secrets
    return written
  }

  #reserve(bytes: number): number {
    const at = this.#length
    this.#length += bytes
    if (this.#length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(this.#length, 2 * this.#buffer.length))
      larger.set(this.#buffer)
      this.#buffer.fill(0) // may hold secrets
      this.#buffer = larger
    }
    return at
  }
}

/** Reads what `TlsWriter` wrote. Every method throws MALFORMED when the bytes end early or a length is not minimal. */
export class TlsReader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  uint8(): number {
    return this.#at(this.#take(1))
  }
  uint16(): number {
    const at = this.#take(2)
    return (this.#at(at) << 8) | this.#at(at + 1)
  }
  uint32(): number {
    const at = this.#take(4)
    return ((this.#at(at) << 24) | (this.#at(at + 1) << 16) | (this.#at(at + 2) << 8) | this.#at(at + 3)) >>> 0
  }
  uint64(): bigint {
    return (BigInt(this.uint32()) << 32n) | BigInt(this.uint32())
  }
  /** A copy. */
  raw(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#bytes.slice(at, at + length)
  }
  /** A copy. */
  vector(): Uint8Array {
    return this.raw(this.#vectorLength())
  }
  /** Not copied. */
  vectorView(): Uint8Array {
    const length = this.#vectorLength()
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }
  /** How many bytes were read. */
  get offset(): number {
    return this.#offset
  }
  /** What was read from there on, not copied. */
  since(offset: number): Uint8Array {
    return this.#bytes.subarray(offset, this.#offset)
  }
  /** Whether something is left. */
  get more(): boolean {
    return this.#offset < this.#bytes.length
  }
  /** What is left, not copied. */
  rest(): Uint8Array {
    const at = this.#take(this.#bytes.length - this.#offset)
    return this.#bytes.subarray(at)
  }
  /** Throws MALFORMED when something is left. */
  end(): void {
    if (this.more) throw new HeddleError('MALFORMED', `${this.#bytes.length - this.#offset} bytes too many`)
  }

  #vectorLength(): number {
    const first = this.uint8()
    const prefix = first >> 6
    if (prefix === 0) return first
    if (prefix === 3) throw new HeddleError('MALFORMED', 'Invalid vector length')
    this.#offset -= 1
    const length = prefix === 1 ? this.uint16() & 0x3fff : this.uint32() & VECTOR_BYTES_MAX
    if (length < (prefix === 1 ? 0x40 : 0x4000))
      throw new HeddleError('MALFORMED', 'A vector length is not in its shortest form')
    return length
  }

  /** Of an offset that was taken. */
  #at(offset: number): number {
    return this.#bytes[offset] as number
  }

  #take(length: number): number {
    const at = this.#offset
    if (length < 0 || length > this.#bytes.length - at) throw new HeddleError('MALFORMED', 'The bytes end early')
    this.#offset += length
    return at
  }
}
