/**
 * What is just inside and just over each limit of a field, as changes of one message. Where the message stands, and
 * whether what surrounds it has room for it, is the matter of `place.ts`.
 */
import { type Field, isRequired, isRequiredOneof, isSorted, type Message, type Model } from '../model/index.js'
import {
  definedValues,
  itemOf,
  items,
  itemsOf,
  least,
  leastField,
  letters,
  number,
  type Parts,
  sortedValue,
  spell,
  withField,
  written
} from './example.js'
import { join, nothing, type Spelled } from './spelled.js'

/** One message, and what a receiver makes of it. */
export interface Case {
  /** What it shows, behind the name of the message: "group: 16 bytes". */
  readonly name: string
  readonly content: Spelled
  /** Undefined when it is valid; otherwise the WireError's code and place. */
  readonly error: { readonly code: string; readonly where: string } | undefined
  readonly reason: string
  /** Of SPEC.md. */
  readonly clause: string
  /** Whether a writer makes these very bytes of it. */
  readonly canonical: boolean
}

/** The cases of all fields and oneofs of a message. */
export function fieldCases(model: Model, message: Message): readonly Case[] {
  const parts = least(model, message)
  const start: Case = {
    name: 'least',
    content: spell(parts),
    error: undefined,
    reason: 'only what must be there',
    clause: 'WIRE-001',
    canonical: true
  }
  return [
    start,
    ...message.fields.flatMap((field) => {
      const make = caseMaker(model, message, field, parts)
      return [
        ...lengthCases(field, make),
        ...valueCases(field, make),
        ...enumCases(model, field, make),
        ...itemCases(model, field, make),
        ...sortCases(model, field, make),
        ...presenceCases(field, make)
      ]
    }),
    ...oneofCases(message, parts)
  ]
}

/** A case in which one field has the given form; nothing is a field that is not there. */
type Make = (name: string, form: Form, error: string | undefined, reason: string, clause?: string) => Case
/** The value of the field, or all of it as it is written. */
type Form = { readonly value: Spelled } | { readonly whole: Spelled }

function caseMaker(model: Model, message: Message, field: Field, parts: Parts): Make {
  return (name, form, error, reason, clause = 'WIRE-002') => {
    const rest = field.repeated ? (field.limits.itemsMin ?? 1) - 1 : 0
    const whole =
      'whole' in form
        ? form.whole
        : field.repeated
          ? listOf(model, field, form.value, rest)
          : written(field, form.value)
    return {
      name: `${field.name}: ${name}`,
      content: spell(withField(message, parts, field, whole)),
      error: error === undefined ? undefined : { code: error, where: `${message.name}.${field.name}` },
      reason,
      clause: error === undefined ? 'WIRE-001' : clause,
      canonical: true
    }
  }
}

/** The item in question, after as many others as the list must have besides. */
function listOf(model: Model, field: Field, item: Spelled, others: number): Spelled {
  const before = isSorted(field) || others <= 0 ? [] : Array.from({ length: others }, () => leastItem(model, field))
  return itemsOf(field, join(...before, itemOf(field, item)))
}

function leastItem(model: Model, field: Field): Spelled {
  return leastField(model, { ...field, limits: { ...field.limits, itemsMin: 1 } })
}

function lengthCases(field: Field, make: Make): readonly Case[] {
  const { bytesMin = 0, bytesMax } = field.limits
  if ((field.kind !== 'bytes' && field.kind !== 'string') || bytesMax === undefined) return []
  const of = (length: number): Form => ({ value: letters(field, length) })
  const cases = [
    make(`${bytesMax} bytes`, of(bytesMax), undefined, `at most ${bytesMax} bytes are allowed`),
    make(`${bytesMax + 1} bytes`, of(bytesMax + 1), 'too_long', `at most ${bytesMax} bytes are allowed`)
  ]
  if (bytesMin === 0) return cases
  const reason = `at least ${bytesMin} ${bytesMin === 1 ? 'byte is' : 'bytes are'} needed`
  if (bytesMin < bytesMax) cases.unshift(make(`${bytesMin} bytes`, of(bytesMin), undefined, reason))
  return [...cases, make(`${bytesMin - 1} bytes`, of(bytesMin - 1), 'too_short', reason)]
}

function valueCases(field: Field, make: Make): readonly Case[] {
  const { valueMin = 0n, valueMax } = field.limits
  const of = (value: bigint): Form => ({ value: number(field, value) })
  const cases: Case[] = []
  if (valueMax !== undefined) {
    const reason = `the greatest value is ${valueMax}`
    cases.push(make(`${valueMax}`, of(valueMax), undefined, reason))
    cases.push(make(`${valueMax + 1n}`, of(valueMax + 1n), 'range', reason))
  }
  if (valueMin > 0n) {
    const reason = `the least value is ${valueMin}`
    if (valueMin !== valueMax) cases.push(make(`${valueMin}`, of(valueMin), undefined, reason))
    cases.push(make(`${valueMin - 1n}`, of(valueMin - 1n), 'range', reason))
  }
  return cases
}

function enumCases(model: Model, field: Field, make: Make): readonly Case[] {
  if (field.kind !== 'enum') return []
  const of = (value: number): Form => ({ value: number(field, value) })
  const greatest = definedValues(model, field).at(-1) ?? 0
  const beyond = greatest + 1
  const cases = field.limits.definedOnly
    ? [
        make(`${greatest}`, of(greatest), undefined, 'the greatest value that is defined'),
        make(`${beyond}`, of(beyond), 'enum', 'no such value is defined')
      ]
    : [
        make(`${beyond}`, of(beyond), undefined, 'values that are not defined yet are taken'),
        make(`${2 ** 31}`, of(2 ** 31), 'range', 'values of an enum have 31 bits')
      ]
  if (!field.limits.required) return cases
  return [...cases, make('0', of(0), 'required', 'zero stands for a value that is not set')]
}

function itemCases(model: Model, field: Field, make: Make): readonly Case[] {
  const { itemsMin = 0, itemsMax } = field.limits
  if (!field.repeated || itemsMax === undefined) return []
  const of = (count: number): Form => ({ whole: items(model, field, count) })
  const cases = [
    make(`${itemsMax} items`, of(itemsMax), undefined, `at most ${itemsMax} items are allowed`),
    make(`${itemsMax + 1} items`, of(itemsMax + 1), 'too_many', `at most ${itemsMax} items are allowed`)
  ]
  if (itemsMin === 0) return cases
  const reason = `at least ${itemsMin} ${itemsMin === 1 ? 'item is' : 'items are'} needed`
  if (itemsMin < itemsMax) cases.unshift(make(`${itemsMin} items`, of(itemsMin), undefined, reason))
  return [...cases, make(`${itemsMin - 1} items`, of(itemsMin - 1), 'too_few', reason)]
}

function sortCases(model: Model, field: Field, make: Make): readonly Case[] {
  if (!isSorted(field) || (field.limits.itemsMax ?? 2) < 2) return []
  const of = (...order: readonly number[]): Form => ({
    whole: itemsOf(field, join(...order.map((at) => itemOf(field, sortedValue(model, field, at)))))
  })
  const reason = `items ascend${field.limits.sortedBy === undefined ? '' : ` by ${field.limits.sortedBy}`}, each once`
  return [
    make('ascending', of(0, 1), undefined, reason),
    make('one twice', of(0, 0), 'unsorted', reason, 'WIRE-009'),
    make('descending', of(1, 0), 'unsorted', reason, 'WIRE-009')
  ]
}

function presenceCases(field: Field, make: Make): readonly Case[] {
  return isRequired(field) ? [make('absent', { whole: nothing }, 'required', 'it must be there')] : []
}

function oneofCases(message: Message, parts: Parts): readonly Case[] {
  return message.oneofs
    .filter((oneof) => isRequiredOneof(message, oneof))
    .map((oneof) => {
      const others = new Map(parts)
      for (const field of message.fields) if (field.oneof === oneof.name) others.delete(field.number)
      return {
        name: `${oneof.name}: absent`,
        content: spell(others),
        error: { code: 'required', where: `${message.name}.${oneof.name}` },
        reason: 'one of its members must be there',
        clause: 'WIRE-002',
        canonical: true
      }
    })
}
