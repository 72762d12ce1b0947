/** The whole run on a copy of the repository: what is committed is what comes out, and every difference is noticed. */
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generate, generatedFolder, temporaryFolder } from '@heddle/codegen'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compareFiles, writeFiles } from '../src/generate/index.js'
import { repository } from './support/compile.js'

describe('generate', () => {
  let copy: string
  let dispose: () => PromiseLike<void>
  beforeAll(async () => {
    const folder = await temporaryFolder()
    dispose = () => folder[Symbol.asyncDispose]()
    copy = folder.path
    for (const path of ['proto', 'buf.yaml', 'buf.gen.yaml', 'biome.json', generatedFolder]) {
      await cp(join(repository, path), join(copy, path), { recursive: true })
    }
    await symlink(join(repository, 'node_modules'), join(copy, 'node_modules'))
  })
  afterAll(() => dispose())

  test('makes what is committed, and the same every time', async () => {
    const { findings, files } = await generate(copy)
    expect(findings).toEqual([])
    expect(files.size).toBeGreaterThan(10)
    expect(await compareFiles(copy, generatedFolder, files)).toEqual({ changed: [], missing: [], surplus: [] })
  })

  test('notices changed, missing and surplus files, and mends them', async () => {
    const { files } = await generate(copy)
    const path = (name: string) => join(copy, generatedFolder, name)
    await writeFile(path('limits.ts'), `${await readFile(path('limits.ts'), 'utf8')}\n`)
    await rm(path('codecs/paxos.ts'))
    await mkdir(path('old'))
    await writeFile(path('old/leftover.ts'), 'export {}\n')
    const [changed, missing, surplus] = ['limits.ts', 'codecs/paxos.ts', 'old/leftover.ts'].map((name) => [
      `${generatedFolder}/${name}`
    ])
    expect(await compareFiles(copy, generatedFolder, files)).toEqual({ changed, missing, surplus })
    expect(await writeFiles(copy, generatedFolder, files)).toEqual([changed, missing, surplus].flat())
    expect(await compareFiles(copy, generatedFolder, files)).toEqual({ changed: [], missing: [], surplus: [] })
  })

  test('fills the tables of SPEC.md, and counts them as generated', async () => {
    const spec = join(copy, 'SPEC.md')
    await writeFile(spec, '# Spec\n<!-- generated:begin errors -->\n<!-- generated:end errors -->\n')
    const { files } = await generate(copy)
    expect(files.get('SPEC.md')).toContain('| 1 | `MALFORMED` | never | yes |')
    expect((await compareFiles(copy, generatedFolder, files)).changed).toEqual(['SPEC.md'])
    await rm(spec)
  })

  test('stops at findings, with nothing to write', async () => {
    const file = join(copy, 'proto/heddle/v1/sync.proto')
    const source = await readFile(file, 'utf8')
    await writeFile(
      file,
      source.replace('bytes member = 4 [(heddle.options.v1.limits) = {len: 16}]', 'bytes member = 4')
    )
    const { findings, files } = await generate(copy)
    expect(findings.map(({ rule, message }) => `${rule}: ${message}`)).toEqual([
      'bytes-limit: EnvelopeHeader.member has no greatest length; add (limits).max_len or .len'
    ])
    expect(findings[0]?.line).toBe(source.split('\n').findIndex((line) => line.includes('bytes member = 4')) + 1)
    expect(files.size).toBe(0)
    await writeFile(file, source)
  })

  test("passes on the compiler's words when the schema does not compile", async () => {
    const file = join(copy, 'proto/heddle/v1/broken.proto')
    await writeFile(file, 'syntax = "proto3";\npackage heddle.v1;\nmessage Broken { Nothing x = 1; }\n')
    await expect(generate(copy)).rejects.toThrow(/broken\.proto:3:18.*Nothing/s)
    await rm(file)
  })
})
