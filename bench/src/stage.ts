/**
 * What a scenario needs around it: processes and folders, which are gone when it ends, however it ends. Each scenario
 * has a stage of its own.
 */
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Handlers } from './process/calls.js'
import { Child } from './process/child.js'
import type { EchoCalls } from './process/echo.js'
import type { PeerCalls } from './process/peer.js'
import type { RelayCalls } from './process/relay.js'
import type { ServerCalls } from './process/server.js'

export type Peer = Child<PeerCalls>

/** The compiled files: this module itself may run from `src`, in tests. */
const entries = new URL('../dist/process/', import.meta.url)

export class Stage implements AsyncDisposable {
  readonly folder: string
  readonly #profileFolder: string | undefined
  readonly #children: Pick<Child<Handlers>, 'end' | 'killNow' | 'call'>[] = []
  #folders = 0

  private constructor(folder: string, profileFolder: string | undefined) {
    this.folder = folder
    this.#profileFolder = profileFolder
  }

  /** With `profileFolder`, every process leaves a CPU profile there. */
  static async open(profileFolder?: string): Promise<Stage> {
    return new Stage(await mkdtemp(join(tmpdir(), 'heddle-bench-')), profileFolder)
  }

  /** Starts servers; returns their tickets. */
  async servers(count: number): Promise<readonly string[]> {
    const started = Array.from({ length: count }, async (_, i) => {
      const server = this.#start<ServerCalls>(`server-${i + 1}`, 'server.js')
      return (await server.call('start', { path: this.newFolder() })).ticket
    })
    return await Promise.all(started)
  }

  /** Starts the floor's relay; returns its address. */
  async relay(): Promise<string> {
    return (await this.#start<RelayCalls>('relay', 'relay.js').call('start', {})).url
  }

  /** Starts the far end of the transports; returns its addresses, in their order. */
  async echo(): Promise<readonly string[]> {
    return (await this.#start<EchoCalls>('echo', 'echo.js').call('start', {})).addresses
  }

  /** Starts a process for someone who edits. */
  peer(name: string): Peer {
    return this.#start<PeerCalls>(name, 'peer.js')
  }

  /** Starts one with a device on an empty folder. */
  async device(name: string, path = this.newFolder()): Promise<Peer> {
    const peer = this.peer(name)
    await peer.call('openDevice', { path })
    return peer
  }

  /** Processor time that all processes of the stage have used, milliseconds. */
  async cpuMs(): Promise<number> {
    const all = await Promise.all(this.#children.map((child) => child.call('cpuMs', {})))
    return all.reduce((sum, ms) => sum + ms, 0)
  }

  /** A folder that does not exist yet. */
  newFolder(): string {
    return join(this.folder, String(++this.#folders))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#children.map((child) => child.end()))
    this.#removeFolder()
  }

  /** For the last moment of this process: kills and removes without waiting. */
  abandon(): void {
    for (const child of this.#children) child.killNow()
    this.#removeFolder()
  }

  #start<H extends Handlers>(name: string, file: string): Child<H> {
    const child = new Child<H>({ name, entry: new URL(file, entries), profileFolder: this.#profileFolder })
    this.#children.push(child)
    return child
  }

  #removeFolder(): void {
    // A killed process may still be writing its last page.
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  }
}

/** Two who edit one document: `writer` types, `reader` gets it. */
export interface Pair {
  readonly writer: Peer
  readonly reader: Peer
}

/** Two devices on three servers; the writer's device is in a folder of its own. */
export async function heddlePair(stage: Stage): Promise<Pair & { readonly document: string; readonly path: string }> {
  const path = stage.newFolder()
  const servers = await stage.servers(3)
  const [writer, reader] = await Promise.all([stage.device('writer', path), stage.device('reader')])
  const { document } = await writer.call('create', { servers })
  await reader.call('join', { link: await writer.call('invite', {}) })
  return { writer, reader, document, path }
}

/** Two bare documents on one relay. */
export async function relayPair(stage: Stage): Promise<Pair> {
  const url = await stage.relay()
  const pair = { writer: stage.peer('floor-writer'), reader: stage.peer('floor-reader') }
  await Promise.all([pair.writer.call('connectRelay', { url }), pair.reader.call('connectRelay', { url })])
  return pair
}
