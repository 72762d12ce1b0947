/**
 * Small valid messages of any type, written from the model with the plain writer of `spelled.ts`: what a vector changes
 * in one place.
 */
import {
  enumNamed,
  type Field,
  isNumber,
  isRequired,
  isRequiredOneof,
  isSorted,
  type Message,
  type Model,
  messageNamed,
  sortKeyOf
} from '../model/index.js'
import { delimited, fill, fixed, hex, join, repeat, type Spelled, tag, varint, wireTypes, zigzag } from './spelled.js'

/** The fields of a message that are written, tags included, by their numbers. */
export type Parts = ReadonlyMap<number, Spelled>

/** The fields in ascending order of numbers. */
export function spell(parts: Parts): Spelled {
  return join(...[...parts].sort(([a], [b]) => a - b).map(([, part]) => part))
}

/** The message with nothing but what it must have, in its least form. */
export function least(model: Model, message: Message): Parts {
  const parts = new Map<number, Spelled>()
  for (const field of message.fields) {
    if (field.repeated ? (field.limits.itemsMin ?? 0) > 0 : isRequired(field))
      parts.set(field.number, leastField(model, field))
  }
  for (const oneof of message.oneofs) {
    const member = message.fields.find((field) => field.oneof === oneof.name)
    if (member !== undefined && isRequiredOneof(message, oneof)) parts.set(member.number, leastField(model, member))
  }
  return parts
}

/** The parts with a field in another form; other members of its oneof go. */
export function withField(message: Message, parts: Parts, field: Field, part: Spelled): Parts {
  const changed = new Map(parts)
  if (field.oneof !== undefined) {
    for (const member of message.fields) if (member.oneof === field.oneof) changed.delete(member.number)
  }
  if (part.length === 0) changed.delete(field.number)
  else changed.set(field.number, part)
  return changed
}

/** A field that is there, in its least form. */
export function leastField(model: Model, field: Field): Spelled {
  if (field.repeated) return items(model, field, Math.max(1, field.limits.itemsMin ?? 0))
  return written(field, value(model, field))
}

/** A repeated field with `count` valid items, in ascending order where that is asked for. */
export function items(model: Model, field: Field, count: number): Spelled {
  if (count === 0) return hex([])
  if (!isSorted(field)) return itemsOf(field, repeat(itemOf(field, value(model, field)), count))
  return itemsOf(field, join(...Array.from({ length: count }, (_, at) => itemOf(field, sortedValue(model, field, at)))))
}

/** Items as they stand in the message: `content` has the tags of those that are not packed. */
export function itemsOf(field: Field, content: Spelled): Spelled {
  return isNumber(field) ? delimited(field.number, content) : content
}

/** One item with this value. */
export function itemOf(field: Field, content: Spelled): Spelled {
  return isNumber(field) ? content : delimited(field.number, content)
}

/** A single field with this value. */
export function written(field: Field, content: Spelled, longer = false): Spelled {
  if (!isNumber(field)) return delimited(field.number, content, longer)
  return join(tag(field.number, wireTypeOf(field)), content)
}

/** The `at`-th of the values that a sorted field can have, from 0. */
export function sortedValue(model: Model, field: Field, at: number): Spelled {
  const key = sortKeyOf(model, field)
  if (key === undefined) return ordered(field, at)
  const inner = innerMessage(model, field)
  return spell(withField(inner, least(model, inner), key, written(key, ordered(key, at))))
}

/** A number in the encoding of its kind. */
export function number(field: Field, value: number | bigint, longer = false): Spelled {
  if (field.kind === 'fixed32') return fixed(value, 4)
  if (field.kind === 'fixed64') return fixed(value, 8)
  return varint(field.kind === 'sint32' || field.kind === 'sint64' ? zigzag(value) : value, longer)
}

/** Content of bytes or of a string. */
export function letters(field: Field, length: number): Spelled {
  return fill(field.kind === 'string' ? 0x61 : 0x00, length)
}

export function innerMessage(model: Model, field: Field): Message {
  const inner = messageNamed(model, field.typeName)
  if (inner === undefined) throw new Error(`codegen: type ${field.typeName} is not in the package ${model.packageName}`)
  return inner
}

/** Values of the enum of a field, ascending. */
export function definedValues(model: Model, field: Field): readonly number[] {
  return (enumNamed(model, field.typeName)?.values ?? []).map(({ number }) => number).sort((a, b) => a - b)
}

/** The least valid value. */
function value(model: Model, field: Field): Spelled {
  switch (field.kind) {
    case 'bytes':
    case 'string':
      return letters(field, field.limits.bytesMin ?? 0)
    case 'message':
      return spell(least(model, innerMessage(model, field)))
    case 'enum':
      return number(field, definedValues(model, field).find((defined) => defined > 0) ?? 0)
    default:
      return number(field, field.limits.valueMin ?? 0n)
  }
}

/** The `at`-th value of a kind that has an order; strings and bytes are two long, or as long as they must be. */
function ordered(field: Field, at: number): Spelled {
  const { bytesMin = 0, bytesMax = 2, valueMin = 0n } = field.limits
  if (field.kind !== 'bytes' && field.kind !== 'string') return number(field, valueMin + BigInt(at))
  const length = Math.max(bytesMin, Math.min(2, bytesMax))
  const base = field.kind === 'string' ? { first: 0x61, count: 26 } : { first: 0x00, count: 256 }
  const digits: number[] = []
  for (let rest = at; digits.length < Math.min(length, 2); rest = Math.floor(rest / base.count)) {
    digits.unshift(base.first + (rest % base.count))
  }
  return join(letters(field, length - digits.length), hex(digits))
}

function wireTypeOf(field: Field): number {
  if (field.kind === 'fixed32') return wireTypes.fixed32
  return field.kind === 'fixed64' ? wireTypes.fixed64 : wireTypes.varint
}
