/** The transports by themselves, between two processes: how long a round trip takes, and how many frames go through. */
import { type Connection, type FrameStream, HeddleError } from '@heddle/core'
import { type Metric, metric, percentile } from '../metric.js'
import { nowMs } from '../process/calls.js'
import {
  alpn,
  commandBytes,
  newIdentity,
  startTransport,
  type TransportName,
  transports
} from '../process/transports.js'
import { type Bench, rounds, type Scenario } from './scenario.js'

export const transportScenario: Scenario = {
  name: 'transport',
  about: 'frames between two processes on one stream, WebSocket (the yardstick) and iroh, both authenticated',
  run
}

const pingBytes = 64
const frameBytes = 200
const bulkBytes = 64 * 1024

interface Measured {
  readonly tripMs: number
  readonly framesPerSecond: number
  readonly bulkPerSecond: number
}

async function run({ stage, quick }: Bench): Promise<readonly Metric[]> {
  const addresses = await stage.echo()
  const open: AsyncDisposable[] = []
  try {
    const connections: { readonly name: TransportName; readonly connection: Connection }[] = []
    for (const [index, one] of transports.entries()) {
      const transport = await startTransport(one)
      open.push(transport)
      const { signal } = new AbortController()
      const connection = await transport.dial(addresses[index] ?? '', { identity: newIdentity(), alpn, signal })
      connections.push({ name: one.name, connection })
    }
    for (const { connection } of connections) await measure(connection, 0.1)
    const measured = new Map(connections.map(({ name }) => [name, [] as Measured[]]))
    await rounds(quick ? 1 : 5, async (index) => {
      // Each round in the reverse order of the one before, so that neither always comes second.
      const order = index % 2 === 0 ? connections : [...connections].reverse()
      for (const { name, connection } of order) measured.get(name)?.push(await measure(connection, quick ? 0.1 : 1))
    })
    return connections.flatMap(({ name }) => metricsOf(name, measured.get(name) ?? []))
  } finally {
    for (const transport of open) await transport[Symbol.asyncDispose]()
  }
}

function metricsOf(name: TransportName, measured: readonly Measured[]): readonly Metric[] {
  const isIroh = name === 'iroh'
  const yardstick = (what: string) => (isIroh ? { yardstick: `transport.websocket.${what}` } : {})
  return [
    metric(
      {
        id: `transport.${name}.trip`,
        unit: 'ms',
        label: `${name}: round trip of ${pingBytes} B, median`,
        ...yardstick('trip'),
        ...(isIroh && { target: { atMost: 0.4 } })
      },
      measured.map(({ tripMs }) => tripMs)
    ),
    metric(
      {
        id: `transport.${name}.frames`,
        unit: 'messages/s',
        label: `${name}: frames of ${frameBytes} B`,
        ...yardstick('frames'),
        ...(isIroh && { target: { atLeast: 15_000 } })
      },
      measured.map(({ framesPerSecond }) => framesPerSecond)
    ),
    metric(
      {
        id: `transport.${name}.bulk`,
        unit: 'messages/s',
        label: `${name}: frames of ${bulkBytes / 1024} KiB`,
        ...yardstick('bulk')
      },
      measured.map(({ bulkPerSecond }) => bulkPerSecond)
    )
  ]
}

/** `share` of the usual work. */
async function measure(connection: Connection, share: number): Promise<Measured> {
  return {
    tripMs: await measureTrips(connection, 2_000 * share),
    framesPerSecond: await measureFrames(connection, frameBytes, 40_000 * share),
    bulkPerSecond: await measureFrames(connection, bulkBytes, 160 * share)
  }
}

async function measureTrips(connection: Connection, count: number): Promise<number> {
  const stream = await commanded(connection, 0)
  const frames = stream.frames[Symbol.asyncIterator]()
  const ping = new Uint8Array(pingBytes)
  const trips = await rounds(count, async () => {
    const startMs = nowMs()
    await stream.write(ping)
    await answer(frames)
    return nowMs() - startMs
  })
  await end(stream, frames)
  return percentile(trips, 50)
}

/** Frames a second, from the first write until the other side has said that it has them all. */
async function measureFrames(connection: Connection, bytes: number, count: number): Promise<number> {
  const stream = await commanded(connection, count)
  const frames = stream.frames[Symbol.asyncIterator]()
  const frame = new Uint8Array(bytes)
  const startMs = nowMs()
  for (let i = 0; i < count; i++) await stream.write(frame)
  await answer(frames)
  const tookMs = nowMs() - startMs
  await end(stream, frames)
  return (count / tookMs) * 1000
}

async function commanded(connection: Connection, answeredBy: number): Promise<FrameStream> {
  const stream = await connection.open()
  const command = new Uint8Array(commandBytes)
  new DataView(command.buffer).setUint32(0, answeredBy)
  await stream.write(command)
  return stream
}

async function answer(frames: AsyncIterator<Uint8Array>): Promise<void> {
  if ((await frames.next()).done === true) throw new HeddleError('INTERNAL', 'the echo ended before it had answered')
}

async function end(stream: FrameStream, frames: AsyncIterator<Uint8Array>): Promise<void> {
  await stream.finish()
  if ((await frames.next()).done !== true) throw new HeddleError('INTERNAL', 'the echo answered more than it was asked')
}
