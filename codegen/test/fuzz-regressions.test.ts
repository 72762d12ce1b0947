/**
 * Malformed messages that ts-proto's decoder takes: conformance/vectors/v1/wire/regressions.json. Ours refuses each, so
 * does the strict oracle, and ts-proto still takes them; one that it no longer takes has lost its point and leaves.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { WireError } from '../../core/src/wire/index.js'
import { repository } from './support/compile.js'
import { Malformed, readStrict } from './support/strict.js'
import { comparedSubjects } from './support/compared.js'

interface Regression {
  readonly name: string
  readonly message: string
  readonly hex: string
  readonly why: string
  readonly clause: string
}

const path = join(repository, 'conformance/vectors/v1/wire/regressions.json')
const { vectors } = JSON.parse(await readFile(path, 'utf8')) as { readonly vectors: readonly Regression[] }
const subjects = await comparedSubjects()

test('there are many, each with a name of its own, a reason, and a clause that exists', async () => {
  const spec = await readFile(join(repository, 'SPEC.md'), 'utf8')
  expect(vectors.length).toBeGreaterThan(45)
  expect(new Set(vectors.map(({ name }) => name)).size).toBe(vectors.length)
  for (const { why, clause } of vectors) {
    expect(why).not.toBe('')
    expect(spec).toContain(`**[${clause}]**`)
  }
})

describe.each(vectors.map((vector) => [vector.name, vector] as const))('%s', (_, { message, hex }) => {
  const subject = subjects.find(({ name }) => name === `heddle.v1.${message}`)
  if (subject === undefined) throw new Error(`there is no codec of ${message}`)
  const bytes = new Uint8Array(Buffer.from(hex, 'hex'))

  test('is refused by ours', () => {
    expect(() => subject.codec.decode(bytes)).toThrow(WireError)
    expect(() => readStrict(subject.model, subject.message, bytes)).toThrow(Malformed)
  })

  test('is taken by ts-proto', () => {
    expect(() => subject.tsProto.decode(bytes)).not.toThrow()
  })
})
