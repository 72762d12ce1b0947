/**
 * The processes and folders of a demo run: starting them, noticing when one dies unasked, and leaving nothing behind -
 * no process, no open port, no temporary folder - however the run ends.
 */
import { rmSync } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'
import { Child } from './child.js'
import type { DeviceCalls } from './device-process.js'
import type { Handlers } from './ipc.js'
import type { ServerCalls } from './server-process.js'

export type ServerChild = Child<ServerCalls>
export type DeviceChild = Child<DeviceCalls>

export class Cast implements AsyncDisposable {
  /** Temporary folder of the run. */
  readonly folder: string
  readonly #keep: boolean
  readonly #children: Child<Handlers>[] = []
  readonly #ports = new Set<number>()
  readonly #crash: (error: HeddleError) => void
  #over = false
  #disposed = false

  private constructor(folder: string, keep: boolean, crash: (error: HeddleError) => void) {
    this.folder = folder
    this.#keep = keep
    this.#crash = crash
    process.once('exit', this.#atExit)
  }

  /** `crash` is called when a process ends that nobody ended. */
  static async assemble(keep: boolean, crash: (error: HeddleError) => void): Promise<Cast> {
    return new Cast(await mkdtemp(join(tmpdir(), 'heddle-demo-')), keep, crash)
  }

  server(name: string): ServerChild {
    return this.#add(() => new Child<ServerCalls>(name, new URL('./server-process.js', import.meta.url)))
  }

  device(name: string): DeviceChild {
    return this.#add(() => new Child<DeviceCalls>(name, new URL('./device-process.js', import.meta.url)))
  }

  /** A folder of this run. */
  path(...names: readonly string[]): string {
    return join(this.folder, ...names)
  }

  /** Remembers a port that must be free again at the end. */
  usesPort(port: number): void {
    this.#ports.add(port)
  }

  /** One line for each process. */
  states(): readonly string[] {
    return this.#children.map((child) => child.state())
  }

  /** Ends every process and waits for it; none can be started afterwards. */
  async endAll(): Promise<void> {
    this.#over = true
    await Promise.all(this.#children.map((child) => child.end('SIGKILL')))
  }

  /** Ends everything and checks that nothing is left. Throws INTERNAL when something is. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    await this.endAll()
    if (!this.#keep) await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    process.off('exit', this.#atExit)
    const left = await this.#whatIsLeft()
    if (left.length > 0) throw new HeddleError('INTERNAL', `the demo left behind: ${left.join(', ')}`)
  }

  async #whatIsLeft(): Promise<readonly string[]> {
    const left = this.#children.filter(({ exit }) => exit === undefined).map(({ name, pid }) => `${name} (pid ${pid})`)
    for (const port of this.#ports) if (await answers(port)) left.push(`a listener on port ${port}`)
    if (!this.#keep && (await exists(this.folder))) left.push(this.folder)
    return left
  }

  #add<H extends Handlers>(start: () => Child<H>): Child<H> {
    // A story that is cut short may still be on its way to start one.
    if (this.#over) throw new HeddleError('ABORTED', 'the demo is over')
    const child = start()
    this.#children.push(child as unknown as Child<Handlers>)
    child.exited.then(() => {
      if (child.crashed) this.#crash(new HeddleError('INTERNAL', `a process ended that should not: ${child.state()}`))
    })
    return child
  }

  /** The last resort, when this process ends without having disposed of its cast. */
  readonly #atExit = (): void => {
    for (const child of this.#children) child.killNow()
    if (!this.#keep) rmSync(this.folder, { recursive: true, force: true })
  }
}

async function answers(port: number): Promise<boolean> {
  return await new Promise<boolean>((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false
  )
}
