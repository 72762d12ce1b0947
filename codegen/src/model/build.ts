/**
 * Turns the image `buf build` writes (a FileDescriptorSet with source information) into the plain model. Called by
 * generate/ and by tests; what it reads is checked by lint, not here.
 */
import {
  createFileRegistry,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  type FileRegistry,
  fromBinary,
  ScalarType
} from '@bufbuild/protobuf'
import { FeatureSet_FieldPresence, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { nestedTypes } from '@bufbuild/protobuf/reflect'
import { type OptionReader, optionReader } from './options.js'
import { type Source, sourceReader } from './source.js'
import type { Enum, Field, Kind, Message, Model, Oneof } from './types.js'

/**
 * Reads one protobuf package from an image. Throws when the image does not decode or lacks
 * heddle/options/v1/options.proto.
 */
export function readModel(image: Uint8Array, packageName: string): Model {
  return readPackage(registryOf(image), packageName)
}

/** The same for several packages of one image, in their order; cheaper than one by one. */
export function readModels(image: Uint8Array, packageNames: readonly string[]): readonly Model[] {
  const registry = registryOf(image)
  return packageNames.map((name) => readPackage(registry, name))
}

function registryOf(image: Uint8Array): FileRegistry {
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, image))
}

function readPackage(registry: FileRegistry, packageName: string): Model {
  const options = optionReader(registry)
  const source = sourceReader()
  const messages: Message[] = []
  const enums: Enum[] = []
  let report = false
  for (const file of registry.files) {
    if (file.proto.package !== packageName) continue
    report ||= options.report(file)
    for (const type of nestedTypes(file)) {
      if (type.kind === 'message') messages.push(readMessage(type, options, source))
      else if (type.kind === 'enum') enums.push(readEnum(type, options, source))
    }
  }
  return { packageName, report, messages, enums }
}

function readMessage(message: DescMessage, options: OptionReader, source: Source): Message {
  return {
    name: localTypeName(message),
    at: source.location(message),
    comment: source.comment(message),
    fields: message.fields.map((field) => readField(field, options, source)),
    oneofs: message.oneofs.map((oneof) => readOneof(oneof, source)),
    ...options.message(message)
  }
}

function readOneof(oneof: DescOneof, source: Source): Oneof {
  return {
    name: oneof.name,
    localName: oneof.localName,
    comment: source.comment(oneof),
    at: source.location(oneof)
  }
}

function readField(field: DescField, options: OptionReader, source: Source): Field {
  return {
    name: field.name,
    localName: field.localName,
    number: field.number,
    at: source.location(field),
    comment: source.comment(field),
    kind: kindOf(field),
    typeName: typeNameOf(field),
    repeated: field.fieldKind === 'list',
    packed: field.proto.options?.packed,
    optional: field.proto.proto3Optional || isProto2Optional(field),
    oneof: field.oneof?.name,
    limits: options.limits(field),
    json: options.json(field)
  }
}

function isProto2Optional(field: DescField): boolean {
  return (
    field.fieldKind !== 'message' &&
    field.fieldKind !== 'list' &&
    field.oneof === undefined &&
    field.presence === FeatureSet_FieldPresence.EXPLICIT
  )
}

function readEnum(described: DescEnum, options: OptionReader, source: Source): Enum {
  return {
    name: localTypeName(described),
    at: source.location(described),
    comment: source.comment(described),
    values: described.values.map((value) => ({
      name: value.name,
      number: value.number,
      at: source.location(value),
      comment: source.comment(value),
      error: options.error(value)
    }))
  }
}

/** ts-proto joins the names of nested types with an underscore. */
function localTypeName(described: DescMessage | DescEnum): string {
  return described.parent === undefined ? described.name : `${localTypeName(described.parent)}_${described.name}`
}

const scalarKinds = new Map<ScalarType, Kind>([
  [ScalarType.UINT32, 'uint32'],
  [ScalarType.UINT64, 'uint64'],
  [ScalarType.SINT32, 'sint32'],
  [ScalarType.SINT64, 'sint64'],
  [ScalarType.FIXED32, 'fixed32'],
  [ScalarType.FIXED64, 'fixed64'],
  [ScalarType.BOOL, 'bool'],
  [ScalarType.DOUBLE, 'double'],
  [ScalarType.BYTES, 'bytes'],
  [ScalarType.STRING, 'string']
])

function kindOf(field: DescField): Kind {
  if (field.fieldKind === 'map') return 'unsupported'
  if (field.message !== undefined) return isGroup(field) ? 'unsupported' : 'message'
  if (field.enum !== undefined) return 'enum'
  return field.scalar === undefined ? 'unsupported' : (scalarKinds.get(field.scalar) ?? 'unsupported')
}

function isGroup(field: DescField): boolean {
  return 'delimitedEncoding' in field && field.delimitedEncoding === true
}

function typeNameOf(field: DescField): string {
  if (field.fieldKind === 'map') return `map<${scalarName(field.mapKey)}, ${valueTypeName(field)}>`
  return isGroup(field) ? `group ${valueTypeName(field)}` : valueTypeName(field)
}

function valueTypeName(field: DescField): string {
  if (field.message !== undefined) return localTypeName(field.message)
  if (field.enum !== undefined) return localTypeName(field.enum)
  return field.scalar === undefined ? 'unknown' : scalarName(field.scalar)
}

function scalarName(scalar: ScalarType): string {
  return ScalarType[scalar].toLowerCase()
}
