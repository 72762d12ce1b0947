/** Numbered batches whose presence and wholeness can be told from what is stored; the same in Node and in a page. */
import type { Batch, Entry, Storage } from '@heddle/core'

export const PARTS = 4
/** Chromium keeps values above 64 KiB in files of their own. */
const LARGE_BYTES = 100_000

export function batchOf(number: number): Batch {
  return { put: Array.from({ length: PARTS }, (_, part) => partOf(number, part)) }
}

/** The parts of a batch lie far from each other, so that a torn one would lose some. */
function partOf(number: number, part: number): Entry {
  const key = new Uint8Array(8)
  const view = new DataView(key.buffer)
  view.setUint32(0, part)
  view.setUint32(4, number)
  const isLarge = part === 0 && number % 5 === 0
  return { key, value: new Uint8Array(isLarge ? LARGE_BYTES : 50 + part).fill(number & 0xff) }
}

/** Numbers of the batches stored whole, and of those stored in part or with another value. */
export async function readBatches(store: Storage): Promise<{ readonly whole: number[]; readonly torn: number[] }> {
  const right = new Map<number, number>()
  for await (const page of store.scan({ gte: new Uint8Array(0), lt: Uint8Array.of(0xff) })) {
    for (const { key, value } of page) {
      const view = new DataView(key.buffer)
      const number = view.getUint32(4)
      const expected = partOf(number, view.getUint32(0)).value
      const isRight = value.length === expected.length && value.every((byte, i) => byte === expected[i])
      right.set(number, (right.get(number) ?? 0) + (isRight ? 1 : PARTS + 1))
    }
  }
  const numbers = [...right.keys()]
  return {
    whole: numbers.filter((number) => right.get(number) === PARTS),
    torn: numbers.filter((number) => right.get(number) !== PARTS)
  }
}
