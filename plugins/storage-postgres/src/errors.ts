/** Turns what pg and the server report into the errors of the storage contract. */
import { HeddleError } from '@heddle/core'

/** SQLSTATE of a transaction that may be tried again as it is: serialization_failure, deadlock_detected. */
const RETRYABLE = new Set(['40001', '40P01'])
/** Classes and codes after which this connection is of no use, or the server takes nothing from anybody. */
const LOST = /^(08|53|57P|25006|25P03)/

/** The five characters of SQLSTATE when the server itself answered with an error. */
export function sqlStateOf(error: unknown): string | undefined {
  const code = (error as { readonly code?: unknown } | undefined)?.code
  const isFromServer = error instanceof Error && 'severity' in error
  return isFromServer && typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}

export const isRetryable = (error: unknown): boolean => RETRYABLE.has(sqlStateOf(error) ?? '')

/** Whether the fault lies with the connection or the whole server, and not with what was asked. */
export function isLost(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined || LOST.test(state)
}

/** What the caller of the storage gets. `mayHaveCommitted`: the connection was lost while the commit was under way. */
export function storageError(cause: unknown, where: string, mayHaveCommitted = false): HeddleError {
  if (HeddleError.is(cause)) return cause
  const state = sqlStateOf(cause)
  const reason = reasonOf(cause)
  const info = { sqlState: state, mayHaveCommitted }
  // Class XX: the server found its own files damaged.
  if (state?.startsWith('XX00') === true && state !== 'XX000') {
    return new HeddleError(
      'STORAGE_CORRUPT',
      `${where} is damaged: ${reason}. Restore it from a backup, or replace this server`,
      { cause, info }
    )
  }
  const outcome = mayHaveCommitted ? 'The batch may have been committed or not: read to find out. ' : ''
  return new HeddleError('STORAGE_UNAVAILABLE', `${where} cannot be used: ${reason}. ${outcome}${adviceFor(state)}`, {
    cause,
    info
  })
}

/** A refused connection to a name with several addresses comes as an AggregateError without a message. */
function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.message === '') return cause.errors.map(reasonOf).join('; ')
  return cause instanceof Error ? cause.message : String(cause)
}

function adviceFor(state: string | undefined): string {
  if (state === undefined) return 'Check that the server runs and can be reached; the storage connects again by itself'
  if (state.startsWith('28') || state === '3D000') return 'Check user, password and database'
  if (state === '42501')
    return 'Grant this user SELECT, INSERT, UPDATE and DELETE on the table, or CREATE on the schema'
  if (state === '3F000') return 'Create the schema or name another'
  if (state === '25006') return 'This is a read-only replica: connect to the primary'
  if (state === '53100') return 'The disk of the server is full: free space'
  if (state === '53300') return 'Too many connections: lower connectionsMax or raise max_connections'
  return 'See the log of the server'
}
