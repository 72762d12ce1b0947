/**
 * One more oracle: `buf convert`, a protobuf implementation in Go. It reads all messages at once, as the items of a
 * message made for the purpose, and says them in JSON; from that it makes the bytes again.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { enumNamed, type Field, isBigint, type Message, type Model, messageNamed } from '@heddle/codegen'
import { buf } from '@heddle/codegen/oracle'
import { bytesField } from '../../../core/src/wire/testing/bytes.js'
import type { AnyMessage } from './arbitraries.js'
import { repository } from './compile.js'

export interface Converted {
  /** The messages as protobuf's JSON, by type, in the order given. */
  readonly json: Readonly<Record<string, readonly unknown[]>>
  /** What buf makes of its JSON, in the same order. */
  readonly bytes: Readonly<Record<string, readonly Uint8Array[]>>
}

/** Messages of the protocol by type, through buf; `folder` is the caller's. */
export async function convert(
  messages: ReadonlyMap<Message, readonly Uint8Array[]>,
  packageName: string,
  folder: string
): Promise<Converted> {
  const workspace = join(folder, 'workspace')
  await cp(join(repository, 'proto/heddle'), join(workspace, 'proto/heddle'), { recursive: true })
  await mkdir(join(workspace, 'proto/oracle'))
  await writeFile(join(workspace, 'buf.yaml'), 'version: v2\nmodules:\n  - path: proto\n')
  const types = [...messages.keys()]
  const files = [...new Set(types.map(({ at }) => at.file))].map((file) => `import "${file}";`)
  const fields = types.map(({ name }, i) => `repeated ${packageName}.${name} f${i + 1} = ${i + 1};`)
  await writeFile(
    join(workspace, 'proto/oracle/all.proto'),
    ['syntax = "proto3";', 'package oracle;', ...files, 'message All {', ...fields, '}', ''].join('\n')
  )
  const bytes = Buffer.concat(
    [...messages.values()].flatMap((list, i) => list.map((one) => Buffer.from(bytesField(i + 1, [...one]))))
  )
  const path = (name: string) => join(folder, name)
  await writeFile(path('all.binpb'), bytes)
  const run = (from: string, to: string) =>
    buf(['convert', workspace, '--type', 'oracle.All', '--from', path(from), '--to', path(to)], folder)
  await run('all.binpb', 'all.json')
  await run('all.json', 'again.binpb')
  const all = JSON.parse(await readFile(path('all.json'), 'utf8')) as Readonly<Record<string, readonly unknown[]>>
  const json = Object.fromEntries(types.map(({ name }, i) => [name, all[`f${i + 1}`] ?? []]))
  const again = items(new Uint8Array(await readFile(path('again.binpb'))))
  const byName = Object.fromEntries(types.map(({ name }, i) => [name, again.get(i + 1) ?? []]))
  return { json, bytes: byName }
}

/** The items of a message of nothing but repeated messages, by field number. */
function items(bytes: Uint8Array): ReadonlyMap<number, readonly Uint8Array[]> {
  const byNumber = new Map<number, Uint8Array[]>()
  let at = 0
  const varint = (): number => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  while (at < bytes.length) {
    const number = varint() >>> 3
    const length = varint()
    const list = byNumber.get(number) ?? []
    list.push(bytes.slice(at, at + length))
    byNumber.set(number, list)
    at += length
  }
  return byNumber
}

/** A message as protobuf's JSON has it. */
export function toJson(model: Model, message: Message, value: AnyMessage): unknown {
  const out: Record<string, unknown> = {}
  for (const field of message.fields) {
    if (field.oneof !== undefined) continue
    const item = value[field.localName]
    if (Array.isArray(item)) {
      if (item.length > 0) out[field.localName] = item.map((one) => valueToJson(model, field, one))
    } else if (item !== undefined && (field.optional || field.kind === 'message' || !isDefault(item))) {
      out[field.localName] = valueToJson(model, field, item)
    }
  }
  for (const oneof of message.oneofs) {
    const chosen = value[oneof.localName] as { readonly $case: string; readonly value: unknown } | undefined
    const field = message.fields.find(({ localName }) => localName === chosen?.$case)
    if (chosen !== undefined && field !== undefined) out[field.localName] = valueToJson(model, field, chosen.value)
  }
  return out
}

function isDefault(item: unknown): boolean {
  return item === 0 || item === 0n || item === false || item === '' || (item instanceof Uint8Array && item.length === 0)
}

function valueToJson(model: Model, field: Field, item: unknown): unknown {
  if (item instanceof Uint8Array) return Buffer.from(item).toString('base64')
  if (isBigint(field)) return String(item)
  if (field.kind === 'enum') {
    return enumNamed(model, field.typeName)?.values.find(({ number }) => number === item)?.name ?? item
  }
  const inner = field.kind === 'message' ? messageNamed(model, field.typeName) : undefined
  return inner === undefined ? item : toJson(model, inner, item as AnyMessage)
}
