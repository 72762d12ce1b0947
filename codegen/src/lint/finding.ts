/** What a rule reports: the rule, the place, what is wrong and how to cure it. */
import type { Location } from '../model/index.js'

export interface Finding {
  /** Stable name of the rule. */
  readonly rule: string
  /** Path below proto/. */
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly message: string
}

/** Something with a place in the schema. */
interface Declared {
  readonly at: Location
}

export function finding(rule: string, declared: Declared, message: string): Finding {
  return { rule, file: declared.at.file, line: declared.at.line, message }
}

/** One finding for every item whose key was taken by an item before it. */
export function duplicates<T extends Declared>(
  rule: string,
  items: readonly T[],
  keyOf: (item: T) => string | number | undefined,
  describe: (item: T, first: T) => string
): readonly Finding[] {
  const firsts = new Map<string | number, T>()
  return items.flatMap((item) => {
    const key = keyOf(item)
    if (key === undefined) return []
    const first = firsts.get(key)
    if (first !== undefined) return [finding(rule, item, describe(item, first))]
    firsts.set(key, item)
    return []
  })
}
