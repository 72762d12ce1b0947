/**
 * The present slot as a device drives it (SPEC PAXOS): carries out what the pure proposer and learner ask for, on the
 * links to the servers. One object per slot; disposed of when the slot is decided.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { DeviceChannel } from '../net/index.js'
import {
  inspectPromise,
  inspectVote,
  Learner,
  Proposer,
  type ProposerEffect,
  type ProposerEvent,
  type Purpose,
  type SignatureCheck,
  type SlotConfig,
  signedInput
} from '../paxos/index.js'
import { type DecidedSlot, SIGNATURE_LABELS, type Signed } from '../wire/index.js'
import type { ServerLink } from './links.js'
import { asHeddleError, headOf, type Room, report } from './room.js'

/** An undecided slot in which others voted is finished by this device after about this long. */
const finishAfterMs = 1_500
const rttMsInitial = 50
const answerTimeoutMs = 5_000

export interface SlotHooks {
  /** Links of the document's servers, connected or not. */
  links(): readonly ServerLink[]
  /** The slot is free: build a value and `supply` it. */
  needValue(): void
  /** Decided by this device's doing. */
  decided(decided: DecidedSlot): void
  /** Slots a server answered with. */
  learned(slots: readonly DecidedSlot[], link: ServerLink): void
  /** The server has not learned the slots from this one on. */
  behind(link: ServerLink, slot: bigint): void
  /** The servers refuse this device's value as breaking a rule. */
  refused(): void
}

type Input = ProposerEvent extends infer E ? (E extends ProposerEvent ? Omit<E, 'rttMs' | 'jitter'> : never) : never

export class SlotRun {
  readonly config: SlotConfig
  readonly #room: Room
  readonly #hooks: SlotHooks
  readonly #learner: Learner
  #proposer: Proposer | undefined
  #timer: Disposable | undefined
  #finishTimer: Disposable | undefined
  #rttMs = rttMsInitial
  #disposed = false

  constructor(room: Room, config: SlotConfig, hooks: SlotHooks) {
    this.#room = room
    this.config = config
    this.#hooks = hooks
    this.#learner = new Learner(config)
  }

  /** Begins to propose, or lets a proposer that only finishes what others began propose a value of its own too. */
  start(purpose: Purpose): void {
    if (this.#disposed) return
    if (this.#proposer === undefined || this.#proposer.done) {
      this.#proposer = new Proposer({
        config: this.config,
        leaf: (headOf(this.#room).member(this.#room.group.memberId) ?? this.#room.group.me).leafIndex,
        incarnation: this.#incarnation(),
        roundSeen: this.#learner.roundMax
      })
    }
    this.#handle({ kind: 'start', purpose })
  }

  get proposing(): boolean {
    return this.#proposer !== undefined && !this.#proposer.done
  }

  /** Answers `needValue`; the value is durable here. */
  supply(value: Uint8Array): void {
    this.#handle({ kind: 'propose', value })
  }

  /** A vote, pushed or as an answer. */
  onVote(signed: Signed): void {
    if (this.#disposed) return
    const inspected = inspectVote(this.config, signed)
    if (inspected.kind === 'bad' || !this.#verified(inspected.checks)) return
    this.#learner.add(inspected.item)
    this.#handle({ kind: 'vote', vote: inspected.item })
    if (!this.proposing) this.#finishLater()
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#timer?.[Symbol.dispose]()
    this.#finishTimer?.[Symbol.dispose]()
  }

  #handle(input: Input): void {
    if (this.#disposed || this.#proposer === undefined) return
    const pulse = { rttMs: this.#rttMs, jitter: this.#room.pool.random() }
    for (const effect of this.#proposer.handle({ ...input, ...pulse } as ProposerEvent)) this.#carryOut(effect)
  }

  #carryOut(effect: ProposerEffect): void {
    switch (effect.kind) {
      case 'send-prepare': {
        const prepare = this.#sign(SIGNATURE_LABELS.Prepare, effect.statement)
        this.#toEach(effect.to, async (channel, link) => {
          const request = { $case: 'prepare', value: { prepare } } as const
          this.#onAnswer(await channel.request(request, { timeoutMs: answerTimeoutMs }), link)
        })
        break
      }
      case 'send-accept': {
        const accept = this.#sign(SIGNATURE_LABELS.Accept, effect.statement)
        const { value, proof } = effect
        this.#toEach(effect.to, async (channel, link) => {
          const request = { $case: 'accept', value: { accept, value, proof } } as const
          this.#onAnswer(await channel.request(request, { timeoutMs: answerTimeoutMs }), link)
        })
        break
      }
      case 'set-timer':
        this.#timer?.[Symbol.dispose]()
        this.#timer = this.#room.context.clock.setTimer(effect.delayMs, () => this.#handle({ kind: 'timer' }))
        break
      case 'need-value':
        this.#hooks.needValue()
        break
      case 'decided':
        this.#hooks.decided(effect.decided)
        break
      case 'value-refused':
        this.#hooks.refused()
        break
      case 'evidence':
        report(
          this.#room,
          new HeddleError('FORK', 'a participant signed two contradictory statements', { info: effect })
        )
        break
      case 'abandon':
        break
    }
  }

  #onAnswer(answer: Awaited<ReturnType<typeof ask>>, link: ServerLink): void {
    if (this.#disposed) return
    switch (answer.$case) {
      case 'promise': {
        const inspected = inspectPromise(this.config, link.publicKey, answer.value)
        if (inspected.kind === 'bad' || !this.#verified(inspected.checks)) {
          const reason = inspected.kind === 'bad' ? inspected.reason : 'a signature does not verify'
          report(this.#room, new HeddleError('INVALID', `server ${link.id.slice(0, 8)} sent a bad promise: ${reason}`))
          return
        }
        this.#handle({ kind: 'promise', promise: inspected.item })
        break
      }
      case 'vote':
        if (answer.value.vote !== undefined) this.onVote(answer.value.vote)
        break
      case 'nack':
        if (equalBytes(answer.value.group, this.config.group)) {
          this.#handle({ kind: 'nack', server: link.publicKey, nack: answer.value })
        }
        break
      case 'decided':
        this.#hooks.learned(answer.value.slots, link)
        break
    }
  }

  /** Runs the exchange with each of the servers that is connected; one that fails is asked again by the timer. */
  #toEach(servers: readonly Uint8Array[], exchange: (channel: DeviceChannel, link: ServerLink) => Promise<void>): void {
    const wanted = new Set(servers.map(toHex))
    for (const link of this.#hooks.links()) {
      const { channel } = link
      if (channel === undefined || !wanted.has(link.id)) continue
      const sentMs = this.#room.context.clock.now()
      exchange(channel, link).then(
        () => {
          this.#rttMs += (this.#room.context.clock.now() - sentMs - this.#rttMs) / 8
        },
        (cause: unknown) => this.#exchangeFailed(asHeddleError(cause, 'proposing'), link)
      )
    }
  }

  #exchangeFailed(error: HeddleError, link: ServerLink): void {
    if (this.#disposed) return
    this.#room.context.log('debug', 'propose.failed', { server: link.id, code: error.code, message: error.message })
    const { slot } = error.info
    if (error.code === 'BEHIND' && typeof slot === 'bigint') this.#hooks.behind(link, slot)
  }

  #finishLater(): void {
    const delayMs = finishAfterMs * (1 + this.#room.pool.random())
    this.#finishTimer ??= this.#room.context.clock.setTimer(delayMs, () => {
      this.#finishTimer = undefined
      if (!this.proposing) this.start('finish-only')
    })
  }

  #verified(checks: readonly SignatureCheck[]): boolean {
    return checks.every(({ publicKey, label, statement, signature }) =>
      this.#room.crypto.verify(publicKey, signedInput(label, statement), signature)
    )
  }

  #sign(label: string, statement: Uint8Array): Signed {
    return { statement, signature: this.#room.group.sign(signedInput(label, statement)) }
  }

  /** 53 random bits. */
  #incarnation(): bigint {
    const bytes = this.#room.context.random(8)
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0) >> 11n
  }
}

/** Only its type is used: what a Prepare or an Accept is answered with. */
declare function ask(channel: DeviceChannel): ReturnType<typeof channel.request<'prepare' | 'accept'>>
