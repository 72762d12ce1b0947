/**
 * Compares our codecs with three independent implementations on random valid messages: ts-proto's full codecs, protobufjs
 * and the strict oracle. All write the same bytes and read the same message. Called by oracle.test.ts and fuzz-wire.ts.
 */
import { isDeepStrictEqual } from 'node:util'
import { WireError } from '../../../core/src/wire/index.js'
import type { AnyMessage } from './arbitraries.js'
import { seededRandom } from './mutate.js'
import { randomMessage } from './random-message.js'
import { readStrict } from './strict.js'
import type { ComparedSubject } from './compared.js'

export interface OracleRun {
  readonly messages: number
  /** Messages whose fields were in their limits and whose whole was above max_size: refused, and not counted. */
  readonly tooLarge: number
}

/** Throws at the first disagreement, with all that is needed to see it again. */
export function compareOnValid(subjects: readonly ComparedSubject[], perType: number, seed: number): OracleRun {
  let messages = 0
  let tooLarge = 0
  for (const [index, subject] of subjects.entries()) {
    const random = seededRandom(seed + index)
    for (let i = 0; i < perType; ) {
      const value = randomMessage(subject.model, subject.message, random)
      const bytes = encoded(subject, value)
      if (bytes === undefined) {
        tooLarge++
        continue
      }
      i++
      messages++
      const complaint = disagreement(subject, value, bytes)
      if (complaint === undefined) continue
      throw new Error(
        `seed ${seed}, ${subject.name}, message ${i}: ${complaint}\n${Buffer.from(bytes).toString('hex')}`
      )
    }
  }
  return { messages, tooLarge }
}

function encoded({ codec }: ComparedSubject, value: AnyMessage): Uint8Array | undefined {
  try {
    return codec.encode(value)
  } catch (error) {
    if (error instanceof WireError && error.code === 'too_large') return undefined
    throw error
  }
}

function disagreement(subject: ComparedSubject, value: AnyMessage, bytes: Uint8Array): string | undefined {
  const { codec, message, model, reference, tsProto } = subject
  if (!isDeepStrictEqual(codec.decode(bytes), value)) return 'our decoder reads another message'
  if (!isDeepStrictEqual(readStrict(model, message, bytes), value)) return 'the strict oracle reads another message'
  if (!isDeepStrictEqual(tsProto.decode(bytes), value)) return 'ts-proto reads another message'
  if (!isDeepStrictEqual(reference.decode(message, bytes), value)) return 'protobufjs reads another message'
  if (Buffer.compare(tsProto.encode(value).finish(), bytes) !== 0) return 'ts-proto writes other bytes'
  if (Buffer.compare(reference.encode(message, value), bytes) !== 0) return 'protobufjs writes other bytes'
  return undefined
}
