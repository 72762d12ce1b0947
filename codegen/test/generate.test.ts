/** The whole run on a copy of the repository: what is committed is what comes out, and every difference is noticed. */
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generate, generatedFolder, generatedFolders, temporaryFolder } from '@heddle/codegen'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { main } from '../src/main.js'
import { repository } from './support/compile.js'

describe('generate', { timeout: 120_000 }, () => {
  let copy: string
  let dispose: () => PromiseLike<void>
  beforeAll(async () => {
    const folder = await temporaryFolder()
    dispose = () => folder[Symbol.asyncDispose]()
    copy = folder.path
    for (const path of ['proto', 'buf.yaml', 'buf.gen.yaml', 'biome.json', ...generatedFolders]) {
      await cp(join(repository, path), join(copy, path), { recursive: true })
    }
    await symlink(join(repository, 'node_modules'), join(copy, 'node_modules'))
  }, 120_000)
  afterAll(() => dispose())

  const run = async (...args: readonly string[]) => {
    const lines: string[] = []
    const code = await main(args, copy, { log: (line) => lines.push(line), error: (line) => lines.push(line) })
    return { code, lines }
  }

  test('makes what is committed, and the same every time', async () => {
    expect(await run('--check')).toEqual({ code: 0, lines: [] })
    expect((await generate(copy)).files.size).toBeGreaterThan(10)
  })

  test('notices changed, missing and surplus files, and mends them', async () => {
    const path = (name: string) => join(copy, generatedFolder, name)
    await writeFile(path('limits.ts'), `${await readFile(path('limits.ts'), 'utf8')}\n`)
    await rm(path('codecs/paxos.ts'))
    await mkdir(path('old'))
    await writeFile(path('old/leftover.ts'), 'export {}\n')
    await rm(join(copy, 'conformance/vectors/v1/wire/boundaries/mls.json'))
    await writeFile(join(copy, 'conformance/vectors/v1/wire/boundaries/gone.json'), '{}')
    await writeFile(join(copy, 'conformance/schemas/gone.schema.json'), '{}')
    const { code, lines } = await run('--check')
    expect(code).toBe(1)
    expect(lines).toEqual([
      `differs:  ${generatedFolder}/limits.ts`,
      `missing:  ${generatedFolder}/codecs/paxos.ts`,
      'missing:  conformance/vectors/v1/wire/boundaries/mls.json',
      `surplus:  ${generatedFolder}/old/leftover.ts`,
      'surplus:  conformance/vectors/v1/wire/boundaries/gone.json',
      'surplus:  conformance/schemas/gone.schema.json',
      'codegen: run `npm run generate` and commit the result'
    ])
    expect((await run()).code).toBe(0)
    expect(await run('--check')).toEqual({ code: 0, lines: [] })
  })

  test('fills the tables of SPEC.md, and counts them as generated', async () => {
    const spec = join(copy, 'SPEC.md')
    await writeFile(spec, '# Spec\n<!-- generated:begin errors -->\n<!-- generated:end errors -->\n')
    expect((await run('--check')).lines[0]).toBe('differs:  SPEC.md')
    await run()
    expect(await readFile(spec, 'utf8')).toContain('| 1 | `MALFORMED` | never | yes |')
    expect((await run('--check')).code).toBe(0)
    await rm(spec)
  })

  test('stops at findings, says where they are, and writes nothing', async () => {
    const file = join(copy, 'proto/heddle/v1/sync.proto')
    const source = await readFile(file, 'utf8')
    await writeFile(
      file,
      source.replace('bytes member = 4 [(heddle.options.v1.limits) = {len: 16}]', 'bytes member = 4')
    )
    const line = source.split('\n').findIndex((text) => text.includes('bytes member = 4')) + 1
    expect(await run()).toEqual({
      code: 1,
      lines: [
        `proto/heddle/v1/sync.proto:${line}: EnvelopeHeader.member has no greatest length; add (limits).max_len or .len [bytes-limit]`
      ]
    })
    await writeFile(file, source)
    expect(await run('--check')).toEqual({ code: 0, lines: [] })
  })

  test("passes on the compiler's words when the schema does not compile", async () => {
    const file = join(copy, 'proto/heddle/v1/broken.proto')
    await writeFile(file, 'syntax = "proto3";\npackage heddle.v1;\nmessage Broken { Nothing x = 1; }\n')
    await expect(run()).rejects.toThrow(/broken\.proto:3:18.*Nothing/s)
    await rm(file)
  })

  test('refuses arguments it does not know', async () => {
    expect(await run('--chekc')).toMatchObject({ code: 2 })
  })
})
