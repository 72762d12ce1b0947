/**
 * Writes protobuf bytes in two passes over a message (SPEC WIRE): the Sizer checks every limit and adds up the lengths,
 * the Writer fills one array of exactly that size. The generated put functions take either as their Sink, so that the
 * two passes cannot disagree.
 */
import { isAscending, type SortKey } from './order.js'
import { WireError, type WireErrorCode } from './wire-error.js'

/** What a put function tells of a message: tags and values in order, with the limits of each. */
export interface Sink {
  tag(tag: number): void
  uint32(value: number, min: number, max: number, where: string): void
  uint64(value: bigint, min: bigint, max: bigint, where: string): void
  sint32(value: number, where: string): void
  sint64(value: bigint, where: string): void
  fixed32(value: number, min: number, max: number, where: string): void
  fixed64(value: bigint, min: bigint, max: bigint, where: string): void
  bool(value: boolean): void
  /** `defined` are the values allowed, undefined when the enum is open; zero is not allowed when it is required. */
  enum(value: number, required: boolean, defined: readonly number[] | undefined, where: string): void
  bytes(value: Uint8Array, min: number, max: number, where: string): void
  string(value: string, min: number, max: number, where: string): void
  /** Starts length-delimited content: an inner message or packed numbers. */
  begin(): void
  end(): void
  /** Checks the number of items of a repeated field. */
  items(length: number, min: number, max: number, where: string): void
  /** Checks that the items of a repeated field stand in strictly ascending order of a key. */
  sorted<T>(items: readonly T[], keyOf: (item: T) => SortKey, where: string): void
  /** Checks that a required field or oneof has a value. */
  present(value: unknown, where: string): void
  /** Checks the size of the message that ends here. */
  size(max: number, type: string): void
}

/** First pass. */
export class Sizer implements Sink {
  /** Size of the message so far. */
  total = 0
  /** Lengths of strings, inner messages and packed fields, in the order they begin. */
  readonly lengths: number[] = []
  /** Of each message around the place: the index of its length, then its size so far. */
  readonly #outer: number[] = []

  tag(tag: number): void {
    this.total += varintSize(tag)
  }

  uint32(value: number, min: number, max: number, where: string): void {
    this.#integer(value, min, max, where)
    this.total += varintSize(value)
  }

  uint64(value: bigint, min: bigint, max: bigint, where: string): void {
    this.#bigInteger(value, min, max, where)
    this.total += bigVarintSize(value)
  }

  sint32(value: number, where: string): void {
    this.#integer(value, -0x80000000, 0x7fffffff, where)
    this.total += varintSize(zigzag32(value))
  }

  sint64(value: bigint, where: string): void {
    this.#bigInteger(value, -0x8000000000000000n, 0x7fffffffffffffffn, where)
    this.total += bigVarintSize(zigzag64(value))
  }

  fixed32(value: number, min: number, max: number, where: string): void {
    this.#integer(value, min, max, where)
    this.total += 4
  }

  fixed64(value: bigint, min: bigint, max: bigint, where: string): void {
    this.#bigInteger(value, min, max, where)
    this.total += 8
  }

  bool(_value: boolean): void {
    this.total += 1
  }

  enum(value: number, required: boolean, defined: readonly number[] | undefined, where: string): void {
    this.#integer(value, 0, 0x7fffffff, where)
    if (required && value === 0) throw encodeError('required', where)
    if (defined !== undefined && !defined.includes(value)) throw encodeError('enum', where, `${value}`)
    this.total += varintSize(value)
  }

  bytes(value: Uint8Array, min: number, max: number, where: string): void {
    this.#length(value.length, min, max, where)
    this.total += varintSize(value.length) + value.length
  }

  string(value: string, min: number, max: number, where: string): void {
    const length = utf8Length(value, where)
    this.#length(length, min, max, where)
    this.lengths.push(length)
    this.total += varintSize(length) + length
  }

  begin(): void {
    this.#outer.push(this.lengths.length, this.total)
    this.lengths.push(0)
    this.total = 0
  }

  end(): void {
    const outerTotal = this.#outer.pop()
    const index = this.#outer.pop()
    if (outerTotal === undefined || index === undefined) throw new Error('wire: end() without begin()')
    this.lengths[index] = this.total
    this.total += outerTotal + varintSize(this.total)
  }

  items(length: number, min: number, max: number, where: string): void {
    if (length < min) throw encodeError('too_few', where, `${length} items, at least ${min}`)
    if (length > max) throw encodeError('too_many', where, `${length} items, at most ${max}`)
  }

  sorted<T>(items: readonly T[], keyOf: (item: T) => SortKey, where: string): void {
    let previous: SortKey | undefined
    for (const item of items) {
      const key = keyOf(item)
      if (previous !== undefined && !isAscending(previous, key)) throw encodeError('unsorted', where)
      previous = key
    }
  }

  present(value: unknown, where: string): void {
    if (value === undefined) throw encodeError('required', where)
  }

  size(max: number, type: string): void {
    if (this.total > max) throw encodeError('too_large', type, `${this.total} bytes, at most ${max}`)
  }

  #integer(value: number, min: number, max: number, where: string): void {
    if (!Number.isInteger(value)) throw encodeError('range', where, `${value} is not an integer`)
    if (value < min || value > max) throw encodeError('range', where, `${value} is not in ${min} to ${max}`)
  }

  /** Not one with the above: a comparison that has seen both kinds of numbers is several times slower. */
  #bigInteger(value: bigint, min: bigint, max: bigint, where: string): void {
    if (value < min || value > max) throw encodeError('range', where, `${value} is not in ${min} to ${max}`)
  }

  #length(length: number, min: number, max: number, where: string): void {
    if (length < min) throw encodeError('too_short', where, `${length} bytes, at least ${min}`)
    if (length > max) throw encodeError('too_long', where, `${length} bytes, at most ${max}`)
  }
}

const utf8 = new TextEncoder()

/** Second pass: everything was checked in the first. */
export class Writer implements Sink {
  readonly #out: Uint8Array
  readonly #lengths: readonly number[]
  #pos = 0
  #nextLength = 0

  constructor(sizer: Sizer) {
    this.#out = new Uint8Array(sizer.total)
    this.#lengths = sizer.lengths
  }

  /** The bytes, owned by the caller. */
  finish(): Uint8Array {
    if (this.#pos !== this.#out.length) throw new Error('wire: the message changed while it was encoded')
    return this.#out
  }

  tag(tag: number): void {
    if (tag < 0x80) this.#out[this.#pos++] = tag
    else this.uint32(tag)
  }

  uint32(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.#out[this.#pos++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#out[this.#pos++] = rest
  }

  uint64(value: bigint): void {
    if (value <= 0xffffffffn) {
      this.uint32(Number(value))
      return
    }
    // 28 bits at a time: arithmetic on numbers is several times faster than on bigints.
    let low = Number(value & 0xfffffffn)
    for (let i = 0; i < 4; i++) {
      this.#out[this.#pos++] = (low & 0x7f) | 0x80
      low >>>= 7
    }
    this.uint64(value >> 28n)
  }

  sint32(value: number): void {
    this.uint32(zigzag32(value))
  }

  sint64(value: bigint): void {
    this.uint64(zigzag64(value))
  }

  fixed32(value: number): void {
    for (let shift = 0; shift < 32; shift += 8) this.#out[this.#pos++] = value >>> shift
  }

  fixed64(value: bigint): void {
    this.fixed32(Number(value & 0xffffffffn))
    this.fixed32(Number(value >> 32n))
  }

  bool(value: boolean): void {
    this.#out[this.#pos++] = value ? 1 : 0
  }

  enum(value: number): void {
    this.uint32(value)
  }

  bytes(value: Uint8Array): void {
    this.uint32(value.length)
    this.#out.set(value, this.#pos)
    this.#pos += value.length
  }

  string(value: string): void {
    const length = this.#takeLength()
    this.uint32(length)
    utf8.encodeInto(value, this.#out.subarray(this.#pos, this.#pos + length))
    this.#pos += length
  }

  begin(): void {
    this.uint32(this.#takeLength())
  }

  end(): void {}
  items(): void {}
  sorted(): void {}
  present(): void {}
  size(): void {}

  #takeLength(): number {
    return this.#lengths[this.#nextLength++] as number
  }
}

function encodeError(code: WireErrorCode, where: string, detail?: string): WireError {
  return new WireError(code, where, undefined, detail)
}

function varintSize(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x200000) return 3
  return value < 0x10000000 ? 4 : 5
}

function bigVarintSize(value: bigint): number {
  if (value <= 0xffffffffn) return varintSize(Number(value))
  let size = 4
  for (let rest = value >> 28n; rest > 0n; rest >>= 7n) size++
  return size
}

function zigzag32(value: number): number {
  return ((value << 1) ^ (value >> 31)) >>> 0
}

function zigzag64(value: bigint): bigint {
  return BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
}

/** Length in UTF-8. A lone surrogate has none: TextEncoder would replace it silently. */
function utf8Length(text: string, where: string): number {
  let length = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    length += unit < 0x800 ? 1 : 2
    if (unit < 0xd800 || unit > 0xdfff) continue
    const low = text.charCodeAt(i + 1)
    if (unit > 0xdbff || !(low >= 0xdc00 && low <= 0xdfff)) throw encodeError('utf8', where, 'a lone surrogate')
    i++
  }
  return length
}
