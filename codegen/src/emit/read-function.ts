/**
 * Emits the function that reads one message: a single loop over its fields that leaves nothing unchecked. Plain numbers,
 * texts and byte arrays carry a bit in `seen`; whatever is undefined until it is read needs none, so that a oneof may
 * have any number of members. A message with more than 31 of the others has several masks.
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
  sortKeyOf
} from '../model/index.js'
import { definedValuesName, hasValueBounds, isZero, lengthBounds, placeOf, tagOf, zeroOf } from './field-code.js'
import { lowerFirst, quote } from './text.js'

/** `strict` says whether the message can be met inside a canonical one. */
export function emitReadFunction(model: Model, message: Message, strict: boolean): string {
  const type = quote(message.name)
  const bits = seenBits(message)
  const shape = `${lowerFirst(message.name)}Shape`
  const cases = message.fields.map((field) => emitCase(model, message, field, bits, strict))
  return [
    `const ${shape}: Shape = { name: ${type}, fields: { ${message.fields.map((field) => `${field.number}: ${quote(field.name)}`).join(', ')} } }`,
    '',
    `export function read${message.name}(reader: Reader, end: number): types.${message.name} {`,
    ...(message.maxSize === undefined ? [] : [`reader.size(end, ${message.maxSize}, ${type})`]),
    ...(message.canonical ? ['const outerCanonical = reader.canonical', 'reader.canonical = true'] : []),
    ...declarations(message),
    ...[...new Set([...bits.values()].map(({ mask }) => mask))].map((mask) => `let ${mask} = 0`),
    'let unknown = 0',
    'let tag = 0',
    'while (reader.pos < end) {',
    `tag = reader.tag(end, tag, ${type})`,
    ...(cases.length > 0
      ? ['switch (tag) {', ...cases, `default: unknown = reader.unknown(tag, end, unknown, ${shape})`, '}']
      : [`unknown = reader.unknown(tag, end, unknown, ${shape})`]),
    '}',
    ...finalChecks(message, bits),
    ...(message.canonical ? ['reader.canonical = outerCanonical'] : []),
    `return { ${resultNames(message).join(', ')} }`,
    '}'
  ].join('\n')
}

/** Local names of the result's properties: fields and oneofs. */
function resultNames(message: Message): readonly string[] {
  const plain = message.fields.filter((field) => field.oneof === undefined).map((field) => property(field.localName))
  return [...plain, ...message.oneofs.map((oneof) => property(oneof.localName))]
}

/** Names a local cannot have: those of the function itself and the words of the language. */
const takenNames = new Set([
  ...['reader', 'end', 'seen', 'unknown', 'tag', 'outerCanonical', 'packedEnd', 'value', 'emptyBytes'],
  ...['await', 'break', 'case', 'catch', 'class', 'const', 'continue', 'debugger', 'default', 'delete', 'do', 'else'],
  ...['enum', 'export', 'extends', 'false', 'finally', 'for', 'function', 'if', 'implements', 'import', 'in', 'let'],
  ...[
    'instanceof',
    'interface',
    'new',
    'null',
    'package',
    'private',
    'protected',
    'public',
    'return',
    'static',
    'super'
  ],
  ...['switch', 'this', 'throw', 'true', 'try', 'typeof', 'var', 'void', 'while', 'with', 'yield', 'arguments', 'eval']
])

function isTaken(name: string): boolean {
  return takenNames.has(name) || /^seen\d+$/.test(name)
}

function local(name: string): string {
  return isTaken(name) ? `${name}Field` : name
}

function property(name: string): string {
  return isTaken(name) ? `${name}: ${local(name)}` : name
}

/** Where a read function marks that it has seen a field: a bit of one of its variables. */
interface SeenBit {
  readonly mask: string
  readonly bit: number
}

/** Bits that a small integer has without its sign. */
const bitsPerMask = 31

/** One bit for every field whose absence does not show in its local variable. */
function seenBits(message: Message): ReadonlyMap<Field, SeenBit> {
  const counted = message.fields.filter((field) => (field.repeated ? isNumber(field) : !hasPresence(field)))
  return new Map(
    counted.map((field, index) => {
      const word = Math.floor(index / bitsPerMask)
      return [field, { mask: word === 0 ? 'seen' : `seen${word + 1}`, bit: 2 ** (index % bitsPerMask) }]
    })
  )
}

function markSeen({ mask, bit }: SeenBit, place: string): string {
  return `${mask} = reader.once(${mask}, ${bit}, ${place})`
}

function declarations(message: Message): readonly string[] {
  const fields = message.fields.filter((field) => field.oneof === undefined)
  return [
    ...fields.map((field) => {
      const name = local(field.localName)
      const type = valueType(field)
      if (field.repeated) return `const ${name}: ${type}[] = []`
      return hasPresence(field) ? `let ${name}: ${type} | undefined` : `let ${name}: ${type} = ${zeroOf(field)}`
    }),
    ...message.oneofs.map((oneof) => {
      return `let ${local(oneof.localName)}: types.${message.name}[${quote(oneof.localName)}] | undefined`
    })
  ]
}

function valueType(field: Field): string {
  switch (field.kind) {
    case 'bytes':
      return 'Uint8Array'
    case 'string':
      return 'string'
    case 'bool':
      return 'boolean'
    case 'message':
      return `imported.${field.typeName}`
    case 'enum':
      return field.limits.definedOnly ? `imported.${field.typeName}` : 'number'
    case 'uint64':
    case 'sint64':
    case 'fixed64':
      return 'bigint'
    default:
      return 'number'
  }
}

function emitCase(
  model: Model,
  message: Message,
  field: Field,
  bits: ReadonlyMap<Field, SeenBit>,
  strict: boolean
): string {
  const label = `case ${tagOf(field)}:`
  const oneof = message.oneofs.find((candidate) => candidate.name === field.oneof)
  if (oneof !== undefined) return emitOneofCase(label, message, field, local(oneof.localName))
  if (field.repeated) return emitRepeatedCase(label, model, message, field, bits)
  const place = placeOf(message, field)
  const name = local(field.localName)
  const bit = bits.get(field)
  return [
    label,
    bit === undefined ? `reader.unset(${name}, ${place})` : markSeen(bit, place),
    `${name} = ${readValue(field, 'end', place)}`,
    ...valueChecks(field, name, place),
    ...(strict && bit !== undefined && !isRequired(field)
      ? [`reader.notDefault(${isZero(field, name)}, ${place})`]
      : []),
    'break'
  ].join('\n')
}

function emitOneofCase(label: string, message: Message, field: Field, oneof: string): string {
  const place = placeOf(message, field)
  const unset = `reader.unset(${oneof}, ${place})`
  const value = readValue(field, 'end', place)
  const checks = valueChecks(field, 'value', place)
  const $case = quote(field.localName)
  if (checks.length === 0) return [label, unset, `${oneof} = { $case: ${$case}, value: ${value} }`, 'break'].join('\n')
  const checked = [`const value = ${value}`, ...checks, `${oneof} = { $case: ${$case}, value }`]
  return [`${label} {`, unset, ...checked, 'break', '}'].join('\n')
}

function emitRepeatedCase(
  label: string,
  model: Model,
  message: Message,
  field: Field,
  bits: ReadonlyMap<Field, SeenBit>
): string {
  const place = placeOf(message, field)
  const name = local(field.localName)
  const room = `reader.room(${name}.length, ${field.limits.itemsMax ?? 0xffffffff}, ${place})`
  const order = isSorted(field) ? [orderCheck(model, field, name, place)] : []
  if (!isNumber(field)) {
    const value = readValue(field, 'end', place)
    if (order.length === 0) return [label, room, `${name}.push(${value})`, 'break'].join('\n')
    return [`${label} {`, room, `const value = ${value}`, ...order, `${name}.push(value)`, 'break', '}'].join('\n')
  }
  const bit = bits.get(field)
  const checks = [...valueChecks(field, 'value', place), ...order]
  const value = readValue(field, 'packedEnd', place)
  return [
    `${label} {`,
    ...(bit === undefined ? [] : [markSeen(bit, place)]),
    `const packedEnd = reader.length(end, ${place})`,
    `reader.notDefault(packedEnd === reader.pos, ${place})`,
    'while (reader.pos < packedEnd) {',
    room,
    ...(checks.length === 0
      ? [`${name}.push(${value})`]
      : [`const value = ${value}`, ...checks, `${name}.push(value)`]),
    '}',
    'break',
    '}'
  ].join('\n')
}

function orderCheck(model: Model, field: Field, name: string, place: string): string {
  const key = sortKeyOf(model, field)
  if (key === undefined) return `reader.ascending(${name}.at(-1), value, ${place})`
  return `reader.ascending(${name}.at(-1)?.${key.localName}, value.${key.localName}, ${place})`
}

function readValue(field: Field, end: string, place: string): string {
  switch (field.kind) {
    case 'bytes':
    case 'string':
      return `reader.${field.kind}(${end}, ${lengthBounds(field)}, ${place})`
    case 'message':
      return `read${field.typeName}(reader, reader.length(${end}, ${place}))`
    case 'enum':
      return field.limits.definedOnly
        ? `reader.closedEnum(${end}, ${definedValuesName(field)}, ${place})`
        : `reader.enum(${end}, ${place})`
    default:
      return `reader.${field.kind}(${end}, ${place})`
  }
}

function valueChecks(field: Field, value: string, place: string): readonly string[] {
  if (field.kind === 'enum') {
    return field.limits.required ? [`if (${value} === 0) throw reader.error('required', ${place})`] : []
  }
  if (!hasValueBounds(field)) return []
  const suffix = field.kind.endsWith('64') ? 'n' : ''
  const { valueMin, valueMax } = field.limits
  const outside = [
    ...(valueMin === undefined || valueMin === 0n ? [] : [`${value} < ${valueMin}${suffix}`]),
    ...(valueMax === undefined ? [] : [`${value} > ${valueMax}${suffix}`])
  ].join(' || ')
  return outside === '' ? [] : [`if (${outside}) throw reader.error('range', ${place}, \`\${${value}}\`)`]
}

function finalChecks(message: Message, bits: ReadonlyMap<Field, SeenBit>): readonly string[] {
  return [
    ...message.fields.filter(isRequired).map((field) => {
      const bit = bits.get(field)
      const missing = bit === undefined ? `${local(field.localName)} === undefined` : `(${bit.mask} & ${bit.bit}) === 0`
      return `if (${missing}) throw reader.error('required', ${placeOf(message, field)})`
    }),
    ...message.oneofs
      .filter((oneof) => isRequiredOneof(message, oneof))
      .map((oneof) => {
        const missing = `${local(oneof.localName)} === undefined`
        return `if (${missing}) throw reader.error('required', ${placeOf(message, oneof)})`
      }),
    ...message.fields.flatMap((field) => {
      const least = field.limits.itemsMin ?? 0
      if (!field.repeated || least === 0) return []
      return [`reader.items(${local(field.localName)}.length, ${least}, ${placeOf(message, field)})`]
    })
  ]
}
