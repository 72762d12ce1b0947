/**
 * Emits the TypeScript types of reports, for the code that prints them. An integer of 64 bits may be a bigint there: it
 * is printed as a number.
 */
import { enumNamed, type Field, type Message, type Model, moduleOf } from '../model/index.js'
import { docComment, fileHeader, jsonEnumName, quote } from './text.js'

/** The types of the messages of these .proto files (without folder and ending) and the union of the whole reports. */
export function emitReportTypes(model: Model, modules: readonly string[]): string {
  const messages = model.messages.filter((message) => modules.includes(moduleOf(message)))
  const reports = messages.filter(({ output }) => output !== undefined)
  return [
    fileHeader(`What is printed as JSON, of ${modules.map((module) => `${module}.proto`).join(' and ')}.`),
    ...messages.map((message) => emitInterface(model, message)),
    `/** Everything that is printed. */\nexport type Report = ${reports.map(({ name }) => name).join(' | ')}\n`
  ].join('\n')
}

function emitInterface(model: Model, message: Message): string {
  const printed = message.output === undefined ? '' : ` Printed by: ${message.output}.`
  return [
    `${docComment(`${message.comment}${printed}`)}export interface ${message.name} {`,
    ...message.fields.map((field) => {
      const nullable = field.json?.nullable === true
      const name = `${field.localName}${field.optional && !nullable ? '?' : ''}`
      // exactOptionalPropertyTypes: what is undefined is not printed either.
      const type = `${typeOf(model, field)}${nullable ? ' | null' : field.optional ? ' | undefined' : ''}`
      return `${docComment(field.comment)}readonly ${name}: ${type}`
    }),
    '}\n'
  ].join('\n')
}

function typeOf(model: Model, field: Field): string {
  const type = valueType(model, field)
  return field.repeated ? `readonly ${type.includes('|') ? `(${type})` : type}[]` : type
}

function valueType(model: Model, field: Field): string {
  switch (field.kind) {
    case 'bool':
      return 'boolean'
    case 'string':
      return 'string'
    case 'message':
      return field.typeName
    case 'enum': {
      const values = (enumNamed(model, field.typeName)?.values ?? []).filter(({ number }) => number !== 0)
      return values.map((value) => quote(jsonEnumName(field.typeName, value.name))).join(' | ')
    }
    case 'uint64':
      return 'number | bigint'
    case 'uint32':
    case 'double':
      return 'number'
    default:
      throw new Error(`codegen: ${field.name} is a ${field.typeName}, which has no form in JSON`)
  }
}
