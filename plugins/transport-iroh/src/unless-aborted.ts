/** A race against an abort. Called by the transport, its listeners and the handshake. */

/**
 * The promise's outcome, or the abort if it comes first: iroh's calls cannot be aborted. What a call gives after all goes
 * to `late`, so that it can be closed.
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal, late: (value: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal.reason)
      promise.then(late, () => {
        // Nobody waits for it any more; the abort was reported.
      })
    }
    if (signal.aborted) {
      onAbort()
      return
    }
    signal.addEventListener('abort', onAbort, { once: true })
    const settled = () => signal.removeEventListener('abort', onAbort)
    promise.then(
      (value) => {
        settled()
        if (!signal.aborted) resolve(value)
      },
      (error) => {
        settled()
        reject(error)
      }
    )
  })
}
