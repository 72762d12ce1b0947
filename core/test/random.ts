/** Seeded randomness for tests: the same seed, the same bytes. */

export interface SeededRandom {
  /** Uniform in [0, 1). */
  next(): number
  /** Uniform integer in [0, below). */
  below(below: number): number
  bytes(length: number): Uint8Array
  pick<T>(items: readonly T[]): T
}

/** xorshift128 seeded by splitmix32. Not for anything but tests. */
export function seededRandom(seed: number): SeededRandom {
  let mix = seed >>> 0
  const splitmix = (): number => {
    mix = (mix + 0x9e3779b9) >>> 0
    let z = mix
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  const state = new Uint32Array([splitmix(), splitmix(), splitmix(), splitmix() | 1])
  const u32 = (): number => {
    let t = state[3] as number
    const s = state[0] as number
    state[3] = state[2] as number
    state[2] = state[1] as number
    state[1] = s
    t ^= t << 11
    t ^= t >>> 8
    state[0] = t ^ s ^ (s >>> 19)
    return state[0] as number
  }
  const random: SeededRandom = {
    next: () => u32() / 2 ** 32,
    below: (below) => Math.floor(random.next() * below),
    bytes(length) {
      const out = new Uint8Array(length)
      for (let i = 0; i < length; i++) out[i] = u32() >>> 24
      return out
    },
    pick: (items) => items[random.below(items.length)] as (typeof items)[number]
  }
  return random
}
