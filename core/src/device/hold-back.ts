/**
 * How far a device goes through the decided epochs (SPEC DEV-006): one that was away has to read the messages of the time
 * before it forgets their keys, so it enters epochs as its servers' logs do. Called by the document in every turn.
 */
import type { Room } from './room.js'

const unlimitedEpoch = 2n ** 64n
/** How long decided slots wait for messages of the epochs before, while nothing comes, and at most. */
const holdBackMs = 30_000
const holdBackMsMax = 300_000

export interface HoldBackHooks {
  /** All that enough servers have of the present epoch was read. */
  isLevel(): boolean
  /** Messages applied since the document was opened. */
  applied(): number
  /** Oldest epoch of what waits for its commit. */
  nextEpoch(): bigint | undefined
}

export class HoldBack implements Disposable {
  readonly #room: Pick<Room, 'context' | 'group' | 'wake'>
  readonly #hooks: HoldBackHooks
  /** Epoch in which all messages sent so far had been read. */
  #epochCaughtUp: bigint
  /** Set while decided slots wait: since when, since when nothing came, and what had been applied then. */
  #held: { readonly sinceMs: number; quietMs: number; applied: number; timer: Disposable } | undefined

  constructor(room: Pick<Room, 'context' | 'group' | 'wake'>, hooks: HoldBackHooks) {
    this.#room = room
    this.#hooks = hooks
    this.#epochCaughtUp = room.group.epoch
  }

  /** The epoch up to which decided slots are applied now. */
  get epochMax(): bigint {
    const { epoch, document } = this.#room.group.public
    const held = this.#held
    const nowMs = this.#room.context.clock.now()
    const isOverdue =
      held !== undefined && (nowMs - held.quietMs >= holdBackMs || nowMs - held.sinceMs >= holdBackMsMax)
    // Nothing that a member or a server says may hold this device for ever.
    if (isOverdue) return unlimitedEpoch
    // Members that come with the next epochs have their say there.
    if (this.#hooks.isLevel()) this.#epochCaughtUp = epoch
    const readable = this.#epochCaughtUp + BigInt(document.policy.retainedEpochs)
    const nextEpoch = this.#hooks.nextEpoch()
    return nextEpoch !== undefined && nextEpoch > readable ? nextEpoch : readable
  }

  /** Notes since when decided slots wait (`holdsBack`), and looks again when they have waited long enough. */
  watch(holdsBack: boolean): void {
    const { clock } = this.#room.context
    const nowMs = clock.now()
    const applied = this.#hooks.applied()
    const held = this.#held
    if (held !== undefined && !holdsBack) {
      held.timer[Symbol.dispose]()
      this.#held = undefined
    } else if (held !== undefined && held.applied !== applied) {
      held.applied = applied
      held.quietMs = nowMs
    } else if (held === undefined && holdsBack) {
      const timer = clock.setTimer(holdBackMs, () => this.#look())
      this.#held = { sinceMs: nowMs, quietMs: nowMs, applied, timer }
    }
  }

  [Symbol.dispose](): void {
    this.#held?.timer[Symbol.dispose]()
  }

  #look(): void {
    const held = this.#held
    if (held === undefined) return
    const { clock } = this.#room.context
    const dueMs = Math.min(held.quietMs + holdBackMs, held.sinceMs + holdBackMsMax)
    const leftMs = dueMs - clock.now()
    if (leftMs > 0) held.timer = clock.setTimer(leftMs, () => this.#look())
    else this.#room.wake()
  }
}
