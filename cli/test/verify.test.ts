import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDevice, serve } from 'heddle'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { build } from './build.js'
import { heddle, Running } from './command.js'

let folder = ''
let server: Running | undefined

beforeAll(async () => {
  await build()
  folder = await mkdtemp(join(tmpdir(), 'heddle-cli-verify-'))
}, 120_000)

afterAll(async () => {
  await server?.stop('SIGTERM')
  await rm(folder, { recursive: true, force: true })
})

const at = (name: string) => ['--data', join(folder, name)]
const proof = /safety number {2}((?:\d{5} ?){12})\n {2}fingerprint {4}(HEDDLE-KEY:1:[A-Z2-7]{84})/

it('heddle doc verify shows both sides one safety number, and tells a scanned fingerprint of the member from any other', {
  timeout: 120_000
}, async () => {
  server = new Running(['serve', '--listen', 'ws://127.0.0.1:0', '--data', join(folder, 'server')])
  const [ticket] = await server.says(/^ws:\/\/127\.0\.0\.1:\d+\/#[0-9a-f]{64}$/m)
  const id = (await heddle(['doc', 'create', '--server', ticket, ...at('alice')])).stdout.trim()
  const inviting = new Running(['doc', 'invite', id, '--expires', '5m', '--wait', ...at('alice')])
  const [link] = await inviting.says(/heddle:[\w-]+/)
  expect((await heddle(['doc', 'join', link, ...at('bob')])).code).toBe(0)
  expect((await inviting.ended).code).toBe(0)

  const [hers, his] = [
    await heddle(['doc', 'verify', id, ...at('alice')]),
    await heddle(['doc', 'verify', id, ...at('bob')])
  ]
  const [, number, bobs = ''] = proof.exec(hers.stdout) ?? []
  const [, sameNumber, alices = ''] = proof.exec(his.stdout) ?? []
  expect(number).toBeDefined()
  expect(sameNumber).toBe(number)
  expect(his.stdout).toContain(`fingerprint of this device\n  ${bobs}\n`)
  expect(hers.stderr).toContain('Read the safety number to each other')

  const scan = (fingerprint: string, ...more: string[]) =>
    heddle(['doc', 'verify', id, '--scanned', fingerprint, ...more, ...at('alice')])
  expect(await scan(bobs)).toMatchObject({ code: 0, stderr: expect.stringContaining('is that of this member') })
  const json = JSON.parse((await scan(bobs, '--json')).stdout) as { members: readonly object[] }
  expect(json.members).toMatchObject([{ safetyNumber: number, fingerprint: bobs, matches: true }])
  expect(await scan(alices)).toMatchObject({ code: 1, stderr: expect.stringContaining("this device's own") })
  expect(await scan(`${bobs}A`)).toMatchObject({ code: 1, stderr: expect.stringContaining('scan or copy it again') })
  const elsewhere = (await heddle(['doc', 'create', '--server', ticket, ...at('carol')])).stdout.trim()
  const [other = ''] = /HEDDLE-KEY:\S+/.exec((await heddle(['doc', 'verify', elsewhere, ...at('carol')])).stdout) ?? []
  expect(await scan(other)).toMatchObject({ code: 1, stderr: expect.stringContaining('another document') })
  const unknown = await heddle(['doc', 'verify', id, 'zz', ...at('alice')])
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('has no member zz') })
})

it('heddle as a library asks the app whose device a member is', { timeout: 60_000 }, async () => {
  await using own = await serve({ path: join(folder, 'library-server'), listen: ['ws://127.0.0.1:0'] })
  const names: string[] = []
  await using device = await openDevice({
    path: join(folder, 'library'),
    claimIdentity: ({ deviceId }) => new TextEncoder().encode(`somebody at ${deviceId}`),
    verifyMember: ({ identity, deviceId }) => {
      const displayName = new TextDecoder().decode(identity).replace(deviceId, 'home')
      return { verdict: 'verified', displayName }
    }
  })
  const document = await device.create({ servers: own.tickets })
  document.subscribe((event) => event.type === 'verification' && names.push(event.member.displayName ?? ''))
  await document.verifyMembers()
  expect(document.members()).toMatchObject([{ verification: 'verified', displayName: 'somebody at home' }])
  // Known since the document was opened: nothing new is told.
  expect(names).toEqual([])
})
