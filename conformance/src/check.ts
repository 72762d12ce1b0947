/**
 * What a conformance check is, and the little it is written with: comparisons that say what was expected and what came,
 * seeded data. No test runner is imported, so that any runs the suites.
 */
import { type ErrorName, HeddleError } from '@heddle/core'

/** One requirement, tried on one plugin. Every run begins anew. */
export interface Check {
  /** Stable: "STORAGE-SCAN-002". Never used for another meaning. */
  readonly id: string
  /** What a conformant plugin does, as a sentence. */
  readonly title: string
  /** Rejects with CheckFailure, or with what the plugin threw. */
  run(): Promise<void>
}

export class CheckFailure extends Error {
  override readonly name = 'CheckFailure'
  readonly expected: unknown
  readonly got: unknown

  constructor(what: string, expected: unknown, got: unknown) {
    super(`${what}\n  expected: ${show(expected)}\n  got:      ${show(got)}`)
    this.expected = expected
    this.got = got
  }
}

/** Compares by structure; bytes by content, the keys of an object in any order. */
export function expectEqual(got: unknown, expected: unknown, what: string): void {
  if (canonical(got) !== canonical(expected)) throw new CheckFailure(what, expected, got)
}

export function expectTrue(condition: boolean, what: string, got: unknown): void {
  if (!condition) throw new CheckFailure(what, 'true', got)
}

/** Calls `action` and expects a HeddleError with `code`, thrown or rejected. Returns it. */
export async function expectCode(
  action: () => unknown,
  code: ErrorName | readonly ErrorName[],
  what: string
): Promise<HeddleError> {
  const codes: readonly ErrorName[] = typeof code === 'string' ? [code] : code
  let got: unknown
  try {
    got = await action()
  } catch (error) {
    if (HeddleError.is(error) && codes.includes(error.code)) return error
    throw new CheckFailure(what, `HeddleError ${codes.join(' or ')}`, error)
  }
  throw new CheckFailure(what, `HeddleError ${codes.join(' or ')}`, got === undefined ? 'no error' : got)
}

/** A promise that has to come: fails after `timeoutMs` instead of waiting for ever. */
export async function expectSoon<T>(promise: Promise<T>, what: string, timeoutMs = 10_000): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new CheckFailure(what, `within ${timeoutMs} ms`, 'nothing')), timeoutMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Lets everything that is due happen, not only promises. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0))

/** Lets the next event happen, where the runtime can without the millisecond of a timer. */
export const nextEvent = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve)
    else setTimeout(resolve, 0)
  })

/** A text that is equal for equal structures. */
export function canonical(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes(${hex(value)})`
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined)
    const sorted = fields.sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${sorted.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(',')}}`
  }
  if (typeof value === 'bigint' || typeof value === 'function') return `${typeof value} ${value}`
  return JSON.stringify(value) ?? 'undefined'
}

/** A reproducible source of data (mulberry32): suites never use real randomness. */
export class Seeded {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number from 0 to `bound` - 1. */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound)
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }

  /** A copy in another order. */
  shuffled<T>(items: readonly T[]): T[] {
    const out = [...items]
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1)
      const held = out[i] as T
      out[i] = out[j] as T
      out[j] = held
    }
    return out
  }
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

export const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)

const SHOWN_CHARACTERS_MAX = 400

function show(value: unknown): string {
  if (value instanceof Error) {
    const code = HeddleError.is(value) ? ` ${value.code}` : ''
    return `${value.name}${code}: ${value.message}`
  }
  const text = typeof value === 'string' ? value : canonical(value)
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}… (${text.length})` : text
}
