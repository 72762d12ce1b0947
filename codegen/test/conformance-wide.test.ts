/**
 * Messages with more fields than one mask of a read function has bits, which the protocol does not have: codecs made from
 * a model written by hand, bundled and run.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Field, noLimits, temporaryFolder } from '@heddle/codegen'
import { bundle } from '@heddle/codegen/oracle'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Codec } from '../../core/src/wire/index.js'
import { bytesField, bytesOf, varintField } from '../../core/src/wire/testing/bytes.js'
import { emitCodecs } from '../src/emit/codecs.js'
import type { AnyMessage } from './support/arbitraries.js'
import { repository } from './support/compile.js'
import { message, model } from './support/plain-model.js'

const names = [...Array.from({ length: 64 }, (_, i) => `n${i + 1}`), 'seen2', 'seen3']
const last = bytesField(67, [1, 2, 3, 4])

function wideModel() {
  const fields: Partial<Field>[] = names.map((name) => ({ name }))
  const limits = { ...noLimits, bytesMin: 4, bytesMax: 4 }
  fields.push({ name: 'last', kind: 'bytes', limits })
  return model([message('Wide', fields, { topLevel: true, canonical: true, maxSize: 4096, since: 1 })])
}

describe('a message of more fields than a mask has bits', () => {
  let wide: Codec<AnyMessage>
  beforeAll(async () => {
    await using folder = await temporaryFolder()
    const source = join(folder.path, 'plain.ts')
    const compiled = join(folder.path, 'plain.mjs')
    await writeFile(source, emitCodecs(wideModel(), join(repository, 'core/src/wire/runtime.ts')).get('plain') ?? '')
    await writeFile(compiled, await bundle(`export { Wide } from ${JSON.stringify(source)}`))
    const loaded = (await import(/* @vite-ignore */ pathToFileURL(compiled).href)) as { readonly Wide: typeof wide }
    wide = loaded.Wide
  }, 60_000)

  const refusal = (...parts: readonly (readonly number[])[]) => {
    try {
      wide.decode(bytesOf(...parts))
      return 'accepted'
    } catch (error) {
      const { code, field } = error as { readonly code: string; readonly field: string }
      return `${code} ${field}`
    }
  }

  test('is read and written whole, fields with the names of masks among them', () => {
    const bytes = bytesOf(...names.map((_, i) => varintField(i + 1, i + 1)), last)
    const decoded = wide.decode(bytes)
    expect(decoded).toMatchObject({ n1: 1, n31: 31, n32: 32, n62: 62, n63: 63, seen2: 65, seen3: 66 })
    expect(wide.encode(decoded)).toEqual(bytes)
  })

  test('knows each field that it has seen', () => {
    for (const [i, name] of names.entries()) {
      const field = varintField(i + 1, 1)
      expect(refusal(field, last)).toBe('accepted')
      expect(refusal(field, field, last)).toBe(`duplicate ${name}`)
      expect(refusal(field)).toBe('required last')
    }
    expect(refusal(last, last)).toBe('duplicate last')
  })
})
