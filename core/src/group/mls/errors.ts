/** How the group room says no: typed errors with as few words as possible at the place of the check. */
import { type ErrorName, HeddleError } from '../../errors.js'
import { WireError } from '../../wire/index.js'

/** Throws `code` unless the condition holds. */
export function ensure(condition: unknown, code: ErrorName, message: string): asserts condition {
  if (!condition) throw new HeddleError(code, message)
}

/** Throws INVALID unless the condition holds: the bytes decode and break a rule. */
export function ensureValid(condition: unknown, message: string): asserts condition {
  if (!condition) throw new HeddleError('INVALID', message)
}

/** Runs `work`; what is not a HeddleError already, ts-mls' errors and TypeErrors among it, becomes one with `code`. */
export async function typed<T>(code: ErrorName, message: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw asTyped(code, message, cause)
  }
}

/** `typed` for synchronous work. */
export function typedSync<T>(code: ErrorName, message: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw asTyped(code, message, cause)
  }
}

function asTyped(code: ErrorName, message: string, cause: unknown): HeddleError {
  if (HeddleError.is(cause)) return cause
  // A WireError names the field and the rule.
  return new HeddleError(code, cause instanceof WireError ? `${message}: ${cause.message}` : message, { cause })
}
