/**
 * What the read and put functions of a message share about a field: its tag, its zero, its bounds as literals, its place
 * in error messages.
 */
import { type Field, isBigint, isNumber, type Kind, type Message } from '../model/index.js'
import { quote, upperFirst } from './text.js'

const wireTypes: Readonly<Record<Kind, number>> = {
  uint32: 0,
  uint64: 0,
  sint32: 0,
  sint64: 0,
  bool: 0,
  enum: 0,
  fixed64: 1,
  double: 1,
  bytes: 2,
  string: 2,
  message: 2,
  fixed32: 5,
  unsupported: 3
}

/** The tag a field is written with; repeated numbers are packed. */
export function tagOf(field: Field): number {
  const wireType = field.repeated && isNumber(field) ? 2 : wireTypes[field.kind]
  return field.number * 8 + wireType
}

/** "Ballot.round" as a literal, for errors. */
export function placeOf(message: Message, field: { readonly name: string }): string {
  return quote(`${message.name}.${field.name}`)
}

/** The value that stands for absence, of fields without presence. */
export function zeroOf(field: Field): string {
  if (field.kind === 'bytes') return 'emptyBytes'
  if (field.kind === 'string') return "''"
  if (field.kind === 'bool') return 'false'
  return isBigint(field) ? '0n' : '0'
}

/** An expression for whether the value is the zero of its kind. */
export function isZero(field: Field, value: string): string {
  if (field.kind === 'bytes') return `${value}.length === 0`
  if (field.kind === 'bool') return `!${value}`
  return `${value} === ${zeroOf(field)}`
}

/** Least and greatest length as arguments. */
export function lengthBounds(field: Field): string {
  return `${field.limits.bytesMin ?? 0}, ${field.limits.bytesMax ?? 0xffffffff}`
}

/** Least and greatest value as arguments, those of the type where the schema says nothing. */
export function valueBounds(field: Field): string {
  const suffix = isBigint(field) ? 'n' : ''
  const typeMax = isBigint(field) ? 0xffffffffffffffffn : 0xffffffffn
  return `${field.limits.valueMin ?? 0n}${suffix}, ${field.limits.valueMax ?? typeMax}${suffix}`
}

/** Whether the kind can have bounds on its value. */
export function hasValueBounds(field: Field): boolean {
  return ['uint32', 'uint64', 'fixed32', 'fixed64'].includes(field.kind)
}

/** Name of the constant with the defined values of a closed enum. */
export function definedValuesName(field: Field): string {
  return `defined${upperFirst(field.typeName)}`
}
