/**
 * The one error class. Its codes, whether to retry and whether the connection survives are generated from
 * proto/heddle/v1/error.proto (SPEC, table of errors).
 */
import { ERRORS, type ErrorName } from './wire/index.js'

export type { ErrorName }

/** What went wrong, said for a person, with a stable `code` for programs. */
export class HeddleError extends Error {
  override readonly name = 'HeddleError'
  /** Stable name, e.g. "STORAGE_CONFLICT". */
  readonly code: ErrorName
  /** Extra facts for programs and logs; never plaintext or key material. */
  readonly info: Readonly<Record<string, unknown>>

  constructor(
    code: ErrorName,
    message: string,
    options: { readonly cause?: unknown; readonly info?: Readonly<Record<string, unknown>> } = {}
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.info = options.info ?? {}
  }

  /** Whether the same request may succeed later, and how. */
  get retry(): (typeof ERRORS)[ErrorName]['retry'] {
    return ERRORS[this.code].retry
  }

  /** Compares by name and code, so that two loaded copies of the core agree. */
  static is(error: unknown, code?: ErrorName): error is HeddleError {
    return (
      error instanceof Error &&
      error.name === 'HeddleError' &&
      (code === undefined || (error as HeddleError).code === code)
    )
  }
}
