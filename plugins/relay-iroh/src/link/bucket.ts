/** A token bucket: what a client may send in the long run and at once. Pure; the caller brings the time. */
export class TokenBucket {
  readonly #perSecond: number
  readonly #burst: number
  #level: number
  #atMs: number

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#level = burst
    this.#atMs = nowMs
  }

  /**
   * Takes `amount`, which may overdraw the bucket by up to a second's worth: how much comes is known only after it has
   * come.
   */
  take(amount: number, nowMs: number): void {
    this.#refill(nowMs)
    this.#level = Math.max(this.#level - amount, -this.#perSecond)
  }

  /** Until nothing is overdrawn any more, milliseconds; 0 when nothing is. */
  waitMs(nowMs: number): number {
    this.#refill(nowMs)
    return this.#level >= 0 ? 0 : Math.ceil((-this.#level * 1000) / this.#perSecond)
  }

  #refill(nowMs: number): void {
    // A clock that was set back refills nothing.
    const elapsedMs = Math.max(0, nowMs - this.#atMs)
    this.#atMs = nowMs
    this.#level = Math.min(this.#burst, this.#level + (elapsedMs * this.#perSecond) / 1000)
  }
}
