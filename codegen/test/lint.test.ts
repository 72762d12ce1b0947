/**
 * The schemas in fixtures/broken break the lint rules. A line that does says so in a comment at its end, "finds RULE:
 * words of the message", several joined by a semicolon; everything lint finds must be announced there, and the reverse.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { lint, type Model, readModel, temporaryFolder } from '@heddle/codegen'
import { beforeAll, describe, expect, test } from 'vitest'
import { compileSources, fixtures, protocolModel } from './support/compile.js'

interface Announced {
  readonly rule: string
  readonly line: number
  readonly words: string
}

const files = readdirSync(join(fixtures, 'broken')).sort()
const sourceOf = (file: string) => readFileSync(join(fixtures, 'broken', file), 'utf8')

function announcedIn(source: string): readonly Announced[] {
  return source.split('\n').flatMap((text, index) =>
    [...text.matchAll(/finds ([a-z-]+): (.*?)(?=; finds |$)/g)].map((match) => ({
      rule: match[1] ?? '',
      line: index + 1,
      words: match[2] ?? ''
    }))
  )
}

describe('lint', () => {
  let image: Uint8Array
  beforeAll(async () => {
    await using folder = await temporaryFolder()
    const sources = Object.fromEntries(files.map((file) => [`broken/${file}`, sourceOf(file)]))
    image = (await compileSources(sources, folder.path)).bytes
  }, 120_000)

  test.each(files)('finds what %s announces and nothing else', (file) => {
    const announced = announcedIn(sourceOf(file))
    const found = lint(readModel(image, `broken.${file.replace('.proto', '')}`))
    const places = (list: readonly { readonly rule: string; readonly line: number }[]) =>
      list.map(({ rule, line }) => `${line}: ${rule}`).sort()
    expect(announced.length).toBeGreaterThan(0)
    expect(places(found)).toEqual(places(announced))
    for (const { rule, line, words } of announced) {
      const messages = found
        .filter((finding) => finding.rule === rule && finding.line === line)
        .map(({ message }) => message)
      expect(messages.join('\n')).toContain(words)
    }
    expect(new Set(found.map((finding) => finding.file))).toEqual(new Set([`broken/${file}`]))
  })

  test('finds nothing in the protocol itself', async () => {
    const model: Model = await protocolModel()
    expect(model.messages.length).toBeGreaterThan(30)
    expect(lint(model)).toEqual([])
  })
})
