/**
 * The strict oracle: the rules of SPEC WIRE once more, read from the model instead of compiled from it, slow and plain.
 * It shares no line with the codecs or the emitters. What it refuses is malformed; what it reads is what the bytes mean.
 */
import { isUtf8 } from 'node:buffer'
import {
  enumNamed,
  type Field,
  isBigint,
  isNumber,
  isRequired,
  isRequiredOneof,
  type Message,
  type Model,
  messageNamed
} from '@heddle/codegen'
import type { AnyMessage } from './arbitraries.js'

/** Why bytes are malformed. */
export class Malformed extends Error {}

const unknownFieldsMax = 32

/** Reads a whole message. Throws Malformed. */
export function readStrict(model: Model, message: Message, bytes: Uint8Array): AnyMessage {
  return readMessage(model, message, new Window(bytes, 0, bytes.length), false)
}

/** Part of the input: a message, or packed numbers. */
class Window {
  constructor(
    readonly bytes: Uint8Array,
    public at: number,
    readonly end: number
  ) {}

  get isAtEnd(): boolean {
    return this.at === this.end
  }

  /** A varint of at most so many bytes and bits. */
  varint(bytesMax: number, bitsMax: number, minimal: boolean): bigint {
    let value = 0n
    for (let count = 0; count < bytesMax; count++) {
      if (this.at >= this.end) throw new Malformed('a varint is cut off')
      const byte = this.bytes[this.at++] ?? 0
      value |= BigInt(byte & 0x7f) << BigInt(7 * count)
      if (byte < 0x80) {
        if (minimal && byte === 0 && count > 0) throw new Malformed('a varint is longer than need be')
        if (value >> BigInt(bitsMax) !== 0n) throw new Malformed(`a varint has more than ${bitsMax} bits`)
        return value
      }
    }
    throw new Malformed(`a varint has more than ${bytesMax} bytes`)
  }

  varint32(minimal: boolean): number {
    return Number(this.varint(5, 32, minimal))
  }

  varint64(minimal: boolean): bigint {
    return this.varint(10, 64, minimal)
  }

  /** The next bytes, as a window of their own; this one moves behind them. */
  take(length: number): Window {
    if (length > this.end - this.at) throw new Malformed(`${length} bytes are more than are left`)
    const start = this.at
    this.at += length
    return new Window(this.bytes, start, this.at)
  }

  content(): Uint8Array {
    return this.bytes.slice(this.at, this.end)
  }

  littleEndian(): bigint {
    return this.content().reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
  }
}

function readMessage(model: Model, message: Message, window: Window, insideCanonical: boolean): AnyMessage {
  if (window.end - window.at > (message.maxSize ?? Number.POSITIVE_INFINITY)) throw new Malformed('too large')
  const canonical = insideCanonical || message.canonical
  const singles = new Map<Field, unknown>()
  const lists = new Map<Field, unknown[]>()
  const oneofs = new Map<string, unknown>()
  let unknown = 0
  let previousTag = 0
  while (!window.isAtEnd) {
    const tag = window.varint32(canonical)
    const number = tag >>> 3
    if (number === 0) throw new Malformed('field number 0')
    if (canonical && tag < previousTag) throw new Malformed('out of order')
    previousTag = tag
    const field = message.fields.find((candidate) => candidate.number === number)
    if (field === undefined) {
      if (canonical) throw new Malformed('an unknown field')
      if (++unknown > unknownFieldsMax) throw new Malformed('too many unknown fields')
      skip(window, tag & 7)
      continue
    }
    const packed = field.repeated && isNumber(field)
    if ((tag & 7) !== (packed ? 2 : wireTypeOf(field))) throw new Malformed(`${field.name}: wire type`)
    if (packed) {
      if (lists.has(field)) throw new Malformed(`${field.name} twice`)
      const numbers = window.take(window.varint32(canonical))
      if (canonical && numbers.isAtEnd) throw new Malformed(`${field.name} is empty and written`)
      const items: unknown[] = []
      while (!numbers.isAtEnd) items.push(readValue(model, field, numbers, canonical))
      lists.set(field, items)
    } else if (field.repeated) {
      const items = lists.get(field) ?? []
      items.push(readValue(model, field, window, canonical))
      lists.set(field, items)
    } else if (field.oneof !== undefined) {
      if (oneofs.has(field.oneof)) throw new Malformed(`${field.oneof} twice`)
      oneofs.set(field.oneof, { $case: field.localName, value: readValue(model, field, window, canonical) })
    } else {
      if (singles.has(field)) throw new Malformed(`${field.name} twice`)
      const value = readValue(model, field, window, canonical)
      if (canonical && !hasPresence(field) && isZero(value)) throw new Malformed(`${field.name}: default written`)
      singles.set(field, value)
    }
  }
  return result(model, message, singles, lists, oneofs)
}

function result(
  model: Model,
  message: Message,
  singles: ReadonlyMap<Field, unknown>,
  lists: ReadonlyMap<Field, readonly unknown[]>,
  oneofs: ReadonlyMap<string, unknown>
): AnyMessage {
  const out: Record<string, unknown> = {}
  for (const field of message.fields) {
    if (field.oneof !== undefined) continue
    if (field.repeated) {
      const items = lists.get(field) ?? []
      const { itemsMin = 0, itemsMax = Number.POSITIVE_INFINITY } = field.limits
      if (items.length < itemsMin || items.length > itemsMax)
        throw new Malformed(`${field.name}: ${items.length} items`)
      checkOrder(model, field, items)
      out[field.localName] = items
    } else {
      if (isRequired(field) && !singles.has(field)) throw new Malformed(`${field.name} is missing`)
      out[field.localName] = singles.has(field) ? singles.get(field) : hasPresence(field) ? undefined : zeroOf(field)
    }
  }
  for (const oneof of message.oneofs) {
    const chosen = oneofs.get(oneof.name)
    if (chosen === undefined && isRequiredOneof(message, oneof)) throw new Malformed(`${oneof.name} is missing`)
    out[oneof.localName] = chosen
  }
  return out
}

function checkOrder(model: Model, field: Field, items: readonly unknown[]): void {
  const { sortedUnique, sortedBy } = field.limits
  if (sortedUnique !== true && sortedBy === undefined) return
  const inner = sortedBy === undefined ? undefined : messageNamed(model, field.typeName)
  const key = inner?.fields.find(({ name }) => name === sortedBy)?.localName
  const keys = items.map((item) => (key === undefined ? item : (item as AnyMessage)[key]))
  for (let i = 1; i < keys.length; i++) {
    if (compare(keys[i - 1], keys[i]) >= 0) throw new Malformed(`${field.name} is not in ascending order`)
  }
}

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' || typeof a === 'bigint') return a < (b as typeof a) ? -1 : a > (b as typeof a) ? 1 : 0
  return Buffer.compare(Buffer.from(a as Uint8Array), Buffer.from(b as Uint8Array))
}

function readValue(model: Model, field: Field, window: Window, canonical: boolean): unknown {
  switch (field.kind) {
    case 'message': {
      const inner = messageNamed(model, field.typeName)
      if (inner === undefined) throw new Error(`no message ${field.typeName}`)
      return readMessage(model, inner, window.take(window.varint32(canonical)), canonical)
    }
    case 'bytes':
    case 'string': {
      const content = window.take(window.varint32(canonical)).content()
      const { bytesMin = 0, bytesMax = Number.POSITIVE_INFINITY } = field.limits
      if (content.length < bytesMin || content.length > bytesMax) throw new Malformed(`${field.name}: length`)
      if (field.kind === 'bytes') return content
      if (!isUtf8(content)) throw new Malformed(`${field.name}: not UTF-8`)
      return Buffer.from(content).toString('utf8')
    }
    case 'bool': {
      const value = window.varint32(canonical)
      if (value > 1) throw new Malformed(`${field.name}: not a bool`)
      return value === 1
    }
    case 'enum':
      return checkedEnum(model, field, window.varint32(canonical))
    case 'uint32':
      return checkedNumber(field, window.varint32(canonical))
    case 'fixed32':
      return checkedNumber(field, Number(window.take(4).littleEndian()))
    case 'sint32': {
      const value = window.varint32(canonical)
      return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    }
    case 'uint64':
      return checkedNumber(field, window.varint64(canonical))
    case 'fixed64':
      return checkedNumber(field, window.take(8).littleEndian())
    case 'sint64': {
      const value = window.varint64(canonical)
      return value % 2n === 0n ? value / 2n : -(value + 1n) / 2n
    }
    default:
      throw new Error(`${field.name} has the kind ${field.kind}`)
  }
}

function checkedNumber<N extends number | bigint>(field: Field, value: N): N {
  const { valueMin, valueMax } = field.limits
  if (valueMin !== undefined && value < valueMin) throw new Malformed(`${field.name}: ${value} is too small`)
  if (valueMax !== undefined && value > valueMax) throw new Malformed(`${field.name}: ${value} is too great`)
  return value
}

function checkedEnum(model: Model, field: Field, value: number): number {
  if (value > 0x7fff_ffff) throw new Malformed(`${field.name}: not an enum`)
  if (field.limits.required && value === 0) throw new Malformed(`${field.name} is not set`)
  const defined = enumNamed(model, field.typeName)?.values.some(({ number }) => number === value)
  if (field.limits.definedOnly && !defined) throw new Malformed(`${field.name}: ${value} is not defined`)
  return value
}

function skip(window: Window, wireType: number): void {
  if (wireType === 0) window.varint64(false)
  else if (wireType === 1) window.take(8)
  else if (wireType === 2) window.take(window.varint32(false))
  else if (wireType === 5) window.take(4)
  else throw new Malformed(`wire type ${wireType}`)
}

function wireTypeOf(field: Field): number {
  if (field.kind === 'bytes' || field.kind === 'string' || field.kind === 'message') return 2
  if (field.kind === 'fixed32') return 5
  return field.kind === 'fixed64' ? 1 : 0
}

function hasPresence(field: Field): boolean {
  return field.optional || field.kind === 'message'
}

function isZero(value: unknown): boolean {
  return (
    value === 0 || value === 0n || value === false || value === '' || (value instanceof Uint8Array && !value.length)
  )
}

function zeroOf(field: Field): unknown {
  if (field.kind === 'bytes') return new Uint8Array(0)
  if (field.kind === 'string') return ''
  if (field.kind === 'bool') return false
  return isBigint(field) ? 0n : 0
}
