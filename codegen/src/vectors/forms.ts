/**
 * What is just inside and just over the limits of a message as a whole: its size, and the forms of one content that a
 * canonical message does not have and another one may have.
 */
import { type Field, hasPresence, isNumber, isRequired, isSorted, type Message, type Model } from '../model/index.js'
import type { Case } from './cases.js'
import {
  definedValues,
  innerMessage,
  items,
  itemOf,
  least,
  leastField,
  letters,
  number,
  type Parts,
  spell,
  withField,
  written
} from './example.js'
import { delimited, join, nothing, repeat, type Spelled, tag, varint, wireTypes } from './spelled.js'

/** More than an item of a list needs to be in its largest form. */
const itemBytesMax = 0x1_0000

/** Unknown fields that one message may have (SPEC WIRE-004). */
const unknownFieldsMax = 32

/** The largest message and one that is a byte too large. */
export function sizeCases(model: Model, message: Message): readonly Case[] {
  const { maxSize } = message
  if (maxSize === undefined) return []
  const reason = `at most ${maxSize} bytes are allowed`
  const start = spell(least(model, message))
  /** Of `target` bytes, or the nearest below that can be made. */
  const grown = (target: number): { readonly content: Spelled; readonly canonical: boolean } => {
    const content = spell(grow(model, message, least(model, message), target))
    const isNearest = message.canonical && target === maxSize
    const pad = content.length === target || isNearest ? undefined : padding(message, target - start.length)
    return pad === undefined ? { content, canonical: true } : { content: join(start, pad), canonical: false }
  }
  const inside = grown(maxSize)
  // Of a message that is nearly full in its least form, not every size can be made.
  let over = grown(maxSize + 1)
  for (let more = 2; over.content.length <= maxSize; more++) over = grown(maxSize + more)
  return [
    { name: `${inside.content.length} bytes`, ...inside, error: undefined, reason, clause: 'WIRE-001' },
    {
      name: `${over.content.length} bytes`,
      ...over,
      error: { code: 'too_large', where: message.name },
      reason,
      clause: 'WIRE-002'
    }
  ]
}

/** Forms that only a canonical message refuses, and how many unknown fields another one takes. */
export function formCases(model: Model, message: Message): readonly Case[] {
  const full = fullParts(model, message)
  const free = unknownNumber(message)
  const strict = message.canonical
  const form = (name: string, content: Spelled, code: string, where: string, reason: string): Case => ({
    name,
    content,
    error: strict ? { code, where } : undefined,
    reason: strict ? `in a canonical message ${reason}` : `in a canonical message only ${reason}`,
    clause: strict || code !== 'not_minimal' ? 'WIRE-003' : 'WIRE-004',
    canonical: false
  })
  const cases: Case[] = []
  const [first, second, ...rest] = [...full].sort(([a], [b]) => a - b)
  if (first !== undefined && second !== undefined) {
    const swapped = join(second[1], first[1], ...rest.map(([, part]) => part))
    cases.push(form('fields out of order', swapped, 'order', message.name, 'fields ascend'))
  }
  const long = longForm(model, message)
  if (long !== undefined) {
    const { field, part } = long
    const content = spell(withField(message, full, field, part))
    const where = `${message.name}.${field.name}`
    cases.push(form(`${field.name}: a longer varint`, content, 'not_minimal', where, 'varints have their least length'))
  }
  const absent = message.fields.find((field) => canBeDefault(field))
  if (absent !== undefined) {
    const whole = absent.repeated ? delimited(absent.number, nothing) : written(absent, zero(absent))
    const content = spell(withField(message, least(model, message), absent, whole))
    const where = `${message.name}.${absent.name}`
    cases.push(
      form(`${absent.name}: a default that is written`, content, 'default_value', where, 'defaults are left out')
    )
  }
  const unknown = (count: number) => repeat(join(tag(free, wireTypes.varint), varint(1)), count)
  const where = `${message.name}.#${free}`
  const start = spell(least(model, message))
  if (strict) {
    cases.push(form('an unknown field', join(start, unknown(1)), 'unknown_field', where, 'no field is unknown'))
    return cases
  }
  const reason = `at most ${unknownFieldsMax} unknown fields are skipped`
  const many = { reason, clause: 'WIRE-004', canonical: false }
  return [
    ...cases,
    {
      name: `${unknownFieldsMax} unknown fields`,
      content: join(start, unknown(unknownFieldsMax)),
      error: undefined,
      ...many
    },
    {
      name: `${unknownFieldsMax + 1} unknown fields`,
      content: join(start, unknown(unknownFieldsMax + 1)),
      error: { code: 'unknown_field', where },
      ...many
    }
  ]
}

/** The parts with more in them, up to `target` bytes or as near as the fields allow. */
function grow(model: Model, message: Message, parts: Parts, target: number): Parts {
  let grown = parts
  for (const field of message.fields) {
    if (field.oneof !== undefined) continue
    const room = target - spell(grown).length + (grown.get(field.number)?.length ?? 0)
    const largest = (count: number, of: (size: number) => Spelled): Spelled | undefined => {
      let [low, high] = [-1, count]
      while (low < high) {
        const middle = Math.ceil((low + high) / 2)
        if (of(middle).length <= room) low = middle
        else high = middle - 1
      }
      return low < 0 ? undefined : of(low)
    }
    const part = largestForm(model, field, largest)
    if (part !== undefined) grown = withField(message, grown, field, part)
  }
  return grown
}

type Largest = (count: number, of: (size: number) => Spelled) => Spelled | undefined

function largestForm(model: Model, field: Field, largest: Largest): Spelled | undefined {
  const { bytesMin = 0, bytesMax = 0, itemsMax = 0 } = field.limits
  const isText = field.kind === 'bytes' || field.kind === 'string'
  if (field.repeated) {
    if (isText && !field.limits.sortedUnique) {
      const of = (length: number, count: number) => repeat(itemOf(field, letters(field, length)), count)
      const whole = largest(itemsMax, (count) => of(bytesMax, count))
      const count = whole === undefined ? 0 : Math.round(whole.length / itemOf(field, letters(field, bytesMax)).length)
      if (count >= itemsMax) return whole
      return largest(bytesMax - bytesMin, (more) => join(of(bytesMax, count), of(bytesMin + more, 1))) ?? whole
    }
    const whole = largest(itemsMax, (count) => items(model, field, count))
    const isFull = whole !== undefined && whole.length === items(model, field, itemsMax).length
    if (!isFull || field.kind !== 'message' || isSorted(field)) return whole
    const inner = innerMessage(model, field)
    const item = (size: number) => itemOf(field, spell(grow(model, inner, least(model, inner), size)))
    return largest(itemBytesMax, (size) => repeat(item(size), itemsMax)) ?? whole
  }
  if (isText) return largest(bytesMax - bytesMin, (more) => written(field, letters(field, bytesMin + more)))
  if (field.kind !== 'uint32' && field.kind !== 'uint64') return undefined
  const { valueMin = 0n, valueMax = field.kind === 'uint32' ? 0xffff_ffffn : 0xffff_ffff_ffff_ffffn } = field.limits
  return largest(64, (bits) => {
    const all = (1n << BigInt(bits)) - 1n
    const value = all < valueMin ? valueMin : all > valueMax ? valueMax : all
    return value === 0n ? nothing : written(field, number(field, value))
  })
}

/** One unknown field of exactly so many bytes; undefined for fewer than three, or where a length needs a byte more. */
function padding(message: Message, size: number): Spelled | undefined {
  for (const number of [unknownNumber(message), 3000, 300_000]) {
    for (const lengthBytes of [1, 2, 3, 4]) {
      const content = size - tag(number, wireTypes.delimited).length - lengthBytes
      if (content >= 0 && varint(content).length === lengthBytes) {
        return delimited(number, repeat(varint(0), content))
      }
    }
  }
  return undefined
}

/** A number above all of the message, whose tag has two bytes. */
function unknownNumber(message: Message): number {
  return Math.max(100, ...message.fields.map((field) => field.number + 1))
}

/** What must be there and every single field that can be there without a oneof. */
function fullParts(model: Model, message: Message): Parts {
  let parts = least(model, message)
  for (const field of message.fields) {
    if (field.oneof !== undefined || field.repeated || parts.has(field.number)) continue
    const isZeroLeast = isNumber(field) && field.kind !== 'enum' && (field.limits.valueMin ?? 0n) === 0n
    const isEmptyLeast = (field.kind === 'bytes' || field.kind === 'string') && (field.limits.bytesMin ?? 0) === 0
    if (isEmptyLeast && field.limits.bytesMax === 0) continue
    const part = isZeroLeast
      ? written(field, number(field, 1))
      : isEmptyLeast
        ? written(field, letters(field, 1))
        : leastField(model, field)
    parts = withField(message, parts, field, part)
  }
  return parts
}

/** The first number, or the first length, in a byte more than it needs. */
function longForm(model: Model, message: Message): { readonly field: Field; readonly part: Spelled } | undefined {
  for (const field of message.fields) {
    if (field.repeated || field.oneof !== undefined || field.kind.startsWith('fixed')) continue
    if (field.kind === 'message') continue
    if (isNumber(field)) {
      const defined = definedValues(model, field).find((value) => value > 0)
      const value = field.kind === 'enum' ? (defined ?? 0) : (field.limits.valueMin ?? 1n) || 1n
      return { field, part: written(field, number(field, value, true)) }
    }
    return { field, part: written(field, letters(field, field.limits.bytesMin || 1), true) }
  }
  return undefined
}

/** Whether it may be left out for being zero or empty. */
function canBeDefault(field: Field): boolean {
  if (field.repeated) return isNumber(field) && (field.limits.itemsMin ?? 0) === 0
  return !hasPresence(field) && !isRequired(field)
}

function zero(field: Field): Spelled {
  return isNumber(field) ? number(field, 0) : nothing
}
