/** How long a document takes to come up: on a device that has it, and on one that has just been invited. */
import { type Metric, metric } from '../metric.js'
import type { Loaded } from '../process/peer.js'
import type { Stage } from '../stage.js'
import { type Bench, rounds, type Scenario } from './scenario.js'

const seed = 1

export const coldScenario: Scenario = {
  name: 'cold',
  about: 'a document of single-character edits all over it: opened again, joined, and by yjs alone; fresh processes',
  run
}

async function run({ stage, quick }: Bench): Promise<readonly Metric[]> {
  const edits = quick ? 2_000 : 10_000
  const count = quick ? 1 : 3
  const servers = await stage.servers(3)
  const admin = await stage.device('admin')
  const { document } = await admin.call('create', { servers })
  const path = stage.newFolder()
  const copy = await stage.device('copy', path)
  await copy.call('join', { link: await admin.call('invite', {}) })
  await admin.call('fill', { edits, seed, atOnce: false })
  await admin.call('settled', { level: 'safe' })
  await copy.call('awaitClock', await admin.call('position', {}))
  await copy.call('settled', { level: 'stored' })
  await copy.end()
  const text = await admin.call('text', {})

  const reopened = await rounds(count, async () =>
    alone(stage, 'reopener', text, (peer) => peer.call('measureReopen', { path, document }))
  )
  const joined = await rounds(count, async () => {
    const link = await admin.call('invite', {})
    const params = { path: stage.newFolder(), link, length: text.length }
    return alone(stage, 'joiner', text, (peer) => peer.call('measureJoin', params))
  })
  const yjs = await rounds(count, async () =>
    alone(stage, 'yjs', text, (peer) => peer.call('measureYjs', { edits, seed }))
  )
  const head = (what: string, how: string) =>
    ({ id: `cold.${what}`, unit: 'ms', label: `to load ${edits} edits ${how}` }) as const
  const yardstick = 'cold.yjs'
  return [
    metric({ ...head('reopen', "from the device's own storage"), yardstick }, reopened),
    metric({ ...head('join', 'by an invite, join included'), yardstick }, joined),
    metric(head('yjs', 'into yjs alone, one transaction'), yjs)
  ]
}

/** Measures in a process of its own, and makes sure that what came up is the document. */
async function alone(
  stage: Stage,
  name: string,
  text: string,
  measure: (peer: ReturnType<Stage['peer']>) => Promise<Loaded>
): Promise<number> {
  const peer = stage.peer(name)
  const loaded = await measure(peer)
  if (loaded.text !== text) throw new Error(`the ${name} has another text than the admin`)
  await peer.call('close', {})
  await peer.end()
  return loaded.ms
}
