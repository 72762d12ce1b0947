/**
 * The long search, by hand or at night: `npm run fuzz:wire -- --inputs 5000000 --valid 50000 --seed 7`. Mutants for the
 * codecs against the strict oracle, then valid messages of every type against all oracles. Ends with exit code 1 and the
 * seed at the first disagreement.
 */
import { parseArgs } from 'node:util'
import { fuzz } from './support/fuzz-run.js'
import { compareOnValid } from './support/oracle-run.js'
import { comparedSubjects } from './support/compared.js'
import { watchdog } from './support/watchdog.js'

const usage = `npm run fuzz:wire -- [options]

  --inputs N   damaged messages to decode (5000000)
  --valid N    random valid messages of every type to compare (0)
  --seed N     where to begin; printed when it is left out`

process.exitCode = await main(process.argv.slice(2))

/** Returns the exit code: 1 for a disagreement, 2 for arguments it does not know. */
async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args)
  if (options === undefined) {
    process.stderr.write(`${usage}\n`)
    return 2
  }
  const { inputs, valid, seed } = options
  process.stdout.write(`seed ${seed}\n`)
  // Most inputs end in an error, and the stack of none of them is looked at.
  Error.stackTraceLimit = 0
  const all = await comparedSubjects()
  try {
    if (inputs > 0) {
      using watched = watchdog(`fuzz:wire, seed ${seed}`, 60_000)
      report(inputs, () => fuzz(all, { inputs, seed, progress: watched.progress }))
    }
    if (valid > 0) report(valid * all.length, () => compareOnValid(all, valid, seed))
    return 0
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

function readOptions(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { inputs: { type: 'string' }, valid: { type: 'string' }, seed: { type: 'string' } }
    })
    const inputs = Number(values.inputs ?? 5_000_000)
    const valid = Number(values.valid ?? 0)
    const seed = Number(values.seed ?? Date.now() % 0x1_0000_0000)
    return [inputs, valid, seed].every((value) => Number.isSafeInteger(value) && value >= 0)
      ? { inputs, valid, seed }
      : undefined
  } catch {
    return undefined
  }
}

function report(count: number, act: () => object): void {
  const startedMs = performance.now()
  const figures = act()
  const seconds = (performance.now() - startedMs) / 1000
  process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`)
  process.stdout.write(`${seconds.toFixed(0)} s, ${Math.round(count / seconds)}/s\n`)
}
