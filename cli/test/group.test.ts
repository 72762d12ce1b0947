/** Who is in a document, which servers it has and what it goes by, as somebody at a terminal changes it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { build } from './build.js'
import { heddle, Running } from './command.js'

let folder = ''
let servers: readonly Running[] = []
let tickets: readonly string[] = []

beforeAll(async () => {
  await build()
  folder = await mkdtemp(join(tmpdir(), 'heddle-cli-group-'))
  servers = [1, 2, 3, 4].map((number) => {
    return new Running(['serve', '--listen', 'ws://127.0.0.1:0', '--data', join(folder, `server${number}`)])
  })
  const matches = await Promise.all(servers.map((server) => server.says(/^ws:\/\/127\.0\.0\.1:\d+\/#[0-9a-f]{64}$/m)))
  tickets = matches.map(([ticket]) => ticket)
}, 120_000)

afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop('SIGTERM')))
  await rm(folder, { recursive: true, force: true })
})

const alice = () => ['--data', join(folder, 'alice')]
const bob = () => ['--data', join(folder, 'bob')]
const idOf = (ticket: string | undefined): string => ticket?.split('#')[1] ?? ''
const json = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>

describe('heddle doc', { timeout: 120_000 }, () => {
  let id = ''

  const join_ = async (role: string): Promise<string> => {
    const inviting = new Running(['doc', 'invite', id, '--role', role, '--expires', '5m', '--wait', ...alice()])
    const [link] = await inviting.says(/heddle:[\w-]+/)
    const joined = json((await heddle(['doc', 'join', link, '--json', ...bob()])).stdout)
    expect((await inviting.ended).code).toBe(0)
    return joined.member as string
  }

  const fails = async (args: readonly string[], code: number, sentence: RegExp): Promise<void> => {
    const outcome = await heddle(args)
    expect(outcome).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(sentence) })
    expect(outcome.stderr.trim().split('\n')).toHaveLength(1)
  }

  it('set-role and leave: an editor goes when the admin is online', async () => {
    const created = await heddle(['doc', 'create', '--server', ...tickets.slice(0, 3), ...alice()])
    id = created.stdout.trim()
    const member = await join_('editor')
    await fails(['doc', 'set-role', id, member, 'reader', ...bob()], 1, /^heddle: only an admin changes members/)
    await fails(['doc', 'leave', id, ...alice()], 1, /^heddle: the only admin cannot leave: make another member admin/)
    expect(await heddle(['doc', 'set-role', id, member.slice(0, 8), 'admin', ...alice()])).toMatchObject({
      code: 0,
      stderr: `Member ${member} is admin now.\n`
    })
    const asked = await heddle(['doc', 'leave', id, '--no-wait', '--json', ...bob()])
    expect(json(asked.stdout)).toEqual({ document: id, removed: false })
    await fails(['doc', 'edit', id, '--append', 'x', ...bob()], 1, /^heddle: this device is leaving the document/)
    expect((await heddle(['doc', 'status', id, ...bob()])).stdout).toMatch(/^leaving +asked for/m)
    const admin = new Running(['doc', 'show', id, '--follow', ...alice()])
    const left = await heddle(['doc', 'leave', id, ...bob()])
    expect(left).toMatchObject({ code: 0, stderr: expect.stringContaining('This device has left.') })
    await admin.stop('SIGINT')
    const { members } = json((await heddle(['doc', 'members', id, '--json', ...alice()])).stdout)
    expect(members).toHaveLength(1)
    expect(json((await heddle(['doc', 'leave', id, '--json', ...bob()])).stdout)).toEqual({
      document: id,
      removed: true
    })
  })

  it('policy: shown, changed in part, refused out of its bounds', async () => {
    const changed = await heddle(['doc', 'policy', id, '--rotation-hours', '48', '--json', ...alice()])
    expect(json(changed.stdout)).toEqual({
      document: id,
      policy: { retainedEpochs: 8, retainedDays: 14, removalMode: 'vouched', rotationHours: 48 }
    })
    expect((await heddle(['doc', 'policy', id, ...alice()])).stdout).toMatch(/^new keys +after 48 hours/m)
    await fails(
      ['doc', 'policy', id, '--retained-epochs', '65', ...alice()],
      2,
      /retainedEpochs is a whole number from 1/
    )
  })

  it('add-server, replace-server, remove-server: the document moves while servers go', async () => {
    const [first, second, third, fourth] = tickets as [string, string, string, string]
    await heddle(['doc', 'edit', id, '--append', 'kept', ...alice()])
    expect(await heddle(['doc', 'add-server', id, fourth, ...alice()])).toMatchObject({
      code: 0,
      stderr: 'The document has 4 servers now.\n'
    })
    await fails(['doc', 'add-server', id, fourth, ...alice()], 2, /a server of the document already/)
    await fails(['doc', 'add-server', id, 'nonsense', ...alice()], 2, /is not a server ticket/)
    const removed = await heddle(['doc', 'remove-server', id, idOf(fourth).slice(0, 12), '--json', ...alice()])
    expect(removed.code).toBe(0)
    expect(json(removed.stdout)).toMatchObject({ document: id })
    await fails(['doc', 'remove-server', id, idOf(fourth), ...alice()], 2, /has no server/)
    await servers[0]?.stop('SIGTERM')
    expect((await heddle(['doc', 'replace-server', id, idOf(first), fourth, ...alice()])).code).toBe(0)
    await fails(['doc', 'add-server', id, first, ...alice()], 2, /^heddle: the server at ws:.* does not answer/)
    const status = json((await heddle(['doc', 'status', id, '--json', ...alice()])).stdout)
    const present = (status.servers as readonly { id: string }[]).map((server) => server.id)
    expect(present).toEqual([second, third, fourth].map(idOf).sort())
    expect(status).toMatchObject({ connection: 'online', unsafe: 0, leaving: false })
    expect((await heddle(['doc', 'edit', id, '--append', ' and edited', ...alice()])).stderr).toMatch(/on enough/)
    const member = await join_('editor')
    expect(member).toMatch(/^[0-9a-f]{32}$/)
    expect((await heddle(['doc', 'show', id, ...bob()])).stdout).toBe('kept and edited\n')
  })
})
