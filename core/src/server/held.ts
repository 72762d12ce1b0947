/**
 * Prepares that have to wait (SPEC PAXOS, denial of service): a member that raises its ballot again and again in one slot
 * is held back, so that the phases of others fit in between. Called by the acceptor's driver and the session, one object
 * per document; nothing of it is stored.
 */
import { compareBallots, PreemptionBudget } from '../paxos/index.js'
import type { Clock } from '../plugin/index.js'
import type { Ballot } from '../wire/index.js'

/** Ask the acceptor again; or it is not to be handled any more: the leaf has sent another, or the asker is gone. */
export type Release = 'again' | 'replaced' | 'dropped'

/** A Prepare that waits. */
export interface HeldPrepare {
  /** Never rejects. */
  readonly released: Promise<Release>
  /** Nobody waits for its answer any more. */
  drop(): void
}

interface Waiting {
  readonly ballot: Ballot
  readonly release: (how: Release) => void
}

export class HeldPrepares {
  readonly #clock: Clock
  readonly #budget = new PreemptionBudget()
  /** The newest of each leaf. */
  readonly #byLeaf = new Map<number, Waiting>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#byLeaf.size
  }

  /**
   * Undefined when the acceptor may have it now. The ballot must lie above the acceptor's promise, and its signature must
   * have been verified: it is counted against the leaf, and takes the place of what the leaf has waiting.
   */
  hold(ballot: Ballot): HeldPrepare | undefined {
    const { leaf } = ballot
    const holdMs = this.#budget.holdMs(leaf, this.#clock.now())
    if (holdMs === 0) return undefined
    const waiting = this.#byLeaf.get(leaf)
    // Anyone may repeat an older Prepare of the leaf; it must not push out a newer one.
    if (waiting !== undefined && compareBallots(ballot, waiting.ballot) < 0) return replaced
    waiting?.release('replaced')
    return this.#wait(ballot, holdMs)
  }

  /** The slot is decided: who waits can be told so at once. */
  nextSlot(): void {
    this.#budget.nextSlot()
    for (const { release } of [...this.#byLeaf.values()]) release('again')
  }

  #wait(ballot: Ballot, holdMs: number): HeldPrepare {
    const { leaf } = ballot
    let settle: (how: Release) => void = () => {}
    const released = new Promise<Release>((resolve) => {
      settle = resolve
    })
    const release = (how: Release): void => {
      timer[Symbol.dispose]()
      if (this.#byLeaf.get(leaf) === waiting) this.#byLeaf.delete(leaf)
      settle(how)
    }
    const waiting: Waiting = { ballot, release }
    const timer = this.#clock.setTimer(holdMs, () => release('again'))
    this.#byLeaf.set(leaf, waiting)
    return { released, drop: () => release('dropped') }
  }
}

const replaced: HeldPrepare = { released: Promise.resolve('replaced'), drop: () => {} }
