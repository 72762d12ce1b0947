/**
 * When a document's device lets go of old epochs by their age (SPEC GROUP-009): shortly after opening, and then hourly. By
 * their number they go with the commit that begins a new one.
 */
import type { Room } from './room.js'

/** How often the age of epochs is looked at. */
const everyMs = 3_600_000
/** After opening, what the servers hold of old epochs is read first, as long as that does not take longer. */
const firstMsMax = 300_000

export class Expiry implements Disposable {
  readonly #room: Pick<Room, 'context' | 'group' | 'wake'>
  readonly #isLevel: () => boolean
  #isFirst = true
  #dueMs: number
  #timer: Disposable
  #isOver = false

  /** `isLevel`: whether all that enough servers have was read. */
  constructor(room: Pick<Room, 'context' | 'group' | 'wake'>, isLevel: () => boolean) {
    this.#room = room
    this.#isLevel = isLevel
    this.#dueMs = room.context.clock.now() + firstMsMax
    this.#timer = room.context.clock.setTimer(firstMsMax, () => room.wake())
  }

  /** Called in every turn; what the group forgets is among its dirty records afterwards. */
  step(): void {
    const { clock } = this.#room.context
    const isDue = clock.now() >= this.#dueMs || (this.#isFirst && this.#isLevel())
    if (!isDue || this.#isOver) return
    this.#timer[Symbol.dispose]()
    this.#isFirst = false
    this.#dueMs = clock.now() + everyMs
    this.#timer = clock.setTimer(everyMs, () => this.#room.wake())
    this.#room.group.expireEpochs()
  }

  [Symbol.dispose](): void {
    this.#isOver = true
    this.#timer[Symbol.dispose]()
  }
}
