/** A simulated server: an acceptor behind a queue, a disk that forgets what was not synced, and subscribers. Test-only. */
import {
  type AcceptorRecord,
  type AcceptRequest,
  type DecidedSlot,
  type PrepareRequest,
  SIGNATURE_LABELS,
  type Signed
} from '../../wire/index.js'
import {
  Acceptor,
  type AcceptorOutcome,
  compareBallots,
  inspectDecided,
  parsePrepare,
  PreemptionBudget,
  type Refusal,
  type SlotConfig,
  type ToVerify,
  valueHash
} from '../index.js'
import { toHex } from '../../bytes.js'
import type { Device } from './device.js'
import type { Flooder, Intruder } from './intruder.js'
import { parseValue, serverKey, type World } from './simulation.js'

type Proposing = Device | Intruder | Flooder

interface Disk {
  readonly record: AcceptorRecord | undefined
  readonly values: ReadonlyMap<string, Uint8Array>
  readonly decided: readonly DecidedSlot[]
}

export class Server {
  readonly name: string
  readonly id: Uint8Array
  readonly #world: World
  #disk: Disk = { record: undefined, values: new Map(), decided: [] }
  /** What is written but not yet durable is lost in a crash; writes become durable in order. */
  #written: Disk = this.#disk
  #durableAtMs = 0
  #budget = new PreemptionBudget()
  /** The newest Prepare of each leaf that has to wait. */
  readonly #held = new Map<number, () => void>()
  #acceptor: Acceptor
  #queue: ((done: () => void) => void)[] = []
  #busy = false
  /** Grows with every crash: what was under way before does not go on. */
  #life = 0
  #up = true

  constructor(world: World, index: number) {
    this.#world = world
    this.name = `S${index}`
    this.id = serverKey(index)
    this.#acceptor = this.#recover()
  }

  crash(): void {
    if (!this.#up) return
    this.#up = false
    this.#life++
    this.#queue = []
    this.#busy = false
    this.#budget = new PreemptionBudget()
    this.#held.clear()
    this.#written = this.#disk
    this.#durableAtMs = 0
    this.#world.note(`${this.name} crashes`)
  }

  restart(): void {
    if (this.#up) return
    this.#up = true
    this.#acceptor = this.#recover()
    this.#world.note(`${this.name} restarts`)
  }

  onPrepare(from: Proposing, request: PrepareRequest): void {
    if (!this.#up) return
    const inspected = this.#acceptor.inspectPrepare(request)
    if (inspected.kind === 'stale') {
      const prepare = parsePrepare(request.prepare)
      this.#acceptor = this.#world.scenario.shell.afterStale(this.#acceptor, prepare)
    }
    if (inspected.kind !== 'verify') return this.#refuse(from, inspected)
    const { ballot } = inspected.item.prepare.value
    if (!this.#world.scenario.budget || compareBallots(ballot, this.#acceptor.record.promised) <= 0)
      return this.#verified(from, inspected, (item) => this.#acceptor.prepare(item))
    const hold = this.#budget.holdMs(ballot.leaf, this.#world.timeline.nowMs)
    if (hold === 0) return this.#verified(from, inspected, (item) => this.#acceptor.prepare(item))
    const waiting = this.#held.has(ballot.leaf)
    this.#held.set(ballot.leaf, () => this.onPrepare(from, request))
    if (!waiting) this.#later(hold, () => this.#release(ballot.leaf))
  }

  #release(leaf: number): void {
    const again = this.#held.get(leaf)
    this.#held.delete(leaf)
    again?.()
  }

  onAccept(from: Proposing, request: AcceptRequest): void {
    if (!this.#up) return
    const inspected = this.#world.scenario.shell.inspectAccept(this.#acceptor, request)
    this.#verified(from, inspected, (item) => this.#acceptor.accept(item, this.#validate(item.value)))
  }

  onDecided(slots: readonly DecidedSlot[]): void {
    if (!this.#up) return
    for (const decided of slots) this.#enqueue((done) => this.#learn(decided, done))
  }

  /** Verification takes its time, and the acceptor may have moved when it is done. */
  #verified<T>(from: Proposing, inspected: ToVerify<T> | Refusal, step: (item: T) => AcceptorOutcome): void {
    if (inspected.kind !== 'verify') return this.#refuse(from, inspected)
    if (!inspected.checks.every((check) => this.#world.notary.verify(check))) return
    this.#later(this.#world.random() * 3, () => this.#enqueue((done) => this.#step(from, step(inspected.item), done)))
  }

  #step(from: Proposing, outcome: AcceptorOutcome, done: () => void): void {
    if (outcome.evidence !== undefined) this.#world.accuse(outcome.evidence)
    if (outcome.record === undefined) {
      this.#reply(from, outcome)
      return done()
    }
    const { hasty, eager } = this.#world.scenario.shell
    const { kind } = outcome.reply
    const early = (kind === 'promise' || kind === 'vote') && hasty.includes(kind)
    const values = new Map(this.#written.values)
    if (outcome.value !== undefined) values.set(toHex(valueHash(outcome.value)), outcome.value.slice())
    if (early) this.#reply(from, outcome)
    if (eager) this.#acceptor = outcome.acceptor
    this.#write({ ...this.#written, record: outcome.record, values }, () => {
      if (!eager) this.#acceptor = outcome.acceptor
      if (!early) this.#reply(from, outcome)
      if (!eager) done()
    })
    if (eager) done()
  }

  #reply(from: Proposing, outcome: AcceptorOutcome): void {
    const { reply, acceptor } = outcome
    if (reply.kind === 'refused') return this.#refuse(from, reply.refusal)
    if (reply.kind === 'promise') {
      this.#world.oracle.promised(reply.statement)
      const value = reply.valueHash === undefined ? undefined : this.#written.values.get(toHex(reply.valueHash))
      const promise = this.#sign('Promise', reply.statement)
      const message = { promise, accept: reply.accept, value: value ?? new Uint8Array(0) }
      return this.#world.send(this.name, from.name, 'promise', () => from.onPromise(this.id, message))
    }
    this.#world.oracle.voted(reply.statement, acceptor.config)
    const vote = this.#sign('Vote', reply.statement)
    for (const device of this.#world.devices)
      this.#world.send(this.name, device.name, 'vote', () => device.onVote(vote))
  }

  #refuse(from: Proposing, refusal: Refusal): void {
    const answer = (what: string, run: () => void): void => this.#world.send(this.name, from.name, what, run)
    switch (refusal.kind) {
      case 'nack':
        return answer(`nack ${refusal.nack.reason}`, () => from.onNack(this.id, refusal.nack))
      case 'stale': {
        const slots = this.#written.decided.slice(Number(refusal.fromSlot))
        return answer('decided', () => from.onDecided(slots))
      }
      case 'behind':
        return answer('behind', () => from.onBehind(this, refusal.slot))
      case 'not-mine':
        return
      default:
        from.onRefused(refusal)
    }
  }

  /** A decided slot and the acceptor of the next one are written together. */
  #learn(decided: DecidedSlot, done: () => void): void {
    const inspected = inspectDecided(this.#acceptor.config, decided)
    if (inspected.kind === 'bad' || !inspected.checks.every((check) => this.#world.notary.verify(check))) return done()
    this.#world.oracle.learned(decided.slot, inspected.item.valueHash)
    const next = this.#acceptor.advance(this.#world.next(this.#acceptor.config, decided.value))
    const written = { record: next.record, values: new Map(), decided: [...this.#written.decided, decided] }
    this.#write(written, () => {
      this.#acceptor = next
      this.#budget.nextSlot()
      done()
    })
  }

  #validate(value: Uint8Array): 'valid' | 'invalid' {
    const { slot, members } = parseValue(value)
    return slot === this.#acceptor.config.slot && members.length === this.#world.scenario.servers ? 'valid' : 'invalid'
  }

  #write(disk: Disk, then: () => void): void {
    const { timeline, scenario, random } = this.#world
    this.#written = disk
    this.#durableAtMs = Math.max(this.#durableAtMs, timeline.nowMs + scenario.fsyncMs * (0.5 + random()))
    this.#later(this.#durableAtMs - timeline.nowMs, () => {
      this.#disk = disk
      then()
    })
  }

  #recover(): Acceptor {
    let config: SlotConfig = this.#world.genesis()
    for (const { value } of this.#disk.decided) config = this.#world.next(config, value)
    return new Acceptor(config, this.id, this.#disk.record)
  }

  #enqueue(job: (done: () => void) => void): void {
    this.#queue.push(job)
    if (!this.#busy) this.#work()
  }

  #work(): void {
    const job = this.#queue.shift()
    this.#busy = job !== undefined
    const life = this.#life
    job?.(() => {
      if (life === this.#life) this.#work()
    })
  }

  #later(delayMs: number, run: () => void): void {
    const life = this.#life
    this.#world.timeline.after(delayMs, () => {
      if (life === this.#life) run()
    })
  }

  #sign(type: 'Promise' | 'Vote', statement: Uint8Array): Signed {
    return { statement, signature: this.#world.notary.sign(this.id, SIGNATURE_LABELS[type], statement) }
  }
}
