/** A simulated device: wants its values decided, learns what others decide, finishes what they leave open. Test-only. */
import {
  type DecidedSlot,
  type Nack,
  NackReason,
  type PromiseReply,
  SIGNATURE_LABELS,
  type Signed
} from '../../wire/index.js'
import {
  inspectDecided,
  inspectPromise,
  inspectVote,
  Learner,
  Proposer,
  type ProposerEffect,
  type ProposerEvent,
  type Refusal,
  type SignatureCheck,
  type SlotConfig
} from '../index.js'
import { Violation } from './oracle.js'
import type { Server } from './server.js'
import { indexOfServer, leafKey, makeValue, parseValue, type World } from './simulation.js'

type EventBody = ProposerEvent extends infer E ? (E extends ProposerEvent ? Omit<E, 'rttMs' | 'jitter'> : never) : never

export class Device {
  readonly name: string
  readonly leaf: number
  config: SlotConfig
  readonly #world: World
  /** Durable: the chain, and what is still wanted. */
  #decided: DecidedSlot[] = []
  #wants: string[]
  #learner: Learner
  #proposer: Proposer | undefined
  #votes = 0
  #timer = 0
  #life = 0
  #up = true

  constructor(world: World, leaf: number) {
    this.#world = world
    this.leaf = leaf
    this.name = `D${leaf}`
    this.config = world.genesis()
    this.#wants = Array.from({ length: world.scenario.wants }, (_, i) => `${this.name}/${i}`)
    this.#learner = new Learner(this.config)
    this.#begin()
  }

  /** Everything this device wanted is decided. */
  get content(): boolean {
    return this.#wants.length === 0
  }

  crash(): void {
    if (!this.#up) return
    this.#up = false
    this.#life++
    this.#world.note(`${this.name} crashes`)
  }

  restart(): void {
    if (this.#up) return
    this.#up = true
    this.#world.note(`${this.name} restarts`)
    this.#open(this.config)
  }

  onPromise(server: Uint8Array, reply: PromiseReply): void {
    if (!this.#up) return
    const inspected = inspectPromise(this.config, server, reply)
    if (inspected.kind === 'bad' || !this.#verify(inspected.checks)) return
    this.#tell({ kind: 'promise', promise: this.#world.scenario.shell.seePromise(inspected.item) })
  }

  onVote(signed: Signed): void {
    if (!this.#up) return
    const inspected = inspectVote(this.config, signed)
    if (inspected.kind === 'bad' || !this.#verify(inspected.checks)) return
    for (const effect of this.#learner.add(inspected.item)) {
      if (effect.kind === 'evidence') this.#accuse(effect)
      else this.#world.oracle.learned(this.config.slot, effect.valueHash)
    }
    const seen = this.#world.scenario.shell.seeVote(inspected.item, this.#votes++, this.config.servers)
    this.#tell({ kind: 'vote', vote: seen })
  }

  onNack(server: Uint8Array, nack: Nack): void {
    if (!this.#up) return
    const { NACK_REASON_PREEMPTED: preempted, NACK_REASON_ROUND_JUMP: jump } = NackReason
    // The worst an honest proposer meets is a higher ballot, or a server that a ballot is too far ahead of.
    if (nack.ballot.leaf === this.leaf && nack.reason !== preempted && nack.reason !== jump)
      throw new Violation(`an honest proposal was refused for reason ${nack.reason}`)
    this.#tell({ kind: 'nack', server, nack })
  }

  onDecided(slots: readonly DecidedSlot[]): void {
    if (!this.#up) return
    for (const decided of slots) {
      const inspected = inspectDecided(this.config, decided)
      if (inspected.kind === 'verify' && this.#verify(inspected.checks))
        this.#advance(decided, inspected.item.valueHash)
    }
  }

  onBehind(server: Server, slot: bigint): void {
    if (!this.#up) return
    const slots = this.#decided.slice(Number(slot))
    this.#world.send(this.name, server.name, 'decided', () => server.onDecided(slots))
  }

  onRefused(refusal: Refusal): void {
    throw new Violation(`an honest request was refused as ${refusal.kind}`)
  }

  #advance(decided: DecidedSlot, valueHash: Uint8Array): void {
    this.#world.oracle.learned(decided.slot, valueHash)
    this.#decided.push(decided)
    const { author } = parseValue(decided.value)
    if (this.#wants.includes(author)) this.#wants = this.#wants.filter((want) => want !== author)
    this.#open(this.#world.next(this.config, decided.value))
  }

  #open(config: SlotConfig): void {
    this.config = config
    this.#proposer = undefined
    this.#votes = 0
    this.#learner = new Learner(config)
    this.#begin()
  }

  /** Proposes, or looks after the slot from time to time when there is nothing to propose. */
  #begin(): void {
    const { random } = this.#world
    const slot = this.config.slot
    const idle = this.#wants.length === 0
    this.#later(idle ? 500 + random() * 1_500 : random() * 60, () => {
      if (this.config.slot !== slot || this.#proposer !== undefined) return
      if (idle && !this.#learner.sawVotes) return this.#begin()
      const incarnation = this.#world.scenario.shell.incarnation(random)
      const roundSeen = this.#learner.roundMax
      this.#proposer = new Proposer({ config: this.config, leaf: this.leaf, incarnation, roundSeen })
      this.#tell({ kind: 'start', purpose: idle ? 'finish-only' : 'own' })
    })
  }

  #tell(event: EventBody): void {
    const proposer = this.#proposer
    if (proposer === undefined) return
    const { scenario, random } = this.#world
    for (const effect of proposer.handle({ ...event, rttMs: scenario.rttMs, jitter: random() }))
      this.#carryOut(proposer, effect)
  }

  #carryOut(proposer: Proposer, effect: ProposerEffect): void {
    switch (effect.kind) {
      case 'send-prepare': {
        const prepare = this.#sign('Prepare', effect.statement)
        return this.#toServers(effect.to, 'prepare', (server) => server.onPrepare(this, { prepare }))
      }
      case 'send-accept': {
        const { value, proof } = effect
        const accept = this.#sign('Accept', effect.statement)
        return this.#toServers(effect.to, 'accept', (server) => server.onAccept(this, { accept, value, proof }))
      }
      case 'set-timer': {
        const timer = ++this.#timer
        return this.#later(effect.delayMs, () => {
          if (timer === this.#timer && proposer === this.#proposer) this.#tell({ kind: 'timer' })
        })
      }
      case 'need-value': {
        const value = this.#build()
        return this.#later(this.#world.random() * 10, () => {
          if (proposer === this.#proposer) this.#tell({ kind: 'propose', value })
        })
      }
      case 'decided':
        return this.#publish(effect.decided, effect.valueHash)
      case 'abandon':
        this.#proposer = undefined
        this.#learner = new Learner(this.config)
        return this.#begin()
      case 'evidence':
        return this.#accuse(effect)
      case 'value-refused':
        throw new Violation(`the value of ${this.name} was refused`)
    }
  }

  #publish(decided: DecidedSlot, valueHash: Uint8Array): void {
    this.#advance(decided, valueHash)
    for (const server of this.#world.servers)
      this.#world.send(this.name, server.name, 'decided', () => server.onDecided([decided]))
    for (const device of this.#world.devices)
      if (device !== this) this.#world.send(this.name, device.name, 'decided', () => device.onDecided([decided]))
  }

  #build(): Uint8Array {
    const { scenario, random } = this.#world
    const members = this.config.servers.map(indexOfServer)
    if (random() < scenario.replacing) {
      const spare = [...Array(scenario.servers + 1).keys()].find((index) => !members.includes(index))
      // A server that lies is not voted out, or the rest of the run would be without one.
      const victim = scenario.liars + Math.floor(random() * (members.length - scenario.liars))
      const place = members.indexOf([...members].sort((a, b) => a - b)[victim] ?? -1)
      if (spare !== undefined && place >= 0) members[place] = spare
    }
    return makeValue(this.config.slot, this.#wants[0] ?? this.name, members)
  }

  #toServers(ids: readonly Uint8Array[], what: string, deliver: (server: World['servers'][number]) => void): void {
    for (const id of ids) {
      const server = this.#world.servers[indexOfServer(id)]
      if (server !== undefined) this.#world.send(this.name, server.name, what, () => deliver(server))
    }
  }

  #accuse({ evidence }: Extract<ProposerEffect, { readonly kind: 'evidence' }>): void {
    this.#world.accuse(evidence)
  }

  #verify(checks: readonly SignatureCheck[]): boolean {
    return checks.every((check) => this.#world.notary.verify(check))
  }

  #sign(type: 'Prepare' | 'Accept', statement: Uint8Array): Signed {
    return { statement, signature: this.#world.notary.sign(leafKey(this.leaf), SIGNATURE_LABELS[type], statement) }
  }

  #later(delayMs: number, run: () => void): void {
    const life = this.#life
    this.#world.timeline.after(delayMs, () => {
      if (life === this.#life) run()
    })
  }
}
