/**
 * Raw DEFLATE (RFC 1951), bounded. Browsers have no synchronous one, and what others compressed has to be measured before
 * the library unfolds it without a bound. `extent.ts` calls it.
 */

const CODE_BITS_MAX = 15
const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258
]
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]
const DISTANCE_BASE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
  8193, 12_289, 16_385, 24_577
]
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
const END_OF_BLOCK = 256

/** A new array of at most `bytesMax` bytes. Throws a RangeError for what is more, cut off or wrong. */
export function inflateRaw(input: Uint8Array, bytesMax: number): Uint8Array {
  const bits = new Bits(input)
  const out = new Output(bytesMax)
  for (let isLast = false; !isLast; ) {
    isLast = bits.read(1) === 1
    const type = bits.read(2)
    if (type === 0) out.append(bits.stored())
    else if (type === 1) inflateBlock(bits, out, fixedLengths(), fixedDistances())
    else if (type === 2) inflateBlock(bits, out, ...readCodes(bits))
    else throw new RangeError('a compressed block has no type')
  }
  return out.bytes()
}

/** A canonical Huffman code: how many codes have each length, and their symbols in order. */
interface Code {
  readonly counts: Uint16Array
  readonly symbols: Uint16Array
}

function codeOf(lengths: readonly number[]): Code {
  const counts = new Uint16Array(CODE_BITS_MAX + 1)
  for (const length of lengths) counts[length] = (counts[length] ?? 0) + 1
  counts[0] = 0
  const next = new Uint16Array(CODE_BITS_MAX + 2)
  for (let i = 1; i <= CODE_BITS_MAX; i++) next[i + 1] = (next[i] ?? 0) + (counts[i] ?? 0)
  const symbols = new Uint16Array(lengths.length)
  for (const [symbol, length] of lengths.entries()) {
    if (length === 0) continue
    const at = next[length] ?? 0
    symbols[at] = symbol
    next[length] = at + 1
  }
  return { counts, symbols }
}

const fixedLengths = (): Code =>
  codeOf(Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8)))
const fixedDistances = (): Code => codeOf(Array.from({ length: 30 }, () => 5))

/** The codes a block brings along (section 3.2.7). */
function readCodes(bits: Bits): readonly [lengths: Code, distances: Code] {
  const lengthCodes = bits.read(5) + 257
  const distanceCodes = bits.read(5) + 1
  const ordered = Array.from({ length: bits.read(4) + 4 }, () => bits.read(3))
  const code = codeOf(Array.from({ length: 19 }, (_, symbol) => ordered[CODE_LENGTH_ORDER.indexOf(symbol)] ?? 0))
  const lengths: number[] = []
  while (lengths.length < lengthCodes + distanceCodes) {
    const symbol = bits.decode(code)
    if (symbol < 16) lengths.push(symbol)
    else if (symbol === 16) {
      const last = lengths.at(-1)
      if (last === undefined) throw new RangeError('a code length repeats nothing')
      lengths.push(...Array.from({ length: 3 + bits.read(2) }, () => last))
    } else {
      const zeros = symbol === 17 ? 3 + bits.read(3) : 11 + bits.read(7)
      lengths.push(...Array.from({ length: zeros }, () => 0))
    }
  }
  return [codeOf(lengths.slice(0, lengthCodes)), codeOf(lengths.slice(lengthCodes, lengthCodes + distanceCodes))]
}

function inflateBlock(bits: Bits, out: Output, lengths: Code, distances: Code): void {
  for (;;) {
    const symbol = bits.decode(lengths)
    if (symbol === END_OF_BLOCK) return
    if (symbol < END_OF_BLOCK) {
      out.push(symbol)
      continue
    }
    const index = symbol - END_OF_BLOCK - 1
    const length = (LENGTH_BASE[index] ?? Number.NaN) + bits.read(LENGTH_BITS[index] ?? 0)
    const far = bits.decode(distances)
    const distance = (DISTANCE_BASE[far] ?? Number.NaN) + bits.read(Math.max(0, (far >> 1) - 1))
    out.repeat(distance, length)
  }
}

class Bits {
  readonly #input: Uint8Array
  #at = 0
  #held = 0
  #count = 0

  constructor(input: Uint8Array) {
    this.#input = input
  }

  /** At most 16 bits. */
  read(count: number): number {
    while (this.#count < count) {
      this.#held |= this.#byte() << this.#count
      this.#count += 8
    }
    const value = this.#held & ((1 << count) - 1)
    this.#held >>>= count
    this.#count -= count
    return value
  }

  decode({ counts, symbols }: Code): number {
    let code = 0
    let first = 0
    let index = 0
    for (let length = 1; length <= CODE_BITS_MAX; length++) {
      if (this.#count === 0) {
        this.#held = this.#byte()
        this.#count = 8
      }
      code |= this.#held & 1
      this.#held >>>= 1
      this.#count -= 1
      const count = counts[length] ?? 0
      const symbol = symbols[index + code - first]
      if (code - first < count && symbol !== undefined) return symbol
      index += count
      first = (first + count) << 1
      code <<= 1
    }
    throw new RangeError('a compressed symbol has no code')
  }

  /** The bytes of a block that is not compressed: a view. */
  stored(): Uint8Array {
    this.#held = 0
    this.#count = 0
    const length = this.#byte() | (this.#byte() << 8)
    const complement = this.#byte() | (this.#byte() << 8)
    if (length !== (~complement & 0xffff)) throw new RangeError('the length of a stored block is wrong')
    const end = this.#at + length
    if (end > this.#input.length) throw new RangeError('compressed data is cut off')
    const bytes = this.#input.subarray(this.#at, end)
    this.#at = end
    return bytes
  }

  #byte(): number {
    const byte = this.#input[this.#at++]
    if (byte === undefined) throw new RangeError('compressed data is cut off')
    return byte
  }
}

class Output {
  readonly #bytesMax: number
  #bytes = new Uint8Array(1024)
  #length = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  push(byte: number): void {
    this.#grow(1)
    this.#bytes[this.#length++] = byte
  }

  append(bytes: Uint8Array): void {
    this.#grow(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** Copies from `distance` bytes back; the copy may overlap what it copies. */
  repeat(distance: number, length: number): void {
    if (!(distance <= this.#length && length > 0)) throw new RangeError('compressed data refers to what is not there')
    this.#grow(length)
    for (let i = 0; i < length; i++) {
      this.#bytes[this.#length] = this.#bytes[this.#length - distance] ?? 0
      this.#length += 1
    }
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #grow(more: number): void {
    const needed = this.#length + more
    if (needed > this.#bytesMax) throw new RangeError(`compressed data has more than ${this.#bytesMax} bytes`)
    if (needed <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}
