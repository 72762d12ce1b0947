/**
 * A child process of the demo as its orchestrator holds it: calls with answers, killing, and the assurance that none is
 * left behind. See `ipc.ts` for the other end.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { HeddleError } from '@heddle/core'
import { errorFrom, type Handlers, type Reply, type Request } from './ipc.js'

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

interface Waiting {
  readonly name: string
  resolve(value: unknown): void
  reject(error: unknown): void
}

export class Child<H extends Handlers> {
  readonly name: string
  /** Resolves when the process has ended. Never rejects. */
  readonly exited: Promise<Exit>
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  #exit: Exit | undefined
  #expectedEnd = false
  #progress = ''
  #stderr = ''
  #typed = 0
  #typedWaits: { readonly count: number; readonly resolve: () => void }[] = []

  /** `entry` is the URL of the child's main file. It runs with `process.execPath`. */
  constructor(name: string, entry: URL) {
    this.name = name
    this.#process = fork(entry, {
      execPath: process.execPath,
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    })
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4000)
    })
    this.#process.on('message', (reply: Reply) => this.#receive(reply))
    this.exited = new Promise((resolve) => {
      const ended = (exit: Exit, why: string) => {
        if (this.#exit !== undefined) return
        this.#exit = exit
        for (const { name, reject } of this.#waiting.values())
          reject(this.#deathError(`${why} while it was asked to ${name}`))
        this.#waiting.clear()
        this.#releaseTypedWaits(Number.POSITIVE_INFINITY)
        resolve(exit)
      }
      this.#process.on('exit', (code, signal) => ended({ code, signal }, `ended with ${signal ?? `exit code ${code}`}`))
      this.#process.on('error', (error) => {
        if (this.#process.pid === undefined)
          ended({ code: null, signal: null }, `could not be started: ${error.message}`)
      })
    })
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  get exit(): Exit | undefined {
    return this.#exit
  }

  /** True when it ended although nobody asked it to. */
  get crashed(): boolean {
    return this.#exit !== undefined && !this.#expectedEnd
  }

  /** Calls the child. Rejects with the child's error, or INTERNAL when the process ends before it has answered. */
  async call<N extends keyof H & string>(name: N, params: Parameters<H[N]>[0]): Promise<Awaited<ReturnType<H[N]>>> {
    if (this.#exit !== undefined) throw this.#deathError('has ended')
    const request: Request = { id: this.#nextId++, name, params }
    return await new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { name, resolve: resolve as (value: unknown) => void, reject })
      this.#process.send(request, (error) => {
        if (error === null) return
        this.#waiting.delete(request.id)
        reject(this.#deathError(`cannot be asked to ${name}: ${error.message}`))
      })
    })
  }

  /** Resolves when the child has reported so many steps typed since it started, or has ended. */
  async typed(count: number): Promise<void> {
    if (this.#exit !== undefined || this.#typed >= count) return
    await new Promise<void>((resolve) => this.#typedWaits.push({ count, resolve }))
  }

  /** Sends a signal and waits for the end. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<Exit> {
    this.#expectedEnd = true
    if (this.#exit === undefined) this.#process.kill(signal)
    return await this.exited
  }

  /** Without waiting, for the last moment of the orchestrator's own process. */
  killNow(): void {
    this.#expectedEnd = true
    if (this.#exit === undefined) this.#process.kill('SIGKILL')
  }

  /** One line for a person: what it is doing and what it said last. */
  state(): string {
    const life = this.#exit === undefined ? 'running' : `ended (${this.#exit.signal ?? this.#exit.code})`
    const names = [...this.#waiting.values()].map(({ name }) => name)
    const calls = names.length > 0 ? `, busy with ${names.join(' and ')}` : ', idle'
    const said = this.#progress === '' ? '' : `: ${this.#progress}`
    return `${this.name} (pid ${this.pid ?? 'none'}) ${life}${this.#exit === undefined ? calls : ''}${said}${this.#lastWords()}`
  }

  #receive(reply: Reply): void {
    if (reply.type === 'progress') {
      this.#progress = reply.text
      if (reply.typed !== undefined) this.#releaseTypedWaits(reply.typed)
      return
    }
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (reply.type === 'result') waiting?.resolve(reply.value)
    else waiting?.reject(errorFrom(reply.error, this.name))
  }

  #releaseTypedWaits(typed: number): void {
    this.#typed = typed
    const due = this.#typedWaits.filter(({ count }) => count <= typed)
    this.#typedWaits = this.#typedWaits.filter(({ count }) => count > typed)
    for (const { resolve } of due) resolve()
  }

  #deathError(why: string): HeddleError {
    return new HeddleError('INTERNAL', `the process ${this.name} ${why}${this.#lastWords()}`)
  }

  #lastWords(): string {
    return this.#stderr === '' ? '' : `; it wrote: ${this.#stderr.trim()}`
  }
}
