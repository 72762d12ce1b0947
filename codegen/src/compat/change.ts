/** What a rule of compatibility reports, and the order of gravity. */

export type Severity = 'breaking' | 'new_version' | 'compatible'

export interface Change {
  /** Stable name of the kind of change. */
  readonly rule: string
  readonly severity: Severity
  /** What changed: "Ballot.round". */
  readonly place: string
  /** What it was, what it is, and what that means. */
  readonly message: string
}

/** The gravest first. */
export const severities: readonly Severity[] = ['breaking', 'new_version', 'compatible']

export function change(rule: string, severity: Severity, place: string, message: string): Change {
  return { rule, severity, place, message }
}

/** What both have, what only the one and what only the other has, by a key. */
export function match<T>(
  before: readonly T[],
  after: readonly T[],
  keyOf: (item: T) => string | number | undefined
): {
  readonly both: readonly { readonly before: T; readonly after: T }[]
  readonly removed: readonly T[]
  readonly added: readonly T[]
} {
  const byKey = (items: readonly T[]) =>
    new Map(
      items.flatMap((item) => {
        const key = keyOf(item)
        return key === undefined ? [] : [[key, item] as const]
      })
    )
  const [old, now] = [byKey(before), byKey(after)]
  return {
    both: [...old].flatMap(([key, item]) => {
      const other = now.get(key)
      return other === undefined ? [] : [{ before: item, after: other }]
    }),
    removed: [...old].flatMap(([key, item]) => (now.has(key) ? [] : [item])),
    added: [...now].flatMap(([key, item]) => (old.has(key) ? [] : [item]))
  }
}
