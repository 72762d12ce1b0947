/**
 * TLS presentation language with MLS vectors (RFC 9420 section 2.1): a writer and a reader for what is encoded on every
 * message and for what the room stores. MLS messages themselves go through ts-mls' codecs in `codec.ts`.
 */
import { HeddleError } from '../../errors.js'

const VECTOR_BYTES_MAX = 0x3fffffff

export class TlsWriter {
  #buffer: Uint8Array
  #view: DataView
  #length = 0

  constructor(capacity = 256) {
    this.#buffer = new Uint8Array(capacity)
    this.#view = new DataView(this.#buffer.buffer)
  }

  uint8(value: number): this {
    const at = this.#reserve(1)
    this.#view.setUint8(at, value)
    return this
  }
  uint16(value: number): this {
    const at = this.#reserve(2)
    this.#view.setUint16(at, value)
    return this
  }
  uint32(value: number): this {
    const at = this.#reserve(4)
    this.#view.setUint32(at, value)
    return this
  }
  uint64(value: bigint): this {
    const at = this.#reserve(8)
    this.#view.setBigUint64(at, value)
    return this
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
      this.#view = new DataView(larger.buffer)
    }
    return at
  }
}

/** Reads what `TlsWriter` wrote. Every method throws MALFORMED when the bytes end early or a length is not minimal. */
export class TlsReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  uint8(): number {
    return this.#view.getUint8(this.#take(1))
  }
  uint16(): number {
    return this.#view.getUint16(this.#take(2))
  }
  uint32(): number {
    return this.#view.getUint32(this.#take(4))
  }
  uint64(): bigint {
    return this.#view.getBigUint64(this.#take(8))
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

  #take(length: number): number {
    const at = this.#offset
    if (length < 0 || length > this.#bytes.length - at) throw new HeddleError('MALFORMED', 'The bytes end early')
    this.#offset += length
    return at
  }
}
