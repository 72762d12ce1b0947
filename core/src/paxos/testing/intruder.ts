/** Members and servers that break every rule their keys let them break. Test-only. */
import { utf8 } from '../../bytes.js'
import {
  Accept,
  type AcceptRequest,
  type BackedPromise,
  type Ballot,
  type DecidedSlot,
  type Nack,
  NackReason,
  Prepare,
  type PrepareRequest,
  Promise as PromiseCodec,
  type PromiseReply,
  SIGNATURE_LABELS,
  type Signed,
  Vote
} from '../../wire/index.js'
import { compareBallots } from '../ballot.js'
import {
  parseAccept,
  parsePrepare,
  parsePromise,
  proofHash,
  quorum,
  roundJumpMax,
  type SlotConfig,
  valueHash
} from '../index.js'
import { indexOfServer, leafKey, makeValue, serverKey, type World } from './simulation.js'

/** A lying member: any ballot, two values at once, chosen or stale proofs. It stops when the world is healed. */
export class Intruder {
  readonly name: string
  readonly #world: World
  readonly #leaf: number
  readonly #promises = new Map<
    string,
    { readonly config: SlotConfig; readonly ballot: Ballot; readonly got: PromiseReply[] }
  >()
  #highest = 0n

  constructor(world: World, leaf: number) {
    this.#world = world
    this.#leaf = leaf
    this.name = `D${leaf}`
  }

  begin(): void {
    this.#attack()
  }

  onPromise(_server: Uint8Array, reply: PromiseReply): void {
    const key = toKey(parsePromise(reply.promise).value.ballot)
    const campaign = this.#promises.get(key)
    if (campaign === undefined) return
    campaign.got.push(reply)
    if (campaign.got.length >= quorum(campaign.config)) this.#betray(campaign)
  }

  onNack(_server: Uint8Array, nack: Nack): void {
    if (nack.promised !== undefined && nack.promised.round > this.#highest) this.#highest = nack.promised.round
  }

  onDecided(_slots: readonly DecidedSlot[]): void {}
  onBehind(): void {}
  onRefused(): void {}

  #attack(): void {
    const { random, healed, timeline, devices } = this.#world
    if (healed) return
    timeline.after(random() * 120, () => this.#attack())
    const config = devices[Math.floor(random() * devices.length)]?.config
    if (config === undefined) return
    const rounds = [1n, 2n, this.#highest + 1n, this.#highest + roundJumpMax, roundMax]
    const picked = rounds[Math.floor(random() * rounds.length)] ?? 1n
    const round = picked < roundMax ? picked : roundMax
    const ballot = { round, leaf: this.#leaf, incarnation: random() < 0.7 ? 7n : BigInt(Math.floor(random() * 3)) }
    this.#promises.set(toKey(ballot), { config, ballot, got: [] })
    const { group, slot, ctx } = config
    const prepare = this.#sign('Prepare', Prepare.encode({ group, slot, ctx, ballot }))
    this.#scatter(config, (server) => server.onPrepare(this, { prepare }))
  }

  /** Sends several values in one ballot, each with whatever proof it finds, to some servers each. */
  #betray(campaign: {
    readonly config: SlotConfig
    readonly ballot: Ballot
    readonly got: readonly PromiseReply[]
  }): void {
    const { random } = this.#world
    const { config, ballot, got } = campaign
    const members = config.servers.map(indexOfServer)
    const values = [`${this.name}/a`, `${this.name}/b`].map((author) => makeValue(config.slot, author, members))
    values.push(...got.filter(({ value }) => value.length > 0).map(({ value }) => value))
    for (let i = 0; i < 3; i++) {
      const value = values[Math.floor(random() * values.length)] ?? utf8('nonsense')
      const picked = new Map<string, PromiseReply>()
      for (const reply of [...got].sort(() => random() - 0.5)) {
        if (picked.size >= quorum(config) && random() < 0.7) break
        picked.set(parsePromise(reply.promise).value.server.join(), reply)
      }
      this.#propose(config, ballot, value, [...picked.values()])
    }
  }

  #propose(config: SlotConfig, ballot: Ballot, value: Uint8Array, proof: readonly BackedPromise[]): void {
    const { group, slot, ctx } = config
    const proven = proofHash(proof.map(({ promise }) => parsePromise(promise)))
    const accept = Accept.encode({ group, slot, ctx, ballot, valueHash: valueHash(value), proofHash: proven })
    const request = { accept: this.#sign('Accept', accept), value, proof }
    this.#scatter(config, (server) => server.onAccept(this, request))
  }

  #scatter(config: SlotConfig, deliver: (server: World['servers'][number]) => void): void {
    for (const id of config.servers) {
      const server = this.#world.servers[indexOfServer(id)]
      if (server !== undefined && this.#world.random() < 0.7)
        this.#world.send(this.name, server.name, 'attack', () => deliver(server))
    }
  }

  #sign(type: 'Prepare' | 'Accept', statement: Uint8Array): Signed {
    return { statement, signature: this.#world.notary.sign(leafKey(this.#leaf), SIGNATURE_LABELS[type], statement) }
  }
}

/** A member that asks for promises all the time and never proposes. */
export class Flooder {
  readonly name: string
  readonly #world: World
  readonly #leaf: number
  #round = 0n

  constructor(world: World, leaf: number) {
    this.#world = world
    this.#leaf = leaf
    this.name = `D${leaf}`
  }

  begin(): void {
    this.#world.timeline.after(20, () => this.begin())
    const [config] = this.#world.devices.map((device) => device.config)
    if (config === undefined) return
    const { group, slot, ctx } = config
    const statement = Prepare.encode({
      group,
      slot,
      ctx,
      ballot: { round: ++this.#round, leaf: this.#leaf, incarnation: 0n }
    })
    const signature = this.#world.notary.sign(leafKey(this.#leaf), SIGNATURE_LABELS.Prepare, statement)
    for (const server of this.#world.servers)
      this.#world.send(this.name, server.name, 'flood', () =>
        server.onPrepare(this, { prepare: { statement, signature } })
      )
  }

  onPromise(_server: Uint8Array, reply: PromiseReply): void {
    this.#exceed(parsePromise(reply.promise).value.ballot)
  }

  onNack(_server: Uint8Array, nack: Nack): void {
    this.#exceed(nack.promised)
  }

  onDecided(_slots: readonly DecidedSlot[]): void {}
  onBehind(): void {}
  onRefused(): void {}

  #exceed(ballot: Ballot | undefined): void {
    if (ballot !== undefined && ballot.round > this.#round) this.#round = ballot.round
  }
}

interface Peer {
  readonly name: string
  onPromise(server: Uint8Array, reply: PromiseReply): void
  onNack(server: Uint8Array, nack: Nack): void
}

/** A lying server: forgets its promises, reports what it likes, votes for everything, or says nothing. */
export class LyingServer {
  readonly name: string
  readonly id: Uint8Array
  readonly #world: World
  readonly #seen: { readonly accept: Signed; readonly value: Uint8Array; readonly parsed: Accept }[] = []
  #seq = 0n

  constructor(world: World, index: number) {
    this.#world = world
    this.name = `S${index}`
    this.id = serverKey(index)
  }

  crash(): void {}
  restart(): void {}
  onDecided(_slots: readonly DecidedSlot[]): void {}

  onPrepare(from: Peer, request: PrepareRequest): void {
    const { random } = this.#world
    const { group, slot, ctx, ballot } = parsePrepare(request.prepare).value
    if (random() < 0.1) return
    if (random() < 0.1)
      return this.#castVote({ group, slot, ctx, ballot: { ...ballot, round: roundMax }, valueHash: ctx })
    if (random() < 0.3) {
      const promised = { ...ballot, round: roundMax }
      const reason = random() < 0.5 ? NackReason.NACK_REASON_PREEMPTED : NackReason.NACK_REASON_ROUND_JUMP
      const nack = { group, slot, ballot, promised, reason, retryAfterMs: 0 }
      return this.#world.send(this.name, from.name, 'lie', () => from.onNack(this.id, nack))
    }
    const below = this.#seen.filter(({ parsed }) => parsed.slot === slot && compareBallots(parsed.ballot, ballot) < 0)
    const lie = random() < 0.4 ? undefined : below[Math.floor(random() * below.length)]
    const accepted = lie === undefined ? undefined : { ballot: lie.parsed.ballot, valueHash: lie.parsed.valueHash }
    const statement = PromiseCodec.encode({
      group,
      slot,
      ctx,
      ballot,
      server: this.id,
      accepted,
      statementSeq: ++this.#seq
    })
    const value = lie?.value ?? new Uint8Array(0)
    const reply = { promise: this.#sign('Promise', statement), accept: lie?.accept, value }
    this.#world.send(this.name, from.name, 'lie', () => from.onPromise(this.id, reply))
  }

  onAccept(_from: Peer, request: AcceptRequest): void {
    const parsed = parseAccept(request.accept).value
    this.#seen.push({ accept: request.accept, value: request.value, parsed })
    const { group, slot, ctx, ballot, valueHash: hash } = parsed
    this.#castVote({ group, slot, ctx, ballot, valueHash: hash })
  }

  #castVote(content: Omit<Vote, 'server' | 'statementSeq'>): void {
    const cast = { ...content, server: this.id, statementSeq: ++this.#seq }
    const vote = this.#sign('Vote', Vote.encode(cast))
    this.#world.oracle.cast(cast, this.#world.genesis())
    for (const device of this.#world.devices)
      if (this.#world.random() < 0.7) this.#world.send(this.name, device.name, 'lie', () => device.onVote(vote))
  }

  #sign(type: 'Promise' | 'Vote', statement: Uint8Array): Signed {
    return { statement, signature: this.#world.notary.sign(this.id, SIGNATURE_LABELS[type], statement) }
  }
}

/** The greatest round the wire carries. */
const roundMax = 9_007_199_254_740_991n
const toKey = (ballot: Ballot): string => `${ballot.round}.${ballot.incarnation}`
