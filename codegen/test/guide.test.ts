/**
 * Does what codegen/README.md says under "Adding a field, a frame, an error": applies its diffs to a copy, each of which
 * may touch one .proto file only, generates, type-checks, and runs its code.
 */
import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { generatedFolders, temporaryFolder } from '@heddle/codegen'
import { expect, test } from 'vitest'
import { main } from '../src/main.js'
import { repository } from './support/compile.js'

interface Block {
  readonly language: string
  /** What stands behind the language. */
  readonly file: string
  readonly text: string
}

const readme = await readFile(join(repository, 'codegen/README.md'), 'utf8')
const section = readme.split(/^## /m).find((text) => text.startsWith('Adding a field, a frame, an error')) ?? ''
const blocks: readonly Block[] = [...section.matchAll(/^```(\w+) ?(.*)\n([\s\S]*?)^```$/gm)].map(
  ([, language = '', file = '', text = '']) => ({ language, file, text })
)
const diffs = blocks.filter(({ language }) => language === 'diff')

/** The source with each part of the diff, between lines of "@@", where its context stands once. */
function patched(source: string, diff: string): string {
  return diff.split(/^@@\n/m).reduce((text, hunk) => {
    const lines = hunk.split('\n').filter((line) => line !== '')
    const without = (sign: string) =>
      lines
        .filter((line) => !line.startsWith(sign))
        .map((line) => `${line.slice(1)}\n`)
        .join('')
    const [before, after] = [without('+'), without('-')]
    expect({ before, times: text.split(before).length - 1 }).toEqual({ before, times: 1 })
    return text.replace(before, after)
  }, source)
}

async function compile(folder: string): Promise<void> {
  const config = {
    extends: './tsconfig.base.json',
    compilerOptions: {
      rootDir: 'core/src',
      outDir: 'out',
      composite: false,
      incremental: false,
      declarationMap: false
    },
    include: ['core/src'],
    exclude: ['**/*.test.ts', '**/testing/**']
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
  await promisify(execFile)(process.execPath, [tsc, '-p', folder], { cwd: folder }).catch(
    (error: { stdout?: string }) => {
      throw new Error(`the guide's code has wrong types:\n${error.stdout ?? String(error)}`)
    }
  )
}

test('the guide adds a field, a frame and an error by touching one .proto file each', {
  timeout: 120_000
}, async () => {
  expect(diffs.map(({ file }) => file)).toEqual([
    'proto/heddle/v1/frame.proto',
    'proto/heddle/v1/frame.proto',
    'proto/heddle/v1/error.proto'
  ])
  const [code, ...more] = blocks.filter(({ language }) => language === 'ts')
  expect(more).toEqual([])
  for (const name of ['language', 'usage', 'ARCHIVED']) expect(code?.text).toContain(name)

  await using folder = await temporaryFolder()
  const copy = folder.path
  const parts = ['proto', 'buf.yaml', 'buf.gen.yaml', 'biome.json', 'tsconfig.base.json', 'package.json', 'SPEC.md']
  for (const path of [...parts, ...generatedFolders, 'core/src/wire', 'core/src/bytes.ts']) {
    await mkdir(dirname(join(copy, path)), { recursive: true })
    await cp(join(repository, path), join(copy, path), { recursive: true })
  }
  await symlink(join(repository, 'node_modules'), join(copy, 'node_modules'))
  const lines: string[] = []
  const output = { log: (line: string) => lines.push(line), error: (line: string) => lines.push(line) }

  for (const { file, text } of diffs) {
    const path = join(copy, file)
    await writeFile(path, patched(await readFile(path, 'utf8'), text))
  }
  expect({ code: await main([], copy, output), lines }).toMatchObject({ code: 0 })
  lines.length = 0
  expect({ code: await main(['--check'], copy, output), lines }).toEqual({ code: 0, lines: [] })
  const spec = await readFile(join(copy, 'SPEC.md'), 'utf8')
  for (const row of [
    '| 30 | `Usage` | server | 256 | 2 |',
    '| 21 | `ARCHIVED` | after cure | no |',
    '| 4 | `language` |'
  ]) {
    expect(spec).toContain(row)
  }
  const vectors = await readFile(join(copy, 'conformance/vectors/v1/wire/boundaries/frame.json'), 'utf8')
  for (const name of ['Usage members: descending', 'Hello language: 36 bytes']) expect(vectors).toContain(name)

  await writeFile(join(copy, 'core/src/wire/guide.ts'), code?.text ?? '')
  await compile(copy)
  await import(pathToFileURL(join(copy, 'out/wire/guide.js')).href)
})
