/**
 * Errors on the wire: a HeddleError as a Problem frame and back (SPEC, table of errors). Codes from 100 on are local to a
 * process; a peer learns of them as INTERNAL and nothing more.
 */
import { emptyBytes, utf8 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { ERRORS, errorNameOf, type Problem } from '../wire/index.js'

const wireCodeMax = 99
const messageBytesMax = 1024
const groupBytes = 16
const retryAfterMsMax = 3_600_000

/** What `info` of an error may carry across the wire. */
export interface ProblemInfo {
  /** Document it is about. */
  readonly group?: Uint8Array
  /** The speaker's current slot of that document. */
  readonly slot?: bigint
  readonly retryAfterMs?: number
}

/** The Problem that tells a peer of this error. Takes `group`, `slot` and `retryAfterMs` from the error's `info`. */
export function problemOf(error: HeddleError): Problem {
  const { code } = ERRORS[error.code]
  const local = code > wireCodeMax
  const { group, slot, retryAfterMs } = error.info
  return {
    code: local ? ERRORS.INTERNAL.code : code,
    message: local ? ERRORS.INTERNAL.summary : truncated(error.message),
    group: group instanceof Uint8Array && group.length === groupBytes ? group : emptyBytes,
    slot: typeof slot === 'bigint' ? slot : 0n,
    retryAfterMs: typeof retryAfterMs === 'number' ? Math.min(Math.max(0, Math.ceil(retryAfterMs)), retryAfterMsMax) : 0
  }
}

/** The error a peer's Problem stands for; a code this side does not know becomes INTERNAL. */
export function errorOf(problem: Problem): HeddleError {
  const name = errorNameOf(problem.code) ?? 'INTERNAL'
  const info: ProblemInfo = {
    slot: problem.slot,
    retryAfterMs: problem.retryAfterMs,
    ...(problem.group.length === 0 ? {} : { group: problem.group })
  }
  return new HeddleError(name, problem.message === '' ? ERRORS[name].summary : problem.message, {
    info: { ...info, peer: true }
  })
}

/** Cuts at a character so that the UTF-8 form fits and lone surrogates, which have none, are gone. */
function truncated(message: string): string {
  let text = message.slice(0, messageBytesMax).toWellFormed()
  while (utf8(text).length > messageBytesMax) text = text.slice(0, -1).toWellFormed()
  return text
}
