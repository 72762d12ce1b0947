/**
 * Protobuf bytes as a text that stays short however long they are, made by a writer of its own: nothing here is shared
 * with the codecs the vectors judge, nor with a library. Called by the rooms of vectors/ only.
 *
 * The text is a list of items with spaces between them: hexadecimal digits; two of them and `*n` for a byte n times;
 * `(items)*n` for items n times.
 */

export interface Spelled {
  readonly text: string
  /** Number of bytes. */
  readonly length: number
}

export const nothing: Spelled = { text: '', length: 0 }

/** Bytes that are written out up to this number. */
const writtenOutMax = 4

export function hex(bytes: readonly number[]): Spelled {
  return { text: bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(''), length: bytes.length }
}

/** One byte `count` times. */
export function fill(byte: number, count: number): Spelled {
  if (count <= writtenOutMax) return hex(new Array<number>(count).fill(byte))
  return { text: `${hex([byte]).text}*${count}`, length: count }
}

export function join(...parts: readonly Spelled[]): Spelled {
  let text = ''
  let length = 0
  for (const part of parts) {
    if (part.length === 0) continue
    text = length === 0 ? part.text : `${text} ${part.text}`
    length += part.length
  }
  return { text, length }
}

export function repeat(part: Spelled, count: number): Spelled {
  // The form has no repetitions inside repetitions.
  if (count <= 2 || part.text.includes('(')) return join(...new Array<Spelled>(count).fill(part))
  return { text: `(${part.text})*${count}`, length: part.length * count }
}

/** A varint of the least length, or of one byte more. */
export function varint(value: number | bigint, longer = false): Spelled {
  const bytes: number[] = []
  let rest = BigInt(value)
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return hex(longer ? [...bytes, Number(rest) | 0x80, 0] : [...bytes, Number(rest)])
}

export const wireTypes = { varint: 0, fixed64: 1, delimited: 2, fixed32: 5 } as const

export function tag(number: number, wireType: number): Spelled {
  return varint(number * 8 + wireType)
}

export function delimited(number: number, content: Spelled, longer = false): Spelled {
  return join(tag(number, wireTypes.delimited), varint(content.length, longer), content)
}

/** Little-endian. */
export function fixed(value: number | bigint, bytes: 4 | 8): Spelled {
  const rest = BigInt.asUintN(bytes * 8, BigInt(value))
  return hex(Array.from({ length: bytes }, (_, i) => Number((rest >> BigInt(8 * i)) & 0xffn)))
}

export function zigzag(value: number | bigint): bigint {
  const signed = BigInt(value)
  return signed < 0n ? -signed * 2n - 1n : signed * 2n
}
