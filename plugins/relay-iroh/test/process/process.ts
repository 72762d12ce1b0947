/** Starts a module of this folder in a process of its own, perhaps in a network namespace, and talks to it in lines of JSON. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const runner = fileURLToPath(new URL('./run.mjs', import.meta.url))

const LEAVE_TIMEOUT_MS = 10_000

export class Process implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  readonly #lines: string[] = []
  #arrived: (() => void) | undefined
  #isOver = false

  /** `prefix` is put before the command: ["ip", "netns", "exec", "name"]. */
  constructor(module: string, args: readonly string[], prefix: readonly string[] = []) {
    const path = fileURLToPath(new URL(module, import.meta.url))
    const [command = '', ...rest] = [...prefix, process.execPath, '--expose-gc', runner, path, ...args]
    this.#child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#ended = once(this.#child, 'exit').then(() => {
      this.#isOver = true
      this.#arrived?.()
    })
    // It may be killed while a question is on its way.
    this.#child.stdin?.on('error', () => {})
    if (this.#child.stdout === null) throw new Error('the process has no output')
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#lines.push(line)
      this.#arrived?.()
    })
  }

  /** The next line. Rejects when the process ends before. */
  async next<T>(): Promise<T> {
    while (this.#lines.length === 0) {
      if (this.#isOver) throw new Error('the process has ended')
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
    return JSON.parse(this.#lines.shift() ?? '') as T
  }

  /** Sends a line and waits for the one that answers it. */
  async ask<T>(question: object): Promise<T> {
    this.#child.stdin?.write(`${JSON.stringify(question)}\n`)
    return await this.next<T>()
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  /** Closes its input, upon which it leaves, or is made to. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), LEAVE_TIMEOUT_MS)
    await this.#ended
    clearTimeout(timer)
  }
}
