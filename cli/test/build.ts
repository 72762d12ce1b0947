/** Tests that start the command as a process need it built. The compiler does nothing when everything is up to date. */
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const package_ = fileURLToPath(new URL('..', import.meta.url))
const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')

/** Builds the package and what it depends on. */
export async function build(): Promise<void> {
  await promisify(execFile)(process.execPath, [compiler, '-b', package_]).catch((error: { stdout?: string }) => {
    throw new Error(`the command does not build:\n${error.stdout ?? String(error)}`)
  })
}
