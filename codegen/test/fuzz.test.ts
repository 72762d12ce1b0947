/**
 * Damaged bytes: 120,000 mutants of valid messages from one seed. A decoder refuses with a WireError or reads what
 * the reference reads; the canonical encoding of a valid message is always taken, and canonical messages take nothing
 * else. HEDDLE_FUZZ_SEED and HEDDLE_FUZZ_MUTANTS search elsewhere and longer.
 */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { WireError } from '../../core/src/wire/index.js'
import { type AnyMessage, arbitraryMessage } from './support/arbitraries.js'
import { mutate, seededRandom } from './support/mutate.js'
import { type Subject, subjects } from './support/subjects.js'

const seed = Number(process.env.HEDDLE_FUZZ_SEED ?? 20_240_117)
const mutantsTotal = Number(process.env.HEDDLE_FUZZ_MUTANTS ?? 120_000)
const basesPerSubject = 40

type Outcome = { readonly value: AnyMessage } | { readonly refused: string }

test('no damaged message is misread, and none crashes a decoder', async () => {
  const all = await subjects()
  const random = seededRandom(seed)
  const counts = { accepted: 0, refused: 0 }
  const codes = new Set<string>()
  for (const subject of all) {
    const bases = validEncodings(subject)
    for (let i = 0; i < mutantsTotal / all.length; i++) {
      const mutant = mutate(bases[random(bases.length)] as Uint8Array, random)
      const outcome = attempt(() => subject.codec.decode(mutant))
      const complaint = judge(subject, mutant, outcome)
      if (complaint !== undefined) {
        throw new Error(`seed ${seed}, ${subject.name}: ${complaint}\n${Buffer.from(mutant).toString('hex')}`)
      }
      if ('value' in outcome) counts.accepted++
      else {
        counts.refused++
        codes.add(outcome.refused)
      }
    }
  }
  // The search must reach both sides, and every kind of refusal.
  expect(counts.accepted).toBeGreaterThan(mutantsTotal / 50)
  expect(counts.refused).toBeGreaterThan(mutantsTotal / 3)
  expect([...codes].sort()).toEqual(allCodes)
}, 120_000)

const allCodes = [
  ...['default_value', 'duplicate', 'enum', 'not_minimal', 'order', 'range', 'required', 'tag', 'too_few', 'too_large'],
  ...['too_long', 'too_many', 'too_short', 'truncated', 'unknown_field', 'unsorted', 'utf8', 'varint', 'wire_type']
]

/** What is wrong with the outcome; undefined when it is right. */
function judge(subject: Subject, mutant: Uint8Array, ours: Outcome): string | undefined {
  const { codec, message, reference } = subject
  let theirs: AnyMessage | undefined
  try {
    theirs = reference.decode(message, mutant)
  } catch {
    return 'value' in ours ? 'accepted what the reference cannot read' : undefined
  }
  if ('refused' in ours) {
    const readable = theirs
    const again = attempt(() => codec.encode(readable))
    const isOurs = 'value' in again && Buffer.compare(again.value as unknown as Uint8Array, mutant) === 0
    return isOurs ? `refused (${ours.refused}) the canonical encoding of a valid message` : undefined
  }
  if (!isDeepStrictEqual(ours.value, theirs)) return 'read another message than the reference'
  if (message.canonical && Buffer.compare(reference.encode(message, theirs), mutant) !== 0) {
    return 'accepted a second encoding of a canonical message'
  }
  return undefined
}

/** A WireError is an answer; anything else is a bug and ends the test. */
function attempt(act: () => AnyMessage | Uint8Array): Outcome {
  try {
    return { value: act() as AnyMessage }
  } catch (error) {
    if (error instanceof WireError) return { refused: error.code }
    throw error
  }
}

function validEncodings(subject: Subject): readonly Uint8Array[] {
  const values = fc.sample(arbitraryMessage(subject.model, subject.message), { numRuns: basesPerSubject, seed })
  return values.flatMap((value) => {
    const outcome = attempt(() => subject.codec.encode(value))
    return 'value' in outcome ? [outcome.value as unknown as Uint8Array] : []
  })
}
