/**
 * A deterministic world of devices and servers that decide one slot after the other over a network that loses, repeats,
 * delays and parts, on machines that crash and forget what was not durable. The shells here are as thin as the real ones
 * and drive the room the way `index.ts` says; the oracle watches. Test-only.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes, utf8 } from '../../bytes.js'
import { type Evidence, type SlotConfig, valueHash } from '../index.js'
import { honest, type Shell } from './behaviour.js'
import { Device } from './device.js'
import { Flooder, Intruder, LyingServer } from './intruder.js'
import { Oracle, Violation } from './oracle.js'
import { Server } from './server.js'
import { Notary, seeded, Timeline } from './world.js'

export interface Scenario {
  readonly servers: number
  readonly faultBound: number
  readonly devices: number
  /** Values each device wants decided. */
  readonly wants: number
  readonly rttMs: number
  readonly loss: number
  readonly duplication: number
  /** Share of messages delayed by up to 20 round trips. */
  readonly straggling: number
  readonly fsyncMs: number
  /** Faults per second until `healMs`: crashes and partitions. */
  readonly faultsPerSecond: number
  /** From here on nothing is lost and nobody fails. */
  readonly healMs: number
  /** By then every honest device must have what it wants. */
  readonly deadlineMs: number
  /** Share of the values that replace a server. */
  readonly replacing: number
  /** A member that breaks every rule its keys let it break. */
  readonly intruder: boolean
  /** A member that floods ever higher Prepares, for ever. */
  readonly flooder: boolean
  /** Servers hold Prepares back by their preemption budget. */
  readonly budget: boolean
  /** How many servers lie. */
  readonly liars: number
  readonly shell: Shell
}

export const rough: Scenario = {
  servers: 3,
  faultBound: 0,
  devices: 3,
  wants: 1,
  rttMs: 40,
  loss: 0.15,
  duplication: 0.15,
  straggling: 0.05,
  fsyncMs: 10,
  faultsPerSecond: 3,
  healMs: 3_000,
  deadlineMs: 120_000,
  replacing: 0.3,
  intruder: false,
  flooder: false,
  budget: true,
  liars: 0,
  shell: honest
}

/** A calm world but for one member that never stops asking for promises. */
export const flooded: Scenario = { ...rough, flooder: true, loss: 0, faultsPerSecond: 0.1, deadlineMs: 20_000 }

export interface RunResult {
  readonly violation: string | undefined
  /** Digest of everything that happened, in order. */
  readonly trace: string
  readonly slots: number
  readonly events: number
}

/** What nodes share: time, chance, the wire, the notary and the oracle. */
export class World {
  readonly timeline = new Timeline()
  readonly notary = new Notary()
  readonly oracle = new Oracle()
  readonly random: () => number
  readonly scenario: Scenario
  readonly group = utf8('simulated group.')
  readonly servers: (Server | LyingServer)[] = []
  readonly devices: Device[] = []
  #island: ReadonlySet<string> | undefined
  #trace = 0x811c9dc5
  events = 0

  constructor(seed: number, scenario: Scenario) {
    this.random = seeded(seed)
    this.scenario = scenario
  }

  get healed(): boolean {
    return this.timeline.nowMs >= this.scenario.healMs
  }

  /** Delivers `run` at `to` as the network pleases. */
  send(from: string, to: string, what: string, run: () => void): void {
    const { loss, duplication, straggling, rttMs } = this.scenario
    const copies = !this.healed && this.random() < duplication ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (!this.healed && this.random() < loss) continue
      const slow = !this.healed && this.random() < straggling ? this.random() * 20 : 0
      this.timeline.after((rttMs / 2) * (0.5 + this.random() + slow), () => {
        const island = this.#island
        if (island !== undefined && island.has(from) !== island.has(to)) return
        this.note(`${to}<${from}:${what}`)
        run()
      })
    }
  }

  note(text: string): void {
    this.events++
    let hash = this.#trace
    const line = `${this.timeline.nowMs.toFixed(3)} ${text}`
    for (let i = 0; i < line.length; i++) hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193)
    this.#trace = hash
  }

  get trace(): string {
    return (this.#trace >>> 0).toString(16)
  }

  config(slot: bigint, ctx: Uint8Array, members: readonly number[]): SlotConfig {
    const leaves = this.scenario.devices + 1
    return {
      group: this.group,
      slot,
      ctx,
      servers: members.map(serverKey),
      faultBound: this.scenario.faultBound,
      leafKey: (leaf) => (leaf < leaves ? leafKey(leaf) : undefined)
    }
  }

  genesis(): SlotConfig {
    return this.config(0n, sha256(this.group), [...Array(this.scenario.servers).keys()])
  }

  /** The configuration a decided value leads to. */
  next(config: SlotConfig, value: Uint8Array): SlotConfig {
    const { members } = parseValue(value)
    return this.config(config.slot + 1n, sha256(concatBytes(config.ctx, valueHash(value))), members)
  }

  /** Evidence was found by somebody honest: it must not name anybody honest. */
  accuse(evidence: Evidence): void {
    const { devices, liars } = this.scenario
    this.oracle.accused(
      evidence,
      (leaf) => leaf < devices,
      (server) => indexOfServer(server) >= liars
    )
  }

  /** Partitions and heals, crashes and restarts, until the world is healed. */
  fault(): void {
    if (this.healed) {
      this.#island = undefined
      for (const node of [...this.servers, ...this.devices]) node.restart()
      return
    }
    const nodes = [...this.servers, ...this.devices]
    const node = nodes[Math.floor(this.random() * nodes.length)]
    if (this.random() < 0.3) {
      this.#island = new Set(nodes.filter(() => this.random() < 0.5).map(({ name }) => name))
      this.timeline.after(this.random() * 800, () => {
        this.#island = undefined
      })
    } else if (node !== undefined) {
      node.crash()
      this.timeline.after(this.random() * 800, () => node.restart())
    }
    this.timeline.after((this.random() * 2_000) / this.scenario.faultsPerSecond, () => this.fault())
  }
}

/** Runs one world from its seed to the end of what its devices want, or to the first violation. */
export function simulate(seed: number, scenario: Scenario): RunResult {
  const world = new World(seed, scenario)
  const result = (violation?: string): RunResult => ({
    violation,
    trace: world.trace,
    slots: world.oracle.decided.size,
    events: world.events
  })
  try {
    populate(world)
    while (world.devices.some((device) => !device.content))
      if (!world.timeline.step(scenario.deadlineMs)) return result(`not live: ${unfinished(world)}`)
    return result()
  } catch (error) {
    if (error instanceof Violation) return result(error.message)
    throw error
  }
}

/** The first of `seeds` seeds, from `from` on, whose world breaks an invariant. */
export function firstViolation(scenario: Scenario, seeds: number, from = 1): string | undefined {
  for (let seed = from; seed < from + seeds; seed++) {
    const { violation } = simulate(seed, scenario)
    if (violation !== undefined) return `seed ${seed}: ${violation}`
  }
  return undefined
}

function populate(world: World): void {
  const { servers, liars, devices, intruder, flooder } = world.scenario
  // One server more than the document has: the spare that replacements bring in.
  for (let i = 0; i <= servers; i++) world.servers.push(i < liars ? new LyingServer(world, i) : new Server(world, i))
  for (let leaf = 0; leaf < devices; leaf++) world.devices.push(new Device(world, leaf))
  if (intruder) new Intruder(world, devices).begin()
  if (flooder) new Flooder(world, devices).begin()
  world.timeline.after(world.random() * 300, () => world.fault())
}

const unfinished = (world: World): string =>
  world.devices
    .filter((device) => !device.content)
    .map((device) => `${device.name} at slot ${device.config.slot}`)
    .join(', ')

export const serverKey = (index: number): Uint8Array => new Uint8Array(32).fill(index + 1)
export const leafKey = (leaf: number): Uint8Array => new Uint8Array(32).fill(leaf + 101)
export const indexOfServer = (id: Uint8Array): number => (id[0] ?? 0) - 1

/** A value names the slot it is for, who wants it and the servers of the next slot. */
export const makeValue = (slot: bigint, author: string, members: readonly number[]): Uint8Array =>
  utf8(`${slot} ${author} ${members.join(',')}`)

export function parseValue(value: Uint8Array): {
  readonly slot: bigint
  readonly author: string
  readonly members: readonly number[]
} {
  const [slot, author, members] = String.fromCharCode(...value).split(' ')
  if (slot === undefined || author === undefined || members === undefined) throw new Error('not a value of this world')
  return { slot: BigInt(slot), author, members: members.split(',').map(Number) }
}
