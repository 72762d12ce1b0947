/** Small models written by hand, for tests of what needs no descriptors. */
import { type Field, type Message, type Model, noLimits } from '@heddle/codegen'

const at = { file: 'test/v1/plain.proto', line: 1 }

/** A message with nothing but a name and fields numbered from 1. */
export function message(name: string, fields: readonly Partial<Field>[], options: Partial<Message> = {}): Message {
  return {
    name,
    at,
    comment: `${name} in words.`,
    fields: fields.map((partial, index) => field(index + 1, partial)),
    oneofs: [],
    frameType: undefined,
    direction: undefined,
    maxSize: undefined,
    since: undefined,
    canonical: false,
    topLevel: false,
    signatureLabel: undefined,
    mlsExtension: undefined,
    mlsProposal: undefined,
    storageRecord: undefined,
    output: undefined,
    ...options
  }
}

export function model(messages: readonly Message[], enums: Model['enums'] = []): Model {
  return { packageName: 'test.v1', messages, enums }
}

function field(number: number, partial: Partial<Field>): Field {
  const name = partial.name ?? `field_${number}`
  return {
    name,
    localName: name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    number,
    at,
    comment: `${name} in words.`,
    kind: 'uint32',
    typeName: partial.kind ?? 'uint32',
    repeated: false,
    packed: undefined,
    optional: false,
    oneof: undefined,
    limits: noLimits,
    ...partial
  }
}
