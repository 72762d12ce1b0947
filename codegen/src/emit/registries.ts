/** Emits the registries: frames, MLS extensions and proposals, signature labels, records in storage. */
import { frameBodies, type Message, type Model, moduleOf, type StoragePlace, storageRecords } from '../model/index.js'
import { fileHeader, groupBy, hex8, hex16, lowerFirst, properties, quote } from './text.js'

/** `runtime` is how the file imports core/src/wire/runtime.ts. */
export function emitRegistries(model: Model, runtime: string): string {
  const extensions = model.messages.filter((message) => message.mlsExtension !== undefined)
  const proposals = model.messages.filter((message) => message.mlsProposal !== undefined)
  return [
    fileHeader(
      'Registries of what travels: frames, MLS extensions and proposals, signature labels, records in storage.'
    ),
    `import type { Codec } from '${runtime}'`,
    ...codecImports([...extensions, ...proposals]),
    '',
    ...frames(model),
    ...mlsExtensions(extensions),
    ...mlsProposals(proposals),
    ...signatureLabels(model),
    ...storageRecordEntries(model)
  ].join('\n')
}

function codecImports(messages: readonly Message[]): readonly string[] {
  return [...groupBy(messages, moduleOf)].map(([module, list]) => {
    const names = list.map((message) => message.name).sort()
    return `import { ${names.join(', ')} } from './codecs/${module}.js'`
  })
}

function frames(model: Model): readonly string[] {
  const entries = frameBodies(model).map(({ field, message }) => {
    const direction = quote(message.direction ?? 'both')
    return `${field.localName}: { type: ${field.number}, name: ${quote(message.name)}, direction: ${direction}, maxSize: ${message.maxSize ?? 0}, since: ${message.since ?? 1} },`
  })
  return [
    `
/** Who may send a frame. */
export type Direction = 'device_to_server' | 'server_to_device' | 'both'

interface FrameEntry {
  /** Its number in Frame.body. */
  readonly type: number
  /** Name of its message. */
  readonly name: string
  readonly direction: Direction
  /** Greatest encoded size of the body, bytes. */
  readonly maxSize: number
  /** First protocol version that has it. */
  readonly since: number
}

/** Frames by the \`$case\` of their body. */
export const FRAMES = {`,
    ...entries,
    '} as const satisfies Readonly<Record<string, FrameEntry>>',
    '',
    'export type FrameCase = keyof typeof FRAMES'
  ]
}

function mlsExtensions(messages: readonly Message[]): readonly string[] {
  const entries = messages.map((message) => {
    const { type, contexts, required } = message.mlsExtension ?? { type: 0, contexts: [], required: false }
    return `${mlsKey(message)}: { type: ${hex16(type)}, name: ${quote(message.name)}, contexts: [${contexts.map(quote).join(', ')}], required: ${required}, maxSize: ${message.maxSize ?? 0}, since: ${message.since ?? 1}, codec: ${message.name} },`
  })
  return [
    `
/** Where an MLS extension may occur (RFC 9420 section 13). */
export type MlsContext = 'key_package' | 'leaf_node' | 'group_context' | 'group_info'

interface MlsDataEntry {
  /** Its type number, of the private range. */
  readonly type: number
  /** Name of its message. */
  readonly name: string
  /** Greatest encoded size, bytes. */
  readonly maxSize: number
  /** First protocol version that has it. */
  readonly since: number
  readonly codec: Codec<unknown>
}

interface MlsExtensionData extends MlsDataEntry {
  readonly contexts: readonly MlsContext[]
  /** Whether every member must support it (required_capabilities). */
  readonly required: boolean
}

/** MLS extensions by name. */
export const MLS_EXTENSIONS = {`,
    ...entries,
    `} as const satisfies Readonly<Record<string, MlsExtensionData>>

export type MlsExtensionName = keyof typeof MLS_EXTENSIONS
export type MlsExtensionEntry = (typeof MLS_EXTENSIONS)[MlsExtensionName]

/** The extension of a type number; undefined when it is not one of ours. */
export function mlsExtensionOf(type: number): MlsExtensionEntry | undefined {
  return Object.values(MLS_EXTENSIONS).find((entry) => entry.type === type)
}`
  ]
}

function mlsProposals(messages: readonly Message[]): readonly string[] {
  const entries = messages.map((message) => {
    return `${mlsKey(message)}: { type: ${hex16(message.mlsProposal?.type ?? 0)}, name: ${quote(message.name)}, maxSize: ${message.maxSize ?? 0}, since: ${message.since ?? 1}, codec: ${message.name} },`
  })
  return [
    '',
    '/** MLS proposals by name. */',
    'export const MLS_PROPOSALS = {',
    ...entries,
    `} as const satisfies Readonly<Record<string, MlsDataEntry>>

export type MlsProposalName = keyof typeof MLS_PROPOSALS
export type MlsProposalEntry = (typeof MLS_PROPOSALS)[MlsProposalName]

/** The proposal of a type number; undefined when it is not one of ours. */
export function mlsProposalOf(type: number): MlsProposalEntry | undefined {
  return Object.values(MLS_PROPOSALS).find((entry) => entry.type === type)
}`
  ]
}

/** "DocumentExtension" is "document", "ServerAddProposal" is "serverAdd". */
function mlsKey(message: Message): string {
  return lowerFirst(message.name.replace(/(Extension|Proposal)$/, ''))
}

function signatureLabels(model: Model): readonly string[] {
  const entries = model.messages.flatMap((message) =>
    message.signatureLabel === undefined ? [] : `${message.name}: ${quote(message.signatureLabel)},`
  )
  return [
    '',
    '/** What separates the signatures of one message type from those of every other. */',
    'export const SIGNATURE_LABELS = {',
    ...entries,
    '} as const',
    '',
    'export type SignedMessageName = keyof typeof SIGNATURE_LABELS',
    ''
  ]
}

function storageRecordEntries(model: Model): readonly string[] {
  const messages = new Set(storageRecords(model).map(({ message }) => message))
  const place = (entry: StoragePlace) =>
    `{ number: 0x${hex8(entry.number)}, ofDocument: ${entry.ofDocument}, key: ${quote(entry.key)} }`
  const entries = [...messages].map((message) => {
    const { server, device } = message.storageRecord ?? {}
    const places = properties([
      ['server', server && place(server)],
      ['device', device && place(device)]
    ])
    return `${message.name}: { ${places} },`
  })
  return [
    `/** A kind of keys under which records of one type are stored. */
export interface StoragePlace {
  /** The byte that tells this kind from every other of the same keeper and scope. */
  readonly number: number
  /** Whether the number stands behind a document's prefix. */
  readonly ofDocument: boolean
  /** What the key ends with, in words; empty when there is one record only. */
  readonly key: string
}

interface StorageRecordEntry {
  readonly server?: StoragePlace
  readonly device?: StoragePlace
}

/** What is stored alone under a key, by the name of its message. */
export const STORAGE_RECORDS = {`,
    ...entries,
    `} as const satisfies Readonly<Record<string, StorageRecordEntry>>

export type StorageRecordName = keyof typeof STORAGE_RECORDS
`
  ]
}
