/**
 * A whole Heddle in memory for tests: servers and devices with the real code, on a virtual clock, a memory network and
 * memory disks, all randomness from one seed. What each node stores, and when, goes into a trace; equal seeds give equal
 * traces.
 */
import { createHash } from 'node:crypto'
import { type YjsDoc, yjs } from '@heddle/crdt-yjs'
import { MemoryDisk, memoryStorage } from '@heddle/storage-memory'
import { createMemoryNetwork, createVirtualClock, memoryTransport, type VirtualClock } from '@heddle/transport-memory'
import {
  type BoundPlugin,
  type Clock,
  type Context,
  type CrdtBackend,
  createCrypto,
  type Device,
  type DeviceOptions,
  type Document,
  formatTicket,
  type Kind,
  type Kinds,
  type LogLevel,
  openDevice,
  type Server,
  type Storage,
  startServer
} from '../src/index.js'
import { type SeededRandom, seededRandom } from './random.js'
import { Wiretap } from './wiretap.js'

export interface WorldOptions {
  readonly seed: number
  readonly servers?: number
  /** One way, milliseconds. */
  readonly latencyMs?: number
  /** A host whose frames come and go at once: what it says is heard before what others say. */
  readonly nearest?: string
  /** How long a disk takes to make a batch durable, milliseconds. */
  readonly commitMs?: number
  /** The backends that devices have when nothing else is said. Default: yjs. */
  readonly crdts?: Crdts
}

export type Crdts = readonly BoundPlugin<'crdt'>[]

export interface LoggedEvent {
  readonly node: string
  readonly level: LogLevel
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>> | undefined
}

/** One process of the world: what dies with it, and the disk that does not. */
interface Node {
  readonly name: string
  readonly disk: MemoryDisk
  running: AsyncDisposable[]
  clock: ProcessClock | undefined
  /** Batches it has committed since the world began. */
  commits: number
  crash: Crash | undefined
  /** Its disk takes no time before it runs, so that it can be started while the clock stands still. */
  starting: boolean
  /** What its next commits fail with. */
  failure: Error | undefined
}

/** A moment at which a process dies: at its next but n-th commit, before that takes effect or once it is durable. */
export interface Crash {
  readonly atCommit: number
  readonly when: 'before' | 'after'
  happened: boolean
}

/** The world's time as one process sees it: when the process dies, its timers die too. */
class ProcessClock implements Clock {
  readonly #clock: Clock
  readonly #skewMs: () => number
  readonly #timers = new Set<Disposable>()
  #stopped = false

  constructor(clock: Clock, skewMs: () => number) {
    this.#clock = clock
    this.#skewMs = skewMs
  }

  now(): number {
    return this.#clock.now() + this.#skewMs()
  }

  setTimer(delayMs: number, callback: () => void): Disposable {
    if (this.#stopped) return { [Symbol.dispose]: () => {} }
    const timer = this.#clock.setTimer(delayMs, () => {
      this.#timers.delete(timer)
      callback()
    })
    this.#timers.add(timer)
    return {
      [Symbol.dispose]: () => {
        this.#timers.delete(timer)
        timer[Symbol.dispose]()
      }
    }
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) timer[Symbol.dispose]()
    this.#timers.clear()
  }
}

export class World {
  readonly clock: VirtualClock
  readonly random: SeededRandom
  readonly logged: LoggedEvent[] = []
  readonly tap = new Wiretap()
  readonly #network: ReturnType<typeof createMemoryNetwork>
  readonly #trace = createHash('sha256')
  readonly #nodes = new Map<string, Node>()
  readonly #servers = new Map<string, Server>()
  readonly #cut = new Set<string>()
  readonly #refusing = new Set<string>()
  /** By how much the clocks of some are ahead, milliseconds. */
  readonly #skews = new Map<string, number>()
  readonly #commitMs: number
  readonly #crdts: Crdts
  #starts = 0

  private constructor({ seed, latencyMs = 5, commitMs = 0, nearest, crdts = [yjs()] }: WorldOptions) {
    this.#commitMs = commitMs
    this.#crdts = crdts
    this.random = seededRandom(seed)
    this.clock = createVirtualClock(1_700_000_000_000)
    const networkRandom = seededRandom(seed + 1)
    this.#network = createMemoryNetwork({
      clock: this.clock,
      latencyMs: ({ from, to }) => {
        const apart = latencyMs * (0.5 + networkRandom.next())
        return from === nearest || to === nearest ? 1 : apart
      }
    })
  }

  static async create(options: WorldOptions): Promise<World> {
    const world = new World(options)
    for (let i = 1; i <= (options.servers ?? 3); i++) await world.startServer(`server-${i}`)
    return world
  }

  get tickets(): string[] {
    return [...this.#servers.values()].flatMap(({ addresses, id }) =>
      addresses.map((address) => formatTicket(address, id))
    )
  }

  server(name: string): Server {
    const server = this.#servers.get(name)
    if (server === undefined) throw new Error(`${name} does not run`)
    return server
  }

  disk(name: string): MemoryDisk {
    return this.#node(name).disk
  }

  /** `host`: where it can be reached, its name unless it has moved. */
  async startServer(name: string, host = name): Promise<Server> {
    const context = this.contextOf(name)
    const transport = await this.#plugin(memoryTransport({ network: this.#network, host }), name, context)
    const server = await startServer({
      storage: await this.#storage(name, context),
      transports: [transport],
      listen: [`mem://${host}`],
      policy: { mayCreate: () => !this.#refusing.has(name) },
      context,
      crypto: createCrypto(context.random)
    })
    this.#node(name).running.push(server)
    this.#node(name).starting = false
    this.#servers.set(name, server)
    return server
  }

  async openDevice(
    name: string,
    app: Pick<DeviceOptions, 'verifyMember' | 'claimIdentity' | 'followBranches'> = {},
    crdts = this.#crdts
  ): Promise<Device> {
    const context = this.contextOf(name)
    const raw = await this.#plugin(memoryTransport({ network: this.#network, host: name }), name, context)
    const transport = this.tap.wrap(raw, name)
    const backends: CrdtBackend[] = []
    for (const crdt of crdts) backends.push(await this.#plugin(crdt, name, context))
    const device = await openDevice({
      storage: await this.#storage(name, context),
      transports: [transport],
      crdts: backends,
      context,
      ...app
    })
    this.#node(name).running.push(device)
    this.#node(name).starting = false
    return device
  }

  /** Whether a process of this name runs. */
  runs(name: string): boolean {
    return this.#node(name).running.length > 0
  }

  /** The process is gone from one moment to the next: its connections break, only its disk is left. */
  async kill(name: string): Promise<void> {
    const node = this.#node(name)
    const [transport] = node.running
    node.running = []
    this.#servers.delete(name)
    // Whoever still runs there has lost its disk, as whoever opens it next would take it.
    node.disk.attach(node)
    node.clock?.stop()
    if (!this.#cut.has(name)) {
      this.#network.cut(name)
      this.#network.heal(name)
    }
    await transport?.[Symbol.asyncDispose]()
  }

  /** Batches this process has committed since the world began. */
  commits(name: string): number {
    return this.#node(name).commits
  }

  /** The operator of this server wants no more documents. */
  refuseCreates(name: string): void {
    this.#refusing.add(name)
  }

  /** Sets the clock of this process ahead, or behind. */
  skew(name: string, ms: number): void {
    this.#skews.set(name, ms)
  }

  /** Lets the disk of this process fail from now on, or work again. */
  failDisk(name: string, failure: Error | undefined): void {
    this.#node(name).failure = failure
  }

  /** Takes back a `crashAt` that has not come true. */
  calm(name: string): void {
    this.#node(name).crash = undefined
  }

  /** Kills the process at its n-th commit from now on, 1 being the next. */
  crashAt(name: string, nth: number, when: Crash['when']): Crash {
    const node = this.#node(name)
    node.crash = { atCommit: node.commits + nth, when, happened: false }
    return node.crash
  }

  /** Ends it in order. */
  async stop(name: string): Promise<void> {
    const node = this.#node(name)
    for (const running of node.running.splice(0).reverse()) await running[Symbol.asyncDispose]()
    this.#servers.delete(name)
  }

  cut(host: string): void {
    if (this.#cut.has(host)) return
    this.#cut.add(host)
    this.#network.cut(host)
  }

  heal(host: string): void {
    this.#cut.delete(host)
    this.#network.heal(host)
  }

  /** The connection between these two only. */
  cutBetween(a: string, b: string): void {
    this.#network.cut(a, b)
  }

  healBetween(a: string, b: string): void {
    this.#network.heal(a, b)
  }

  /** Lets time pass until the task is done; fails when that takes longer than `withinMs` of virtual time. */
  async settle<T>(task: PromiseLike<T>, withinMs = 60_000): Promise<T> {
    let outcome: { readonly value: T } | { readonly error: unknown } | undefined
    task.then(
      (value) => {
        outcome = { value }
      },
      (error: unknown) => {
        outcome = { error }
      }
    )
    await this.clock.run({ until: () => outcome !== undefined, untilMs: this.clock.now() + withinMs })
    if (outcome === undefined) throw new Error('unreachable: run throws when the condition does not hold')
    if ('error' in outcome) throw outcome.error
    return outcome.value
  }

  async until(condition: () => boolean, withinMs = 60_000): Promise<void> {
    await this.clock.run({ until: condition, untilMs: this.clock.now() + withinMs })
  }

  async pass(ms: number): Promise<void> {
    await this.clock.run({ untilMs: this.clock.now() + ms })
  }

  /** SHA-256 over everything stored so far, by whom and when. */
  traceHash(): string {
    return this.#trace.copy().digest('hex')
  }

  /** Ends all in order. Throws when a process has left something behind, or an oracle was violated. */
  async dispose(): Promise<void> {
    for (const name of [...this.#nodes.keys()].reverse()) {
      const stopped = this.stop(name)
      await this.settle(stopped)
    }
    // What closed connections still had under way.
    await this.pass(2_000)
    this.tap.check()
    if (this.tap.violations.length > 0) throw new Error(this.tap.violations.join('\n'))
    if (this.clock.pending > 0) throw new Error(`${this.clock.pending} timers are left after everything has stopped`)
  }

  #node(name: string): Node {
    const node = this.#nodes.get(name) ?? {
      name,
      disk: new MemoryDisk(),
      running: [],
      clock: undefined,
      commits: 0,
      crash: undefined,
      starting: false,
      failure: undefined
    }
    this.#nodes.set(name, node)
    return node
  }

  contextOf(node: string): Context {
    const clock = new ProcessClock(this.clock, () => this.#skews.get(node) ?? 0)
    this.#node(node).clock = clock
    this.#node(node).starting = true
    const random = seededRandom(this.random.below(2 ** 31) + this.#starts++)
    return {
      signal: new AbortController().signal,
      clock,
      random: (length) => random.bytes(length),
      limits: { frameBytesMax: 16 * 1024 * 1024 },
      log: (level, event, fields) => this.logged.push({ node, level, event, fields })
    }
  }

  async #plugin<K extends Kind>(bound: BoundPlugin<K>, name: string, context: Context): Promise<Kinds[K]['instance']> {
    const instance = await bound.plugin.create(bound.options, context)
    this.#node(name).running.push(instance)
    return instance
  }

  async #storage(name: string, context: Context): Promise<Storage> {
    const node = this.#node(name)
    const { clock } = node
    const storage = await this.#plugin(memoryStorage({ shared: node.disk }), name, context)
    const die = async (crash: Crash): Promise<void> => {
      crash.happened = true
      this.kill(name)
      await new Promise<never>(() => {})
    }
    return {
      get: (key) => storage.get(key),
      scan: (range, signal) => storage.scan(range, signal),
      commit: async (batch) => {
        this.#trace.update(`${name} ${this.clock.now()} `)
        for (const { key, value } of batch.put ?? []) this.#trace.update(key).update(value)
        for (const key of batch.del ?? []) this.#trace.update(key)
        const crash = ++node.commits === node.crash?.atCommit && node.clock === clock ? node.crash : undefined
        if (this.#commitMs > 0 && !node.starting)
          await new Promise<void>((done) => context.clock.setTimer(this.#commitMs, done))
        if (crash?.when === 'before' && node.crash === crash) await die(crash)
        if (node.failure !== undefined) throw node.failure
        await storage.commit(batch)
        if (crash?.when === 'after' && node.crash === crash) await die(crash)
      },
      [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose]()
    }
  }
}

export const textOf = (document: Document) => (document as Document<YjsDoc['native']>).native.getText('text')
