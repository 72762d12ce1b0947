/**
 * The search for malformed bytes that a codec takes: mutants of valid messages, of every frame and of every message that
 * is met on its own, each judged by the strict oracle. Called by fuzz.test.ts and fuzz-wire.ts.
 */
import { isDeepStrictEqual } from 'node:util'
import { frameBodyName, frameMessageName } from '@heddle/codegen'
import { WireError } from '../../../core/src/wire/index.js'
import { reachableBytes } from '../../../core/src/wire/testing/memory.js'
import type { AnyMessage } from './arbitraries.js'
import { mutate, type Random, seededRandom } from './mutate.js'
import { randomMessage } from './random-message.js'
import { Malformed, readStrict } from './strict.js'
import type { ComparedSubject } from './compared.js'

export interface FuzzOptions {
  readonly inputs: number
  readonly seed: number
  /** Told how many are done, often. */
  readonly progress?: (done: number) => void
}

export interface FuzzRun {
  readonly inputs: number
  /** Kinds of messages that were mutated: each frame, and each other message. */
  readonly targets: number
  readonly accepted: number
  readonly refused: number
  /** By the code of the WireError. */
  readonly refusedByCode: Readonly<Record<string, number>>
  /** What ts-proto's full codec took of what is malformed. */
  readonly malformedTakenByTsProto: number
  /** The longest that one input took to decode, milliseconds. */
  readonly slowestMs: number
  /** What the second half of the inputs left behind in memory, bytes. */
  readonly keptBytes: number
  /** The greatest resident memory of the process on the way, bytes. */
  readonly rssBytesMax: number
}

interface Target {
  readonly subject: ComparedSubject
  /** Which body, for frames. */
  readonly body: string | undefined
  bases: readonly Uint8Array[]
}

const basesPerTarget = 24
/** After so many inputs of a target its bases are made anew. */
const inputsPerBases = 2_000

/** Throws at the first input on which a codec and the strict oracle disagree, or that ends in anything but a WireError. */
export function fuzz(subjects: readonly ComparedSubject[], { inputs, seed, progress }: FuzzOptions): FuzzRun {
  const random = seededRandom(seed)
  const targets = subjects.flatMap(targetsOf)
  const refusedByCode: Record<string, number> = {}
  let accepted = 0
  let malformedTakenByTsProto = 0
  let slowestMs = 0
  let rssBytesMax = 0
  let keptAtHalf = 0
  for (let done = 0; done < inputs; done++) {
    if (done === Math.floor(inputs / 2)) keptAtHalf = reachableBytes()
    const target = targets[done % targets.length] as Target
    if (Math.floor(done / targets.length) % inputsPerBases === 0) target.bases = newBases(target, random)
    const base = target.bases[random(target.bases.length)] as Uint8Array
    const mutant = mutate(base, random)
    const { subject } = target
    const startedMs = performance.now()
    const ours = attempt(() => subject.codec.decode(mutant))
    const ms = performance.now() - startedMs
    if (ms > slowestMs) slowestMs = Math.max(slowestMs, Math.min(ms, againMs(subject, mutant)))
    const expected = strictly(subject, mutant)
    const complaint = judge(subject, mutant, ours, expected)
    if (complaint !== undefined) {
      throw new Error(
        `seed ${seed}, input ${done}, ${subject.name}: ${complaint}\n${Buffer.from(mutant).toString('hex')}`
      )
    }
    if ('value' in ours) accepted++
    else refusedByCode[ours.refused] = (refusedByCode[ours.refused] ?? 0) + 1
    if (!('value' in expected) && isTakenByTsProto(subject, mutant)) malformedTakenByTsProto++
    if (done % 4096 === 0) {
      rssBytesMax = Math.max(rssBytesMax, process.memoryUsage.rss())
      progress?.(done)
    }
  }
  const refused = inputs - accepted
  return {
    ...{ inputs, targets: targets.length, accepted, refused, refusedByCode },
    ...{ malformedTakenByTsProto, slowestMs, rssBytesMax, keptBytes: reachableBytes() - keptAtHalf }
  }
}

/** The least of a few more times: what the machine did meanwhile does not repeat itself, a slow decoder does. */
function againMs({ codec }: ComparedSubject, mutant: Uint8Array): number {
  const times = Array.from({ length: 3 }, () => {
    const startedMs = performance.now()
    attempt(() => codec.decode(mutant))
    return performance.now() - startedMs
  })
  return Math.min(...times)
}

/** A frame is as many targets as it has bodies. */
function targetsOf(subject: ComparedSubject): readonly Target[] {
  if (subject.message.name !== frameMessageName) return [{ subject, body: undefined, bases: [] }]
  return subject.message.fields
    .filter((field) => field.oneof === frameBodyName)
    .map((field) => ({ subject, body: field.localName, bases: [] }))
}

function newBases({ subject, body }: Target, random: Random): readonly Uint8Array[] {
  const bases: Uint8Array[] = []
  while (bases.length < basesPerTarget) {
    const outcome = attempt(() => subject.codec.encode(randomMessage(subject.model, subject.message, random, body)))
    if ('value' in outcome) bases.push(outcome.value)
    else if (outcome.refused !== 'too_large') throw new Error(`${subject.name}: ${outcome.refused} for a valid message`)
  }
  return bases
}

type Outcome<T> = { readonly value: T } | { readonly refused: string }

/** A WireError is an answer; anything else is a bug and ends the run. */
function attempt<T>(act: () => T): Outcome<T> {
  try {
    return { value: act() }
  } catch (error) {
    if (error instanceof WireError) return { refused: error.code }
    throw error
  }
}

function strictly({ model, message }: ComparedSubject, bytes: Uint8Array): Outcome<AnyMessage> {
  try {
    return { value: readStrict(model, message, bytes) }
  } catch (error) {
    if (error instanceof Malformed) return { refused: error.message }
    throw error
  }
}

/** What is wrong with our outcome; undefined when it is right. */
function judge(
  { message, reference }: ComparedSubject,
  mutant: Uint8Array,
  ours: Outcome<AnyMessage>,
  expected: Outcome<AnyMessage>
): string | undefined {
  if (!('value' in ours)) return 'value' in expected ? `refused (${ours.refused}) what is valid` : undefined
  if (!('value' in expected)) return `accepted what is malformed: ${expected.refused}`
  if (!isDeepStrictEqual(ours.value, expected.value)) return 'read another message than the strict oracle'
  if (!isDeepStrictEqual(ours.value, reference.decode(message, mutant))) return 'read another message than protobufjs'
  if (message.canonical && Buffer.compare(reference.encode(message, ours.value), mutant) !== 0) {
    return 'accepted a second encoding of a canonical message'
  }
  return undefined
}

function isTakenByTsProto({ tsProto }: ComparedSubject, bytes: Uint8Array): boolean {
  try {
    tsProto.decode(bytes)
    return true
  } catch {
    return false
  }
}
