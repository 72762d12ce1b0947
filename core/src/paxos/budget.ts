/**
 * The preemption budget of a server (SPEC PAXOS, denial of service): a device that raises its ballot again and again in
 * one slot is made to wait, longer each time, so that a member that floods Prepares cannot keep a slot undecided. Time
 * only, never safety; an honest proposer, which backs off by itself, hardly ever meets it.
 */

/** Raises of a device in a slot that are not held. */
const freeRaises = 3
const holdMsFirst = 50
const holdMsMax = 20_000

interface Raises {
  readonly count: number
  readonly lastMs: number
}

/** One per document; volatile. */
export class PreemptionBudget {
  readonly #byLeaf = new Map<number, Raises>()

  /**
   * How long to hold a Prepare whose ballot lies above the acceptor's promise, milliseconds. 0: hand it to the acceptor
   * now, it is counted. Otherwise ask again after that time, with the newest Prepare of the leaf in its place.
   */
  holdMs(leaf: number, nowMs: number): number {
    const { count, lastMs } = this.#byLeaf.get(leaf) ?? { count: 0, lastMs: nowMs }
    const apart = count < freeRaises ? 0 : Math.min(holdMsFirst * 2 ** (count - freeRaises), holdMsMax)
    // A clock that was set back must not make the wait longer than it can be.
    const left = Math.min(lastMs + apart - nowMs, apart)
    if (left > 0) return left
    this.#byLeaf.set(leaf, { count: count + 1, lastMs: nowMs })
    return 0
  }

  /** The slot is decided: half of what was counted is forgiven. */
  nextSlot(): void {
    for (const [leaf, { count, lastMs }] of this.#byLeaf) {
      if (count < 2) this.#byLeaf.delete(leaf)
      else this.#byLeaf.set(leaf, { count: Math.floor(count / 2), lastMs })
    }
  }
}
