/**
 * A real document: the editing history of a paper (josephg/editing-traces, automerge-paper), typed on one device, followed
 * by another, opened again and joined. The histories are not part of the repository.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Metric, metric } from '../metric.js'
import { heddlePair } from '../stage.js'
import type { Bench, Scenario } from './scenario.js'

const fileNames = ['automerge-paper.json.gz', 'automerge-paper.json']

export const traceScenario: Scenario = {
  name: 'trace',
  about: 'the editing history of a paper: typed, followed, opened again, joined',
  skipped: () => (tracePath() === undefined ? `HEDDLE_TRACES names no folder with ${fileNames[0]}` : undefined),
  run
}

function tracePath(): string | undefined {
  const folder = process.env.HEDDLE_TRACES
  return folder === undefined ? undefined : fileNames.map((name) => join(folder, name)).find((path) => existsSync(path))
}

async function run({ stage, quick }: Bench): Promise<readonly Metric[]> {
  const path = tracePath()
  if (path === undefined) throw new Error('there is no history to replay')
  const { writer, reader, document, path: folder } = await heddlePair(stage)
  const before = await writer.call('sent', {})
  const editsMax = quick ? 10_000 : Number.POSITIVE_INFINITY
  const { client, lastClock, startedMs, edits } = await writer.call('replay', { path, editsMax })
  const [arrived, settled] = await Promise.all([
    reader.call('awaitClock', { client, clock: lastClock }),
    writer.call('settled', { level: 'safe' })
  ])
  const endMs = Math.max(arrived.atMs, settled.atMs)
  const after = await writer.call('sent', {})
  const text = await writer.call('text', {})

  const link = await writer.call('invite', {})
  const joiner = stage.peer('joiner')
  const joined = await joiner.call('measureJoin', { path: stage.newFolder(), link, length: text.length })
  if (joined.text !== text) throw new Error('the joiner has another text than the writer')
  await writer.call('close', {})
  const reopener = stage.peer('reopener')
  const reopened = await reopener.call('measureReopen', { path: folder, document })
  if (reopened.text !== text) throw new Error('the text is another one after the device was opened again')
  return [
    metric({ id: 'trace.edits-per-second', unit: 'edits/s', label: `${edits} edits of the paper, typed` }, [
      (1000 * edits) / (endMs - startedMs)
    ]),
    metric({ id: 'trace.bytes-per-edit', unit: 'bytes', label: 'messages, per edit' }, [
      (after.bytes - before.bytes) / edits
    ]),
    metric({ id: 'trace.join', unit: 'ms', label: 'to load it by an invite, join included' }, [joined.ms]),
    metric({ id: 'trace.reopen', unit: 'ms', label: "to load it from the device's own storage" }, [reopened.ms])
  ]
}
