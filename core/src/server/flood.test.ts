import { createVirtualClock, type VirtualClock } from '@heddle/transport-memory'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { toHex } from '../bytes.js'
import type { CommitPlan } from '../group/index.js'
import {
  inspectPromise,
  inspectVote,
  Proposer,
  type ProposerEffect,
  type ProposerEvent,
  type SlotConfig,
  signedInput,
  type ToVerify
} from '../paxos/index.js'
import { systemContext } from '../plugin/index.js'
import { type DecidedSlot, SIGNATURE_LABELS, type Signed } from '../wire/index.js'
import { Epoch } from './epoch.js'
import { codeOf, isSettled, settled } from './testing/expect.js'
import { type Link, type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
let clock: VirtualClock
let hosts: readonly ServerHost[]
let admin: TestDevice
let member: TestDevice
beforeEach(async () => {
  clock = createVirtualClock(Date.now())
  world = await World.start(3, {}, { ...systemContext(), clock })
  hosts = world.hosts
  admin = await world.device()
  await admin.create(hosts)
  member = await admin.add(hosts)
  for (const host of hosts) await member.to(host)
})
afterEach(async () => {
  flooding = false
  world.network.setLatency(0)
  const stopped = world[Symbol.asyncDispose]()
  await clock.run({ untilMs: clock.now() + 5_000 })
  await stopped
})

let flooding = false

/** On each of a member's connections a Prepare every few milliseconds, above every ballot it has heard of. */
async function flood(device: TestDevice, everyMs: number): Promise<void> {
  flooding = true
  const links: (readonly [ServerHost, Link])[] = []
  for (const host of hosts) for (let i = 0; i < 8; i++) links.push([host, await device.connect(host)])
  let round = 0n
  let turn = 0
  const beat = (): void => {
    if (!flooding) return
    clock.setTimer(everyMs, beat)
    round++
    for (const [at, [, { channel }]] of links.entries()) {
      if (at % 8 !== turn % 8) continue
      channel.request({ $case: 'prepare', value: device.prepareRequest(round) }).then(
        (answer) => {
          if (answer.$case === 'nack' && (answer.value.promised?.round ?? 0n) > round)
            round = answer.value.promised?.round ?? 0n
        },
        () => {
          // Refused for its rate, or too late: the next goes on.
        }
      )
    }
    turn++
  }
  beat()
}

/** A device that proposes as an honest one does: the real proposer, driven by the clock. */
class Honest {
  readonly #device: TestDevice
  readonly #config: SlotConfig
  readonly #proposer: Proposer
  readonly #value: Uint8Array
  readonly #links: ReadonlyMap<string, Link>
  #timer: Disposable | undefined
  #jitter = 0.3
  decided: DecidedSlot | undefined

  constructor(device: TestDevice, value: Uint8Array) {
    this.#device = device
    this.#value = value
    this.#config = new Epoch(device.group.public).config
    this.#links = new Map(
      hosts.flatMap(({ server, address }) => {
        const link = device.links.get(address)
        return link === undefined ? [] : [[toHex(server.id), link] as const]
      })
    )
    const leaf = device.group.me.leafIndex
    this.#proposer = new Proposer({ config: this.#config, leaf, incarnation: 77n })
    this.#handle({ kind: 'start', purpose: 'own', ...this.#pulse() })
  }

  #pulse() {
    this.#jitter = (this.#jitter * 7.31 + 0.17) % 1
    return { rttMs: 20, jitter: this.#jitter }
  }

  #handle(event: ProposerEvent): void {
    for (const effect of this.#proposer.handle(event)) this.#carryOut(effect)
  }

  #carryOut(effect: ProposerEffect): void {
    switch (effect.kind) {
      case 'send-prepare': {
        const prepare = this.#sign(SIGNATURE_LABELS.Prepare, effect.statement)
        for (const to of effect.to) this.#exchange(to, { $case: 'prepare', value: { prepare } })
        return
      }
      case 'send-accept': {
        const accept = this.#sign(SIGNATURE_LABELS.Accept, effect.statement)
        const value = { accept, value: effect.value, proof: effect.proof }
        for (const to of effect.to) this.#exchange(to, { $case: 'accept', value })
        return
      }
      case 'need-value':
        return this.#handle({ kind: 'propose', value: this.#value, ...this.#pulse() })
      case 'set-timer':
        this.#timer?.[Symbol.dispose]()
        this.#timer = clock.setTimer(effect.delayMs, () => {
          if (this.decided === undefined) this.#handle({ kind: 'timer', ...this.#pulse() })
        })
        return
      case 'decided':
        this.#timer?.[Symbol.dispose]()
        this.decided = effect.decided
    }
  }

  async #exchange(server: Uint8Array, body: Parameters<typeof ask>[1]): Promise<void> {
    const link = this.#links.get(toHex(server))
    if (link === undefined) throw new Error('no link to this server')
    // A failed exchange is repeated by the proposer's timer.
    const answer = await ask(link, body).catch(() => undefined)
    if (answer?.$case === 'promise') {
      const promise = verified(inspectPromise(this.#config, server, answer.value))
      this.#handle({ kind: 'promise', promise, ...this.#pulse() })
    } else if (answer?.$case === 'vote' && answer.value.vote !== undefined) {
      const vote = verified(inspectVote(this.#config, answer.value.vote))
      this.#handle({ kind: 'vote', vote, ...this.#pulse() })
    } else if (answer?.$case === 'nack') this.#handle({ kind: 'nack', server, nack: answer.value, ...this.#pulse() })
  }

  #sign(label: string, statement: Uint8Array): Signed {
    return { statement, signature: this.#device.group.sign(signedInput(label, statement)) }
  }
}

function ask({ channel }: Link, body: Parameters<typeof channel.request<'prepare' | 'accept'>>[0]) {
  return channel.request(body, { timeoutMs: 5_000 })
}

function verified<T>(inspected: ToVerify<T> | { readonly kind: 'bad' }): T {
  if (inspected.kind === 'bad') throw new Error('a server sent what is wrong')
  return inspected.item
}

describe('a member that floods Prepares', () => {
  const plans: readonly (readonly [string, () => CommitPlan])[] = [
    ['renews its keys', () => ({})],
    ['removes the member', () => ({ removes: [member.memberId] })]
  ]
  it.each(plans)('cannot keep an admin from a commit that %s', { timeout: 60_000 }, async (_, plan) => {
    await flood(member, 4)
    world.network.setLatency(10)
    await clock.run({ untilMs: clock.now() + 1_000 })
    const { value } = await admin.value(plan())
    const honest = new Honest(admin, value)
    await clock.run({ until: () => honest.decided !== undefined, untilMs: clock.now() + 20_000 })
    flooding = false
    world.network.setLatency(0)
    const told = Promise.all(hosts.map((host) => admin.tell(host, honest.decided as DecidedSlot)))
    await clock.run({ untilMs: clock.now() + 1_000 })
    await told
    for (const { server } of hosts) expect(server.stats().counts.decided).toBe(2)
  })
})

describe('a Prepare that is held back', () => {
  const host = (): ServerHost => hosts[0] as ServerHost
  /** The ballots that are not held. */
  const raise = async (): Promise<void> => {
    for (const round of [1n, 2n, 3n]) expect((await member.prepare(host(), round)).$case).toBe('promise')
  }

  it('is answered after its time, and holds up nothing else of the document', async () => {
    await raise()
    const held = member.prepare(host(), 4n)
    await member.upload(host(), await member.seal())
    expect((await admin.prepare(host(), 5n)).$case).toBe('promise')
    expect(await isSettled(held)).toBe(false)
    await clock.run({ untilMs: clock.now() + 60 })
    expect((await held).$case).toBe('nack')
  })

  it('gives way to the next of its leaf, but not to an older one', async () => {
    await raise()
    const first = codeOf(member.prepare(host(), 4n))
    const second = member.prepare(host(), 6n)
    expect(await first).toBe('LIMIT_EXCEEDED')
    expect(await codeOf(member.prepare(host(), 5n))).toBe('LIMIT_EXCEEDED')
    await clock.run({ untilMs: clock.now() + 60 })
    expect((await second).$case).toBe('promise')
  })

  it('is answered at once when the slot is decided', async () => {
    await raise()
    const decided = await admin.decide(hosts.slice(1))
    const held = member.prepare(host(), 9n)
    expect(await isSettled(held)).toBe(false)
    await admin.tell(host(), decided)
    expect(await held).toMatchObject({ $case: 'decided', value: { slots: [{ slot: 1n }] } })
  })

  it('is counted only with its own signature: nobody can use up the budget of another', async () => {
    const { channel } = await member.to(host())
    for (const round of [1n, 2n, 3n, 4n, 5n]) {
      const { prepare } = admin.prepareRequest(round)
      const forged = { ...prepare, signature: new Uint8Array(64) }
      expect(await codeOf(channel.request({ $case: 'prepare', value: { prepare: forged } }))).toBe('BAD_SIGNATURE')
    }
    expect((await admin.prepare(host(), 1n)).$case).toBe('promise')
  })

  it('is forgotten when its connection ends', async () => {
    await raise()
    const { pending } = clock
    const link = await member.connect(host())
    const held = link.channel.request({ $case: 'prepare', value: member.prepareRequest(4n) })
    expect(await isSettled(held)).toBe(false)
    expect(clock.pending).toBeGreaterThan(pending)
    await link.channel[Symbol.asyncDispose]()
    expect(await codeOf(held)).toBe('TRANSPORT_CLOSED')
    await settled()
    expect(clock.pending).toBe(pending)
  })
})
