/** Rules about single fields: everything on the wire has a kind we can check and a limit. */
import {
  enumNamed,
  type Field,
  hasPresence,
  isBigint,
  isNumber,
  type Kind,
  type Message,
  type Model,
  messageNamed,
  sortKeyOf
} from '../model/index.js'
import { type Finding, finding } from './finding.js'

export function fieldFindings(model: Model, message: Message): readonly Finding[] {
  return message.fields.flatMap((field) => {
    const name = `${message.name}.${field.name}`
    return [
      ...kindFindings(message, field, name),
      ...missingLimits(field, name),
      ...uselessLimits(field, name),
      ...contradictions(field, name),
      ...sortFindings(model, field, name),
      ...foreignType(model, field, name)
    ]
  })
}

const cures: readonly (readonly [RegExp, string])[] = [
  [/^map</, 'use a repeated message with a key and a value: the order of a map is not defined'],
  [/^group /, 'use a message field: groups are refused by the decoder'],
  [/^(float|double)$/, 'use an integer with the unit in its name: floats have many encodings of one value'],
  [/^(int|sfixed)(32|64)$/, 'use uint32 or uint64 for what is never negative, sint32 or sint64 for what can be']
]

function kindFindings(message: Message, field: Field, name: string): readonly Finding[] {
  if (field.kind !== 'unsupported' && field.kind !== 'double') return []
  const cure = cures.find(([pattern]) => pattern.test(field.typeName))?.[1] ?? 'use another type'
  const canonical = message.canonical ? ' in a canonical message' : ''
  return [finding('kind', field, `${name} is a ${field.typeName}${canonical}; ${cure}`)]
}

function missingLimits(field: Field, name: string): readonly Finding[] {
  const findings: Finding[] = []
  if ((field.kind === 'bytes' || field.kind === 'string') && field.limits.bytesMax === undefined) {
    findings.push(finding('bytes-limit', field, `${name} has no greatest length; add (limits).max_len or .len`))
  }
  if (field.repeated && field.limits.itemsMax === undefined) {
    findings.push(finding('items-limit', field, `${name} has no greatest number of items; add (limits).max_items`))
  }
  if (field.repeated && isNumber(field) && field.packed !== true) {
    findings.push(finding('packed', field, `${name} does not say how it is packed; add packed = true`))
  }
  return findings
}

/** A limit that no code would check. */
function uselessLimits(field: Field, name: string): readonly Finding[] {
  const { limits } = field
  const useless: string[] = []
  const hasBytes = limits.bytesMin !== undefined || limits.bytesMax !== undefined
  const hasItems = limits.itemsMin !== undefined || limits.itemsMax !== undefined
  const hasValues = limits.valueMin !== undefined || limits.valueMax !== undefined
  if (hasBytes && field.kind !== 'bytes' && field.kind !== 'string') useless.push('len, min_len and max_len')
  if (hasItems && !field.repeated) useless.push('min_items and max_items')
  if (hasValues && !/^(uint|fixed)(32|64)$/.test(field.kind)) useless.push('min_value and max_value')
  // Above it there is no value that a vector could show.
  else if (limits.valueMax === (isBigint(field) ? 0xffffffffffffffffn : 0xffffffffn)) useless.push('its max_value')
  if (limits.definedOnly && field.kind !== 'enum') useless.push('defined_only')
  if (
    limits.required &&
    (field.repeated || (field.oneof === undefined && field.kind !== 'message' && field.kind !== 'enum'))
  ) {
    useless.push('required')
  }
  return useless.map((limit) =>
    finding('useless-limit', field, `${name} is ${describeKind(field)}, which ${limit} cannot limit; remove it`)
  )
}

function describeKind(field: Field): string {
  return field.repeated ? `a repeated ${field.typeName}` : `a ${field.typeName}`
}

function contradictions(field: Field, name: string): readonly Finding[] {
  const { bytesMin, bytesMax, itemsMin, itemsMax, valueMin, valueMax, required } = field.limits
  const pairs = [
    ['bytes', bytesMin, bytesMax],
    ['items', itemsMin, itemsMax],
    ['value', valueMin, valueMax]
  ] as const
  const findings = pairs.flatMap(([what, min, max]) =>
    min !== undefined && max !== undefined && min > max
      ? [finding('contradiction', field, `${name} has a least ${what} of ${min} above its greatest, ${max}; swap them`)]
      : []
  )
  if (!isBigint(field) && isNumber(field) && [valueMin, valueMax].some((limit) => (limit ?? 0n) > 0xffffffffn)) {
    findings.push(finding('contradiction', field, `${name} has 32 bits and a limit above them; use a uint64`))
  }
  if (field.optional && required) {
    findings.push(finding('contradiction', field, `${name} is optional and required; drop one`))
  }
  return findings
}

/** Kinds whose values have one order that every implementation knows. */
const sortableKinds: ReadonlySet<Kind> = new Set(['uint32', 'uint64', 'fixed32', 'fixed64', 'bytes', 'string'])

function sortFindings(model: Model, field: Field, name: string): readonly Finding[] {
  const { sortedUnique, sortedBy } = field.limits
  if (sortedUnique !== true && sortedBy === undefined) return []
  const wrong = (text: string): readonly Finding[] => [finding('sorted', field, `${name} ${text}`)]
  if (!field.repeated) return wrong('is sorted and not repeated; remove sorted_unique and sorted_by')
  if (sortedBy === undefined) {
    if (field.kind === 'message') return wrong('does not say by which field; use sorted_by instead of sorted_unique')
    return sortableKinds.has(field.kind)
      ? []
      : wrong(`has items of type ${field.typeName}, which have no order; remove it`)
  }
  if (field.kind !== 'message') return wrong('has items without fields; use sorted_unique instead of sorted_by')
  if (sortedUnique) return wrong('has sorted_unique beside sorted_by; remove it')
  const key = sortKeyOf(model, field)
  if (key === undefined)
    return wrong(`is sorted by ${sortedBy}, which ${field.typeName} does not have; name a field of it`)
  const plain = !key.repeated && !hasPresence(key) && sortableKinds.has(key.kind)
  return plain ? [] : wrong(`is sorted by ${sortedBy}, which is no plain number, bytes or string; choose another field`)
}

function foreignType(model: Model, field: Field, name: string): readonly Finding[] {
  const isForeign =
    (field.kind === 'message' && messageNamed(model, field.typeName) === undefined) ||
    (field.kind === 'enum' && enumNamed(model, field.typeName) === undefined)
  if (!isForeign) return []
  const cure = `declare it in ${model.packageName}: the types of other packages have no limits`
  return [finding('foreign-type', field, `${name} has the type ${field.typeName} of another package; ${cure}`)]
}
