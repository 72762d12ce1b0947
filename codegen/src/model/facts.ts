/**
 * What follows from a model without being written in it: which messages get a codec, which fields must be present, which
 * messages may be met inside a canonical one. Pure; used by lint, the emitters and the tests.
 */
import type { Enum, EnumValue, ErrorInfo, Field, Message, Model, Oneof, StoragePlace } from './types.js'

export const frameMessageName = 'Frame'
export const frameBodyName = 'body'
export const errorEnumName = 'ErrorCode'

/** Whether the message is met on its own, and not only inside another one. */
export function isExported(message: Message): boolean {
  return (
    message.topLevel ||
    message.storageRecord !== undefined ||
    message.name === frameMessageName ||
    message.frameType !== undefined ||
    message.mlsExtension !== undefined ||
    message.mlsProposal !== undefined
  )
}

export function messageNamed(model: Model, name: string): Message | undefined {
  return model.messages.find((message) => message.name === name)
}

export function enumNamed(model: Model, name: string): Enum | undefined {
  return model.enums.find((candidate) => candidate.name === name)
}

/** The fields of Frame.body with the messages they carry, by number. */
export function frameBodies(model: Model): readonly { readonly field: Field; readonly message: Message }[] {
  const bodies: { field: Field; message: Message }[] = []
  for (const field of messageNamed(model, frameMessageName)?.fields ?? []) {
    const message = field.oneof === frameBodyName ? messageNamed(model, field.typeName) : undefined
    if (message !== undefined) bodies.push({ field, message })
  }
  return bodies.sort((a, b) => a.field.number - b.field.number)
}

/** Error codes, by number. */
export function errorCodes(
  model: Model
): readonly { readonly name: string; readonly value: EnumValue; readonly info: ErrorInfo }[] {
  const prefix = 'ERROR_CODE_'
  return (enumNamed(model, errorEnumName)?.values ?? [])
    .flatMap((value) =>
      value.error === undefined ? [] : [{ name: value.name.replace(prefix, ''), value, info: value.error }]
    )
    .sort((a, b) => a.value.number - b.value.number)
}

/** What is stored alone under a key, by keeper, scope and number. */
export function storageRecords(
  model: Model
): readonly { readonly message: Message; readonly keeper: 'server' | 'device'; readonly place: StoragePlace }[] {
  return (['server', 'device'] as const).flatMap((keeper) =>
    model.messages
      .flatMap((message) => {
        const place = message.storageRecord?.[keeper]
        return place === undefined ? [] : [{ message, keeper, place }]
      })
      .sort((a, b) => Number(a.place.ofDocument) - Number(b.place.ofDocument) || a.place.number - b.place.number)
  )
}

/**
 * Whether absence is an error. A least length or value above zero makes a plain field required, because its absence means
 * empty or zero.
 */
export function isRequired(field: Field): boolean {
  if (field.repeated || field.oneof !== undefined) return false
  if (field.limits.required) return true
  if (field.optional) return false
  return (field.limits.bytesMin ?? 0) > 0 || (field.limits.valueMin ?? 0n) > 0n
}

/** A oneof is required when one of its members says so. */
export function isRequiredOneof(message: Message, oneof: Oneof): boolean {
  return message.fields.some((field) => field.oneof === oneof.name && field.limits.required)
}

/** Whether a decoded message may lack the field, so that its type has `undefined`. */
export function hasPresence(field: Field): boolean {
  return !field.repeated && (field.optional || field.kind === 'message' || field.oneof !== undefined)
}

/** Whether the field is a number, and so packed when it is repeated. */
export function isNumber(field: Field): boolean {
  return field.kind !== 'bytes' && field.kind !== 'string' && field.kind !== 'message' && field.kind !== 'unsupported'
}

export function isBigint(field: Field): boolean {
  return field.kind === 'uint64' || field.kind === 'sint64' || field.kind === 'fixed64'
}

/** The field of a repeated message by which its items are sorted; undefined when they are not, or it does not exist. */
export function sortKeyOf(model: Model, field: Field): Field | undefined {
  if (field.limits.sortedBy === undefined) return undefined
  return messageNamed(model, field.typeName)?.fields.find(({ name }) => name === field.limits.sortedBy)
}

/** Whether the items of the field stand in strictly ascending order. */
export function isSorted(field: Field): boolean {
  return field.limits.sortedUnique === true || field.limits.sortedBy !== undefined
}

/** Names of the messages that are canonical or occur inside a canonical one. */
export function canonicalReach(model: Model): ReadonlySet<string> {
  const reached = new Set<string>()
  const visit = (message: Message): void => {
    if (reached.has(message.name)) return
    reached.add(message.name)
    for (const inner of innerMessages(model, message)) visit(inner)
  }
  for (const message of model.messages) if (message.canonical) visit(message)
  return reached
}

/** The messages that are fields of the message. */
export function innerMessages(model: Model, message: Message): readonly Message[] {
  return message.fields.flatMap((field) => {
    const inner = field.kind === 'message' ? messageNamed(model, field.typeName) : undefined
    return inner === undefined ? [] : [inner]
  })
}

/** "heddle/v1/paxos.proto" is "paxos". */
export function moduleOf(declared: { readonly at: { readonly file: string } }): string {
  return declared.at.file.replace(/^.*\//, '').replace(/\.proto$/, '')
}
