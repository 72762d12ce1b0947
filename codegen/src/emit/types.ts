/**
 * Makes ts-proto's types say what the codecs guarantee. ts-proto does not read our limits: it types every message field
 * as possibly undefined and every enum as closed. A required field is never undefined after decoding, and an enum
 * without `defined_only` may hold any number.
 */
import { isRequiredOneof, type Message, type Model, moduleOf } from '../model/index.js'

/**
 * Corrects one file of ts-proto. Throws when the file does not look as expected, which a new version of ts-proto can
 * cause.
 */
export function refineTypes(model: Model, module: string, source: string): string {
  let refined = source
  for (const message of model.messages) {
    if (moduleOf(message) === module) refined = refineInterface(message, refined)
  }
  return withoutUnusedImports(refined)
}

function refineInterface(message: Message, source: string): string {
  const header = `export interface ${message.name} {`
  const start = source.indexOf(header)
  const end = source.indexOf('\n}\n', start)
  if (message.fields.length === 0) return source
  if (start < 0 || end < 0) throw new Error(`codegen: ts-proto wrote no interface ${message.name}`)
  let body = source.slice(start, end)
  for (const field of message.fields) {
    const { localName, typeName, limits } = field
    const member = field.oneof !== undefined
    if (field.kind === 'enum' && !limits.definedOnly) {
      const before = member
        ? `readonly \\$case: "${localName}"; readonly value: `
        : `^  readonly ${localName}:[^;]*?\\b`
      body = replaceOnce(message, localName, body, new RegExp(`(${before})${typeName}\\b`, 'm'), '$1number')
    }
    if (field.kind === 'message' && limits.required && !member) {
      const declared = new RegExp(`(^  readonly ${localName}:[^;]*?)\\s*\\|\\s*undefined;`, 'm')
      body = replaceOnce(message, localName, body, declared, '$1;')
    }
  }
  for (const oneof of message.oneofs.filter((candidate) => isRequiredOneof(message, candidate))) {
    const declared = new RegExp(`(^  readonly ${oneof.localName}:[^]*?)\\s*\\|\\s*undefined;`, 'm')
    body = replaceOnce(message, oneof.localName, body, declared, '$1;')
  }
  return source.slice(0, start) + body + source.slice(end)
}

function replaceOnce(message: Message, property: string, body: string, pattern: RegExp, replacement: string): string {
  if (!pattern.test(body)) throw new Error(`codegen: ts-proto typed ${message.name}.${property} in an unexpected way`)
  return body.replace(pattern, replacement)
}

/** An enum that became a number may leave its import without use. */
function withoutUnusedImports(source: string): string {
  return source.replace(/^import type \{ ([^}]*) \} from ("[^"]*");\n/gm, (line, list: string, from: string) => {
    const rest = source.replace(line, '')
    const used = list.split(', ').filter((name) => new RegExp(`^[^/*]*\\b${name}\\b`, 'm').test(rest))
    return used.length === 0 ? '' : `import type { ${used.join(', ')} } from ${from};\n`
  })
}
