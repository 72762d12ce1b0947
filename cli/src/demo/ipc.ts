/**
 * Calls from the demo's orchestrator to its child processes, over the channel that `fork` opens: requests with a
 * number, answers with the same number, and free lines of progress. Child processes call `serveCalls`; the
 * orchestrator's end is in `child.ts`.
 */
import { type ErrorName, HeddleError, type Log } from '@heddle/core'

/** What a child offers: one object in, one object out, both structured-cloneable. */
export type Handlers = { readonly [name: string]: (params: never) => Promise<unknown> }

export interface Request {
  readonly id: number
  readonly name: string
  readonly params: unknown
}

export type Reply =
  | { readonly type: 'result'; readonly id: number; readonly value: unknown }
  | { readonly type: 'error'; readonly id: number; readonly error: SentError }
  | { readonly type: 'progress'; readonly text: string; readonly typed: number | undefined }

/** An error as it crosses between processes. */
export interface SentError {
  readonly code: ErrorName | undefined
  readonly message: string
  readonly stack: string | undefined
}

export function sentErrorOf(error: unknown): SentError {
  if (!(error instanceof Error)) return { code: undefined, message: String(error), stack: undefined }
  return { code: HeddleError.is(error) ? error.code : undefined, message: error.message, stack: error.stack }
}

export function errorFrom(sent: SentError, process: string): HeddleError {
  const cause = Object.assign(new Error(sent.message), { stack: sent.stack })
  return new HeddleError(sent.code ?? 'INTERNAL', `${process}: ${sent.message}`, { cause })
}

/**
 * Answers the orchestrator's calls until it goes away. A child never outlives its parent: when the channel closes, for
 * whatever reason, the process ends at once.
 */
export function serveCalls(handlers: Handlers): void {
  const send = (reply: Reply) => {
    // A reply that cannot be sent has no reader any more: the channel is closed and 'disconnect' ends the process.
    if (process.connected) process.send?.(reply)
  }
  // Not process.exit: it would wait for LMDB's thread, which waits for this one when a commit is under way.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
  // Ctrl-C reaches every process of the terminal; the orchestrator is the one who decides what it means.
  process.on('SIGINT', () => undefined)
  process.on('message', (request: Request) => {
    const handler = handlers[request.name]
    if (handler === undefined) {
      const message = `no such call: ${request.name}`
      send({ type: 'error', id: request.id, error: { code: undefined, message, stack: undefined } })
      return
    }
    handler(request.params as never).then(
      (value) => send({ type: 'result', id: request.id, value }),
      (error: unknown) => send({ type: 'error', id: request.id, error: sentErrorOf(error) })
    )
  })
}

/**
 * Tells the orchestrator what this process is doing, which is shown when the demo fails; `typed`: how many steps
 * it has typed since it started.
 */
export function reportProgress(text: string, typed?: number): void {
  const reply: Reply = { type: 'progress', text, typed }
  if (process.connected) process.send?.(reply)
}

/**
 * Writes warnings and errors to stderr, of which the orchestrator shows the end when the demo fails; with HEDDLE_DEBUG
 * everything.
 */
export const logToParent: Log = (level, event, fields = {}) => {
  if (process.env.HEDDLE_DEBUG === undefined && level !== 'warn' && level !== 'error') return
  const details = Object.entries(fields).map(([name, value]) => `${name}=${String(value)}`)
  process.stderr.write(`${[level, event, ...details].join(' ')}\n`)
}
