import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { build } from './build.js'
import { Running } from './command.js'

let folder = ''
beforeAll(build, 120_000)
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-cli-demo-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** A reduced run of the same story; its temporary folders go below ours. */
const demo = (...args: readonly string[]) =>
  new Running(['demo', '--characters', '1200', ...args], { env: { TMPDIR: folder } })

async function portsOf(running: Running): Promise<readonly number[]> {
  const [, addresses = ''] = await running.says(/servers run, at (.+)/)
  return addresses.split(', ').map((address) => Number(new URL(address).port))
}

const isOpen = async (port: number) =>
  await new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(socket.destroy() !== undefined))
    socket.once('error', () => resolve(false))
  })

async function expectNothingLeft(ports: readonly number[]): Promise<void> {
  expect(await readdir(folder)).toEqual([])
  expect(await Promise.all(ports.map(isOpen))).toEqual(ports.map(() => false))
}

describe('heddle demo', { timeout: 120_000 }, () => {
  it('holds everything it promises, ends with its measures, and leaves nothing behind', async () => {
    const running = demo('--json', '--seed', '7')
    const ports = await portsOf(running)
    const { code, stdout, stderr } = await running.ended
    expect(stderr).not.toContain('heddle: ')
    expect(code).toBe(0)
    const measures = JSON.parse(stdout) as Record<string, unknown>
    expect(Object.keys(measures)).toEqual([
      'converged',
      'edits',
      'epochs',
      'servers',
      'killed',
      'lost',
      'editsPerSec',
      'p50ms',
      'p99ms',
      'bytesPerEdit'
    ])
    expect(measures).toMatchObject({ converged: true, servers: 3, killed: 1, lost: 0 })
    expect(measures.epochs).toBeGreaterThanOrEqual(5)
    expect(measures.edits).toBeGreaterThan(1000)
    for (const name of ['editsPerSec', 'p50ms', 'p99ms', 'bytesPerEdit']) expect(measures[name]).toBeGreaterThan(0)
    await expectNothingLeft(ports)
  })

  it('replays a recorded history and reports in words', async () => {
    const patches = Array.from('A history, recorded elsewhere.', (key, at) => ({ patches: [[at, 0, key]] }))
    const history = join(folder, 'history.json')
    await writeFile(history, JSON.stringify({ endContent: 'A history, recorded elsewhere.', txns: patches }))
    const { code, stdout } = await demo('--trace', history).ended
    expect(code).toBe(0)
    expect(stdout).toMatch(/ok +both sections are what their writers typed/)
    expect(stdout).not.toContain('FAIL')
    expect(await readdir(folder)).toEqual(['history.json'])
  })

  it('is the same with one device on iroh and the others on WebSocket', async () => {
    const { code, stdout } = await demo('--transport', 'both').ended
    expect({ code, failed: /FAIL.*/.exec(stdout)?.[0] }).toEqual({ code: 0, failed: undefined })
    expect(stdout).toMatch(/iroh:\/\/127\.0\.0\.1:\d+/)
    expect(await readdir(folder)).toEqual([])
  }, 120_000)

  it('refuses a history that is none before it starts anything', async () => {
    const history = join(folder, 'history.json')
    await writeFile(history, '{}')
    const { code, stdout, stderr } = await demo('--trace', history).ended
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^heddle: .*history\.json is no editing history[^\n]*\n$/)
  })

  it('leaves nothing behind on Ctrl-C', async () => {
    const running = demo()
    const ports = await portsOf(running)
    await running.says(/B has joined/)
    expect((await running.stop('SIGINT')).code).toBe(130)
    await expectNothingLeft(ports)
  })

  it('leaves no process behind when it is killed itself', async () => {
    const running = demo()
    const ports = await portsOf(running)
    await running.stop('SIGKILL')
    await expect.poll(() => Promise.all(ports.map(isOpen)), { timeout: 10_000 }).toEqual(ports.map(() => false))
  })
})
