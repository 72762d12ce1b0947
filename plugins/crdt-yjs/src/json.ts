/**
 * A document as plain values, the same on every replica that has converged. A replica that has not yet named the type of
 * a shared part ("text" or "list"?) has to give the same as one that has, so this reads the items themselves and tells
 * the type from them. `toJSON` is built on it.
 */
import * as Y from 'yjs'

/** Every shared part that holds anything, by name. Parts that are empty are left out: they may not exist elsewhere. */
export function documentToJson(doc: Y.Doc): Record<string, unknown> {
  const parts: Record<string, unknown> = {}
  for (const [name, type] of doc.share) {
    const value = typeToJson(type)
    if (value !== undefined) setField(parts, name, value)
  }
  return parts
}

/** Undefined when nothing is visible in it. */
function typeToJson(type: SharedType): unknown {
  const fields = fieldsOf(type)
  const list = visibleItems(type)
  const name = type instanceof Y.XmlElement ? type.nodeName : undefined
  if (name !== undefined) return { $element: name, attributes: fields, children: listToJson(list) }
  if (list.length === 0) return Object.keys(fields).length === 0 ? undefined : fields
  const value = list.some(({ content }) => isText(content)) ? textToJson(list) : listToJson(list)
  // A shared part used as a map and as a list at once.
  return Object.keys(fields).length === 0 ? value : { $fields: fields, $list: value }
}

type SharedType = Y.AbstractType<Y.YEvent<Y.AbstractType<unknown>>>

/** A nested type says what it is, even when it is empty. */
function emptyOf(type: SharedType): unknown {
  if (type instanceof Y.Text) return ''
  return type instanceof Y.Map ? {} : []
}

function fieldsOf(type: SharedType): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  for (const [key, item] of type._map) {
    if (!item.deleted) setField(fields, key, contentToJson(item.content).at(-1))
  }
  return fields
}

function visibleItems(type: SharedType): Y.Item[] {
  const items: Y.Item[] = []
  for (let item = type._start; item !== null; item = item.right) if (!item.deleted) items.push(item)
  return items
}

function isText(content: Y.Item['content']): boolean {
  return content instanceof Y.ContentString || content instanceof Y.ContentFormat || content instanceof Y.ContentEmbed
}

function listToJson(items: readonly Y.Item[]): unknown[] {
  return items.flatMap(({ content }) => contentToJson(content))
}

interface Run {
  insert: unknown
  readonly attributes: Readonly<Record<string, unknown>>
}

/** A string, or runs with their formatting when there is any, or something between the characters. */
function textToJson(items: readonly Y.Item[]): unknown {
  const runs: Run[] = []
  let attributes: Record<string, unknown> = {}
  for (const { content } of items) {
    if (content instanceof Y.ContentFormat) {
      attributes = { ...attributes }
      if (content.value === null) delete attributes[content.key]
      else setField(attributes, content.key, valueToJson(content.value))
      continue
    }
    const last = runs.at(-1)
    const isSame = last !== undefined && typeof last.insert === 'string' && sameFields(last.attributes, attributes)
    if (content instanceof Y.ContentString && isSame) last.insert += content.str
    else if (content instanceof Y.ContentString) runs.push({ insert: content.str, attributes })
    else for (const insert of contentToJson(content)) runs.push({ insert, attributes })
  }
  if (runs.length === 0) return undefined
  const [only] = runs
  const isPlain = runs.length === 1 && only !== undefined && Object.keys(only.attributes).length === 0
  return isPlain && typeof only.insert === 'string' ? only.insert : runs
}

function contentToJson(content: Y.Item['content']): unknown[] {
  if (content instanceof Y.ContentType) {
    const type = content.type as SharedType
    return [typeToJson(type) ?? emptyOf(type)]
  }
  if (content instanceof Y.ContentDoc) return [{ $document: content.doc.guid }]
  return content.getContent().map(valueToJson)
}

/** What JSON has no word for gets one, so that the result survives JSON.stringify. */
function valueToJson(value: unknown): unknown {
  if (value === undefined) return null
  if (typeof value === 'bigint') return { $integer: value.toString() }
  if (value instanceof Uint8Array) return { $bytes: Array.from(value) }
  if (Array.isArray(value)) return value.map(valueToJson)
  if (typeof value !== 'object' || value === null) return value
  const fields: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(value)) setField(fields, key, valueToJson(field))
  return fields
}

/** Also for "__proto__", which a document of others may contain. */
function setField(target: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true })
}

function sameFields(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every((key) => key in b && JSON.stringify(a[key]) === JSON.stringify(b[key]))
}
