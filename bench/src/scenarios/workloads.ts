/** The two workloads that Heddle and the floor have in common, and what is measured of them. */
import { type Metric, metric, percentile } from '../metric.js'
import type { Arrivals } from '../process/peer.js'
import type { Pair, Stage } from '../stage.js'
import type { TypedPaced } from '../typing.js'
import { rounds } from './scenario.js'

export interface Workload {
  readonly stage: Stage
  readonly quick: boolean
  /** Whose numbers these are: "" for Heddle's, "floor." for the yardstick's. */
  readonly prefix: '' | 'floor.'
  /** Whether the writer has something to wait for: that its edits are safe. */
  readonly hasReceipts: boolean
}

/** One types as fast as its document takes the edits in; it is over when the other has all, and all is safe. */
export async function streamed({ writer, reader }: Pair, workload: Workload): Promise<readonly Metric[]> {
  const { stage } = workload
  const edits = workload.quick ? 5_000 : 20_000
  const warmUpEdits = workload.quick ? 2_000 : 10_000
  const round = async (count: number) => {
    const before = await writer.call('sent', {})
    const cpuBeforeMs = await stage.cpuMs()
    const { client, clock } = await writer.call('position', {})
    const type = async () => {
      const { startedMs, endedMs } = await writer.call('typeFast', { edits: count })
      return {
        startedMs,
        endMs: workload.hasReceipts ? (await writer.call('settled', { level: 'safe' })).atMs : endedMs
      }
    }
    const [typed, arrived] = await Promise.all([type(), reader.call('awaitClock', { client, clock: clock + count })])
    const after = await writer.call('sent', {})
    const cpuAfterMs = await stage.cpuMs()
    return {
      cpuUsPerEdit: (1000 * (cpuAfterMs - cpuBeforeMs)) / count,
      editsPerSecond: (1000 * count) / (Math.max(typed.endMs, arrived.atMs) - typed.startedMs),
      bytesPerEdit: (after.bytes - before.bytes) / count,
      editsPerMessage: count / (after.messages - before.messages)
    }
  }
  await round(warmUpEdits)
  const measured = await rounds(workload.quick ? 1 : 3, () => round(edits))
  const head = metricHead(workload, 'streamed')
  return [
    metric(
      head('edits-per-second', 'edits/s', 'typed without pause'),
      measured.map((one) => one.editsPerSecond)
    ),
    metric(
      head('cpu-per-edit', 'µs', 'processor time of all processes, per edit'),
      measured.map((one) => one.cpuUsPerEdit)
    ),
    metric(
      head('bytes-per-edit', 'bytes', 'messages, per edit'),
      measured.map((one) => one.bytesPerEdit)
    ),
    metric(
      head('edits-per-message', 'edits', 'edits that ride in one message'),
      measured.map((one) => one.editsPerMessage)
    )
  ]
}

const pacedPerSecond = 50

/** One types at a steady pace; how long each edit takes to the other's document. */
export async function paced({ writer, reader }: Pair, workload: Workload): Promise<readonly Metric[]> {
  const seconds = workload.quick ? 2 : 10
  const warmUpEdits = workload.quick ? 25 : 100
  const { client } = await writer.call('position', {})
  await reader.call('watch', { client })
  await writer.call('typePaced', { edits: warmUpEdits, perSecond: pacedPerSecond })
  const before = await writer.call('sent', {})
  const cpuBeforeMs = await workload.stage.cpuMs()
  const typed = await writer.call('typePaced', { edits: seconds * pacedPerSecond, perSecond: pacedPerSecond })
  await reader.call('awaitClock', { client: typed.client, clock: typed.lastClock })
  const after = await writer.call('sent', {})
  const cpuAfterMs = await workload.stage.cpuMs()
  const delaysMs = delaysOf(typed, await reader.call('arrivals', {}))
  const head = metricHead(workload, 'paced')
  return [
    metric(head('p50', 'ms', `edit to remote apply at ${pacedPerSecond}/s, median`), [percentile(delaysMs, 50)]),
    metric(head('p99', 'ms', 'the same, 99th percentile'), [percentile(delaysMs, 99)]),
    metric(head('cpu-per-edit', 'µs', 'processor time of all processes, per edit'), [
      (1000 * (cpuAfterMs - cpuBeforeMs)) / typed.editsMs.length
    ]),
    metric(head('bytes-per-message', 'bytes', 'one message, about one edit'), [
      (after.bytes - before.bytes) / (after.messages - before.messages)
    ]),
    metric(head('edits-per-message', 'edits', 'edits that ride in one message'), [
      typed.editsMs.length / (after.messages - before.messages)
    ])
  ]
}

/** For every edit, the time until the other document first contained it. Throws when one never arrived. */
export function delaysOf({ firstClock, editsMs }: TypedPaced, { clocks, atMs }: Arrivals): Float64Array {
  const delaysMs = new Float64Array(editsMs.length)
  let arrival = 0
  for (const [i, editMs] of editsMs.entries()) {
    while (arrival < clocks.length && (clocks[arrival] ?? 0) < firstClock + i) arrival++
    const arrivedMs = atMs[arrival]
    if (arrivedMs === undefined) throw new Error(`edit ${i + 1} of ${editsMs.length} never arrived`)
    delaysMs[i] = arrivedMs - editMs
  }
  return delaysMs
}

function metricHead({ prefix }: Workload, scenario: 'streamed' | 'paced') {
  return (what: string, unit: Metric['unit'], label: string) => {
    const own = `${scenario}.${what}`
    return prefix === '' ? { id: own, unit, label, yardstick: `floor.${own}` } : { id: `${prefix}${own}`, unit, label }
  }
}
