/**
 * Reads the custom options of proto/heddle/options/v1 through descriptors taken from the image itself, so that codegen/
 * needs no generated code to generate code. Called by build.ts only.
 */
import {
  type DescEnumValue,
  type DescExtension,
  type DescField,
  type DescFile,
  type DescMessage,
  type FileRegistry,
  getOption,
  hasOption
} from '@bufbuild/protobuf'
import { isReflectMessage, type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect'
import {
  type Direction,
  type ErrorInfo,
  type JsonForm,
  type Limits,
  type Message,
  type MlsContext,
  noLimits,
  type Retry,
  type StoragePlace
} from './types.js'

type Described = DescFile | DescMessage | DescField | DescEnumValue

const optionsPackage = 'heddle.options.v1'

export type MessageOptions = Pick<
  Message,
  | 'frameType'
  | 'direction'
  | 'maxSize'
  | 'since'
  | 'canonical'
  | 'topLevel'
  | 'signatureLabel'
  | 'mlsExtension'
  | 'mlsProposal'
  | 'storageRecord'
  | 'output'
>

/** What the options of one image say. Throws when the image lacks options.proto. */
export interface OptionReader {
  message(message: DescMessage): MessageOptions
  limits(field: DescField): Limits
  json(field: DescField): JsonForm | undefined
  error(value: DescEnumValue): ErrorInfo | undefined
  /** Whether the file describes reports. */
  report(file: DescFile): boolean
}

export function optionReader(registry: FileRegistry): OptionReader {
  const extension = (name: string): DescExtension => {
    const found = registry.getExtension(`${optionsPackage}.${name}`)
    if (found === undefined) throw new Error(`codegen: the image has no option ${optionsPackage}.${name}`)
    return found
  }
  /** Of options that the images of older releases lack. */
  const later = (name: string): DescExtension | undefined => registry.getExtension(`${optionsPackage}.${name}`)
  const number = (described: Described, name: string): number | undefined => {
    const value = scalarOption(described, extension(name))
    return typeof value === 'number' ? value : undefined
  }
  const flag = (described: Described, name: string): boolean => scalarOption(described, extension(name)) === true
  return {
    message(message) {
      const direction = extension('direction')
      const label = scalarOption(message, extension('signature_label'))
      const mlsExtension = messageOption(message, extension('mls_extension'))
      const mlsProposal = messageOption(message, extension('mls_proposal'))
      const storageRecord = messageOption(message, later('storage_record'))
      const output = scalarOption(message, later('output'))
      return {
        frameType: number(message, 'frame_type'),
        direction: enumName(direction.enum, scalarOption(message, direction), 'DIRECTION_') as Direction | undefined,
        maxSize: number(message, 'max_size'),
        since: number(message, 'since_version'),
        canonical: flag(message, 'canonical'),
        topLevel: flag(message, 'top_level'),
        signatureLabel: typeof label === 'string' ? label : undefined,
        mlsExtension: mlsExtension && {
          type: mlsExtension.number('type') ?? 0,
          contexts: mlsExtension.enumNames('contexts', 'MLS_CONTEXT_') as readonly MlsContext[],
          required: mlsExtension.flag('required')
        },
        mlsProposal: mlsProposal && { type: mlsProposal.number('type') ?? 0 },
        storageRecord: storageRecord && {
          server: storagePlace(storageRecord.message('server')),
          device: storagePlace(storageRecord.message('device'))
        },
        output: typeof output === 'string' ? output : undefined
      }
    },
    limits(field) {
      const limits = messageOption(field, extension('limits'))
      if (limits === undefined) return noLimits
      const exact = limits.number('len')
      return {
        bytesMin: exact ?? limits.number('min_len'),
        bytesMax: exact ?? limits.number('max_len'),
        itemsMin: limits.number('min_items'),
        itemsMax: limits.number('max_items'),
        valueMin: limits.bigint('min_value'),
        valueMax: limits.bigint('max_value'),
        required: limits.flag('required'),
        definedOnly: limits.flag('defined_only'),
        sortedUnique: limits.flag('sorted_unique'),
        sortedBy: limits.string('sorted_by')
      }
    },
    json(field) {
      const json = messageOption(field, later('json'))
      return json && { pattern: json.string('pattern'), nullable: json.flag('nullable') }
    },
    report: (file) => scalarOption(file, later('report')) === true,
    error(value) {
      const error = messageOption(value, extension('error'))
      return (
        error && {
          retry: error.enumNames('retry', 'RETRY_')[0] as Retry | undefined,
          fatal: error.flag('fatal'),
          summary: error.string('summary') ?? ''
        }
      )
    }
  }
}

function storagePlace(place: OptionMessage | undefined): StoragePlace | undefined {
  return (
    place && {
      number: place.number('number') ?? 0,
      ofDocument: place.flag('of_document'),
      key: place.string('key') ?? ''
    }
  )
}

function scalarOption(described: Described, extension: DescExtension | undefined): unknown {
  return extension !== undefined && hasOption(described, extension) ? getOption(described, extension) : undefined
}

/**
 * The fields of an option that is itself a message, by their names in options.proto. One that the image's options.proto
 * does not have is not set: images of older releases are read too.
 */
interface OptionMessage {
  number(name: string): number | undefined
  bigint(name: string): bigint | undefined
  string(name: string): string | undefined
  flag(name: string): boolean
  message(name: string): OptionMessage | undefined
  /** The set values of a single or repeated enum field, without their prefix and in lower case. */
  enumNames(name: string, prefix: string): readonly string[]
}

function messageOption(described: Described, extension: DescExtension | undefined): OptionMessage | undefined {
  if (extension?.message === undefined || !hasOption(described, extension)) return undefined
  const wrapped: unknown = reflect(extension.message, getOption(described, extension) as never)
  if (!isReflectMessage(wrapped)) throw new Error(`codegen: option ${extension.typeName} is not a message`)
  return optionMessage(wrapped)
}

function optionMessage(wrapped: ReflectMessage): OptionMessage {
  const field = (name: string): DescField | undefined => wrapped.fields.find((candidate) => candidate.name === name)
  const value = (name: string): unknown => {
    const found = field(name)
    return found !== undefined && wrapped.isSet(found) ? wrapped.get(found) : undefined
  }
  return {
    number: (name) => typed(value(name), 'number'),
    bigint: (name) => typed(value(name), 'bigint'),
    string: (name) => typed(value(name), 'string'),
    flag: (name) => value(name) === true,
    message(name) {
      const inner = value(name)
      return isReflectMessage(inner) ? optionMessage(inner) : undefined
    },
    enumNames(name, prefix) {
      const values = value(name)
      if (values === undefined) return []
      const list = isIterable(values) ? [...values] : [values]
      return list.flatMap((item) => enumName(field(name)?.enum, item, prefix) ?? [])
    }
  }
}

function typed(value: unknown, type: 'number'): number | undefined
function typed(value: unknown, type: 'bigint'): bigint | undefined
function typed(value: unknown, type: 'string'): string | undefined
function typed(value: unknown, type: string): unknown {
  if (value === undefined) return undefined
  if (typeof value !== type) throw new Error(`codegen: an option holds a ${typeof value} where a ${type} belongs`)
  return value
}

function enumName(described: DescField['enum'], value: unknown, prefix: string): string | undefined {
  if (value === undefined || value === 0) return undefined
  const name = described?.values.find((candidate) => candidate.number === value)?.name
  if (name === undefined) throw new Error(`codegen: ${described?.typeName} has no value ${String(value)}`)
  return name.replace(prefix, '').toLowerCase()
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value
}
