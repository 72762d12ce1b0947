/**
 * What the commands print with `--json` is what conformance/schemas says: each line is checked against its schema, and a
 * line that is wrong in any of its parts is not let through.
 */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Report as BenchReport, json as benchJson } from '../../bench/src/report.js'
import { build } from './build.js'
import { heddle, Running } from './command.js'

const schemas = new URL('../../conformance/schemas/', import.meta.url)
const ajv = new Ajv2020({ strict: true, allErrors: true })
const names = readdirSync(schemas)
const validators = new Map(
  names.map((name) => {
    const schema = JSON.parse(readFileSync(new URL(name, schemas), 'utf8')) as object
    return [name.replace('-report.schema.json', ''), ajv.compile(schema)] as const
  })
)

/** Schemas that something printed was held against. */
const tried = new Set<string>()

type Json = Readonly<Record<string, unknown>>

function validator(name: string): ValidateFunction {
  const found = validators.get(name)
  if (found === undefined) throw new Error(`no schema ${name}; there are ${[...validators.keys()].join(', ')}`)
  return found
}

/** The line as JSON, when it is as the schema says; and no line is that lacks a property, or has one more or another. */
function checked(name: string, line: string): Json {
  const validate = validator(name)
  tried.add(name)
  const value = JSON.parse(line) as Json
  validate(value)
  expect(validate.errors ?? []).toEqual([])
  for (const property of Object.keys(value)) {
    const { [property]: _, ...without } = value
    const schema = validate.schema as { readonly required: readonly string[] }
    expect({ property, valid: validate(without) }).toEqual({ property, valid: !schema.required.includes(property) })
    // Of no property an object with an unknown name is the value.
    expect({ property, valid: validate({ ...value, [property]: { surprise: 1 } }) }).toEqual({ property, valid: false })
  }
  expect(validate({ ...value, surprise: 1 })).toBe(false)
  return value
}

const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '')

async function report(name: string, args: readonly string[]): Promise<Json> {
  const { code, stdout, stderr } = await heddle(args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const [line, ...others] = lines(stdout)
  expect(others).toEqual([])
  return checked(name, line ?? '')
}

let folder = ''
let servers: readonly Running[] = []
let tickets: readonly string[] = []

beforeAll(async () => {
  await build()
  folder = await mkdtemp(join(tmpdir(), 'heddle-cli-json-'))
  servers = [1, 2, 3].map((number) => {
    return new Running(['serve', '--json', '--listen', 'ws://127.0.0.1:0', '--data', join(folder, `server${number}`)])
  })
  const said = await Promise.all(servers.map((server) => server.says(/^\{.*\}$/m)))
  tickets = said.flatMap(([line]) => checked('serve', line).tickets as readonly string[])
}, 120_000)

afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop('SIGTERM')))
  await rm(folder, { recursive: true, force: true })
})

describe('heddle doc --json', { timeout: 120_000 }, () => {
  const alice = () => ['--json', '--data', join(folder, 'alice')]
  const bob = () => ['--json', '--data', join(folder, 'bob')]
  let id = ''

  it('create, edit, show, list', async () => {
    id = (await report('doc-create', ['doc', 'create', '--server', ...tickets, ...alice()])).document as string
    const edited = await report('doc-edit', ['doc', 'edit', id, '--append', 'Dear all', ...alice()])
    expect(edited).toMatchObject({ level: 'safe', length: 8 })
    expect(await report('doc-show', ['doc', 'show', id, ...alice()])).toMatchObject({ text: 'Dear all' })
    expect(await report('doc-list', ['doc', 'list', ...alice()])).toEqual({ documents: [id] })
  })

  it('invite, join, and what changes while a document is shown', async () => {
    const inviting = new Running(['doc', 'invite', id, '--expires', '5m', '--wait', ...alice()])
    const [line] = await inviting.says(/^\{.*"link".*\}$/m)
    const { link } = checked('doc-invite', line)
    const joined = await report('doc-join', ['doc', 'join', link as string, ...bob()])
    const { code, stdout } = await inviting.ended
    expect(code).toBe(0)
    expect(checked('doc-invite-wait', lines(stdout)[1] ?? '')).toMatchObject({ joined: joined.member })
    expect(validator('doc-invite-wait')({ document: id, joined: null })).toBe(true)

    await report('doc-invite', ['doc', 'invite', id, '--role', 'reader', ...alice()])
    const { invites } = await report('doc-invites', ['doc', 'invites', id, ...alice()])
    const [open] = invites as readonly { readonly id: string; readonly role: string }[]
    expect(open?.role).toBe('reader')
    await report('doc-change', ['doc', 'revoke', id, open?.id.slice(0, 6) ?? '', ...alice()])
    expect(await report('doc-invites', ['doc', 'invites', id, ...alice()])).toEqual({ document: id, invites: [] })

    const following = new Running(['doc', 'show', id, '--follow', ...bob()])
    checked('doc-show', (await following.says(/^\{.*"text".*\}$/m))[0])
    await report('doc-edit', ['doc', 'edit', id, '--insert', '0', 'x', ...alice()])
    checked('text-change', (await following.says(/^\{.*"insert".*\}$/m))[0])
    await report('doc-edit', ['doc', 'edit', id, '--delete', '0', '1', ...alice()])
    checked('text-change', (await following.says(/^\{.*"delete".*\}$/m))[0])
    await following.stop('SIGINT')
  })

  it('members, role, status, before and after a removal', async () => {
    const { members } = await report('doc-members', ['doc', 'members', id, ...alice()])
    const other = (members as readonly { id: string; isSelf: boolean }[]).find(({ isSelf }) => !isSelf)?.id ?? ''
    expect(await report('doc-verify', ['doc', 'verify', id, ...alice()])).toMatchObject({ members: [{ id: other }] })
    await report('doc-change', ['doc', 'set-role', id, other, 'reader', ...alice()])
    await report('doc-change', ['doc', 'rotate', id, ...bob()])
    expect(await report('doc-status', ['doc', 'status', id, ...bob()])).toMatchObject({ role: 'reader', epoch: 3 })
    await report('doc-change', ['doc', 'remove', id, other, ...alice()])
    expect(await report('doc-status', ['doc', 'status', id, ...bob()])).toMatchObject({ connection: 'removed' })
  })

  it('branch', async () => {
    const made = await report('doc-branch', ['doc', 'branch', id, ...alice()])
    expect(made).toMatchObject({ document: id, members: 1 })
    const branch = made.branch as string
    expect(await report('doc-status', ['doc', 'status', branch, ...alice()])).toMatchObject({ branchOf: id, epoch: 1 })
    expect(await report('doc-show', ['doc', 'show', branch, ...alice()])).toMatchObject({ text: 'Dear all' })
  })

  it('policy and leave', async () => {
    expect(await report('doc-policy', ['doc', 'policy', id, ...alice()])).toMatchObject({ document: id })
    const inviting = new Running(['doc', 'invite', id, '--expires', '5m', '--wait', ...alice()])
    const [line] = await inviting.says(/^\{.*"link".*\}$/m)
    const carol = ['--json', '--data', join(folder, 'carol')]
    await report('doc-join', ['doc', 'join', checked('doc-invite', line).link as string, ...carol])
    await inviting.ended
    const left = await report('doc-leave', ['doc', 'leave', id, '--no-wait', ...carol])
    expect(left).toEqual({ document: id, removed: false })
  })

  it('status, when a server cannot be reached', async () => {
    await servers[2]?.stop('SIGTERM')
    const status = await report('doc-status', ['doc', 'status', id, ...alice()])
    const state = (status.servers as readonly Json[]).map((server) => server.state).filter((one) => one !== 'connected')
    expect(state).toHaveLength(1)
  })
})

it('heddle demo --json', { timeout: 120_000 }, async () => {
  const running = new Running(['demo', '--characters', '1200', '--json'])
  const { code, stdout } = await running.ended
  expect(code).toBe(0)
  expect(checked('demo', stdout)).toMatchObject({ converged: true })
})

describe('npm run bench -- --json', () => {
  const metric = { id: 'paced.p50', label: 'median', unit: 'ms', value: 1.5, rounds: [1.5, 2] } as const
  const result: BenchReport = {
    quick: true,
    machine: { node: 'v20.19.0', platform: 'linux', cpu: 'some', cores: 2, load: 0.25 },
    scenarios: [
      {
        name: 'paced',
        about: 'typing',
        seconds: 1,
        metrics: [metric, { ...metric, id: 'paced.more', yardstick: 'paced.p50' }]
      },
      { name: 'trace', about: 'a history', skipped: 'no file', seconds: 0, metrics: [] },
      { name: 'cold', about: 'a start', failed: 'it broke', seconds: 2, metrics: [] }
    ]
  }

  it('is as the schema says', { timeout: 120_000 }, async () => {
    checked('bench', benchJson(result))
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
    const bench = fileURLToPath(new URL('../../bench', import.meta.url))
    await promisify(execFile)(process.execPath, [tsc, '-b', bench])
    const args = [join(bench, 'dist/main.js'), '--only', 'micro', '--quick', '--json']
    const { scenarios } = checked('bench', (await promisify(execFile)(process.execPath, args)).stdout)
    expect(scenarios).toMatchObject([{ name: 'micro' }])
  })

  it('is not, with a wrong measure', () => {
    const validate = validator('bench')
    const broken = (value: unknown) => benchJson(result).replace('"value": 1.5', `"value": ${JSON.stringify(value)}`)
    expect(validate(JSON.parse(broken(2)))).toBe(true)
    expect(validate(JSON.parse(broken('2')))).toBe(false)
    expect(validate(JSON.parse(broken(null)))).toBe(false)
  })
})

it('every schema of a command that there is was tried', async () => {
  const { stdout: help } = await heddle(['doc', '--help'])
  const commands = [...help.matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name)
  expect(commands).toContain('show')
  const untried = [...validators].filter(([name, { schema }]) => {
    const { description } = schema as { readonly description: string }
    const [, command] = /Output of: heddle doc ([a-z-]+)/.exec(description) ?? []
    return (
      !tried.has(name) && (command === undefined ? /Output of: heddle /.test(description) : commands.includes(command))
    )
  })
  expect(untried.map(([name]) => name)).toEqual([])
})
