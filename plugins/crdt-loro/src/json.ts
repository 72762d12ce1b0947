/**
 * A document as plain values, the same on every replica that has converged. A replica whose app has asked for a container
 * has to give the same as one where nobody did, so empty ones at the root are left out. `toJSON` is built on it.
 */
import { HeddleError } from '@heddle/core'
import {
  type Container,
  isContainer,
  LoroCounter,
  type LoroDoc,
  LoroList,
  LoroMap,
  LoroMovableList,
  LoroText,
  LoroTree
} from 'loro-crdt'

export function documentToJson(doc: LoroDoc): Record<string, unknown> {
  const parts = Object.entries(doc.getShallowValue()).map(([name, id]) => {
    const container = doc.getContainerById(id)
    return [name, container === undefined ? undefined : containerToJson(container)] as const
  })
  return Object.fromEntries(parts.filter(([, value]) => !isEmpty(value)))
}

function containerToJson(container: Container): unknown {
  if (container instanceof LoroText) return textToJson(container)
  if (container instanceof LoroMap) return fieldsToJson(container.entries())
  if (container instanceof LoroList || container instanceof LoroMovableList) return container.toArray().map(valueToJson)
  if (container instanceof LoroTree) return valueToJson(container.toJSON())
  if (container instanceof LoroCounter) return container.value
  throw new HeddleError('INTERNAL', 'the Loro document has a container of a kind that this version does not show')
}

/** A string, or runs when there is any formatting. */
function textToJson(text: LoroText): unknown {
  const runs = text.toDelta()
  const isPlain = runs.every((run) => Object.keys(run.attributes ?? {}).length === 0)
  return isPlain ? text.toString() : valueToJson(runs)
}

/** What JSON has no word for gets one, so that the result survives JSON.stringify. */
function valueToJson(value: unknown): unknown {
  if (isContainer(value)) return containerToJson(value)
  if (value === undefined) return null
  if (typeof value === 'number' && !Number.isFinite(value)) return { $number: String(value) }
  if (typeof value === 'bigint') return { $integer: value.toString() }
  if (value instanceof Uint8Array) return { $bytes: Array.from(value) }
  if (Array.isArray(value)) return value.map(valueToJson)
  if (typeof value !== 'object' || value === null) return value
  return fieldsToJson(Object.entries(value))
}

function fieldsToJson(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  return Object.fromEntries(entries.map(([key, value]) => [key, valueToJson(value)] as const))
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === '' || value === 0) return true
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}
