/**
 * Random valid messages from a seed, a hundred times faster than arbitraries.ts, for the long runs: nothing is shrunk,
 * the seed and the number of the message find it again.
 */
import { enumNamed, type Field, isBigint, isRequired, isRequiredOneof, type Message, type Model } from '@heddle/codegen'
import { messageNamed } from '@heddle/codegen'
import type { AnyMessage } from './arbitraries.js'
import type { Random } from './mutate.js'

/** Texts with every length of UTF-8, a byte order mark, the last code point. */
const texts = ['', 'a', 'yjs/1', 'é', '€uro', '😀', '\ufeffx', '\u{10ffff}', '\u0000', 'ws://[::1]:8440/x?y=z']

/** A valid message; `$case` chooses the member of its first oneof. It may be above the max_size of the message. */
export function randomMessage(model: Model, message: Message, random: Random, $case?: string): AnyMessage {
  const out: Record<string, unknown> = {}
  for (const field of message.fields) {
    if (field.oneof === undefined) out[field.localName] = randomField(model, field, random)
  }
  for (const [index, oneof] of message.oneofs.entries()) {
    const members = message.fields.filter((field) => field.oneof === oneof.name)
    const wanted = index === 0 ? members.find((field) => field.localName === $case) : undefined
    const field = wanted ?? members[random(members.length)]
    const absent = wanted === undefined && !isRequiredOneof(message, oneof) && random(10) === 0
    out[oneof.localName] =
      field === undefined || absent ? undefined : { $case: field.localName, value: randomValue(model, field, random) }
  }
  return out
}

function randomField(model: Model, field: Field, random: Random): unknown {
  if (!field.repeated) {
    const canBeAbsent = (field.optional || field.kind === 'message') && !isRequired(field)
    return canBeAbsent && random(2) === 0 ? undefined : randomValue(model, field, random)
  }
  const { itemsMin = 0, itemsMax = Number.POSITIVE_INFINITY, sortedUnique, sortedBy } = field.limits
  const usual = Math.min(itemsMax, Math.max(itemsMin, random(5)))
  const count = random(200) === 0 && itemsMax <= 64 ? itemsMax : usual
  const items = Array.from({ length: count }, () => randomValue(model, field, random))
  if (sortedUnique !== true && sortedBy === undefined) return items
  const inner = sortedBy === undefined ? undefined : messageNamed(model, field.typeName)
  const key = inner?.fields.find(({ name }) => name === sortedBy)?.localName
  const keyOf = (item: unknown): unknown => (key === undefined ? item : (item as AnyMessage)[key])
  items.sort((a, b) => compareKeys(keyOf(a), keyOf(b)))
  return items.filter((item, i) => i === 0 || compareKeys(keyOf(items[i - 1]), keyOf(item)) !== 0)
}

function compareKeys(a: unknown, b: unknown): number {
  if (typeof a === 'number' || typeof a === 'bigint') return a < (b as typeof a) ? -1 : a > (b as typeof a) ? 1 : 0
  return Buffer.compare(Buffer.from(a as Uint8Array), Buffer.from(b as Uint8Array))
}

function randomValue(model: Model, field: Field, random: Random): unknown {
  switch (field.kind) {
    case 'message': {
      const inner = messageNamed(model, field.typeName)
      if (inner === undefined) throw new Error(`no message ${field.typeName}`)
      return randomMessage(model, inner, random)
    }
    case 'enum':
      return randomEnum(model, field, random)
    case 'bool':
      return random(2) === 1
    case 'bytes':
      return randomBytes(field, random)
    case 'string':
      return randomText(field, random)
    case 'sint32':
      return random(2) === 0 ? -random(0x8000_0000) - 1 : random(0x8000_0000)
    case 'sint64':
      return random(2) === 0 ? -randomBits(random, 63) - 1n : randomBits(random, 63)
    default:
      return isBigint(field) ? randomBigint(field, random) : randomNumber(field, random)
  }
}

function randomEnum(model: Model, field: Field, random: Random): number {
  const defined = (enumNamed(model, field.typeName)?.values ?? [])
    .map((value) => value.number)
    .filter((number) => number !== 0 || !field.limits.required)
  const isOther = !field.limits.definedOnly && random(4) === 0
  return isOther ? 1 + random(0x7fff_ffff) : (defined[random(defined.length)] ?? 0)
}

function randomBytes(field: Field, random: Random): Uint8Array {
  const { bytesMin = 0, bytesMax = 80 } = field.limits
  const spread = Math.min(bytesMax, Math.max(bytesMin, 80)) - bytesMin
  const atLimit = bytesMax <= 512 && random(20) === 0
  const bytes = new Uint8Array(atLimit ? bytesMax : bytesMin + random(spread + 1))
  let word = 0
  for (let i = 0; i < bytes.length; i++) {
    if ((i & 3) === 0) word = random(0x1_0000_0000)
    bytes[i] = word >>> ((i & 3) * 8)
  }
  return bytes
}

function randomText(field: Field, random: Random): string {
  const { bytesMin = 0, bytesMax = 80 } = field.limits
  for (let left = 8; left > 0; left--) {
    let text = ''
    for (let parts = 1 + random(4); parts > 0; parts--) text += texts[random(texts.length)]
    const size = Buffer.byteLength(text)
    if (size >= bytesMin && size <= bytesMax) return text
  }
  return 'x'.repeat(random(2) === 0 ? Math.max(bytesMin, Math.min(bytesMax, 1)) : bytesMax)
}

/** Small ones, the limits, and every length of varint. */
function randomNumber(field: Field, random: Random): number {
  const min = Number(field.limits.valueMin ?? 0n)
  const max = Number(field.limits.valueMax ?? 0xffff_ffffn)
  if (random(8) === 0) return random(2) === 0 ? min : max
  return min + random(Math.min(max - min + 1, 2 ** random(33)))
}

function randomBigint(field: Field, random: Random): bigint {
  const min = field.limits.valueMin ?? 0n
  const max = field.limits.valueMax ?? 0xffff_ffff_ffff_ffffn
  if (random(8) === 0) return random(2) === 0 ? min : max
  const value = min + randomBits(random, 64)
  return value > max ? max - (value % 1000n) : value
}

function randomBits(random: Random, bitsMax: number): bigint {
  const bits = BigInt(random(bitsMax + 1))
  const value = (BigInt(random(0x1_0000_0000)) << 32n) | BigInt(random(0x1_0000_0000))
  return BigInt.asUintN(Number(bits), value)
}
