/** The command line of the benchmark. */
import { parseArgs } from 'node:util'

export interface Arguments {
  readonly help: boolean
  /** Names of scenarios; empty: all. */
  readonly only: readonly string[]
  readonly quick: boolean
  readonly json: boolean
  readonly check: boolean
  readonly profileFolder: string | undefined
}

export const usage = `npm run bench -- [options]

  --only NAME       run this scenario; may be given several times
  --quick           less of everything: to see that it works, not to compare
  --json            print one JSON document instead of a table
  --check           exit with 1 when a result is out of bounds: see bench/README.md
  --profile FOLDER  every process leaves a CPU profile there
  --help`

/** Throws with a message for a person when an option is unknown or names no scenario. */
export function parseArguments(args: readonly string[], scenarioNames: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', multiple: true },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false }
    }
  })
  const { only = [], quick, json, check, profile, help } = values
  const unknown = only.find((name) => !scenarioNames.includes(name))
  if (unknown !== undefined) throw new Error(`there is no scenario "${unknown}"; there are ${scenarioNames.join(', ')}`)
  return { help, only, quick, json, check, profileFolder: profile }
}
