#!/usr/bin/env node
/** The benchmark's command: runs scenarios one after another and prints what they measured. */
import { cpus, loadavg, platform } from 'node:os'
import { type Arguments, parseArguments, usage } from './arguments.js'
import { nowMs } from './process/calls.js'
import { findings, heading, json, type Report, type ScenarioResult, section } from './report.js'
import { type Scenario, scenarios } from './scenarios/index.js'
import { Stage } from './stage.js'

let stage: Stage | undefined

// However this process ends, nothing is left behind.
process.once('exit', () => stage?.abandon())
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

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
  const start = { quick: args.quick, machine: machine() }
  if (!args.json) process.stdout.write(`${heading(start)}\n`)
  const results: ScenarioResult[] = []
  for (const scenario of scenarios) {
    if (args.only.length > 0 && !args.only.includes(scenario.name)) continue
    const result = await runOne(scenario, args)
    if (!args.json) process.stdout.write(`\n${section(result, results)}\n`)
    results.push(result)
  }
  const report = { ...start, scenarios: results }
  if (args.json) process.stdout.write(`${json(report)}\n`)
  const bad = results.flatMap(({ name, failed }) => (failed === undefined ? [] : [`${name} failed: ${failed}`]))
  if (args.check) bad.push(...findings(report))
  for (const line of bad) process.stderr.write(`${line}\n`)
  return bad.length === 0 ? 0 : 1
}

function machine(): Report['machine'] {
  const [load = 0] = loadavg()
  return { node: process.version, platform: platform(), cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, load }
}

async function runOne(scenario: Scenario, { quick, profileFolder }: Arguments): Promise<ScenarioResult> {
  const { name, about } = scenario
  const skipped = scenario.skipped?.()
  if (skipped !== undefined) return { name, about, skipped, seconds: 0, metrics: [] }
  if (process.stderr.isTTY) process.stderr.write(`${name} …\r`)
  const startedMs = nowMs()
  const seconds = () => (nowMs() - startedMs) / 1000
  stage = await Stage.open(profileFolder)
  try {
    const metrics = await scenario.run({ stage, quick })
    return { name, about, seconds: seconds(), metrics }
  } catch (error) {
    return {
      name,
      about,
      failed: error instanceof Error ? error.message : String(error),
      seconds: seconds(),
      metrics: []
    }
  } finally {
    await stage[Symbol.asyncDispose]()
    stage = undefined
  }
}
