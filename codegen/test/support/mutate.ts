/** Seeded damage to valid bytes: some of it random, some of it the kinds that protobuf decoders are known to miss. */

/** Random integers below a bound. */
export type Random = (below: number) => number

/** Mulberry32: small, fast, the same on every machine. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * below)
  }
}

type Mutation = (bytes: Uint8Array, random: Random) => Uint8Array

const mutations: readonly Mutation[] = [
  // One bit, one byte, a byte that matters to varints.
  (bytes, random) => replaced(bytes, random(bytes.length), (byte) => byte ^ (1 << random(8))),
  (bytes, random) => replaced(bytes, random(bytes.length), () => random(256)),
  (bytes, random) => replaced(bytes, random(bytes.length), () => [0, 1, 0x7f, 0x80, 0xff][random(5)] ?? 0),
  (bytes, random) => replaced(bytes, random(bytes.length), (byte) => byte + (random(2) === 0 ? 1 : 255)),
  // Shorter and longer.
  (bytes, random) => bytes.slice(0, random(bytes.length)),
  (bytes, random) => spliced(bytes, random(bytes.length), 1 + random(4), []),
  (bytes, random) => spliced(bytes, random(bytes.length + 1), 0, [random(256)]),
  (bytes, random) => spliced(bytes, random(bytes.length + 1), 0, [[0], [0, 0], [8, 1], [0x80, 0x00]][random(4)] ?? []),
  // A varint with a byte too many, with all ten, with a bit above 32, with one above 64.
  (bytes, random) => {
    const at = random(bytes.length)
    return spliced(bytes, at, 1, [(bytes[at] ?? 0) | 0x80, 0])
  },
  (bytes, random) => {
    const at = random(bytes.length)
    const last = random(3) === 0 ? 2 : random(2)
    return spliced(bytes, at, 1, [(bytes[at] ?? 0) | 0x80, ...new Array<number>(8).fill(0x80), last])
  },
  (bytes, random) => {
    const at = random(bytes.length)
    return spliced(bytes, at, 1, [(bytes[at] ?? 0) | 0x80, 0x80, 0x80, 0x80, 0x10 + random(16)])
  },
  // A length that reaches past what it is in, and a text that is no UTF-8.
  (bytes, random) => replaced(bytes, random(bytes.length), (byte) => (byte + 1 + random(20)) & 0x7f),
  (bytes, random) => {
    const broken = [[0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xff], [0xe2, 0x82]][random(5)] ?? []
    return spliced(bytes, random(bytes.length), broken.length, broken)
  },
  // A part twice, two parts swapped, an unknown field, a group, a tag of field 0.
  (bytes, random) => {
    const from = random(bytes.length)
    return spliced(bytes, random(bytes.length + 1), 0, bytes.subarray(from, from + 1 + random(40)))
  },
  (bytes, random) => {
    const at = random(bytes.length)
    return joined(bytes.subarray(at), bytes.subarray(0, at))
  },
  (bytes, random) => joined(bytes, endings[random(endings.length)] ?? []),
  (bytes) => joined(bytes, bytes)
]

const endings: readonly (readonly number[])[] = [
  [0xa0, 0x3f, 0x01],
  [0xa2, 0x3f, 0x01, 0x61],
  [0xa3, 0x3f, 0xa4, 0x3f],
  [0xa4, 0x3f],
  [0xa6, 0x3f],
  [0x00, 0xff, 0xff],
  [0x04],
  [0xa1, 0x3f, 1, 2, 3],
  [0xf8, 0xff, 0xff, 0xff, 0x1f, 0x00]
]

/** One to three mutations of the bytes. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let mutant = bytes
  for (let left = 1 + random(3); left > 0; left--) {
    const mutation = mutations[random(mutations.length)]
    if (mutation !== undefined && mutant.length > 0) mutant = mutation(mutant, random)
  }
  return mutant
}

function replaced(bytes: Uint8Array, at: number, change: (byte: number) => number): Uint8Array {
  const out = bytes.slice()
  out[at] = change(bytes[at] ?? 0)
  return out
}

function spliced(bytes: Uint8Array, at: number, remove: number, insert: ArrayLike<number>): Uint8Array {
  const rest = bytes.subarray(Math.min(at + remove, bytes.length))
  const out = new Uint8Array(at + insert.length + rest.length)
  out.set(bytes.subarray(0, at))
  out.set(insert, at)
  out.set(rest, at + insert.length)
  return out
}

function joined(first: Uint8Array, second: ArrayLike<number>): Uint8Array {
  return spliced(first, first.length, 0, second)
}
