/**
 * Who waits for local edits to arrive (`Document.settled`): to be stored here, sent to a server, or safe on a write quorum.
 * An edit is known by its message's number, once it is sealed. Called by `outgoing.ts`.
 */
import type { HeddleError } from '../errors.js'
import type { Outbox } from './outbox.js'
import type { Turn } from './store.js'

export type SettledLevel = 'stored' | 'sent' | 'safe'

/** Of one who waits. */
export interface Waiting {
  readonly level: SettledLevel
  /** The edits are stored. */
  flushed: boolean
  /** Number of the message that the last of them went into. */
  seq: bigint | undefined
}

interface Waiter extends Waiting {
  readonly resolve: () => void
  readonly reject: (error: HeddleError) => void
}

export class Settling {
  readonly #outbox: Outbox
  #waiters: Waiter[] = []

  constructor(outbox: Outbox) {
    this.#outbox = outbox
  }

  /** Resolves when all local edits made before the call have reached the level. */
  reach(level: SettledLevel): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ level, resolve, reject, flushed: false, seq: undefined })
    })
  }

  /** Those whose edits a turn that takes them now takes all; later ones are served by the next. */
  asked(): readonly Waiter[] {
    return [...this.#waiters]
  }

  /** The edits of these are durable with the turn; `seq`: they are in the message of this number or before, if sealed. */
  flushed(turn: Turn, asked: readonly Waiter[], seq: bigint | undefined): void {
    if (asked.length === 0) return
    turn.after(() => {
      for (const one of asked) {
        one.flushed = true
        one.seq ??= seq
      }
      this.look()
    })
  }

  /** Servers have more of this device's messages, or edits became durable. */
  look(): void {
    if (this.#waiters.length === 0) return
    const { safeSeq, sentSeq } = this.#outbox
    const reached = ({ level, flushed, seq }: Waiter) =>
      flushed && (level === 'stored' || (seq !== undefined && seq <= (level === 'safe' ? safeSeq : sentSeq)))
    const done = this.#waiters.filter(reached)
    this.#waiters = this.#waiters.filter((one) => !done.includes(one))
    for (const { resolve } of done) resolve()
  }

  /** Who waits for what is lost hears why it is not reached. */
  giveUp(error: HeddleError, isLost: (one: Waiting) => boolean): void {
    const given = this.#waiters.filter(isLost)
    this.#waiters = this.#waiters.filter((one) => !given.includes(one))
    for (const { reject } of given) reject(error)
  }
}
