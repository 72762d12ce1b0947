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
  folder = await mkdtemp(join(tmpdir(), 'heddle-cli-'))
  servers = [1, 2, 3].map((number) => {
    return new Running(['serve', '--listen', 'ws://127.0.0.1:0', '--data', join(folder, `server${number}`)])
  })
  const matches = await Promise.all(servers.map((server) => server.says(/^ws:\/\/127\.0\.0\.1:\d+\/#[0-9a-f]{64}$/m)))
  tickets = matches.map(([ticket]) => ticket)
}, 120_000)

afterAll(async () => {
  const ends = await Promise.all(servers.map((server) => server.stop('SIGTERM')))
  await rm(folder, { recursive: true, force: true })
  // A server that is told to stop ends in order.
  expect(ends.map(({ code }) => code)).toEqual(servers.map(() => 0))
})

const alice = () => ['--data', join(folder, 'alice')]
const bob = () => ['--data', join(folder, 'bob')]
const json = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>

describe('heddle doc, on three servers', { timeout: 120_000 }, () => {
  let id = ''
  let link = ''

  it('creates a document and edits it', async () => {
    const created = await heddle(['doc', 'create', '--server', ...tickets, ...alice()])
    expect(created).toMatchObject({ code: 0, stderr: '' })
    id = created.stdout.trim()
    expect(id).toMatch(/^[0-9a-f]{32}$/)
    const appended = await heddle(['doc', 'edit', id, '--append', 'Dear all', ...alice()])
    expect(appended).toMatchObject({ code: 0, stderr: 'Saved here and on enough servers.\n' })
    expect((await heddle(['doc', 'edit', id.slice(0, 6), '--insert', '4', ' old', ...alice()])).code).toBe(0)
    expect((await heddle(['doc', 'edit', id, '--delete', '0', '5', ...alice()])).code).toBe(0)
    expect(await heddle(['doc', 'show', id, ...alice()])).toEqual({ code: 0, stdout: 'old all\n', stderr: '' })
    const outside = await heddle(['doc', 'edit', id, '--insert', '99', 'x', ...alice()])
    expect(outside.code).toBe(2)
    expect(outside.stderr).toMatch(/position 99 lies behind the end: the text has 7 characters/)
  })

  it('invites, joins, and shows each the other’s lines as they are typed', async () => {
    const inviting = new Running(['doc', 'invite', id, '--role', 'editor', '--expires', '5m', '--wait', ...alice()])
    link = (await inviting.says(/heddle:[\w-]+/))[0]
    const joined = await heddle(['doc', 'join', link, '--json', ...bob()])
    expect(joined.code).toBe(0)
    expect(json(joined.stdout)).toMatchObject({ document: id, role: 'editor' })
    expect(await inviting.ended).toMatchObject({ code: 0, stderr: expect.stringContaining('joined as editor') })
    expect(json((await heddle(['doc', 'show', id, '--json', ...bob()])).stdout)).toMatchObject({ text: 'old all' })

    const [hers, his] = [new Running(['doc', 'edit', id, ...alice()]), new Running(['doc', 'edit', id, ...bob()])]
    await Promise.all([hers.says(/Type lines/), his.says(/Type lines/)])
    hers.type('written by Alice\n')
    await his.says(/\+ \d+: written by Alice/)
    his.type('and by Bob\n')
    await hers.says(/\+ \d+: and by Bob/)
    for (const session of [hers, his]) session.endInput()
    for (const session of [hers, his]) {
      expect(await session.ended).toMatchObject({ code: 0, stderr: expect.stringContaining('on enough servers') })
    }
    const text = 'old all\nwritten by Alice\nand by Bob\n'
    for (const device of [alice(), bob()]) {
      expect((await heddle(['doc', 'show', id, ...device])).stdout).toBe(text)
    }
  })

  it('follows a document until Ctrl-C', async () => {
    const following = new Running(['doc', 'show', id, '--follow', '--json', ...bob()])
    await following.says(/"text":/)
    expect((await heddle(['doc', 'edit', id, '--delete', '0', '4', ...alice()])).code).toBe(0)
    await following.says(/\{"at":0,"delete":4\}/)
    expect((await following.stop('SIGINT')).code).toBe(0)
  })

  it('shows members and status, changes roles, renews keys, removes', async () => {
    const members = json((await heddle(['doc', 'members', id, '--json', ...alice()])).stdout).members
    const others = (members as readonly { id: string; isSelf: boolean; role: string }[]).filter(({ isSelf }) => !isSelf)
    expect(others).toHaveLength(1)
    const [other] = others
    expect(other?.role).toBe('editor')
    const member = other?.id ?? ''

    expect((await heddle(['doc', 'set-role', id, member, 'reader', ...alice()])).code).toBe(0)
    const refused = await heddle(['doc', 'edit', id, '--append', 'x', ...bob()])
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/^heddle: this device may only read/) })
    expect((await heddle(['doc', 'rotate', id, ...bob()])).code).toBe(0)
    const status = json((await heddle(['doc', 'status', id, '--json', ...bob()])).stdout)
    expect(status).toMatchObject({ role: 'reader', connection: 'online', epoch: 3, unsafe: 0 })
    expect((await heddle(['doc', 'status', id, ...alice()])).stdout).toMatch(/connection {2}online/)

    expect((await heddle(['doc', 'remove', id, 'ffff', ...alice()])).stderr).toMatch(/has no member ffff/)
    expect((await heddle(['doc', 'remove', id, member, ...alice()])).code).toBe(0)
    const after = json((await heddle(['doc', 'status', id, '--json', ...bob()])).stdout)
    expect(after).toMatchObject({ role: 'removed', connection: 'removed' })
    expect((await heddle(['doc', 'list', ...bob()])).stdout).toBe(`${id}\n`)
  })

  it('refuses a used invite', async () => {
    const again = await heddle(['doc', 'join', link, '--data', join(folder, 'dave')])
    expect(again).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^heddle: [^\n]*used/m) })
  })

  it('waits for the inviter, until Ctrl-C', async () => {
    const invited = await heddle(['doc', 'invite', id, '--expires', '1h', ...alice()])
    expect(invited.stderr).toMatch(/This device has to be online when it is followed/)
    const joining = new Running(['doc', 'join', invited.stdout.trim(), '--data', join(folder, 'carol')])
    await joining.says(/Waiting for a device of the inviter/)
    expect(await joining.stop('SIGINT')).toMatchObject({ code: 130, stdout: '' })
  })
})

describe('heddle serve', { timeout: 60_000 }, () => {
  it('keeps its identity with its folder, and prints tickets as JSON', async () => {
    const args = ['serve', '--json', '--listen', 'ws://127.0.0.1:0', '--data', join(folder, 'again')]
    const ids: (string | undefined)[] = []
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const server = new Running(args)
      const [line] = await server.says(/^\{.*\}$/m)
      ids.push((json(line).tickets as readonly string[])[0]?.split('#')[1])
      expect((await server.stop(signal)).code).toBe(0)
    }
    expect(ids[0]).toMatch(/^[0-9a-f]{64}$/)
    expect(ids[1]).toBe(ids[0])
  })
})
