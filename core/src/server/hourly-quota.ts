/**
 * How often one key may do a thing (SPEC SRV): an hour's worth at once, then as many an hour. Documents created by a
 * device are counted this way over all its connections, and control messages of a member that may not write. Volatile; it
 * slows down who fills the disk and does not replace the operator's policy.
 */
import { toHex } from '../bytes.js'
import type { Clock } from '../plugin/index.js'
import { TokenBucket } from './limits.js'

const hourMs = 3_600_000

interface Use {
  readonly bucket: TokenBucket
  readonly lastMs: number
}

export class HourlyQuota {
  readonly #clock: Clock
  readonly #perHour: number
  /** By key in hexadecimal, the one used longest ago first. */
  readonly #uses = new Map<string, Use>()

  constructor(clock: Clock, perHour: number) {
    this.#clock = clock
    this.#perHour = perHour
  }

  get size(): number {
    return this.#uses.size
  }

  /** 0 when this key may do it once more, which is counted, else the milliseconds until it may. */
  take(id: Uint8Array): number {
    const nowMs = this.#clock.now()
    this.#forgetBefore(nowMs - hourMs)
    const key = toHex(id)
    const bucket = this.#uses.get(key)?.bucket ?? new TokenBucket(this.#clock, this.#perHour / 3_600, this.#perHour)
    const waitMs = bucket.take()
    if (waitMs > 0) return waitMs
    this.#uses.delete(key)
    this.#uses.set(key, { bucket, lastMs: nowMs })
    return 0
  }

  /** After an hour without use a bucket is as good as new. */
  #forgetBefore(thenMs: number): void {
    for (const [key, { lastMs }] of this.#uses) {
      if (lastMs > thenMs) return
      this.#uses.delete(key)
    }
  }
}
