/** Runs the built command as a user does, and collects what it says. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs. */
export class Running {
  readonly process: ChildProcess
  /** Resolves when it has ended. */
  readonly ended: Promise<Outcome>
  stdout = ''
  stderr = ''
  readonly #looks = new Set<() => void>()

  constructor(args: readonly string[], options: { readonly cwd?: string; readonly env?: Record<string, string> } = {}) {
    const env = { ...process.env, ...options.env }
    // What the test runner sets for itself changes what the command does.
    for (const name of ['NODE_OPTIONS', 'NODE_ENV', 'VITEST', 'FORCE_COLOR', 'NO_COLOR']) {
      if (options.env?.[name] === undefined) delete env[name]
    }
    this.process = spawn(process.execPath, [main, ...args], { cwd: options.cwd, env, stdio: 'pipe' })
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
      for (const look of this.#looks) look()
    })
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
      for (const look of this.#looks) look()
    })
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code) => resolve({ code, stdout: this.stdout, stderr: this.stderr }))
    })
    this.ended.then(() => {
      for (const look of this.#looks) look()
    })
  }

  /** The first match on stdout or stderr; rejects when the command ends without one. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return await new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
        if (match !== null) resolve(match)
        else if (this.process.exitCode !== null || this.process.signalCode !== null)
          reject(new Error(`it ended without ${pattern}: ${this.stdout}${this.stderr}`))
        else return
        this.#looks.delete(look)
      }
      this.#looks.add(look)
      look()
    })
  }

  type(text: string): void {
    this.process.stdin?.write(text)
  }

  endInput(): void {
    this.process.stdin?.end()
  }

  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<Outcome> {
    this.process.kill(signal)
    return await this.ended
  }
}

/** Runs it to its end, without input. */
export async function heddle(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Record<string, string> } = {}
): Promise<Outcome> {
  const running = new Running(args, options)
  running.endInput()
  return await running.ended
}
