/**
 * Emits the function that tells a sink of one message, field by field in number order. The same function serves the
 * sizing pass, which checks, and the writing pass.
 */
import {
  type Field,
  hasPresence,
  isNumber,
  isRequired,
  isRequiredOneof,
  isSorted,
  type Message,
  type Model,
  type Oneof,
  sortKeyOf
} from '../model/index.js'
import { definedValuesName, hasValueBounds, isZero, lengthBounds, placeOf, tagOf, valueBounds } from './field-code.js'
import { quote } from './text.js'

export function emitPutFunction(model: Model, message: Message): string {
  const fields = [...message.fields].sort((a, b) => a.number - b.number)
  const body: string[] = []
  const done = new Set<string>()
  for (const field of fields) {
    const oneof = message.oneofs.find((candidate) => candidate.name === field.oneof)
    if (oneof === undefined) body.push(...putField(model, message, field))
    else if (!done.has(oneof.name)) {
      done.add(oneof.name)
      body.push(...putOneof(message, oneof))
    }
  }
  const argument = body.length === 0 ? '_message' : 'message'
  if (message.maxSize !== undefined) body.push(`sink.size(${message.maxSize}, ${quote(message.name)})`)
  const sink = body.length === 0 ? '_sink' : 'sink'
  return [
    `export function put${message.name}(${sink}: Sink, ${argument}: types.${message.name}): void {`,
    ...body,
    '}'
  ].join('\n')
}

function putField(model: Model, message: Message, field: Field): readonly string[] {
  const place = placeOf(message, field)
  const value = `message.${field.localName}`
  if (field.repeated) return putRepeated(model, field, value, place)
  if (isRequired(field)) {
    const present = hasPresence(field) ? [`sink.present(${value}, ${place})`] : []
    return [...present, ...putTagged(field, value, place)]
  }
  const condition = hasPresence(field) ? `${value} !== undefined` : whenNotZero(field, value)
  return [`if (${condition}) {`, ...putTagged(field, value, place), '}']
}

function whenNotZero(field: Field, value: string): string {
  if (field.kind === 'bool') return value
  return isZero(field, value).replace('===', '!==')
}

function putRepeated(model: Model, field: Field, value: string, place: string): readonly string[] {
  const { itemsMin, itemsMax } = field.limits
  const items = [`sink.items(${value}.length, ${itemsMin ?? 0}, ${itemsMax ?? 0xffffffff}, ${place})`]
  if (isSorted(field)) {
    const key = sortKeyOf(model, field)
    items.push(`sink.sorted(${value}, (item) => item${key === undefined ? '' : `.${key.localName}`}, ${place})`)
  }
  if (!isNumber(field)) return [...items, `for (const item of ${value}) {`, ...putTagged(field, 'item', place), '}']
  return [
    ...items,
    `if (${value}.length !== 0) {`,
    `sink.tag(${tagOf(field)})`,
    'sink.begin()',
    `for (const item of ${value}) ${putValue(field, 'item', place)}`,
    'sink.end()',
    '}'
  ]
}

function putOneof(message: Message, oneof: Oneof): readonly string[] {
  const value = `message.${oneof.localName}`
  const members = message.fields.filter((field) => field.oneof === oneof.name)
  return [
    ...(isRequiredOneof(message, oneof) ? [`sink.present(${value}, ${placeOf(message, oneof)})`] : []),
    `switch (${value}?.$case) {`,
    ...members.flatMap((field) => [
      `case ${quote(field.localName)}:`,
      ...putTagged(field, `${value}.value`, placeOf(message, field)),
      'break'
    ]),
    '}'
  ]
}

function putTagged(field: Field, value: string, place: string): readonly string[] {
  const tag = `sink.tag(${tagOf(field)})`
  if (field.kind !== 'message') return [tag, putValue(field, value, place)]
  return [tag, 'sink.begin()', `put${field.typeName}(sink, ${value})`, 'sink.end()']
}

function putValue(field: Field, value: string, place: string): string {
  switch (field.kind) {
    case 'bytes':
    case 'string':
      return `sink.${field.kind}(${value}, ${lengthBounds(field)}, ${place})`
    case 'bool':
      return `sink.bool(${value})`
    case 'enum':
      return `sink.enum(${value}, ${field.limits.required}, ${field.limits.definedOnly ? definedValuesName(field) : 'undefined'}, ${place})`
    default:
      return `sink.${field.kind}(${value}, ${hasValueBounds(field) ? `${valueBounds(field)}, ` : ''}${place})`
  }
}
