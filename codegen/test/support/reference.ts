/**
 * An independent protobuf implementation: protobufjs, which reads the .proto files itself. It is lax where our codecs
 * are strict, but what both accept they must read alike, and what it writes is the canonical encoding (numbers packed,
 * defaults left out, fields in order).
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { enumNamed, type Field, isBigint, type Message, type Model, messageNamed } from '@heddle/codegen'
import protobuf from 'protobufjs'
import type { AnyMessage } from './arbitraries.js'
import { fixtures, repository } from './compile.js'

export interface Reference {
  encode(message: Message, value: AnyMessage): Uint8Array
  /** Throws when protobufjs cannot make sense of the bytes. Missing fields have their defaults. */
  decode(message: Message, bytes: Uint8Array): AnyMessage
}

/** A reference for the messages of one package. */
export function reference(model: Model, files: readonly string[]): Reference {
  const root = new protobuf.Root()
  for (const file of files) {
    const folder = file.startsWith('fixture/') ? fixtures : join(repository, 'proto')
    const source = readFileSync(join(folder, file), 'utf8')
    protobuf.parse(withoutOptions(source), root, { keepCase: true })
  }
  root.resolveAll()
  const typeOf = (message: Message) => root.lookupType(`${model.packageName}.${message.name.replaceAll('_', '.')}`)
  return {
    encode: (message, value) =>
      new Uint8Array(
        typeOf(message)
          .encode(toReference(model, message, value))
          .finish()
      ),
    decode: (message, bytes) => fromReference(model, message, typeOf(message).decode(bytes) as unknown as AnyMessage)
  }
}

/** Custom options mean nothing to the reference, and google/protobuf/descriptor.proto is not loaded. */
function withoutOptions(source: string): string {
  return source
    .replace(/^import .*$/gm, '')
    .replace(/^\s*option .*?;$/gms, '')
    .replace(/\(heddle\.options\.v1\.\w+\) = \{[^}]*\}/g, 'ours = true')
}

function toReference(model: Model, message: Message, value: AnyMessage): Record<string, unknown> {
  const out: Record<string, unknown> = {}
  const set = (field: Field, item: unknown): void => {
    out[field.name] = Array.isArray(item) ? item.map((one) => toLong(model, field, one)) : toLong(model, field, item)
  }
  for (const field of message.fields) {
    const item = value[field.localName]
    if (field.oneof === undefined && item !== undefined && !isOmitted(field, item)) set(field, item)
  }
  for (const oneof of message.oneofs) {
    const chosen = value[oneof.localName] as { readonly $case: string; readonly value: unknown } | undefined
    const field = message.fields.find((candidate) => candidate.localName === chosen?.$case)
    if (chosen !== undefined && field !== undefined) set(field, chosen.value)
  }
  return out
}

function isOmitted(field: Field, item: unknown): boolean {
  if (field.repeated) return (item as readonly unknown[]).length === 0
  if (field.optional || field.kind === 'message') return false
  return item === 0 || item === 0n || item === false || item === '' || (item instanceof Uint8Array && item.length === 0)
}

function toLong(model: Model, field: Field, item: unknown): unknown {
  if (field.kind === 'message') return toReference(model, innerOf(model, field), item as AnyMessage)
  if (!isBigint(field)) return item
  const bits = BigInt.asUintN(64, item as bigint)
  return { low: Number(BigInt.asIntN(32, bits)), high: Number(bits >> 32n), unsigned: field.kind !== 'sint64' }
}

function fromReference(model: Model, message: Message, value: AnyMessage): AnyMessage {
  const out: Record<string, unknown> = {}
  const own = (field: Field) => (Object.hasOwn(value, field.name) ? value[field.name] : undefined)
  for (const field of message.fields) {
    if (field.oneof !== undefined) continue
    const item = own(field)
    if (field.repeated)
      out[field.localName] = ((item ?? []) as readonly unknown[]).map((one) => fromLong(model, field, one))
    else if (item !== undefined && item !== null) out[field.localName] = fromLong(model, field, item)
    else out[field.localName] = field.optional || field.kind === 'message' ? undefined : defaultOf(model, field)
  }
  for (const oneof of message.oneofs) {
    const field = message.fields.find((candidate) => candidate.oneof === oneof.name && own(candidate) !== undefined)
    const chosen = field && { $case: field.localName, value: fromLong(model, field, own(field)) }
    out[oneof.localName] = chosen
  }
  return out
}

function fromLong(model: Model, field: Field, item: unknown): unknown {
  if (field.kind === 'message') return fromReference(model, innerOf(model, field), item as AnyMessage)
  if (item instanceof Uint8Array) return new Uint8Array(item)
  return isBigint(field) ? BigInt(String(item)) : item
}

function defaultOf(model: Model, field: Field): unknown {
  if (field.kind === 'bytes') return new Uint8Array(0)
  if (field.kind === 'string') return ''
  if (field.kind === 'bool') return false
  if (field.kind === 'enum' && enumNamed(model, field.typeName) === undefined)
    throw new Error(`no enum ${field.typeName}`)
  return isBigint(field) ? 0n : 0
}

function innerOf(model: Model, field: Field): Message {
  const inner = messageNamed(model, field.typeName)
  if (inner === undefined) throw new Error(`no message ${field.typeName}`)
  return inner
}
