/**
 * Emits one file of codecs for each .proto file: for every message a read and a put function, for every message that is
 * met on its own a `Codec` of the same name as its type.
 */
import {
  canonicalReach,
  enumNamed,
  type Field,
  isExported,
  type Message,
  type Model,
  messageNamed,
  moduleOf
} from '../model/index.js'
import { definedValuesName } from './field-code.js'
import { emitPutFunction } from './put-function.js'
import { emitReadFunction } from './read-function.js'
import { docComment, fileHeader, groupBy, upperFirst } from './text.js'

/** Source of the codecs of each module, by module name; `runtime` is how they import core/src/wire/runtime.ts. */
export function emitCodecs(model: Model, runtime: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>()
  for (const [module, messages] of groupBy(model.messages, moduleOf))
    files.set(module, emitModule(model, module, messages, runtime))
  return files
}

function emitModule(model: Model, module: string, messages: readonly Message[], runtime: string): string {
  const strict = canonicalReach(model)
  const body = [
    ...definedValues(model, messages),
    ...messages.flatMap((message) => [
      ...(isExported(message) ? [emitCodec(message)] : []),
      emitReadFunction(model, message, strict.has(message.name)),
      emitPutFunction(model, message)
    ])
  ].join('\n\n')
  const foreign = new Set<string>()
  const resolved = body.replace(/\bimported\.(\w+)/g, (_, name: string) => {
    const home = moduleOf(declared(model, name))
    if (home === module) return `types.${name}`
    foreign.add(home)
    return `${namespaceOf(home)}.${name}`
  })
  const header = fileHeader(`Strict codecs of ${module}.proto.`)
  return [
    header,
    `import ${runtimeNames(resolved)} from '${runtime}'`,
    ...imports(model, module, [...foreign].sort(), resolved),
    '',
    resolved,
    ''
  ].join('\n')
}

/** Types of another file are named through it: `fromMls.Role`. */
function namespaceOf(module: string): string {
  return `from${upperFirst(module)}`
}

function declared(model: Model, name: string): Message | NonNullable<ReturnType<typeof enumNamed>> {
  const found = messageNamed(model, name) ?? enumNamed(model, name)
  if (found === undefined) throw new Error(`codegen: type ${name} is not in the package ${model.packageName}`)
  return found
}

function runtimeNames(body: string): string {
  const types = ['Codec', 'Reader', 'Shape', 'Sink'].filter((name) => names(body, name)).map((name) => `type ${name}`)
  const values = ['codec', 'emptyBytes'].filter((name) => names(body, name))
  return `{ ${[...types, ...values].join(', ')} }`
}

function names(body: string, name: string): boolean {
  return new RegExp(`\\b${name}\\b`).test(body)
}

/** What the body names of other files: their types, and their read and put functions. */
function imports(model: Model, module: string, foreign: readonly string[], body: string): readonly string[] {
  const functions = groupBy(
    model.messages.filter((message) => moduleOf(message) !== module),
    moduleOf
  )
  return [
    ...foreign.map((home) => `import type * as ${namespaceOf(home)} from '../types/${home}.js'`),
    ...[...functions].flatMap(([home, messages]) => {
      const used = messages.flatMap(({ name }) => [`put${name}`, `read${name}`]).filter((name) => names(body, name))
      return used.length === 0 ? [] : [`import { ${used.join(', ')} } from './${home}.js'`]
    }),
    `import type * as types from '../types/${module}.js'`
  ]
}

/** The values of each closed enum that the messages use. */
function definedValues(model: Model, messages: readonly Message[]): readonly string[] {
  const closed = new Map<string, Field>()
  for (const message of messages) {
    for (const field of message.fields) {
      if (field.kind === 'enum' && field.limits.definedOnly) closed.set(field.typeName, field)
    }
  }
  return [...closed].map(([name, field]) => {
    const numbers = (enumNamed(model, name)?.values ?? []).map((value) => value.number)
    return `const ${definedValuesName(field)}: readonly imported.${name}[] = [${numbers.join(', ')}]`
  })
}

function emitCodec(message: Message): string {
  const name = message.name
  return [
    `${docComment(message.comment)}export type ${name} = types.${name}`,
    `export const ${name}: Codec<types.${name}> = /* @__PURE__ */ codec(read${name}, put${name})`
  ].join('\n')
}
