/**
 * Calls between the benchmark and its child processes over the channel that `fork` opens: a request with a number, an
 * answer with the same number. Child processes call `serveCalls`; the other end is in `child.ts`.
 */

/** What a child offers: one value in, one value out, both structured-cloneable. */
export type Handlers = { readonly [name: string]: (params: never) => Promise<unknown> }

export interface Request {
  readonly id: number
  readonly name: string
  readonly params: unknown
}

export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: { readonly message: string; readonly stack: string | undefined } }

/** What every child offers. */
export const commonCalls = {
  /** Processor time the process has used, milliseconds. */
  async cpuMs(_: Readonly<Record<never, never>>): Promise<number> {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  }
}
export type CommonCalls = typeof commonCalls

/** Time a child has for closing what it opened once the benchmark has let go of it. */
export const leaveTimeoutMs = 5_000

/**
 * Answers calls until the benchmark is gone or lets go; then closes what the child has opened and ends the process,
 * which never outlives the benchmark. It has to be closed: `process.exit` waits for the threads of LMDB, and one that
 * has begun a transaction waits for this thread to fill it.
 */
export function serveCalls(ownCalls: Handlers, close: () => Promise<void>): void {
  const handlers: Handlers = { ...ownCalls, ...commonCalls }
  const send = (reply: Reply) => {
    // Without a channel nobody is left to read the answer, and 'disconnect' ends this process.
    if (process.connected) process.send?.(reply)
  }
  process.on('disconnect', () => {
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), leaveTimeoutMs)
    close().then(
      () => process.exit(0),
      () => process.kill(process.pid, 'SIGKILL')
    )
  })
  // Ctrl-C reaches every process of the terminal; the benchmark decides what it means.
  process.on('SIGINT', () => undefined)
  process.on('message', ({ id, name, params }: Request) => {
    const handler = handlers[name]
    const answer = handler === undefined ? Promise.reject(new Error(`no such call: ${name}`)) : handler(params as never)
    answer.then(
      (value) => send({ id, value }),
      (error: unknown) => send({ id, error: sentError(error) })
    )
  })
}

const sentError = (error: unknown) =>
  error instanceof Error ? { message: error.message, stack: error.stack } : { message: String(error), stack: undefined }

/**
 * Milliseconds of the machine's monotonic clock, with fractions. Every process of one machine reads the same clock, so
 * that a time taken in one may be compared with a time taken in another; `performance.timeOrigin` is wall time, taken
 * anew by each process, and moves when the clock is set.
 */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
