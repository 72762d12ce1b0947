/**
 * All checks of the repository, in the order in which they are cheap; stops at the first that fails. The last line counts
 * the tests. `npm run verify` and CI are the same thing.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const scratch = mkdtempSync(join(tmpdir(), 'heddle-verify-'))
const report = join(scratch, 'tests.json')

const steps = [
  ['format', 'npm', ['run', '-s', 'format:check']],
  ['lint', 'npm', ['run', '-s', 'lint']],
  ['build', 'npm', ['run', '-s', 'build']],
  ['types of the tests', 'npx', ['tsc', '-p', 'tsconfig.test.json']],
  ['generated code is up to date', 'npm', ['run', '-s', 'generate:check']],
  ['compatible with the last release', 'npm', ['run', '-s', 'compat']],
  ['tests', 'npx', ['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile=${report}`]],
  ['demo', 'node', ['cli/dist/main.js', 'demo', '--json']]
]

let failed
for (const [name, command, args] of steps) {
  const started = Date.now()
  console.log(`\n── ${name}: ${command} ${args.join(' ')}`)
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' })
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  if (status !== 0) {
    failed = `${name} failed (${error?.message ?? `exit ${status}`}) after ${seconds} s`
    break
  }
  console.log(`── ${name}: ok (${seconds} s)`)
}

let counts = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0 }
try {
  counts = JSON.parse(readFileSync(report, 'utf8'))
} catch {
  // The tests did not run: an earlier step failed.
}
rmSync(scratch, { recursive: true, force: true })
if (failed !== undefined) console.error(`\n${failed}`)
const failures = counts.numFailedTests + (failed !== undefined && counts.numFailedTests === 0 ? 1 : 0)
console.log(`${counts.numPassedTests} passed, ${failures} failed, ${counts.numPendingTests} skipped`)
process.exit(failed === undefined ? 0 : 1)
