/**
 * Reads protobuf bytes strictly, in one pass (SPEC WIRE). Called by the generated read functions, which know the schema;
 * the reader knows the encoding. Every method fails with a WireError rather than read past `end`, the end of the message
 * it is in.
 */
import { isAscending, type SortKey } from './order.js'
import { WireError, type WireErrorCode } from './wire-error.js'

/** How many unknown fields one message may have; a newer peer adds a few, an attacker many. */
export const unknownFieldsMax = 32
/** Byte arrays up to this length are copied, so that keeping a hash does not keep the whole frame alive. */
export const copiedBytesMax = 64

export const emptyBytes: Uint8Array = new Uint8Array(0)
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const wireVarint = 0
const wireFixed64 = 1
const wireDelimited = 2
const wireFixed32 = 5

/** The names of a message's fields by number. */
export interface Shape {
  readonly name: string
  readonly fields: Readonly<Record<number, string>>
}

export class Reader {
  /** Offset of the next byte. */
  pos = 0
  /** Whether a canonical message is being read: everything inside it has one encoding only. */
  canonical = false
  readonly #input: Uint8Array
  /** That of the input, asked for when the first view is taken: small arrays have none until then. */
  #buffer: ArrayBufferLike | undefined

  /** Borrows the input for as long as the large byte arrays it returns live. */
  constructor(input: Uint8Array) {
    // A Buffer's slice() is a view and its views are Buffers: read it as what it is underneath.
    this.#input =
      input.constructor === Uint8Array ? input : new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
  }

  error(code: WireErrorCode, where: string, detail?: string): WireError {
    return new WireError(code, where, this.pos, detail)
  }

  /** The next tag, when the message has not ended. In a canonical one it must not be below the tag before it. */
  tag(end: number, previous: number, type: string): number {
    let tag = this.#input[this.pos] as number
    if (tag < 0x80) this.pos++
    else tag = this.#longTag(end, type)
    if (tag < 8) throw this.error('tag', type)
    if (this.canonical && tag < previous) throw this.error('order', type)
    return tag
  }

  /** Marks a plain or packed field as seen: `bit` is its own in the mask `seen`. */
  once(seen: number, bit: number, where: string): number {
    if ((seen & bit) !== 0) throw this.error('duplicate', where)
    return seen | bit
  }

  /** For fields and oneofs that are undefined until they are read. */
  unset(value: unknown, where: string): void {
    if (value !== undefined) throw this.error('duplicate', where)
  }

  /** In a canonical message a default value is not written. */
  notDefault(isDefault: boolean, where: string): void {
    if (isDefault && this.canonical) throw this.error('default_value', where)
  }

  /** Checks the size of a message that begins here. */
  size(end: number, max: number, type: string): void {
    if (end - this.pos > max) throw this.error('too_large', type, `${end - this.pos} bytes, at most ${max}`)
  }

  /** Checks that a repeated field with `length` items may have one more. */
  room(length: number, max: number, where: string): void {
    if (length >= max) throw this.error('too_many', where, `at most ${max}`)
  }

  /** Checks the number of items at the end of the message. */
  items(length: number, min: number, where: string): void {
    if (length < min) throw this.error('too_few', where, `${length} items, at least ${min}`)
  }

  /** Checks that an item may follow the one before it, which is undefined for the first. */
  ascending<K extends SortKey>(previous: K | undefined, next: K, where: string): void {
    if (previous !== undefined && !isAscending(previous, next)) throw this.error('unsorted', where)
  }

  /** Skips a field whose tag no case of the message took, and returns how many there were. */
  unknown(tag: number, end: number, count: number, shape: Shape): number {
    const number = tag >>> 3
    const known = shape.fields[number]
    if (known !== undefined) throw this.error('wire_type', `${shape.name}.${known}`)
    const where = `${shape.name}.#${number}`
    if (this.canonical) throw this.error('unknown_field', where)
    if (count >= unknownFieldsMax) throw this.error('unknown_field', where, `at most ${unknownFieldsMax}`)
    switch (tag & 7) {
      case wireVarint:
        this.#skipVarint(end, where)
        break
      case wireFixed64:
        this.#take(8, end, where)
        break
      case wireDelimited:
        this.pos = this.length(end, where)
        break
      case wireFixed32:
        this.#take(4, end, where)
        break
      default:
        throw this.error('wire_type', where)
    }
    return count + 1
  }

  /** Reads a length and returns where its content ends. */
  length(end: number, where: string): number {
    const length = this.uint32(end, where)
    if (length > end - this.pos) throw this.error('truncated', where, `${length} bytes, ${end - this.pos} left`)
    return this.pos + length
  }

  uint32(end: number, where: string): number {
    const start = this.pos
    const input = this.#input
    const first = input[start] as number
    if (start < end && first < 0x80) {
      this.pos = start + 1
      return first
    }
    const second = input[start + 1] as number
    // Two bytes are what most lengths have; a second one of zero is longer than need be.
    if (start + 1 < end && second > 0 && second < 0x80) {
      this.pos = start + 2
      return (first & 0x7f) | (second << 7)
    }
    return this.#longUint32(end, where)
  }

  uint64(end: number, where: string): bigint {
    const first = this.#input[this.pos] as number
    if (this.pos < end && first < 0x80) {
      this.pos++
      return BigInt(first)
    }
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte(end, where)
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.#minimal(byte, shift, where)
        return BigInt(low)
      }
    }
    return this.#longUint64(low, end, where)
  }

  sint32(end: number, where: string): number {
    const value = this.uint32(end, where)
    return (value >>> 1) ^ -(value & 1)
  }

  sint64(end: number, where: string): bigint {
    const value = this.uint64(end, where)
    return (value >> 1n) ^ -(value & 1n)
  }

  fixed32(end: number, where: string): number {
    const at = this.#take(4, end, where)
    const input = this.#input
    return (
      ((input[at] as number) |
        ((input[at + 1] as number) << 8) |
        ((input[at + 2] as number) << 16) |
        ((input[at + 3] as number) << 24)) >>>
      0
    )
  }

  fixed64(end: number, where: string): bigint {
    const low = this.fixed32(end, where)
    const high = this.fixed32(end, where)
    return (BigInt(high) << 32n) | BigInt(low)
  }

  bool(end: number, where: string): boolean {
    const value = this.uint32(end, where)
    if (value > 1) throw this.error('range', where, `${value} is not a bool`)
    return value === 1
  }

  /** Protobuf enums are int32; ours have no negative values. */
  enum(end: number, where: string): number {
    const value = this.uint32(end, where)
    if (value > 0x7fffffff) throw this.error('range', where)
    return value
  }

  /** One of the values the schema defines. */
  closedEnum<V extends number>(end: number, defined: readonly V[], where: string): V {
    const value = this.enum(end, where)
    if (!isOneOf(defined, value)) throw this.error('enum', where, `${value}`)
    return value
  }

  /** A copy when it is short, otherwise a view of the input. */
  bytes(end: number, min: number, max: number, where: string): Uint8Array {
    const input = this.#input
    const start = this.pos + 1
    const length = input[this.pos] as number
    if (length > 0 && length <= copiedBytesMax && length >= min && length <= max && length <= end - start) {
      this.pos = start + length
      return input.slice(start, this.pos)
    }
    return this.#longBytes(end, min, max, where)
  }

  /** Limits are in bytes of UTF-8. */
  string(end: number, min: number, max: number, where: string): string {
    const start = this.#content(end, min, max, where)
    if (start === this.pos) return ''
    try {
      return utf8.decode(this.#input.subarray(start, this.pos))
    } catch {
      throw this.error('utf8', where)
    }
  }

  #longBytes(end: number, min: number, max: number, where: string): Uint8Array {
    const start = this.#content(end, min, max, where)
    const length = this.pos - start
    if (length === 0) return emptyBytes
    const input = this.#input
    if (length <= copiedBytesMax) return input.slice(start, this.pos)
    // What subarray() returns, at less than half its cost.
    this.#buffer ??= input.buffer
    return new Uint8Array(this.#buffer, input.byteOffset + start, length)
  }

  /** Moves past length-delimited content within the limits and returns where it starts. */
  #content(end: number, min: number, max: number, where: string): number {
    const contentEnd = this.length(end, where)
    const length = contentEnd - this.pos
    if (length < min) throw this.error('too_short', where, `${length} bytes, at least ${min}`)
    if (length > max) throw this.error('too_long', where, `${length} bytes, at most ${max}`)
    const start = this.pos
    this.pos = contentEnd
    return start
  }

  #byte(end: number, where: string): number {
    if (this.pos >= end) throw this.error('truncated', where)
    return this.#input[this.pos++] as number
  }

  #take(length: number, end: number, where: string): number {
    const start = this.pos
    if (end - start < length) throw this.error('truncated', where)
    this.pos = start + length
    return start
  }

  #minimal(lastByte: number, shift: number, where: string): void {
    if (lastByte === 0 && shift > 0 && this.canonical) throw this.error('not_minimal', where)
  }

  #longTag(end: number, type: string): number {
    try {
      return this.#longUint32(end, type)
    } catch (cause) {
      if (cause instanceof WireError && (cause.code === 'varint' || cause.code === 'range')) {
        throw this.error('tag', type)
      }
      throw cause
    }
  }

  #longUint32(end: number, where: string): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte(end, where)
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.#minimal(byte, shift, where)
        return value
      }
    }
    const last = this.#byte(end, where)
    if (last >= 0x80) throw this.error('varint', where)
    if (last > 0x0f) throw this.error('range', where)
    this.#minimal(last, 28, where)
    return (value | (last << 28)) >>> 0
  }

  /** Bits 28 and up of a varint whose first four bytes gave `low`. */
  #longUint64(low: number, end: number, where: string): bigint {
    const fifth = this.#byte(end, where)
    const low32 = (low | (fifth << 28)) >>> 0
    let high = (fifth & 0x7f) >>> 4
    if (fifth < 0x80) {
      this.#minimal(fifth, 28, where)
      return BigInt(high * 0x1_0000_0000 + low32)
    }
    for (let shift = 3; shift < 31; shift += 7) {
      const byte = this.#byte(end, where)
      high |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.#minimal(byte, shift, where)
        return (BigInt(high >>> 0) << 32n) | BigInt(low32)
      }
    }
    const tenth = this.#byte(end, where)
    if (tenth > 1) throw this.error('varint', where)
    this.#minimal(tenth, 63, where)
    return (BigInt((high | (tenth << 31)) >>> 0) << 32n) | BigInt(low32)
  }

  #skipVarint(end: number, where: string): void {
    this.uint64(end, where)
  }
}

function isOneOf<V extends number>(defined: readonly V[], value: number): value is V {
  return (defined as readonly number[]).includes(value)
}
