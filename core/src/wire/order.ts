/**
 * The order of items that a schema wants sorted (SPEC WIRE-009): numbers by value, bytes and the UTF-8 of strings byte by
 * byte, a beginning before what it begins. Called by the reader and the sizer.
 */
import { compareBytes } from '../bytes.js'

export type SortKey = number | bigint | string | Uint8Array

/** Whether `next` may stand directly behind `previous`; both have the same type. */
export function isAscending(previous: SortKey, next: SortKey): boolean {
  if (typeof previous === 'string') return typeof next === 'string' && compareTexts(previous, next) < 0
  if (previous instanceof Uint8Array) return next instanceof Uint8Array && compareBytes(previous, next) < 0
  return typeof next !== 'string' && !(next instanceof Uint8Array) && previous < next
}

/** The order of UTF-8 is that of code points, in which surrogate pairs come after U+E000 to U+FFFF. */
function compareTexts(a: string, b: string): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const [unitOfA, unitOfB] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (unitOfA !== unitOfB) return codePointRank(unitOfA) - codePointRank(unitOfB)
  }
  return a.length - b.length
}

function codePointRank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit
}
