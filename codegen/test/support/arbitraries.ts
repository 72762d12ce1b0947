/** Random valid messages of any type, made from the model: every limit is reached, none is crossed. */
import {
  enumNamed,
  type Field,
  isBigint,
  isRequired,
  isRequiredOneof,
  isSorted,
  type Message,
  type Model,
  messageNamed,
  sortKeyOf
} from '@heddle/codegen'
import fc from 'fast-check'

/** A decoded message of a type that is only known at run time. */
export type AnyMessage = Readonly<Record<string, unknown>>

/** Longer byte arrays and lists are made rarely or not at all: they find nothing that short ones do not. */
const bytesUsual = 80
const itemsUsual = 4

/** Values of a message type; one may still be above the max_size of the message. */
export function arbitraryMessage(model: Model, message: Message): fc.Arbitrary<AnyMessage> {
  const properties: Record<string, fc.Arbitrary<unknown>> = {}
  for (const field of message.fields) {
    if (field.oneof === undefined) properties[field.localName] = arbitraryField(model, field)
  }
  for (const oneof of message.oneofs) {
    const members = message.fields.filter((field) => field.oneof === oneof.name)
    const chosen = fc.oneof(
      ...members.map((field) =>
        fc.record(
          { $case: fc.constant(field.localName), value: arbitraryValue(model, field) },
          { noNullPrototype: true }
        )
      )
    )
    properties[oneof.localName] = isRequiredOneof(message, oneof)
      ? chosen
      : fc.option(chosen, { nil: undefined, freq: 9 })
  }
  return fc.record(properties, { noNullPrototype: true })
}

function arbitraryField(model: Model, field: Field): fc.Arbitrary<unknown> {
  const value = arbitraryValue(model, field)
  if (field.repeated) {
    const least = field.limits.itemsMin ?? 0
    const most = field.limits.itemsMax ?? itemsUsual
    const items = fc.array(value, { minLength: least, maxLength: Math.min(most, Math.max(least, itemsUsual)) })
    if (!isSorted(field)) return items
    const key = sortKeyOf(model, field)
    return items.map((list) => sortedUnique(list, key)).filter((list) => list.length >= least)
  }
  const canBeAbsent = (field.optional || field.kind === 'message') && !isRequired(field)
  return canBeAbsent ? fc.option(value, { nil: undefined }) : value
}

/** Ascending, each key once; `key` is the field that says where an item belongs, when it is not the item itself. */
function sortedUnique(items: readonly unknown[], key: Field | undefined): readonly unknown[] {
  const keyOf = (item: unknown) => (key === undefined ? item : (item as AnyMessage)[key.localName])
  const compare = (a: unknown, b: unknown): number => {
    if (typeof a === 'number' || typeof a === 'bigint') return a < (b as typeof a) ? -1 : a > (b as typeof a) ? 1 : 0
    return Buffer.compare(Buffer.from(a as Uint8Array), Buffer.from(b as Uint8Array))
  }
  return [...items]
    .sort((a, b) => compare(keyOf(a), keyOf(b)))
    .filter((item, at, sorted) => at === 0 || compare(keyOf(sorted[at - 1]), keyOf(item)) !== 0)
}

function arbitraryValue(model: Model, field: Field): fc.Arbitrary<unknown> {
  switch (field.kind) {
    case 'message': {
      const inner = messageNamed(model, field.typeName)
      if (inner === undefined) throw new Error(`no message ${field.typeName}`)
      return arbitraryMessage(model, inner)
    }
    case 'enum':
      return arbitraryEnum(model, field)
    case 'bool':
      return fc.boolean()
    case 'bytes':
      return arbitraryBytes(field)
    case 'string':
      return arbitraryText(field)
    case 'sint32':
      return fc.integer({ min: -0x80000000, max: 0x7fffffff })
    case 'sint64':
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    default:
      return isBigint(field) ? arbitraryBigint(field) : arbitraryNumber(field)
  }
}

function arbitraryEnum(model: Model, field: Field): fc.Arbitrary<number> {
  const defined = (enumNamed(model, field.typeName)?.values ?? []).map((value) => value.number)
  const allowed = field.limits.required ? defined.filter((number) => number !== 0) : defined
  return field.limits.definedOnly
    ? fc.constantFrom(...allowed)
    : fc.oneof(fc.constantFrom(...allowed), fc.integer({ min: 1, max: 0x7fffffff }))
}

function arbitraryBytes(field: Field): fc.Arbitrary<Uint8Array> {
  const least = field.limits.bytesMin ?? 0
  const most = field.limits.bytesMax ?? bytesUsual
  const usual = fc.uint8Array({ minLength: least, maxLength: Math.min(most, Math.max(least, bytesUsual)) })
  if (most > 4096) return usual
  return fc.oneof(
    { weight: 4, arbitrary: usual },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: most, maxLength: most }) }
  )
}

function arbitraryText(field: Field): fc.Arbitrary<string> {
  const least = field.limits.bytesMin ?? 0
  const most = field.limits.bytesMax ?? bytesUsual
  const size = (text: string) => new TextEncoder().encode(text).length
  return fc
    .oneof(
      fc.string({ unit: 'binary', maxLength: Math.min(most, 20) }),
      fc.string({ unit: 'grapheme-ascii', minLength: Math.min(least, most), maxLength: Math.min(most, 60) }),
      fc.constant('x'.repeat(most))
    )
    .filter((text) => size(text) >= least && size(text) <= most)
}

function arbitraryNumber(field: Field): fc.Arbitrary<number> {
  const min = Number(field.limits.valueMin ?? 0n)
  const max = Number(field.limits.valueMax ?? 0xffffffffn)
  return fc.oneof(
    fc.constantFrom(min, max),
    fc.integer({ min, max }),
    fc.integer({ min, max: Math.min(max, min + 300) })
  )
}

function arbitraryBigint(field: Field): fc.Arbitrary<bigint> {
  const min = field.limits.valueMin ?? 0n
  const max = field.limits.valueMax ?? 2n ** 64n - 1n
  const bits = fc.bigInt({ min: 0n, max: 63n })
  const anySize = bits.map((exponent) => 2n ** exponent).filter((value) => value >= min && value <= max)
  return fc.oneof(fc.constantFrom(min, max), fc.bigInt({ min, max }), anySize)
}
