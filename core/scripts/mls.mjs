/**
 * `npm run test:mls -- <folder>`: the official test vectors of RFC 9420 against the MLS engine; without a folder,
 * HEDDLE_MLS_VECTORS or ../mls-vectors beside the checkout.
 * `npm run fuzz:mls -- --inputs <n> --seed <n>`: mutated commits, Welcomes, GroupInfos and key packages.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const [command, ...args] = process.argv.slice(2)

if (command === 'vectors') {
  const { positionals } = parseArgs({ args, allowPositionals: true })
  const folder = positionals[0] ?? process.env.HEDDLE_MLS_VECTORS ?? resolve(repository, '..', 'mls-vectors')
  // npm runs scripts in the root of the repository; a relative folder is meant from where npm was called.
  const absolute = resolve(process.env.INIT_CWD ?? process.cwd(), folder)
  if (!existsSync(absolute))
    fail(`There is no folder ${absolute}. Get test-vectors/ of github.com/mlswg/mls-implementations`)
  run('core/src/group/mls/vectors', { HEDDLE_MLS_VECTORS: absolute })
} else if (command === 'fuzz') {
  const options = { inputs: { type: 'string', default: '100000' }, seed: { type: 'string', default: '1' } }
  const { values } = parseArgs({ args, options })
  for (const name of ['inputs', 'seed'])
    if (!/^\d{1,9}$/.test(values[name])) fail(`--${name} takes a number, not ${values[name]}`)
  run('core/src/group/fuzz.test.ts', { HEDDLE_FUZZ_INPUTS: values.inputs, HEDDLE_FUZZ_SEED: values.seed })
} else fail(`Unknown command ${command}: vectors or fuzz`)

function run(files, env) {
  const { status } = spawnSync('npx', ['vitest', 'run', files, '--reporter=verbose'], {
    cwd: repository,
    env: { ...process.env, ...env },
    stdio: 'inherit'
  })
  process.exit(status ?? 1)
}

function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}
