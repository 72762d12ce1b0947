/**
 * Properties of every generated codec, over random valid messages, and against an independent implementation of
 * protobuf.
 */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { WireError } from '../../core/src/wire/index.js'
import { type AnyMessage, arbitraryMessage } from './support/arbitraries.js'
import { type Subject, subjects } from './support/subjects.js'

const all = await subjects()
const runs = { numRuns: 120 }

/** The encoding of a valid message; skips the few that are above the size of the whole message. */
function encoded(subject: Subject, value: AnyMessage): Uint8Array {
  try {
    return subject.codec.encode(value)
  } catch (error) {
    fc.pre(!(error instanceof WireError && error.code === 'too_large'))
    throw error
  }
}

test('every message that is met on its own has a codec', () => {
  expect(all.length).toBeGreaterThan(50)
})

describe.each(all.map((subject) => [subject.name, subject] as const))('%s', (_, subject) => {
  const messages = arbitraryMessage(subject.model, subject.message)

  test('decodes what it encodes to the same message', () => {
    fc.assert(
      fc.property(messages, (value) => isDeepStrictEqual(subject.codec.decode(encoded(subject, value)), value)),
      runs
    )
  })

  test('encodes to the bytes of the reference, which reads them alike', () => {
    fc.assert(
      fc.property(messages, (value) => {
        const ours = encoded(subject, value)
        const theirs = subject.reference.encode(subject.message, value)
        return (
          Buffer.compare(ours, theirs) === 0 &&
          isDeepStrictEqual(subject.reference.decode(subject.message, ours), value)
        )
      }),
      runs
    )
  })
})
