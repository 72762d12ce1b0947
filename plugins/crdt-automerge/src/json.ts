/**
 * A document as plain values, the same on every replica that has converged. What JSON has no word for gets one, and text
 * with marks or blocks is shown in spans. `toJSON` is built on it.
 */
import { Counter, type Doc, ImmutableString, marks, type Prop, spans } from '@automerge/automerge'
import type { Root } from './handle.js'

export function documentToJson(doc: Doc<Root>): unknown {
  return valueToJson(doc, doc, [])
}

function valueToJson(doc: Doc<Root>, value: unknown, path: Prop[]): unknown {
  if (value === undefined) return null
  if (typeof value === 'string') return textToJson(doc, value, path)
  if (typeof value === 'number') return Number.isFinite(value) ? value : { $number: String(value) }
  if (typeof value === 'bigint') return { $integer: value.toString() }
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof ImmutableString) return { $string: value.toString() }
  if (value instanceof Counter) return { $counter: value.value }
  if (value instanceof Date) return { $date: value.getTime() }
  if (value instanceof Uint8Array) return { $bytes: Array.from(value) }
  if (Array.isArray(value)) return value.map((item, i) => valueToJson(doc, item, [...path, i]))
  const fields = Object.entries(value).map(([key, field]) => [key, valueToJson(doc, field, [...path, key])] as const)
  return Object.fromEntries(fields)
}

/** A string, or spans when there is formatting. A block stands in the string as one character that nobody types. */
function textToJson(doc: Doc<Root>, text: string, path: Prop[]): unknown {
  const isPlain = marks(doc, path).length === 0 && !text.includes('\ufffc')
  return isPlain ? text : { $spans: spansToJson(doc, path) }
}

function spansToJson(doc: Doc<Root>, path: Prop[]): unknown[] {
  return spans(doc, path).map((span) => {
    const fields = Object.entries(span).map(([key, value]) => [key, valueToJson(doc, value, [])] as const)
    return Object.fromEntries(fields)
  })
}
