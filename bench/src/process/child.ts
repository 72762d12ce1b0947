/** A child process as the benchmark holds it: calls with answers, and its end. The child's end is in `calls.ts`. */
import { type ChildProcess, fork } from 'node:child_process'
import { type CommonCalls, type Handlers, leaveTimeoutMs, type Reply, type Request } from './calls.js'

const stderrCharactersMax = 4_000

export interface ChildOptions {
  readonly name: string
  /** URL of the child's main file. */
  readonly entry: URL
  /** Folder in which the child leaves a CPU profile. */
  readonly profileFolder: string | undefined
}

export class Child<H extends Handlers> {
  readonly name: string
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #nextId = 1
  #hasExited = false
  #stderr = ''

  constructor({ name, entry, profileFolder }: ChildOptions) {
    this.name = name
    const profiling =
      profileFolder === undefined
        ? []
        : [
            '--cpu-prof',
            `--cpu-prof-dir=${profileFolder}`,
            `--cpu-prof-name=${name}-${process.hrtime.bigint()}.cpuprofile`
          ]
    this.#process = fork(entry, {
      execArgv: profiling,
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    })
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-stderrCharactersMax)
    })
    this.#process.on('message', (reply: Reply) => this.#receive(reply))
    this.#exited = new Promise((resolve) => {
      const ended = (how: string) => {
        this.#hasExited = true
        for (const { reject } of this.#waiting.values()) reject(this.#deathError(how))
        this.#waiting.clear()
        resolve()
      }
      this.#process.on('exit', (code, signal) => ended(`ended with ${signal ?? `exit code ${code}`}`))
      this.#process.on('error', (error) => {
        if (this.#process.pid === undefined) ended(`could not be started: ${error.message}`)
      })
    })
  }

  /** Calls the child. Rejects with the child's error, or when the process ends before it has answered. */
  async call<N extends keyof (H & CommonCalls) & string>(
    name: N,
    params: Parameters<(H & CommonCalls)[N]>[0]
  ): Promise<Awaited<ReturnType<(H & CommonCalls)[N]>>> {
    if (this.#hasExited) throw this.#deathError('has ended')
    const request: Request = { id: this.#nextId++, name, params }
    return await new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve: resolve as (value: unknown) => void, reject })
      this.#process.send(request)
    })
  }

  /** Lets the process leave in order, and makes it leave when it does not. */
  async end(): Promise<void> {
    if (this.#hasExited) return
    if (this.#process.connected) this.#process.disconnect()
    const timer = setTimeout(() => this.killNow(), 2 * leaveTimeoutMs)
    await this.#exited
    clearTimeout(timer)
  }

  /** Without waiting, for the last moment of the benchmark's own process. */
  killNow(): void {
    if (!this.#hasExited) this.#process.kill('SIGKILL')
  }

  #receive(reply: Reply): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if ('error' in reply) {
      const { message, stack } = reply.error
      waiting?.reject(Object.assign(new Error(`${this.name}: ${message}`), { cause: stack }))
    } else waiting?.resolve(reply.value)
  }

  #deathError(how: string): Error {
    const words = this.#stderr.trim()
    return new Error(`the process ${this.name} ${how}${words === '' ? '' : `; it wrote: ${words}`}`)
  }
}
