/** A host for tests: the real clock, real randomness, and a log that is thrown away unless a test reads it. */
import type { Clock, Context } from '@heddle/core'

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  }
}

export function testContext(parts: Partial<Context> = {}): Context {
  return {
    signal: new AbortController().signal,
    log: () => {},
    clock: systemClock,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    limits: { frameBytesMax: 16 * 1024 * 1024 },
    ...parts
  }
}
