/** The door of the benchmark for tools that run it themselves; the command is `main.ts`. */
export type { Metric, Unit } from './metric.js'
export { type Bench, type Scenario, scenarios } from './scenarios/index.js'
export { Stage } from './stage.js'
