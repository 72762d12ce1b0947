/** Whether typing costs more in a large document: the same edits into an empty one and into one of 100,000 characters. */
import { type Metric, metric } from '../metric.js'
import type { Peer } from '../stage.js'
import { type Bench, rounds, type Scenario } from './scenario.js'

const fullCharacters = 100_000
const quickCharacters = 20_000

export const documentSizeScenario: Scenario = {
  name: 'document-size',
  about: `one device typing into an empty document and into one of ${fullCharacters} characters, in turns`,
  run
}

async function run({ stage, quick }: Bench): Promise<readonly Metric[]> {
  const largeCharacters = quick ? quickCharacters : fullCharacters
  const servers = await stage.servers(3)
  const [empty, large] = await Promise.all([stage.device('empty'), stage.device('large')])
  await Promise.all([empty.call('create', { servers }), large.call('create', { servers })])
  await large.call('fill', { edits: largeCharacters, seed: 2, atOnce: true })
  await large.call('settled', { level: 'safe' })
  const edits = quick ? 1_000 : 2_000
  for (const peer of [empty, large]) await typed(peer, edits)
  const measured = await rounds(quick ? 1 : 5, async () => ({
    empty: await typed(empty, edits),
    large: await typed(large, edits)
  }))
  const head = (what: string, label: string) => ({ id: `document-size.${what}`, label })
  return [
    metric(
      { ...head('empty', 'an edit in the empty document'), unit: 'µs' },
      measured.map(({ empty }) => empty.elapsedUs)
    ),
    metric(
      { ...head('large', `an edit in the document of ${largeCharacters} characters`), unit: 'µs' },
      measured.map(({ large }) => large.elapsedUs)
    ),
    metric(
      { ...head('ratio', 'large to empty, elapsed'), unit: '×' },
      measured.map(({ empty, large }) => large.elapsedUs / empty.elapsedUs)
    ),
    metric(
      { ...head('cpu-ratio', 'large to empty, processor time of the device'), unit: '×' },
      measured.map(({ empty, large }) => large.cpuUs / empty.cpuUs)
    )
  ]
}

/** What one edit costs until all are stored on the device. */
async function typed(peer: Peer, edits: number): Promise<{ readonly elapsedUs: number; readonly cpuUs: number }> {
  const beforeMs = await peer.call('cpuMs', {})
  const { startedMs } = await peer.call('typeFast', { edits })
  const { atMs } = await peer.call('settled', { level: 'stored' })
  await peer.call('settled', { level: 'safe' })
  const afterMs = await peer.call('cpuMs', {})
  return {
    elapsedUs: (1000 * (atMs - startedMs)) / edits,
    cpuUs: (1000 * (afterMs - beforeMs)) / edits
  }
}
