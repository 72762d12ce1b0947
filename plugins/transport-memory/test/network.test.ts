/** The memory network: latency by the clock, cuts and healing, faults, and runs that repeat to the letter. */
import { getEventListeners } from 'node:events'
import type { Connection, Listener, Transport } from '@heddle/core'
import {
  createMemoryNetwork,
  createVirtualClock,
  type MemoryNetwork,
  type MemoryNetworkOptions,
  memoryTransport,
  type VirtualClock
} from '@heddle/transport-memory'
import { describe, expect, it } from 'vitest'
import { testContext } from './context.js'

const never = new AbortController().signal
const key = (number: number) => new Uint8Array(32).fill(number)
const identity = (number: number) => ({ publicKey: key(number), secretKey: key(number) })

function simulation(options: Partial<MemoryNetworkOptions> = {}): {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  host(name: string): Promise<Transport>
} {
  const clock = createVirtualClock(0)
  const network = createMemoryNetwork({ clock, ...options })
  return { clock, network, host: (host) => memoryTransport.create({ network, host }, testContext({ clock })) }
}

function listen(transport: Transport, address: string): Promise<Listener> {
  if (transport.listen === undefined) throw new Error('no listen')
  return transport.listen({ identity: identity(9), alpn: 'heddle/1', address, signal: never })
}
const dial = (transport: Transport, address: string, signal = never) =>
  transport.dial(address, { identity: identity(1), alpn: 'heddle/1', signal })
const next = async <T>(iterable: AsyncIterable<T>): Promise<T> => {
  const result = await iterable[Symbol.asyncIterator]().next()
  if (result.done === true) throw new Error('the iteration ended')
  return result.value
}

/** What a promise has come to. */
function watch<T>(promise: Promise<T>) {
  const seen: { value?: T; error?: unknown } = {}
  promise.then(
    (value) => {
      seen.value = value
    },
    (error: unknown) => {
      seen.error = error
    }
  )
  return seen
}

describe('latency', () => {
  it('costs a dial one round trip and a frame one way, whatever happens meanwhile', async () => {
    const { clock, host } = simulation({ latencyMs: 30 })
    const listener = await listen(await host('server'), 'mem://server')
    const dialled = watch(dial(await host('laptop'), 'mem://server'))
    const accepting = next(listener.connections)
    const accepted = watch(accepting)
    await clock.run({ untilMs: 29 })
    expect([dialled, accepted]).toEqual([{}, {}])
    await clock.run({ untilMs: 59 })
    expect([dialled.value, accepted.value?.peer]).toEqual([undefined, key(1)])
    await clock.run({ untilMs: 60 })
    const stream = await dialled.value?.open()
    await stream?.write(Uint8Array.of(5))
    const { incoming } = await accepting
    const frame = watch(next(incoming).then((far) => next(far.frames)))
    await clock.run({ untilMs: 89 })
    expect(frame).toEqual({})
    await clock.run({ untilMs: 90 })
    expect(frame.value).toEqual(Uint8Array.of(5))
  })

  it('is asked for each pair of hosts, can change, and never lets a frame overtake', async () => {
    const { clock, network, host } = simulation()
    const asked = new Set<string>()
    let latencyMs = 50
    network.setLatency(({ from, to }) => {
      asked.add(`${from}>${to}`)
      return latencyMs
    })
    const listener = await listen(await host('server'), 'mem://server')
    const dialling = dial(await host('laptop'), 'mem://server')
    await clock.run({ untilMs: 100 })
    const stream = await (await dialling).open()
    const far = watch(next(listener.connections).then((connection) => next(connection.incoming)))
    await stream.write(Uint8Array.of(1))
    latencyMs = 1
    await stream.write(Uint8Array.of(2))
    await clock.run({ untilMs: 149 })
    expect(far).toEqual({})
    await clock.run({ untilMs: 150 })
    const frames = far.value?.frames[Symbol.asyncIterator]()
    expect([(await frames?.next())?.value, (await frames?.next())?.value]).toEqual([Uint8Array.of(1), Uint8Array.of(2)])
    expect([...asked].sort()).toEqual(['laptop>server', 'server>laptop'])
  })

  it('of nothing needs no timer at all', async () => {
    const { clock, host } = simulation()
    await listen(await host('server'), 'mem://server')
    await dial(await host('laptop'), 'mem://server')
    expect([clock.now(), clock.pending]).toEqual([0, 0])
  })
})

describe('a cut', () => {
  async function two(): Promise<{
    readonly network: MemoryNetwork
    readonly laptop: Transport
    readonly phone: Transport
    readonly connections: readonly [laptop: Connection, phone: Connection]
  }> {
    const { network, host } = simulation()
    await listen(await host('server'), 'mem://server')
    const [laptop, phone] = [await host('laptop'), await host('phone')]
    return {
      network,
      laptop,
      phone,
      connections: [await dial(laptop, 'mem://server'), await dial(phone, 'mem://server')]
    }
  }

  it('of an address loses its connections and fails dials until it is healed', async () => {
    const { network, laptop, connections } = await two()
    network.cut('mem://server')
    for (const connection of connections) expect(await connection.closed).toMatchObject({ by: 'lost' })
    await expect(dial(laptop, 'mem://server')).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    network.heal('mem://server')
    await dial(laptop, 'mem://server')
  })

  it.each([
    ['mem://server', 'laptop'],
    ['laptop', 'server'],
    ['laptop', undefined]
  ])('between %s and %s leaves others alone', async (a, b) => {
    const { network, laptop, phone, connections } = await two()
    const phoneEnd = watch(connections[1].closed)
    network.cut(a, b)
    expect(await connections[0].closed).toMatchObject({ by: 'lost' })
    await expect(dial(laptop, 'mem://server')).rejects.toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    await dial(phone, 'mem://server')
    expect(phoneEnd).toEqual({})
    network.heal()
    await dial(laptop, 'mem://server')
  })

  it('drops what is under way, and a dial under way', async () => {
    const { clock, network, host } = simulation({ latencyMs: 10 })
    const listener = await listen(await host('server'), 'mem://server')
    const laptop = await host('laptop')
    const dialling = watch(dial(laptop, 'mem://server'))
    await clock.run({ untilMs: 20 })
    const stream = await dialling.value?.open()
    await stream?.write(Uint8Array.of(1))
    const late = watch(dial(laptop, 'mem://server'))
    network.cut('mem://server')
    expect(clock.pending).toBe(0)
    await clock.run({ untilMs: 1000 })
    expect(late.error).toMatchObject({ code: 'TRANSPORT_UNREACHABLE' })
    const connection = await next(listener.connections)
    expect((await connection.incoming[Symbol.asyncIterator]().next()).done).toBe(true)
    expect(network.linkCount).toBe(0)
  })
})

describe('what has ended', () => {
  it('is forgotten by the network, and by the signals that could have aborted it', async () => {
    const { network, host } = simulation()
    await listen(await host('server'), 'mem://server')
    const laptop = await host('laptop')
    const { signal } = new AbortController()
    for (let i = 0; i < 5; i++) {
      const connection = await dial(laptop, 'mem://server', signal)
      const stream = await connection.open(signal)
      await stream.write(Uint8Array.of(1), signal)
      await connection[Symbol.asyncDispose]()
      await dial(laptop, 'mem://nobody', signal).catch(() => {})
    }
    await expect.poll(() => network.linkCount).toBe(0)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('by a reset leaves nothing to be read', async () => {
    const { host } = simulation()
    const listener = await listen(await host('server'), 'mem://server')
    const stream = await (await dial(await host('laptop'), 'mem://server')).open()
    await stream.write(Uint8Array.of(1))
    const far = await next((await next(listener.connections)).incoming)
    await stream[Symbol.asyncDispose]()
    await new Promise((resolve) => setImmediate(resolve))
    await expect(next(far.frames)).rejects.toMatchObject({ code: 'TRANSPORT_CLOSED' })
  })
})

describe('faults', () => {
  it('lose connections by the random source, and need one', async () => {
    const clock = createVirtualClock(0)
    expect(() => createMemoryNetwork({ clock, faults: { connectionLoss: 0.1 } })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' })
    )
    const draws = [0.5, 0.5, 0.05]
    const { host } = simulation({ faults: { connectionLoss: 0.1 }, random: () => draws.shift() ?? 1 })
    await listen(await host('server'), 'mem://server')
    const connection = await dial(await host('laptop'), 'mem://server')
    const stream = await connection.open()
    await stream.write(Uint8Array.of(1))
    await stream.write(Uint8Array.of(2))
    await stream.write(Uint8Array.of(3))
    expect(await connection.closed).toMatchObject({ by: 'lost' })
  })

  it('repeat to the letter with the same seed', async () => {
    const first = await story(42)
    expect(first.length).toBeGreaterThan(100)
    expect(await story(42)).toEqual(first)
    expect(await story(43)).not.toEqual(first)
  })

  /** Five devices talk to a server over a bad network; everything that happens, with its time. */
  async function story(seed: number): Promise<string[]> {
    let state = seed
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2 ** 32
    }
    const { clock, host } = simulation({ latencyMs: () => random() * 40, random, faults: { connectionLoss: 0.02 } })
    const events: string[] = []
    const note = (event: string) => events.push(`${clock.now()} ${event}`)
    const listener = await listen(await host('server'), 'mem://server')
    const serve = async (connection: Connection) => {
      for await (const stream of connection.incoming) {
        for await (const frame of stream.frames) note(`server got ${frame.join()}`)
      }
    }
    void (async () => {
      for await (const connection of listener.connections) serve(connection).catch(() => note('server lost a device'))
    })()
    const live = async (name: string, transport: Transport) => {
      for (let round = 0; round < 6; round++) {
        const connection = await dial(transport, 'mem://server')
        const stream = await connection.open()
        for (let i = 0; i < 8; i++) await stream.write(Uint8Array.of(round, i))
        note(`${name} wrote`)
        await Promise.race([connection.closed, new Promise<void>((resolve) => void clock.setTimer(60, resolve))])
        await connection[Symbol.asyncDispose]()
      }
    }
    const devices = ['a', 'b', 'c', 'd', 'e']
    const lives = Promise.all(
      devices.map(async (name) => live(name, await host(name)).catch(() => note(`${name} gave up`)))
    )
    await clock.run({ untilMs: 10_000 })
    await lives
    return events
  }
})

describe('the plugin', () => {
  it.each([
    [{}, /"network" must be a memory network/],
    [{ network: {} }, /"network" must be a memory network/],
    [{ network: createMemoryNetwork({ clock: createVirtualClock(0) }), host: '' }, /"host" must be a name/],
    [{ net: 1 }, /unknown option "net"/]
  ])('refuses %o', async (options, message) => {
    const result = await memoryTransport.options['~standard'].validate(options)
    expect(result.issues?.[0]?.message).toMatch(message)
  })

  it.each(['mem://', 'mem://a b', 'ws://server', 'server', `mem://${'x'.repeat(129)}`])(
    'refuses the address "%s" with CONFIG_INVALID',
    async (address) => {
      const transport = await simulation().host('a')
      await expect(listen(transport, address)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
      await expect(dial(transport, address)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    }
  )
})
