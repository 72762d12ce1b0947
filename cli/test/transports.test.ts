/** Servers that are reached by WebSocket and by iroh, and relay for the devices of their documents. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createCrypto, type EndpointIdentity, type LogLevel, systemContext } from '@heddle/core'
import { MemoryDisk, memoryStorage } from '@heddle/storage-memory'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { iroh, openDevice, type ServingServer, serve, websocket, type YDocument } from '../src/index.js'

let folder: string
let opened: AsyncDisposable[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-transports-'))
  opened = []
})
afterEach(async () => {
  for (const one of opened.reverse()) await one[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function servers(count: number): Promise<ServingServer[]> {
  const listen = ['ws://127.0.0.1:0', 'iroh://127.0.0.1:0']
  const all = await Promise.all(
    Array.from({ length: count }, (_, i) =>
      serve({ path: join(folder, `server${i}`), storage: memoryStorage(), listen })
    )
  )
  opened.push(...all)
  return all
}

const text = (document: YDocument) => document.native.getText('text')
const reads = (document: YDocument, what: string): Promise<void> =>
  expect.poll(() => text(document).toString(), { timeout: 10_000 }).toBe(what)

describe('a document on servers with two kinds of addresses', () => {
  it('is edited by one device over iroh and one over WebSocket', async () => {
    const all = await servers(3)
    const tickets = all.flatMap((one) => one.tickets)
    expect(tickets.filter((ticket) => ticket.startsWith('iroh://'))).toHaveLength(3)
    const ada = await openDevice({ path: join(folder, 'ada'), transports: [iroh()] })
    const bob = await openDevice({ path: join(folder, 'bob'), transports: [websocket()] })
    opened.push(ada, bob)
    const doc = await ada.create({ servers: tickets })
    expect(doc.status().servers).toHaveLength(3)
    const copy = await bob.join(await doc.invite())
    text(doc).insert(0, 'by iroh')
    await reads(copy, 'by iroh')
    text(copy).insert(0, 'by WebSocket, ')
    await reads(doc, 'by WebSocket, by iroh')
    await Promise.all([doc.settled('safe'), copy.settled('safe')])
    for (const one of all) expect(one.server.stats().connections).toBe(2)
  }, 60_000)

  it('is reached by the other kind when one is gone, by a device that has both', async () => {
    const [first] = await servers(1)
    if (first === undefined) throw new Error('no server')
    // The iroh address of a server that is not there any more comes first.
    const [ws = '', living = ''] = first.tickets
    const gone = living.replace(/addr=127\.0\.0\.1:\d+/, 'addr=127.0.0.1:9')
    const ada = await openDevice({ path: join(folder, 'ada') })
    opened.push(ada)
    const doc = await ada.create({ servers: [gone, ws] })
    text(doc).insert(0, 'arrives')
    await doc.settled('safe')
  }, 60_000)
})

describe('the relay of a server', () => {
  it('is for the devices of its documents, and nobody else', async () => {
    const [server] = await servers(1)
    if (server === undefined) throw new Error('no server')
    const disk = new MemoryDisk()
    const ada = await openDevice({ path: join(folder, 'ada'), storage: memoryStorage({ shared: disk }) })
    opened.push(ada)
    const crypto = createCrypto((length) => globalThis.crypto.getRandomValues(new Uint8Array(length)))
    const identities = [identityOn(disk), crypto.randomBytes(32)].map((secretKey) => ({
      secretKey,
      publicKey: crypto.publicKeyOf(secretKey)
    }))
    const [adas, stranger] = identities as [EndpointIdentity, EndpointIdentity]
    expect(server.relays).toHaveLength(1)
    expect(await reachable(adas, server.relays)).toBe(false)
    await ada.create({ servers: server.tickets })
    expect(await reachable(adas, server.relays)).toBe(true)
    expect(await reachable(stranger, server.relays)).toBe(false)
  }, 60_000)
})

/** Whether an endpoint with this key is taken by the relays. */
async function reachable(identity: EndpointIdentity, relays: readonly string[]): Promise<boolean> {
  const events: string[] = []
  const log = (_: LogLevel, event: string) => void events.push(event)
  const { plugin } = iroh()
  const parsed = await plugin.options['~standard'].validate({ relays, relayTimeoutMs: 1500 })
  if (parsed.issues !== undefined) throw new Error('bad options')
  const context = systemContext({ log })
  await using transport = await plugin.create(parsed.value, context)
  const listening = { identity, alpn: 'test', address: 'iroh://127.0.0.1:0', signal: context.signal }
  await using listener = await transport.listen?.(listening)
  expect(listener?.addresses.length).toBeGreaterThan(0)
  return !events.includes('iroh.relay-unreachable')
}

/** The secret of a device's connections, as IdentityRecord has it: one field of 32 bytes. */
function identityOn(disk: MemoryDisk): Uint8Array {
  const record = disk.get(new TextEncoder().encode('i'))
  if (record?.length !== 34) throw new Error('the device has no identity')
  return record.slice(2)
}
