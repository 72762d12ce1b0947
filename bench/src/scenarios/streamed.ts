/** Typing as fast as a device takes it in, to another device, over three servers. */
import { heddlePair } from '../stage.js'
import type { Scenario } from './scenario.js'
import { streamed } from './workloads.js'

export const streamedScenario: Scenario = {
  name: 'streamed',
  about: 'two devices, three servers (LMDB, WebSocket): typing without pause until the other has all and all is safe',
  run: async ({ stage, quick }) => streamed(await heddlePair(stage), { stage, quick, prefix: '', hasReceipts: true })
}
