/** The scenarios, in the order they run: a yardstick comes before what is compared with it. */
import { coldScenario } from './cold.js'
import { documentSizeScenario } from './document-size.js'
import { floorScenario } from './floor.js'
import { groupScenario } from './group.js'
import { microScenario } from './micro.js'
import { pacedScenario } from './paced.js'
import type { Scenario } from './scenario.js'
import { streamedScenario } from './streamed.js'
import { traceScenario } from './trace.js'
import { transportScenario } from './transport.js'
import { wireScenario } from './wire.js'

export type { Bench, Scenario } from './scenario.js'
export const scenarios: readonly Scenario[] = [
  floorScenario,
  streamedScenario,
  pacedScenario,
  coldScenario,
  documentSizeScenario,
  microScenario,
  transportScenario,
  groupScenario,
  wireScenario,
  traceScenario
]
