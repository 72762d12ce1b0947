/** The scenarios, in the order they run: what is compared with each other is measured one after another. */
import { coldScenario } from './cold.js'
import { documentSizeScenario } from './document-size.js'
import { floorScenario } from './floor.js'
import { microScenario } from './micro.js'
import { pacedScenario } from './paced.js'
import type { Scenario } from './scenario.js'
import { streamedScenario } from './streamed.js'
import { traceScenario } from './trace.js'

export type { Bench, Scenario } from './scenario.js'
export const scenarios: readonly Scenario[] = [
  streamedScenario,
  pacedScenario,
  floorScenario,
  coldScenario,
  documentSizeScenario,
  microScenario,
  traceScenario
]
