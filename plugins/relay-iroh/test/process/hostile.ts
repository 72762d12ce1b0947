/** Clients that want a relay no good, in a process of their own: one attack for every line, each for less than a second. */
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { FRAME, FRAME_BODY_BYTES_MAX } from '../../src/protocol/index.js'
import { clientAuth, datagram, newIdentity, RawClient } from '../raw-client.js'

const ATTACK_MS = 700

interface Attack {
  readonly name: keyof typeof attacks
  readonly url: string
  /** The id of somebody who has done nothing, hex. */
  readonly victim: string
}

export async function main(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const { name, url, victim } = JSON.parse(line) as Attack
    await attacks[name](url, new Uint8Array(Buffer.from(victim, 'hex')))
    process.stdout.write(`${JSON.stringify({ done: name })}\n`)
  }
  process.exit()
}

const attacks = {
  garbageForHandshakes: (url) =>
    inManyConnections(async () => {
      using client = await RawClient.connect(url)
      client.send(randomBytes(98))
      await client.closed
    }),

  wrongSignatures: (url) =>
    inManyConnections(async () => {
      using client = await RawClient.connect(url)
      await client.next(FRAME.serverChallenge)
      client.send(clientAuth(newIdentity(), randomBytes(16)))
      await client.closed
    }),

  async replayedProofs(url) {
    using own = await RawClient.connect(url)
    const proof = clientAuth(newIdentity(), (await own.next(FRAME.serverChallenge)).subarray(1))
    own.send(proof)
    await own.next(FRAME.serverConfirmsAuth)
    await inManyConnections(async () => {
      using client = await RawClient.connect(url)
      client.send(proof)
      await client.closed
    })
  },

  async silentConnections(url) {
    const silent = await Promise.allSettled(Array.from({ length: 400 }, () => RawClient.connect(url)))
    await forAWhile(() => {}, 50)
    for (const result of silent) if (result.status === 'fulfilled') result.value[Symbol.dispose]()
  },

  textMessages: (url) =>
    inManyConnections(async () => {
      using client = await RawClient.open(url)
      client.ws.send('hello')
      await client.closed
    }),

  oversizedFrames: (url) =>
    inManyConnections(async () => {
      using client = await RawClient.open(url)
      client.send(new Uint8Array(16 * 1024 * 1024))
      await client.closed
    }),

  async fragments(url) {
    const clients = await open(url, 10)
    await forAWhile(() => {
      for (const { ws } of clients) for (let count = 0; count < 40; count++) ws.send(new Uint8Array(1), { fin: false })
    })
    closeAll(clients)
  },

  async pingsWithoutReading(url) {
    const clients = await open(url, 4)
    for (const { ws } of clients) ws.pause()
    await forAWhile(() => {
      for (const { ws } of clients)
        if (ws.bufferedAmount < 1e6) for (let count = 0; count < 500; count++) ws.ping(randomBytes(125))
    })
    closeAll(clients)
  },

  async floodOfTinyFrames(url) {
    const clients = await open(url, 4)
    const frame = datagram(randomBytes(32), new Uint8Array(1))
    await flood(clients, () => frame)
    closeAll(clients)
  },

  async floodOfLargeFrames(url) {
    const target = newIdentity()
    const receiver = await RawClient.open(url, target)
    const clients = await open(url, 4)
    await flood(clients, () => datagram(target.id, new Uint8Array(FRAME_BODY_BYTES_MAX - 33)))
    closeAll([...clients, receiver])
  },

  async floodAtTheVictim(url, victim) {
    const clients = await open(url, 4)
    await flood(clients, () => datagram(victim, new Uint8Array(1200)))
    closeAll(clients)
  },

  async thousandsOfDestinations(url) {
    const clients = await open(url, 2)
    const ids = Array.from({ length: 5000 }, () => randomBytes(32))
    let next = 0
    await flood(clients, () => datagram(ids[next++ % ids.length] ?? randomBytes(32), new Uint8Array(200)))
    closeAll(clients)
  },

  async slowReaders(url) {
    const targets = [newIdentity(), newIdentity()]
    const slow = await Promise.all(targets.map((target) => RawClient.open(url, target)))
    for (const { ws } of slow) ws.pause()
    const clients = await open(url, 4)
    const frames = targets.map(({ id }) => datagram(id, new Uint8Array(30_000)))
    // The kernels hold megabytes for each reader before anything waits in the relay.
    for (let sentBytes = 0; sentBytes < 80e6; ) {
      for (const { ws } of clients) {
        for (const frame of ws.bufferedAmount < 1e6 ? frames : []) {
          ws.send(frame)
          sentBytes += frame.length
        }
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    closeAll([...slow, ...clients])
  }
} as const satisfies Record<string, (url: string, victim: Uint8Array) => Promise<void>>

export type AttackName = keyof typeof attacks

function open(url: string, count: number): Promise<RawClient[]> {
  return Promise.all(Array.from({ length: count }, () => RawClient.open(url)))
}

function closeAll(clients: readonly RawClient[]): void {
  for (const client of clients) client[Symbol.dispose]()
}

/** Ten at a time, one after the other. A refused connection is as good as any. */
async function inManyConnections(attack: () => Promise<void>): Promise<void> {
  const endMs = performance.now() + ATTACK_MS
  const worker = async () => {
    while (performance.now() < endMs) await attack().catch(() => {})
  }
  await Promise.all(Array.from({ length: 10 }, worker))
}

/** As much as the sockets take. */
async function flood(clients: readonly RawClient[], frame: () => Uint8Array): Promise<void> {
  await forAWhile(() => {
    for (const client of clients) {
      for (let count = 0; count < 2000 && client.ws.bufferedAmount < 1e6; count++) client.send(frame())
    }
  })
}

/** Calls `step` again and again. */
async function forAWhile(step: () => void, pauseMs = 1): Promise<void> {
  const endMs = performance.now() + ATTACK_MS
  while (performance.now() < endMs) {
    step()
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}
