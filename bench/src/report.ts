/** What the benchmark prints: a table for a person, one JSON document for a tool, and the verdict of `--check`. */
import { isMet, type Metric, type Target } from './metric.js'

export interface ScenarioResult {
  readonly name: string
  readonly about: string
  /** Why it was not run. */
  readonly skipped?: string
  /** What went wrong in it. */
  readonly failed?: string
  readonly seconds: number
  readonly metrics: readonly Metric[]
}

export interface Report {
  readonly quick: boolean
  readonly machine: {
    readonly node: string
    readonly platform: string
    readonly cpu: string
    readonly cores: number
    /** One-minute load average before the first scenario: what else the machine was busy with. */
    readonly load: number
  }
  readonly scenarios: readonly ScenarioResult[]
}

/** Sanity bounds: a result beyond them means that something is broken, not that something is slow. */
const bounds: readonly { readonly id: string; readonly min?: number; readonly max?: number }[] = [
  { id: 'streamed.edits-per-second', min: 1_000 },
  { id: 'paced.p50', max: 20 },
  { id: 'group.2.message.100.encrypt', min: 1_000 },
  { id: 'group.2.message.100.decrypt', min: 1_000 },
  { id: 'group.10.update.process', max: 50 }
]

/** What `--check` finds, a line each; that nothing with a bound was measured is a finding too. */
export function findings({ scenarios }: Report): readonly string[] {
  const metrics = new Map(scenarios.flatMap((one) => one.metrics).map((one) => [one.id, one]))
  if (!bounds.some(({ id }) => metrics.has(id))) return [`nothing to check: run ${checkedScenarios.join(' or ')}`]
  return bounds.flatMap(({ id, min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY }) => {
    const metric = metrics.get(id)
    if (metric === undefined || (metric.value >= min && metric.value <= max)) return []
    const bound = metric.value < min ? `at least ${format(min)}` : `at most ${format(max)}`
    return [`${id} is ${format(metric.value)} ${metric.unit} and has to be ${bound}`]
  })
}

const checkedScenarios = [...new Set(bounds.map(({ id }) => id.slice(0, id.indexOf('.'))))]

/** The ratio of a metric to its yardstick, so that 2 means: twice the yardstick's value. */
export function ratioOf(metric: Metric, metrics: readonly Metric[]): number | undefined {
  const yardstick = metrics.find(({ id }) => id === metric.yardstick)
  return yardstick === undefined || yardstick.value === 0 ? undefined : metric.value / yardstick.value
}

/** What stands above the results. */
export function heading({ quick, machine }: Omit<Report, 'scenarios'>): string {
  const { node, platform, cpu, cores, load } = machine
  const lines = [`Node ${node}, ${platform}, ${cores} × ${cpu}, load ${load.toFixed(1)} before the start`]
  if (quick) lines.push('quick: shows that it works; not to be compared with anything')
  return lines.join('\n')
}

/** One scenario's results as plain text; `before`: what was measured before it, yardsticks among it. */
export function section(result: ScenarioResult, before: readonly ScenarioResult[]): string {
  const { name, about, skipped, failed, seconds, metrics } = result
  const all = [...before, result].flatMap((one) => one.metrics)
  const lines = [`${name}: ${about}${skipped === undefined ? ` (${seconds.toFixed(1)} s)` : ''}`]
  if (skipped !== undefined) lines.push(`  skipped: ${skipped}`)
  if (failed !== undefined) lines.push(`  FAILED: ${failed}`)
  for (const metric of metrics) lines.push(`  ${row(metric, ratioOf(metric, all))}`)
  return lines.join('\n')
}

function row(metric: Metric, ratio: number | undefined): string {
  const { label, value, unit, rounds, target } = metric
  const cells = [label.padEnd(58), format(value).padStart(9), unit.padEnd(12)]
  const spread = rounds.length > 1 ? `${format(Math.min(...rounds))} to ${format(Math.max(...rounds))}` : ''
  cells.push(spread.padEnd(20))
  if (ratio !== undefined) cells.push(`${format(ratio)} × the yardstick`)
  if (target !== undefined) cells.push(`target ${targetText(target)}: ${isMet(metric) ? 'met' : 'missed'}`)
  return cells.join(' ').trimEnd()
}

function targetText({ atLeast, atMost }: Target): string {
  const parts = [
    atLeast === undefined ? [] : [`≥ ${format(atLeast)}`],
    atMost === undefined ? [] : [`≤ ${format(atMost)}`]
  ]
  return parts.flat().join(' and ')
}

/** Three significant digits, and whole numbers from 100 on. */
export function format(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}

/** The report as one JSON document; `ratio` stands where a yardstick was measured in the same run, `isMet` at a target. */
export function json({ scenarios, ...rest }: Report): string {
  const all = scenarios.flatMap(({ metrics }) => metrics)
  const withRatios = scenarios.map((scenario) => ({
    ...scenario,
    metrics: scenario.metrics.map((metric) => ({ ...metric, ratio: ratioOf(metric, all), isMet: isMet(metric) }))
  }))
  return JSON.stringify({ ...rest, scenarios: withRatios }, undefined, 2)
}
