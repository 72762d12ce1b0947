/**
 * Emits a JSON Schema (draft 2020-12) for every report: what a command prints with `--json`, what a file holds. Closed:
 * a property the schema does not name is an error, so that what is printed and what is described stay the same.
 */
import { enumNamed, type Field, type Message, type Model, messageNamed } from '../model/index.js'
import { jsonEnumName, kebabCase } from './text.js'

type Json = string | number | boolean | readonly Json[] | { readonly [name: string]: Json }

/** Files by name without folder. */
export function emitJsonSchemas(model: Model): ReadonlyMap<string, string> {
  return new Map(
    model.messages.flatMap((message) => {
      if (message.output === undefined) return []
      const name = schemaFileName(message)
      return [[name, `${JSON.stringify(reportSchema(model, message, name), undefined, 2)}\n`] as const]
    })
  )
}

/** "DocStatusReport" is described by "doc-status-report.schema.json". */
export function schemaFileName(message: Message): string {
  return `${kebabCase(message.name)}.schema.json`
}

function reportSchema(model: Model, message: Message, name: string): Json {
  const inner = reachable(model, message)
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `heddle:schemas/${name}`,
    title: message.name,
    description: `${message.comment} Output of: ${message.output ?? ''}.`,
    ...objectSchema(model, message),
    ...(inner.length > 0 && {
      $defs: Object.fromEntries(
        inner.map((one) => [one.name, { description: one.comment, ...objectSchema(model, one) }])
      )
    })
  }
}

/** Messages inside the message, each once, in the order they are met. */
function reachable(model: Model, message: Message): readonly Message[] {
  const found = new Set<Message>()
  const visit = (current: Message): void => {
    for (const field of current.fields) {
      const inner = field.kind === 'message' ? messageNamed(model, field.typeName) : undefined
      if (inner === undefined || found.has(inner)) continue
      found.add(inner)
      visit(inner)
    }
  }
  visit(message)
  return [...found]
}

function objectSchema(model: Model, message: Message): { readonly [name: string]: Json } {
  const required = message.fields.filter((field) => !field.optional || field.json?.nullable === true)
  return {
    type: 'object',
    properties: Object.fromEntries(message.fields.map((field) => [field.localName, propertySchema(model, field)])),
    required: required.map((field) => field.localName),
    additionalProperties: false
  }
}

function propertySchema(model: Model, field: Field): Json {
  const description = field.comment
  if (field.repeated) {
    const { itemsMin, itemsMax, sortedUnique } = field.limits
    return {
      description,
      type: 'array',
      items: valueSchema(model, field),
      ...(itemsMin !== undefined && { minItems: itemsMin }),
      ...(itemsMax !== undefined && { maxItems: itemsMax }),
      ...(sortedUnique === true && { uniqueItems: true })
    }
  }
  const value = valueSchema(model, field)
  if (field.json?.nullable !== true) return { description, ...value }
  return { description, anyOf: [value, { type: 'null' }] }
}

/** JSON has no integers beyond 2^53 - 1 that every reader takes. */
const safeIntegerMax = 9_007_199_254_740_991n

function valueSchema(model: Model, field: Field): { readonly [name: string]: Json } {
  switch (field.kind) {
    case 'bool':
      return { type: 'boolean' }
    case 'double':
      return { type: 'number' }
    case 'string':
      return { type: 'string', ...(field.json?.pattern !== undefined && { pattern: field.json.pattern }) }
    case 'message':
      return { $ref: `#/$defs/${field.typeName}` }
    case 'enum': {
      const described = enumNamed(model, field.typeName)
      const values = (described?.values ?? []).filter(({ number }) => number !== 0)
      return { enum: values.map((value) => jsonEnumName(field.typeName, value.name)) }
    }
    case 'uint32':
    case 'uint64': {
      const { valueMin = 0n, valueMax } = field.limits
      const greatest = valueMax ?? (field.kind === 'uint32' ? 0xffff_ffffn : safeIntegerMax)
      return { type: 'integer', minimum: Number(valueMin), maximum: Number(greatest) }
    }
    default:
      throw new Error(`codegen: ${field.name} is a ${field.typeName}, which has no form in JSON`)
  }
}
