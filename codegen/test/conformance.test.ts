/**
 * Protobuf's official conformance suite on codecs that codegen makes of the suite's own schema, without our limits. What
 * the wire of this protocol deliberately does not have is in conformance/expected-failures.txt, with a reason each.
 *
 * The runner is a program for Linux on x64 with glibc 2.38 or macOS; elsewhere the test is skipped and its name says so.
 * HEDDLE_CONFORMANCE_RUNNER is put before the runner's path, to start it through another dynamic linker:
 * `/tmp/trixie/lib64/ld-linux-x86-64.so.2 --library-path /tmp/trixie/usr/lib/x86_64-linux-gnu`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '@heddle/codegen'
import { expect, test } from 'vitest'
import { buildTestee, runnerFolder } from './conformance/build.js'

const expectedFailures = fileURLToPath(new URL('conformance/expected-failures.txt', import.meta.url))
const binary = join(runnerFolder(), 'bin', `conformance_test_runner-${process.platform}-x64`)
const prefix = (process.env.HEDDLE_CONFORMANCE_RUNNER ?? '').split(' ').filter((part) => part !== '')

/** Runs the official runner; its words are in `output`. */
function runRunner(args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const [command = binary, ...before] = [...prefix, binary]
  const { status, stdout, stderr, error } = spawnSync(command, [...before, ...args], {
    encoding: 'utf8',
    timeout: 60_000
  })
  return { status, output: `${stdout}${stderr}${error?.message ?? ''}` }
}

/** Why the runner cannot run here; undefined when it can. */
function obstacle(): string | undefined {
  if (!existsSync(binary)) return `there is no runner for ${process.platform}`
  const { output } = runRunner(['--help'])
  if (output.includes('Usage: conformance-test-runner')) return undefined
  return output.match(/version `(GLIBC_\S+)' not found/)?.[1]?.concat(' is not here') ?? output.trim().split('\n')[0]
}

const skipped = obstacle()

test.skipIf(skipped !== undefined)(
  `the official conformance suite passes, but for what is deliberate${skipped === undefined ? '' : ` (skipped: ${skipped})`}`,
  async () => {
    await using folder = await temporaryFolder()
    const testee = await buildTestee(folder.path)
    const args = ['--enforce_recommended', '--failure_list', expectedFailures, '--output_dir', folder.path, testee]
    const { status, output } = runRunner(args)
    const [, successes, failures] = output.match(/(\d+) successes, \d+ skipped, (\d+) expected failures, 0 unex/) ?? []
    expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' })
    expect(Number(successes)).toBeGreaterThanOrEqual(317)
    expect(Number(failures)).toBe((await expectedNames()).length)
  },
  120_000
)

test('the testee of the conformance suite can be made, and every expected failure stands under a reason', async () => {
  await using folder = await temporaryFolder()
  const testee = await buildTestee(folder.path)
  // No request at all: it starts, finds the end of its input and is done.
  expect(spawnSync(testee, { input: '', encoding: 'utf8' })).toMatchObject({ status: 0, stdout: '', stderr: '' })
  const names = await expectedNames()
  expect(new Set(names).size).toBe(names.length)
  const paragraphs = (await readFile(expectedFailures, 'utf8')).trim().split('\n\n')
  for (const paragraph of paragraphs) expect(paragraph).toMatch(/^# /)
}, 60_000)

async function expectedNames(): Promise<readonly string[]> {
  const lines = (await readFile(expectedFailures, 'utf8')).split('\n')
  return lines.filter((line) => line !== '' && !line.startsWith('#'))
}
