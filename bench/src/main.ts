#!/usr/bin/env node
/** The benchmark's command: runs scenarios one after another and prints what they measured. */
import { cpus, loadavg, platform } from 'node:os'
import { type Arguments, parseArguments, usage } from './arguments.js'
import { nowMs } from './process/calls.js'
import { insanities, json, type Report, type ScenarioResult, table } from './report.js'
import { type Scenario, scenarios } from './scenarios/index.js'
import { Stage } from './stage.js'

let stage: Stage | undefined

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    stage?.abandon()
    process.exit(signal === 'SIGINT' ? 130 : 143)
  })
}

process.exitCode = await main()

/** Returns the exit code: 1 when a scenario or the check failed, 2 for a wrong command line. */
async function main(): Promise<number> {
  let args: Arguments
  try {
    args = parseArguments(
      process.argv.slice(2),
      scenarios.map(({ name }) => name)
    )
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}\n`)
    return 2
  }
  if (args.help) {
    process.stdout.write(`${usage}\n\n${scenarios.map(({ name, about }) => `  ${name}: ${about}`).join('\n')}\n`)
    return 0
  }
  try {
    const report = await runAll(args)
    process.stdout.write(`${args.json ? json(report) : table(report)}\n`)
    return args.check ? check(report) : 0
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    return 1
  }
}

async function runAll(args: Arguments): Promise<Report> {
  const [load = 0] = loadavg()
  const machine = {
    node: process.version,
    platform: platform(),
    cpu: cpus()[0]?.model ?? '',
    cores: cpus().length,
    load
  }
  const results: ScenarioResult[] = []
  for (const scenario of scenarios) {
    if (args.only.length > 0 && !args.only.includes(scenario.name)) continue
    results.push(await runOne(scenario, args))
  }
  return { quick: args.quick, machine, scenarios: results }
}

async function runOne(scenario: Scenario, { quick, profileFolder }: Arguments): Promise<ScenarioResult> {
  const { name, about } = scenario
  const skipped = scenario.skipped?.()
  if (skipped !== undefined) return { name, about, skipped, seconds: 0, metrics: [] }
  if (process.stderr.isTTY) process.stderr.write(`${name} …\n`)
  const startedMs = nowMs()
  stage = await Stage.open(profileFolder)
  try {
    const metrics = await scenario.run({ stage, quick })
    return { name, about, seconds: (nowMs() - startedMs) / 1000, metrics }
  } catch (cause) {
    throw new Error(`the scenario ${name} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  } finally {
    await stage[Symbol.asyncDispose]()
    stage = undefined
  }
}

function check(report: Report): number {
  const found = insanities(report)
  for (const line of found) process.stderr.write(`${line}\n`)
  return found.length === 0 ? 0 : 1
}
