import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { alpn, type Body } from '../net/index.js'
import type { Connection, EndpointIdentity, FrameStream } from '../plugin/index.js'
import { ERRORS, Frame, LIMITS, SubscribeMode } from '../wire/index.js'
import { receiptOf, settled } from './testing/expect.js'
import { type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
let host: ServerHost
let admin: TestDevice
let editor: TestDevice
beforeEach(async () => {
  const limits = { openRequestsBurst: 1e9, proposalsBurst: 1e9 }
  world = await World.start(1, { limits })
  host = world.hosts[0] as ServerHost
  admin = await world.device()
  await admin.create([host])
  editor = await admin.add([host])
})
afterEach(() => world[Symbol.asyncDispose]())

/** mulberry32: the same numbers in every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

function mutated(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  const copy = bytes.slice()
  switch (random(6)) {
    case 0:
      return copy.subarray(0, random(copy.length))
    case 1:
      return Uint8Array.of(...copy, ...Array.from({ length: 1 + random(9) }, () => random(256)))
    case 2: {
      const at = random(copy.length)
      copy.copyWithin(at, random(copy.length), random(copy.length))
      return copy
    }
    case 3:
      return Uint8Array.from({ length: random(200) }, () => random(256))
    default:
      for (let flips = 1 + random(4); flips > 0; flips--) {
        const at = random(copy.length)
        copy[at] = (copy[at] ?? 0) ^ (1 << random(8))
      }
      return copy
  }
}

/** Damages single fields and leaves the frame well-formed, or nearly. */
function mangled(value: unknown, random: (below: number) => number): unknown {
  if (value instanceof Uint8Array) {
    const copy = value.slice()
    if (copy.length > 0) copy[random(copy.length)] = random(256)
    return copy
  }
  if (Array.isArray(value)) return value.map((item) => mangled(item, random))
  if (typeof value === 'bigint') return random(2) === 0 ? value : BigInt(random(100))
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value)
  return Object.fromEntries(fields.map(([name, field]) => [name, random(2) === 0 ? field : mangled(field, random)]))
}

/** Undefined when the result cannot be encoded. */
function mangledFrame(body: Body, request: bigint, random: (below: number) => number): Uint8Array | undefined {
  try {
    return Frame.encode({ request, body: { ...body, value: mangled(body.value, random) } as Body })
  } catch {
    return undefined
  }
}

/** A peer that writes whatever it likes. */
class RawPeer {
  readonly connection: Connection
  readonly stream: FrameStream
  readonly answers: Frame[] = []
  ended = false

  private constructor(connection: Connection, stream: FrameStream) {
    this.connection = connection
    this.stream = stream
    this.#read()
  }

  static async connect(identity: EndpointIdentity, hello = true): Promise<RawPeer> {
    const { signal } = world.context
    const connection = await world.transport.dial(host.address, { identity, alpn, signal })
    const peer = new RawPeer(connection, await connection.open())
    if (hello) await peer.send({ $case: 'hello', value: { versions: [1], features: [], agent: '' } }, 1n)
    return peer
  }

  async send(body: Body, request = 2n): Promise<void> {
    await this.write(Frame.encode({ request, body }))
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.stream.write(bytes).catch(() => {
      // Closed already: what came before was enough for the server.
    })
  }

  async close(): Promise<void> {
    await this.connection[Symbol.asyncDispose]()
    await this.connection.closed
  }

  async #read(): Promise<void> {
    try {
      for await (const bytes of this.stream.frames) this.answers.push(Frame.decode(bytes))
    } catch {
      // Reset by the server.
    }
    this.ended = true
  }
}

/** Valid requests whose repetition, and whose every alteration, must change nothing. */
async function harmlessRequests(): Promise<readonly Body[]> {
  const group = admin.groupId
  const envelopes = [await admin.seal(), await admin.seal()]
  await admin.upload(host, ...envelopes)
  const unsigned = await admin.sealAside()
  const proof = await admin.promises([host], 9n)
  const { value } = await admin.value()
  await admin.accept(host, 9n, value, proof)
  const { channel } = await admin.to(host)
  const caughtUp = await channel.request({ $case: 'catchUp', value: { group, fromSlot: 0n } })
  const id = new Uint8Array(16)
  return [
    { $case: 'upload', value: { group, envelopes } },
    // A bit of its signature is wrong, so that no other change to it can make it right.
    {
      $case: 'upload',
      value: { group, envelopes: [Uint8Array.of(...unsigned.slice(0, -1), (unsigned.at(-1) ?? 0) ^ 1)] }
    },
    { $case: 'create', value: { groupInfo: await admin.group.groupInfo(), decided: undefined } },
    { $case: 'subscribe', value: { group, mode: SubscribeMode.SUBSCRIBE_MODE_FULL, afterPosition: 0n } },
    { $case: 'unsubscribe', value: { group } },
    { $case: 'fetch', value: { group, member: admin.memberId, fromSeq: 1n, max: 9 } },
    { $case: 'catchUp', value: { group, fromSlot: 0n } },
    { $case: 'prepare', value: admin.prepareRequest(8n) },
    { $case: 'accept', value: admin.acceptRequest(8n, value, proof) },
    { $case: 'accept', value: admin.acceptRequest(9n, value, proof) },
    caughtUp,
    { $case: 'mailboxPut', value: { group, mailbox: id, item: id } },
    { $case: 'mailboxClose', value: { group, mailbox: id } },
    { $case: 'welcomeRequest', value: { group, keyPackageRef: new Uint8Array(32) } },
    { $case: 'done', value: {} },
    { $case: 'problem', value: { code: 1, message: 'x', group, slot: 1n, retryAfterMs: 1 } },
    { $case: 'pong', value: { nonce: 1n } },
    { $case: 'hello', value: { versions: [1], features: [], agent: '' } }
  ]
}

async function stillServes(): Promise<void> {
  const { counts } = host.server.stats()
  expect(counts.internalError).toBe(0)
  expect(receiptOf(await editor.upload(host, await editor.seal())).head.seq).toBe(1n)
  expect((await admin.prepare(host, 20n)).$case).toBe('promise')
}

describe('hostile input', () => {
  it('of every kind, mutated thousands of times, is refused and changes nothing', { timeout: 120_000 }, async () => {
    const random = seeded(20_241)
    const requests = await harmlessRequests()
    const strangerKey = world.crypto.randomBytes(32)
    const stranger = { publicKey: world.crypto.publicKeyOf(strangerKey), secretKey: strangerKey }
    const before = await host.content()
    let inputs = 0
    for (let connections = 0; connections < 1_200; connections++) {
      const identity = random(3) === 0 ? stranger : admin.endpoint
      const peer = await RawPeer.connect(identity, random(20) !== 0)
      for (let i = 0; i < 5 && !peer.ended; i++, inputs++) {
        const body = requests[random(requests.length)] as Body
        const frame = Frame.encode({ request: 2n, body })
        const mangledOne = random(3) === 0 ? undefined : mangledFrame(body, 2n, random)
        await peer.write(mangledOne ?? (random(8) === 0 ? frame : mutated(frame, random)))
      }
      if (connections % 10 === 0) await settled()
      else await new Promise((resolve) => setImmediate(resolve))
      await peer.close()
    }
    expect(inputs).toBeGreaterThan(3_000)
    await settled()
    expect(await host.content()).toBe(before)
    expect(host.server.stats().counts.problem).toBeGreaterThan(1_000)
    expect(host.server.stats().counts.request).toBeGreaterThan(2_000)
    await stillServes()
    expect(await host.content()).not.toBe(before)
  })

  it('inside well-formed requests is answered with a Problem and the connection lives', async () => {
    const random = seeded(7)
    const requests = await harmlessRequests()
    const peer = await RawPeer.connect(admin.endpoint)
    const before = await host.content()
    // Those whose damage is found in what they carry, not in the frame.
    const survivable = requests.filter(({ $case }) =>
      ['prepare', 'fetch', 'catchUp', 'welcomeRequest', 'subscribe'].includes($case)
    )
    let sent = 0
    for (let i = 0; i < 400; i++) {
      const body = survivable[random(survivable.length)] as Body
      const frame = mangledFrame(body, BigInt(3 + i), random)
      if (peer.ended) break
      if (frame === undefined) continue
      await peer.write(frame)
      sent++
    }
    await settled()
    const fatal = peer.answers.some(
      ({ body }) => body?.$case === 'problem' && body.value.code === ERRORS.MALFORMED.code
    )
    expect(peer.ended).toBe(fatal)
    expect(sent).toBeGreaterThan(10)
    expect(await host.content()).toBe(before)
    await stillServes()
  })

  it('that asks without a request number, or for what servers do not do, ends the connection', async () => {
    const asks: readonly (readonly [Body, bigint])[] = [
      [{ $case: 'catchUp', value: { group: admin.groupId, fromSlot: 0n } }, 0n],
      [{ $case: 'pong', value: { nonce: 1n } }, 3n],
      [{ $case: 'hello', value: { versions: [1], features: [], agent: '' } }, 3n]
    ]
    for (const [body, request] of asks) {
      const peer = await RawPeer.connect(admin.endpoint)
      await peer.send(body, request)
      await peer.connection.closed
      const codes = peer.answers.flatMap((answer) => (answer.body?.$case === 'problem' ? [answer.body.value.code] : []))
      expect(codes).toContain(ERRORS.UNEXPECTED_FRAME.code)
    }
    const peer = await RawPeer.connect(admin.endpoint)
    await peer.send({ $case: 'pong', value: { nonce: 1n } }, 0n)
    await settled()
    expect(peer.ended).toBe(false)
  })

  it('above the size of a frame ends the connection', async () => {
    const peer = await RawPeer.connect(admin.endpoint)
    await peer.write(new Uint8Array(LIMITS.Frame.maxSize + 1))
    await peer.connection.closed
    const code = peer.answers.flatMap(({ body }) => (body?.$case === 'problem' ? [body.value.code] : []))
    expect(code).toContain(ERRORS.MALFORMED.code)
    await stillServes()
  })

  it('replayed by another device from what it saw changes nothing', async () => {
    const requests = await harmlessRequests()
    const before = await host.content()
    const peer = await RawPeer.connect(editor.endpoint)
    const replayed = requests.filter(({ $case }) => ['upload', 'prepare', 'accept', 'decided'].includes($case))
    for (const [i, body] of replayed.entries()) await peer.send(body, BigInt(i + 2))
    await settled()
    // The accepted value may be accepted again, with the vote that was given then; nothing else is.
    expect(await host.content()).toBe(before)
    expect(peer.ended).toBe(false)
    await stillServes()
  })

  it('of too many connections of one device is turned away, and room comes back', async () => {
    const { signal } = world.context
    const connections: Connection[] = []
    let closed = 0
    for (let i = 0; i < 40; i++) {
      const connection = await world.transport.dial(host.address, { identity: editor.endpoint, alpn, signal })
      connections.push(connection)
      connection.closed.then(() => closed++)
    }
    await settled()
    expect(closed).toBe(24)
    expect(host.server.stats().connections).toBe(17)
    for (const connection of connections) await connection[Symbol.asyncDispose]()
    await settled()
    await stillServes()
  })

  it('that never reads its answers is not read any further', async () => {
    const envelopes: Uint8Array[] = []
    for (let i = 0; i < 4; i++) envelopes.push(await admin.seal({}, 'q'.repeat(200_000)))
    await admin.upload(host, ...envelopes)
    const { signal } = world.context
    const connection = await world.transport.dial(host.address, { identity: admin.endpoint, alpn, signal })
    const stream = await connection.open()
    await stream.write(
      Frame.encode({ request: 1n, body: { $case: 'hello', value: { versions: [1], features: [], agent: '' } } })
    )
    const value = { group: admin.groupId, member: admin.memberId, fromSeq: 1n, max: 1 }
    const answered = host.server.stats().counts.request
    let written = 0
    let stuck = false
    for (; written < 20_000 && !stuck; written++) {
      const writing = stream.write(Frame.encode({ request: BigInt(2 + written), body: { $case: 'fetch', value } }))
      stuck = (await Promise.race([writing.then(() => 'on'), settled().then(() => 'stuck')])) === 'stuck'
      if (stuck) writing.catch(() => {})
    }
    expect(stuck).toBe(true)
    expect(host.server.stats().counts.request - answered).toBeLessThan(400)
    await stillServes()
    await connection[Symbol.asyncDispose]()
  })
})
