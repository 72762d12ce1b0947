import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Child } from '../src/demo/child.js'
import { build } from './build.js'
import { Running } from './command.js'

/** kill -9 at the worst moments, with real processes, disks and sockets: what was said to be so is so afterwards. */

interface State {
  readonly text: string
  readonly epoch: number
  readonly pending: number
  readonly unsafe: number
  readonly members: readonly string[]
}

type DeviceCalls = {
  open(params: { path: string; documentId?: string }): Promise<void>
  create(params: { servers: readonly string[] }): Promise<string>
  invite(params: object): Promise<string>
  join(params: { link: string }): Promise<string>
  write(params: { words: readonly string[]; level: 'stored' | 'sent' | 'safe' }): Promise<void>
  rotate(params: object): Promise<void>
  remove(params: { memberId: string }): Promise<void>
  settled(params: { level: 'stored' | 'sent' | 'safe' }): Promise<void>
  state(params: object): Promise<State>
  close(params: object): Promise<void>
}
type Device = Child<DeviceCalls>

let folder = ''
let servers: { process: Running; readonly ticket: string }[] = []
let devices: Device[] = []

beforeAll(build, 120_000)

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-kill-'))
  servers = await Promise.all([1, 2, 3].map((n) => startServer(n)))
})

afterEach(async () => {
  await Promise.all(devices.map((device) => kill(device)))
  await Promise.all(servers.map(({ process }) => process.stop('SIGKILL')))
  devices = []
  await rm(folder, { recursive: true })
})

async function startServer(n: number, listen = 'ws://127.0.0.1:0') {
  const process = new Running(['serve', '--data', join(folder, `server-${n}`), '--listen', listen])
  const [ticket] = await process.says(/ws:\/\/[^\s#]+#[0-9a-f]{64}/)
  return { process, ticket }
}

/** The server is gone from one moment to the next and comes back on its folder and port. */
async function restartServer(n: number): Promise<void> {
  const { process, ticket } = servers[n - 1] as (typeof servers)[number]
  await process.stop('SIGKILL')
  servers[n - 1] = await startServer(n, ticket.slice(0, ticket.indexOf('#')))
}

async function openDevice(name: string, documentId?: string): Promise<Device> {
  const device = new Child<DeviceCalls>(name, new URL('./fixtures/device.mjs', import.meta.url))
  devices.push(device)
  await device.call('open', { path: join(folder, name), ...(documentId !== undefined && { documentId }) })
  return device
}

async function kill(device: Device): Promise<void> {
  await device.end('SIGKILL')
}

/** Waits for a state; the test's own time-out is the limit. */
async function until(device: Device, condition: (state: State) => boolean): Promise<State> {
  for (;;) {
    const state = await device.call('state', {})
    if (condition(state)) return state
  }
}

const words = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
const tickets = () => servers.map(({ ticket }) => ticket)

async function pair() {
  const ada = await openDevice('ada')
  const id = await ada.call('create', { servers: tickets() })
  const bob = await openDevice('bob')
  await bob.call('join', { link: await ada.call('invite', {}) })
  return { ada, bob, id }
}

describe('kill -9', () => {
  it('of a device that types loses no edit it had stored, and no other device anything', async () => {
    const { ada, bob, id } = await pair()
    const written: string[] = []
    const typing = (async () => {
      for (const word of words('w', 1000)) {
        await ada.call('write', { words: [word], level: 'stored' })
        written.push(word)
      }
    })().catch(() => undefined)
    await until(bob, ({ text }) => text.includes('w20'))
    await kill(ada)
    await typing
    const again = await openDevice('ada', id)
    const { text } = await again.call('state', {})
    expect(written.filter((word) => !text.includes(`${word} `))).toEqual([])
    await again.call('write', { words: ['after'], level: 'safe' })
    const copy = await until(bob, (state) => state.text.includes('after'))
    expect(copy.text).toBe((await again.call('state', {})).text)
  }, 60_000)

  it('of a device that has written offline loses nothing', async () => {
    const { ada, bob, id } = await pair()
    for (const { process } of servers) await process.stop('SIGKILL')
    await bob.call('write', { words: words('offline', 20), level: 'stored' })
    await kill(bob)
    for (const [i, { ticket }] of servers.entries()) {
      servers[i] = await startServer(i + 1, ticket.slice(0, ticket.indexOf('#')))
    }
    const again = await openDevice('bob', id)
    await again.call('settled', { level: 'safe' })
    const { text } = await until(ada, (state) => state.text.includes('offline19'))
    expect(words('offline', 20).filter((word) => !text.includes(`${word} `))).toEqual([])
  }, 60_000)

  it('of a device in the middle of a key rotation ends in one epoch for all', async () => {
    const { ada, bob, id } = await pair()
    for (const delayMs of [0, 4, 9, 15, 30]) {
      const current = devices.at(-1) === bob ? ada : (devices.at(-1) as Device)
      const { epoch } = await current.call('state', {})
      const rotating = current.call('rotate', {}).catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      await kill(current)
      await rotating
      const again = await openDevice('ada', id)
      await again.call('write', { words: [`r${delayMs}`], level: 'safe' })
      const mine = await until(again, ({ pending }) => pending === 0)
      const theirs = await until(bob, (state) => state.epoch === mine.epoch && state.text.includes(`r${delayMs}`))
      expect(theirs.text).toBe(mine.text)
      expect(mine.epoch - epoch).toBeLessThanOrEqual(1)
    }
  }, 90_000)

  it('of a joiner and of the admin who adds it ends with one member more', async () => {
    const ada = await openDevice('ada')
    const id = await ada.call('create', { servers: tickets() })
    await ada.call('write', { words: ['before'], level: 'safe' })
    const link = await ada.call('invite', {})
    const joiner = await openDevice('bob')
    const joining = joiner.call('join', { link }).catch(() => undefined)
    await until(ada, ({ pending, members }) => pending > 0 || members.length > 1)
    await Promise.all([kill(joiner), kill(ada)])
    await joining
    const again = await openDevice('ada', id)
    const rejoiner = await openDevice('bob')
    await rejoiner.call('join', { link })
    await until(rejoiner, ({ text }) => text.includes('before'))
    const { members } = await until(again, ({ pending }) => pending === 0)
    expect(members).toHaveLength(2)
    expect((await rejoiner.call('state', {})).members).toEqual(members)
  }, 60_000)

  it('of one server after another while both type loses nothing that was safe', async () => {
    const { ada, bob } = await pair()
    for (const n of [1, 2, 3]) {
      const typing = [
        ada.call('write', { words: words(`a${n}_`, 15), level: 'safe' }),
        bob.call('write', { words: words(`b${n}_`, 15), level: 'safe' })
      ]
      await until(ada, ({ text }) => text.includes(`b${n}_3`))
      await restartServer(n)
      await Promise.all(typing)
    }
    const expected = [1, 2, 3].flatMap((n) => [...words(`a${n}_`, 15), ...words(`b${n}_`, 15)])
    const isWhole = ({ text, unsafe }: State) => unsafe === 0 && expected.every((word) => text.includes(`${word} `))
    const [mine, theirs] = [await until(ada, isWhole), await until(bob, isWhole)]
    expect(theirs.text).toBe(mine.text)
  }, 60_000)
})
