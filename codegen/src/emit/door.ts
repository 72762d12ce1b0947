/** Emits the index of the generated folder: every type, with its codec where it has one, and the registries. */
import { isExported, type Message, type Model, moduleOf } from '../model/index.js'
import { fileHeader, groupBy } from './text.js'

export function emitDoor(model: Model): string {
  const exported = model.messages.filter(isExported)
  const inner = model.messages.filter((message) => !isExported(message))
  return [
    fileHeader('All that is generated for the wire.'),
    ...reExports('export', './codecs', exported),
    ...reExports('export type', './types', inner),
    ...reExports('export', './types', model.enums),
    `export * from './errors.js'`,
    `export * from './limits.js'`,
    `export * from './registries.js'`,
    ''
  ].join('\n')
}

type Named = Pick<Message, 'name' | 'at'>

function reExports(keyword: string, folder: string, declared: readonly Named[]): readonly string[] {
  return [...groupBy(declared, moduleOf)].map(([module, list]) => {
    const names = list.map(({ name }) => name).sort()
    return `${keyword} { ${names.join(', ')} } from '${folder}/${module}.js'`
  })
}
