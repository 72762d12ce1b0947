/** Builds protobuf bytes by hand, right or wrong, for the tests of the codecs; shares nothing with them. */

/** A varint of the least length. */
export function varint(value: number | bigint): readonly number[] {
  const bytes: number[] = []
  let rest = BigInt(value)
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return [...bytes, Number(rest)]
}

/** The same value in one byte more than it needs. */
export function longVarint(value: number | bigint): readonly number[] {
  const bytes = varint(value)
  return [...bytes.slice(0, -1), (bytes.at(-1) ?? 0) | 0x80, 0]
}

export function tag(number: number, wireType: number): readonly number[] {
  return varint(number * 8 + wireType)
}

export function varintField(number: number, value: number | bigint): readonly number[] {
  return [...tag(number, 0), ...varint(value)]
}

export function bytesField(number: number, content: readonly number[]): readonly number[] {
  return [...tag(number, 2), ...varint(content.length), ...content]
}

export function filled(length: number, byte = 0x61): readonly number[] {
  return new Array<number>(length).fill(byte)
}

export function bytesOf(...parts: readonly (readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flat())
}
