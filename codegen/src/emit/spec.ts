/** Emits the tables of SPEC.md and puts them between their markers. */
import {
  errorCodes,
  type Field,
  frameBodies,
  isRequired,
  isRequiredOneof,
  type Message,
  type Model,
  storageRecords
} from '../model/index.js'
import { hex8, hex16 } from './text.js'

/** The tables in Markdown, by the name of their markers. */
export function emitSpecTables(model: Model): ReadonlyMap<string, string> {
  return new Map([
    ['frames', frameTable(model)],
    ['extensions', extensionTable(model)],
    ['proposals', proposalTable(model)],
    ['signature-labels', labelTable(model)],
    ['storage-records', storageTable(model)],
    ['errors', errorTable(model)],
    ['messages', messageTables(model)]
  ])
}

/**
 * Replaces what stands between `<!-- generated:begin NAME -->` and `<!-- generated:end NAME -->`. Throws for a marker
 * without its end or of an unknown name.
 */
export function fillMarkers(document: string, tables: ReadonlyMap<string, string>): string {
  const begins = [...document.matchAll(/<!-- generated:begin (\S+) -->/g)].map((match) => match[1] as string)
  let filled = document
  for (const name of begins) {
    const table = tables.get(name)
    if (table === undefined) {
      throw new Error(`codegen: SPEC.md asks for the table ${name}; there are ${[...tables.keys()].join(', ')}`)
    }
    const begin = `<!-- generated:begin ${name} -->`
    const end = `<!-- generated:end ${name} -->`
    const from = filled.indexOf(begin) + begin.length
    const to = filled.indexOf(end, from)
    if (to < 0) throw new Error(`codegen: SPEC.md has no ${end} after ${begin}`)
    filled = `${filled.slice(0, from)}\n\n${table}\n${filled.slice(to)}`
  }
  return filled
}

function frameTable(model: Model): string {
  return table(
    ['Type', 'Frame', 'Sent by', 'Bytes at most', 'Since', 'Meaning'],
    frameBodies(model).map(({ field, message }) => [
      `${field.number}`,
      `\`${message.name}\``,
      directionText(message),
      `${message.maxSize ?? ''}`,
      `${message.since ?? ''}`,
      message.comment
    ])
  )
}

function directionText(message: Message): string {
  if (message.direction === 'device_to_server') return 'device'
  return message.direction === 'server_to_device' ? 'server' : 'both'
}

function extensionTable(model: Model): string {
  const rows = model.messages.flatMap((message) => {
    const extension = message.mlsExtension
    if (extension === undefined) return []
    const contexts = extension.contexts.map((context) => `\`${context}\``).join(', ')
    return [
      [
        hex16(extension.type),
        `\`${message.name}\``,
        contexts,
        extension.required ? 'yes' : 'no',
        `${message.maxSize ?? ''}`,
        `${message.since ?? ''}`,
        message.comment
      ]
    ]
  })
  return table(['Type', 'Extension', 'Stands in', 'Required', 'Bytes at most', 'Since', 'Meaning'], rows.sort(byFirst))
}

function proposalTable(model: Model): string {
  const rows = model.messages.flatMap((message) => {
    if (message.mlsProposal === undefined) return []
    const type = hex16(message.mlsProposal.type)
    return [[type, `\`${message.name}\``, `${message.maxSize ?? ''}`, `${message.since ?? ''}`, message.comment]]
  })
  return table(['Type', 'Proposal', 'Bytes at most', 'Since', 'Meaning'], rows.sort(byFirst))
}

function byFirst(a: readonly string[], b: readonly string[]): number {
  return (a[0] ?? '') < (b[0] ?? '') ? -1 : 1
}

function labelTable(model: Model): string {
  const rows = model.messages.flatMap((message) =>
    message.signatureLabel === undefined ? [] : [[`\`${message.name}\``, `\`${message.signatureLabel}\``]]
  )
  return table(['Message', 'Label'], rows)
}

function storageTable(model: Model): string {
  const rows = storageRecords(model).map(({ message, keeper, place }) => [
    keeper,
    `${place.ofDocument ? 'document ' : ''}\`${hex8(place.number)}\`${place.key === '' ? '' : ` ${place.key}`}`,
    `\`${message.name}\``,
    message.comment
  ])
  return table(['Keeper', 'Key', 'Record', 'Meaning'], rows)
}

function errorTable(model: Model): string {
  return table(
    ['Code', 'Error', 'Retry', 'Fatal', 'Meaning'],
    errorCodes(model).map(({ name, value, info }) => [
      `${value.number}`,
      `\`${name}\``,
      (info.retry ?? 'never').replaceAll('_', ' '),
      info.fatal ? 'yes' : 'no',
      info.summary
    ])
  )
}

function messageTables(model: Model): string {
  return model.messages
    .map((message) => {
      const facts = [
        ...(message.canonical ? ['Canonical.'] : []),
        ...(message.maxSize === undefined ? [] : [`At most ${message.maxSize} bytes.`])
      ]
      const head = `#### ${message.name}\n\n${[message.comment, ...facts].join(' ')}\n`
      if (message.fields.length === 0) return `${head}\nNo fields.\n`
      const rows = message.fields.map((field) => [
        `${field.number}`,
        `\`${field.name}\``,
        typeText(message, field),
        limitsText(field),
        field.comment
      ])
      return `${head}\n${table(['#', 'Field', 'Type', 'Limits', 'Meaning'], rows)}`
    })
    .join('\n')
}

function typeText(message: Message, field: Field): string {
  const prefix = field.repeated ? 'repeated ' : field.optional ? 'optional ' : ''
  const oneof = message.oneofs.find((candidate) => candidate.name === field.oneof)
  if (oneof === undefined) return `${prefix}\`${field.typeName}\``
  return `\`${field.typeName}\`, one of \`${oneof.name}\`${isRequiredOneof(message, oneof) ? ' (required)' : ''}`
}

/** The limits of a field in words. */
export function limitsText(field: Field): string {
  const { bytesMin, bytesMax, itemsMin, itemsMax, valueMin, valueMax, definedOnly } = field.limits
  const each = field.repeated ? ' each' : ''
  const parts: string[] = []
  if (isRequired(field)) parts.push('required')
  const items = range(itemsMin, itemsMax)
  if (items !== '') parts.push(`${items} items`)
  const bytes = range(bytesMin, bytesMax)
  if (bytes !== '') parts.push(`${bytes} bytes${each}`)
  const value = range(valueMin, valueMax)
  if (value !== '') parts.push(value)
  if (definedOnly) parts.push('defined values only')
  if (field.limits.sortedUnique) parts.push('ascending')
  if (field.limits.sortedBy !== undefined) parts.push(`ascending by \`${field.limits.sortedBy}\``)
  return parts.join('; ')
}

function range(min: number | bigint | undefined, max: number | bigint | undefined): string {
  const least = min === undefined || Number(min) === 0 ? undefined : min
  if (least !== undefined && least === max) return `${least}`
  if (least !== undefined && max !== undefined) return `${least} to ${max}`
  if (least !== undefined) return `at least ${least}`
  return max === undefined ? '' : `at most ${max}`
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), `|${header.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n').concat('\n')
}
