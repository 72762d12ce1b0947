/** Starts `child.mjs` in a process of its own and reads its lines. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const child = fileURLToPath(new URL('./child.mjs', import.meta.url))
const packages = ['..', '../../transport-websocket'].map((path) => fileURLToPath(new URL(path, import.meta.url)))
const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')

/** Builds what the child imports. The compiler does nothing when everything is up to date. */
export async function build(): Promise<void> {
  await promisify(execFile)(process.execPath, [compiler, '-b', ...packages]).catch((error: { stdout?: string }) => {
    throw new Error(`the packages do not build:\n${error.stdout ?? String(error)}`)
  })
}

export interface Started extends AsyncDisposable {
  readonly process: ChildProcess
  /** The next line it prints; rejects when the process ends before. */
  line(): Promise<string>
  /** How it ended. */
  readonly exit: Promise<{ readonly code: number | null; readonly signal: string | null }>
}

export function startChild(role: string, address = '', env: Readonly<Record<string, string>> = {}): Started {
  const started = spawn(process.execPath, ['--throw-deprecation', child, role, address], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env }
  })
  const lines = createInterface({ input: started.stdout })[Symbol.asyncIterator]()
  const exit = once(started, 'exit').then(([code, signal]) => ({ code, signal }))
  return {
    process: started,
    exit,
    async line() {
      const { value, done } = await lines.next()
      if (done === true) throw new Error('the process ended without another line')
      return value
    },
    async [Symbol.asyncDispose]() {
      if (started.exitCode === null && started.signalCode === null) started.kill('SIGKILL')
      await exit
    }
  }
}
