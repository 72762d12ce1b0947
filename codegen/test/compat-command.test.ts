/** `npm run compat` in a repository of its own: against the last release, a commit, an image, and against nothing. */
import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { buildImage, type CompatReport, temporaryFolder } from '@heddle/codegen'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { main } from '../src/main.js'
import { repository } from './support/compile.js'

const schema = new URL('../../conformance/schemas/compat-report.schema.json', import.meta.url)

async function git(folder: string, ...args: readonly string[]): Promise<void> {
  const identity = ['-c', 'user.name=test', '-c', 'user.email=test@localhost', '-c', 'commit.gpgsign=false']
  await promisify(execFile)('git', [...identity, ...args], { cwd: folder })
}

async function compat(folder: string, ...args: readonly string[]) {
  const lines: string[] = []
  const output = { log: (line: string) => lines.push(line), error: (line: string) => lines.push(line) }
  const code = await main(['compat', ...args], folder, output)
  return { code, text: lines.join('\n') }
}

describe('npm run compat', { timeout: 120_000 }, () => {
  let work: string
  let copy: string
  let dispose: () => PromiseLike<void>
  beforeAll(async () => {
    const folder = await temporaryFolder()
    dispose = () => folder[Symbol.asyncDispose]()
    work = folder.path
    copy = join(work, 'repository')
    await mkdir(copy)
    for (const path of ['proto', 'buf.yaml']) await cp(join(repository, path), join(copy, path), { recursive: true })
    await symlink(join(repository, 'node_modules'), join(copy, 'node_modules'))
    await writeFile(join(copy, '.gitignore'), 'node_modules\n')
  }, 120_000)
  afterAll(() => dispose())

  const edit = async (from: string, to: string) => {
    const path = join(copy, 'proto/heddle/v1/frame.proto')
    const source = await readFile(path, 'utf8')
    expect(source).toContain(from)
    await writeFile(path, source.replace(from, to))
  }

  test('says that there is no repository, or no release, and passes', async () => {
    expect(await compat(copy)).toEqual({
      code: 0,
      text: 'compat: nothing to compare with: this is no git repository'
    })
    await git(copy, 'init', '--quiet')
    await git(copy, 'add', '.')
    await git(copy, 'commit', '--quiet', '-m', 'released')
    expect(await compat(copy)).toEqual({
      code: 0,
      text: 'compat: nothing to compare with: there is no release tag (v*) yet'
    })
  })

  test('compares with the last release', async () => {
    await git(copy, 'tag', 'v0.1.0')
    expect(await compat(copy)).toEqual({
      code: 0,
      text: 'compat: ok against v0.1.0: 0 breaking, 0 for a new version, 0 compatible; the protocol version is the same'
    })
    await edit(
      'string agent = 3 [(heddle.options.v1.limits) = {max_len: 128}]',
      'string agent = 3 [(heddle.options.v1.limits) = {max_len: 64}]'
    )
    const tightened = await compat(copy)
    expect(tightened.code).toBe(1)
    expect(tightened.text).toContain(
      '  Hello.agent: greatest length was 128, is 64: what was allowed before is refused [limit-tightened]'
    )
    expect(tightened.text).not.toContain('buf breaking')
  })

  test('shows what buf finds beside it', async () => {
    await edit('uint32 retry_after_ms = 5', 'uint64 retry_after_ms = 5')
    const { code, text } = await compat(copy)
    expect(code).toBe(1)
    expect(text).toContain('Problem.retry_after_ms: was uint32, is uint64: the bytes mean another thing [field-type]')
    expect(text).toMatch(/buf breaking:\n.*frame\.proto:\d+:\d+:Field "5".*changed type/)
  })

  test('is JSON as its schema says', async () => {
    const validate = new Ajv2020({ strict: true }).compile(JSON.parse(await readFile(schema, 'utf8')) as object)
    const { code, text } = await compat(copy, '--json')
    const report = JSON.parse(text) as CompatReport
    validate(report)
    expect(validate.errors).toBeNull()
    expect(validate({ ...report, changes: [{ ...report.changes[0], severity: 'bad' }] })).toBe(false)
    expect({ code, ok: report.ok, against: report.against }).toEqual({ code: 1, ok: false, against: 'v0.1.0' })
    expect(report.changes.map(({ rule }) => rule)).toEqual(['limit-tightened', 'field-type'])
  })

  test('takes a commit or an image instead, and says when it is neither', async () => {
    await git(copy, 'commit', '--quiet', '-a', '-m', 'changed')
    expect((await compat(copy, '--against', 'HEAD')).code).toBe(0)
    expect((await compat(copy, '--against', 'HEAD~1')).code).toBe(1)
    const { path } = await buildImage(copy, work)
    expect((await compat(copy, '--against', path)).text).toContain(`ok against ${path}`)
    await expect(compat(copy, '--against', 'nowhere')).rejects.toThrow('nowhere is neither an image nor a commit')
    expect(await compat(copy, '--agianst', 'HEAD')).toMatchObject({ code: 2 })
    expect(await compat(copy, '--against')).toMatchObject({ code: 2 })
  })

  test('says that a checkout is shallow, and passes', async () => {
    const shallow = join(work, 'shallow')
    await git(work, 'clone', '--quiet', '--depth', '1', '--no-tags', `file://${copy}`, shallow)
    expect(await compat(shallow)).toEqual({
      code: 0,
      text: 'compat: nothing to compare with: the checkout is shallow and has no release tag; fetch the whole history to compare'
    })
    await rm(shallow, { recursive: true })
  })
})
