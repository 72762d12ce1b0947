/** Valid messages of every type of the protocol through buf, whose protobuf is Google's in Go: same values, same bytes. */
import { type Message, temporaryFolder, wirePackage } from '@heddle/codegen'
import { expect, test } from 'vitest'
import { convert, toJson } from './support/buf-convert.js'
import { seededRandom } from './support/mutate.js'
import { randomMessage } from './support/random-message.js'
import { subjects } from './support/subjects.js'

const perType = 50
const seed = 20_261_121

test('buf reads 50 random messages of every type as we wrote them, and writes the same bytes', async () => {
  await using folder = await temporaryFolder()
  const random = seededRandom(seed)
  const bytes = new Map<Message, readonly Uint8Array[]>()
  const expected = new Map<string, unknown[]>()
  for (const { model, message, codec } of await subjects()) {
    if (model.packageName !== wirePackage) continue
    const values = Array.from({ length: perType }, () => randomMessage(model, message, random))
    bytes.set(
      message,
      values.map((value) => codec.encode(value))
    )
    expected.set(
      message.name,
      values.map((value) => toJson(model, message, value))
    )
  }
  const converted = await convert(bytes, wirePackage, folder.path)
  expect(expected.size).toBeGreaterThan(60)
  for (const [{ name, oneofs }, messages] of bytes) {
    const where = `${name}, seed ${seed}`
    expect(converted.json[name], where).toEqual(expected.get(name))
    // Go writes the member of a oneof behind all other fields.
    const again = converted.bytes[name] ?? []
    const comparable = (list: readonly Uint8Array[]) => (oneofs.length === 0 ? list : list.map(({ length }) => length))
    expect(comparable(again), where).toEqual(comparable(messages))
  }
}, 120_000)
