/** Typing at a steady pace: how long an edit takes to another device, over three servers. */
import { heddlePair } from '../stage.js'
import type { Scenario } from './scenario.js'
import { paced } from './workloads.js'

export const pacedScenario: Scenario = {
  name: 'paced',
  about: 'the same devices and servers: a steady typist, and the delay until the other has each edit',
  run: async ({ stage, quick }) => paced(await heddlePair(stage), { stage, quick, prefix: '', hasReceipts: true })
}
