/**
 * The official test vectors of RFC 9420 (github.com/mlswg/mls-implementations), which are not part of the repository:
 * `npm run test:mls -- <folder>` names a folder with them, or HEDDLE_MLS_VECTORS, or there is one called mls-vectors beside
 * the checkout. Suites 1 and 3 are run, the others are not supported.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'vitest'
import { fromHex } from '../../bytes.js'
import { type CipherSuite, createCrypto, type SuiteId } from '../../crypto/index.js'

const BESIDE = fileURLToPath(new URL('../../../../../mls-vectors', import.meta.url))
const folder = process.env.HEDDLE_MLS_VECTORS ?? BESIDE
const SUITES: readonly SuiteId[] = [1, 3]

/** Why the vectors cannot be run; undefined when they can. */
const missing = existsSync(folder)
  ? undefined
  : process.env.HEDDLE_MLS_VECTORS === undefined
    ? 'HEDDLE_MLS_VECTORS is not set'
    : `${folder} is missing`

export const crypto = createCrypto((length) => globalThis.crypto.getRandomValues(new Uint8Array(length)))

export interface OfSuite {
  readonly cipher_suite: number
}

/** One test for every vector of the file that is of a suite supported; says in its name how many there are. */
export function testVectors<T extends OfSuite>(
  file: string,
  what: string,
  run: (vector: T, suite: CipherSuite) => void | Promise<void>
): void {
  if (missing !== undefined) return test.skip(`${file}: ${what} (skipped: ${missing})`, () => {})
  const all = load<T>(file)
  const ofSuite = (id: number) => all.filter(({ cipher_suite }) => cipher_suite === id)
  const counts = SUITES.map((id) => `${ofSuite(id).length} of suite ${id}`).join(', ')
  test(`${file}: ${what} (${counts})`, { timeout: 120_000 }, async ({ expect }) => {
    expect(ofSuite(1).length).toBeGreaterThan(0)
    for (const id of SUITES) for (const vector of ofSuite(id)) await run(vector, crypto.suite(id))
  })
}

/** The same for a file whose vectors are of no suite. */
export function testAllVectors<T>(file: string, what: string, run: (vector: T) => void): void {
  if (missing !== undefined) return test.skip(`${file}: ${what} (skipped: ${missing})`, () => {})
  const all = load<T>(file)
  test(`${file}: ${what} (${all.length})`, { timeout: 120_000 }, ({ expect }) => {
    expect(all.length).toBeGreaterThan(0)
    for (const vector of all) run(vector)
  })
}

/** Throws for what is no hexadecimal text. */
export function bytes(hex: string): Uint8Array {
  const decoded = fromHex(hex)
  if (decoded === undefined) throw new Error('a vector has no hexadecimal digits where it should')
  return decoded
}

function load<T>(file: string): readonly T[] {
  return JSON.parse(readFileSync(join(folder, `${file}.json`), 'utf8')) as readonly T[]
}
