/**
 * The fixture schema has every kind of field the wire allows. Its generated code stands in fixtures/generated, where it
 * is read in reviews and used by the codec tests; \`vitest -u\` writes it anew.
 */
import { join } from 'node:path'
import { generateSources, lint, type Model, readModel, temporaryFolder } from '@heddle/codegen'
import { beforeAll, describe, expect, test } from 'vitest'
import { compileFixtures, fixtures, repository } from './support/compile.js'

describe('fixture schema', () => {
  let model: Model
  let sources: ReadonlyMap<string, string>
  beforeAll(async () => {
    await using folder = await temporaryFolder()
    const image = await compileFixtures(folder.path)
    model = readModel(image.bytes, 'fixture.v1')
    sources = await generateSources(repository, image, model, '../../../../../core/src/wire/runtime.js')
  }, 120_000)

  test('has no findings', () => {
    expect(lint(model)).toEqual([])
  })

  test.each([
    'types/frame.ts',
    'types/parts.ts',
    'types/shapes.ts',
    'codecs/frame.ts',
    'codecs/parts.ts',
    'codecs/shapes.ts',
    'limits.ts',
    'index.ts',
    'errors.ts',
    'registries.ts'
  ])('generates %s as committed', async (path) => {
    await expect(sources.get(path)).toMatchFileSnapshot(join(fixtures, 'generated', path))
  })

  test('generates no other file', () => {
    expect(sources.size).toBe(10)
  })
})
