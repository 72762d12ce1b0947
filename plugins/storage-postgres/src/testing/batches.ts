/** Numbered batches whose presence and wholeness can be told from what is stored. */
import type { Batch, Entry } from '@heddle/core'

export const PARTS = 5

export function batchOf(number: number): Batch {
  return { put: Array.from({ length: PARTS }, (_, part) => partOf(number, part)) }
}

/** The parts of a batch lie far from each other, so that a torn one would lose some. */
export function partOf(number: number, part: number): Entry {
  const key = new Uint8Array(8)
  const view = new DataView(key.buffer)
  view.setUint32(0, part)
  view.setUint32(4, number)
  return { key, value: new Uint8Array(part === 0 ? 9000 : 50 + part).fill(number & 0xff) }
}
