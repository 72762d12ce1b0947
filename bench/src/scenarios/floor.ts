/**
 * The same typing with yjs and a relay that does nothing but pass messages on, in the same layout of processes: what the
 * machine allows when nobody encrypts, stores or acknowledges anything.
 */
import { relayPair } from '../stage.js'
import type { Scenario } from './scenario.js'
import { paced, streamed, type Workload } from './workloads.js'

export const floorScenario: Scenario = {
  name: 'floor',
  about: 'yjs and one WebSocket relay, no encryption, no storage, no receipts: the yardstick of both',
  async run({ stage, quick }) {
    const pair = await relayPair(stage)
    const workload: Workload = { stage, quick, prefix: 'floor.', hasReceipts: false }
    return [...(await streamed(pair, workload)), ...(await paced(pair, workload))]
  }
}
