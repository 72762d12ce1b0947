/**
 * Renewing keys by itself (SPEC DEV-021): when nobody has committed for as long as the policy says, one of the
 * devices renews its keys, which gives the group new secrets. Each waits a little longer than that, by chance, so that one
 * is first and the others have no more reason to. Called by the document.
 */
import { isClosed, type Room } from './room.js'

const hourMs = 3_600_000
/** How much longer than the policy's period a device waits, at most. */
const spread = 0.25
/** Who comes back after that time waits up to so long, for the others who come back with it. */
const overdueMsMax = 60_000

export interface RotationHooks {
  /** A commit can be decided now. */
  isDecidable(): boolean
  /** Asks for new keys of this device, unless somebody commits before. */
  rotate(): void
}

export class Rotation {
  readonly #room: Room
  readonly #hooks: RotationHooks
  #timer: Disposable | undefined
  /** It was time while no commit could be decided. */
  #isDue = false

  constructor(room: Room, hooks: RotationHooks) {
    this.#room = room
    this.#hooks = hooks
  }

  /** A new epoch has begun, or the document was opened: the time counts from when the epoch was entered. */
  restart(): void {
    this[Symbol.dispose]()
    this.#isDue = false
    const { group, context, pool, epochSinceMs } = this.#room
    const periodMs = group.public.document.policy.rotationHours * hourMs
    if (periodMs === 0 || isClosed(this.#room)) return
    const dueMs = epochSinceMs + periodMs * (1 + spread * pool.random())
    const leftMs = dueMs - context.clock.now()
    this.#arm(leftMs > 0 ? leftMs : overdueMsMax * pool.random())
  }

  /** Servers have come: what was due while they were away is, again by chance, soon. */
  resume(): void {
    if (!this.#isDue || this.#timer !== undefined || !this.#hooks.isDecidable()) return
    this.#arm(overdueMsMax * this.#room.pool.random())
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #arm(delayMs: number): void {
    // The last turn of a document that is being closed may still begin an epoch.
    if (this.#room.signal.aborted) return
    this.#timer = this.#room.context.clock.setTimer(delayMs, () => {
      this.#timer = undefined
      if (this.#room.removed || this.#room.leaving) return
      this.#isDue = !this.#hooks.isDecidable()
      if (!this.#isDue) this.#hooks.rotate()
    })
  }
}
