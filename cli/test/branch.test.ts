/** A document with a cipher suite of its own, and a branch of it, as two people at terminals see it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { build } from './build.js'
import { heddle, Running } from './command.js'

let folder = ''
let server: Running | undefined
let ticket = ''

beforeAll(async () => {
  await build()
  folder = await mkdtemp(join(tmpdir(), 'heddle-cli-branch-'))
  server = new Running(['serve', '--listen', 'ws://127.0.0.1:0', '--data', join(folder, 'server')])
  ticket = (await server.says(/^ws:\/\/127\.0\.0\.1:\d+\/#[0-9a-f]{64}$/m))[0]
}, 120_000)

afterAll(async () => {
  await server?.stop('SIGTERM')
  await rm(folder, { recursive: true, force: true })
})

it('takes along a member whose device is open', { timeout: 120_000 }, async () => {
  const alice = ['--data', join(folder, 'alice')]
  const bob = ['--data', join(folder, 'bob')]
  const id = (await heddle(['doc', 'create', '--server', ticket, '--suite', 'post-quantum', ...alice])).stdout.trim()
  await heddle(['doc', 'edit', id, '--append', 'Dear all', ...alice])
  const inviting = new Running(['doc', 'invite', id, '--expires', '5m', '--wait', ...alice])
  const [link] = await inviting.says(/heddle:[\w-]+/)
  await heddle(['doc', 'join', link, ...bob])
  await inviting.ended
  const following = new Running(['doc', 'show', id, '--follow', ...bob])
  await following.says(/Dear all/)
  const { stdout, stderr } = await heddle(['doc', 'branch', id, '--wait', '30s', ...alice])
  const branch = stdout.trim()
  expect(branch).toMatch(/^[0-9a-f]{32}$/)
  expect(stderr).toContain('2 of 2 members are in it')
  await following.says(new RegExp(`this device has it: ${branch}`))
  await following.stop('SIGINT')
  const status = (await heddle(['doc', 'status', branch, ...bob])).stdout
  expect(status).toContain(`branch of   ${id}`)
  expect(status).toContain('suite       post-quantum')
  expect((await heddle(['doc', 'list', ...bob])).stdout.trim().split('\n').sort()).toEqual([branch, id].sort())
  expect((await heddle(['doc', 'show', branch, ...bob])).stdout).toContain('Dear all')
})
