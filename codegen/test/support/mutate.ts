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

type Bytes = readonly number[]

const mutations: readonly ((bytes: Bytes, random: Random) => Bytes)[] = [
  // One bit, one byte, a byte that matters to varints.
  (bytes, random) => replaced(bytes, random(bytes.length), (byte) => byte ^ (1 << random(8))),
  (bytes, random) => replaced(bytes, random(bytes.length), () => random(256)),
  (bytes, random) => replaced(bytes, random(bytes.length), () => [0, 1, 0x7f, 0x80, 0xff][random(5)] ?? 0),
  (bytes, random) => replaced(bytes, random(bytes.length), (byte) => (byte + (random(2) === 0 ? 1 : 255)) & 0xff),
  // Shorter and longer.
  (bytes, random) => bytes.slice(0, random(bytes.length)),
  (bytes, random) => spliced(bytes, random(bytes.length), 1 + random(4), []),
  (bytes, random) => spliced(bytes, random(bytes.length + 1), 0, [random(256)]),
  (bytes, random) => spliced(bytes, random(bytes.length + 1), 0, [[0], [0, 0], [8, 1], [0x80, 0x00]][random(4)] ?? []),
  // A varint with a byte too many.
  (bytes, random) => {
    const at = random(bytes.length)
    return spliced(bytes, at, 1, [(bytes[at] ?? 0) | 0x80, 0])
  },
  // A part twice, two parts swapped, an unknown field, a group.
  (bytes, random) => {
    const from = random(bytes.length)
    const part = bytes.slice(from, from + 1 + random(40))
    return spliced(bytes, random(bytes.length + 1), 0, part)
  },
  (bytes, random) => {
    const at = random(bytes.length)
    return [...bytes.slice(at), ...bytes.slice(0, at)]
  },
  (bytes, random) => [
    ...bytes,
    ...([
      [0xa0, 0x3f, 0x01],
      [0xa2, 0x3f, 0x01, 0x61],
      [0xa3, 0x3f, 0xa4, 0x3f]
    ][random(3)] ?? [])
  ],
  (bytes) => [...bytes, ...bytes]
]

/** One to three mutations of the bytes. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let mutant: Bytes = [...bytes]
  for (let left = 1 + random(3); left > 0; left--) {
    const mutation = mutations[random(mutations.length)]
    if (mutation !== undefined && mutant.length > 0) mutant = mutation(mutant, random)
  }
  return Uint8Array.from(mutant)
}

function replaced(bytes: Bytes, at: number, change: (byte: number) => number): Bytes {
  return bytes.map((byte, index) => (index === at ? change(byte) : byte))
}

function spliced(bytes: Bytes, at: number, remove: number, insert: Bytes): Bytes {
  return [...bytes.slice(0, at), ...insert, ...bytes.slice(at + remove)]
}
