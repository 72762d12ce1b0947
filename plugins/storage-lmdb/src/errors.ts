/** Says in Heddle's errors what LMDB reports by number (lmdb.h, "Return Codes"; below 0 its own, above 0 errno). */
import { HeddleError } from '@heddle/core'

/** MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_INVALID, MDB_VERSION_MISMATCH, MDB_PANIC, MDB_BAD_CHECKSUM. */
const CORRUPT: ReadonlySet<unknown> = new Set([-30796, -30797, -30793, -30794, -30795, -30778])

/** A read failed. Returns STORAGE_CORRUPT or STORAGE_UNAVAILABLE. */
export function readError(cause: unknown, path: string): HeddleError {
  return errorOf(cause, path, 'read')
}

/** A transaction failed; LMDB rolled it back. Returns STORAGE_CORRUPT or STORAGE_UNAVAILABLE. */
export async function writeError(cause: unknown, path: string): Promise<HeddleError> {
  const { commitError } = cause as { readonly commitError?: Promise<unknown> }
  // The library rejects this promise with the reason right after it rejects the commit.
  const reason = commitError === undefined ? cause : await commitError.catch((error: unknown) => error)
  return errorOf(reason, path, 'written')
}

/** The environment cannot be opened. Returns STORAGE_CORRUPT or STORAGE_UNAVAILABLE. */
export function openError(cause: unknown, path: string): HeddleError {
  return errorOf(cause, path, 'opened')
}

function errorOf(cause: unknown, path: string, done: string): HeddleError {
  const { code, message = String(cause) } = cause as { readonly code?: unknown; readonly message?: string }
  const info = { path, lmdbCode: code }
  if (CORRUPT.has(code)) {
    const cure = 'restore the folder from a backup, or replace this server or device'
    return new HeddleError('STORAGE_CORRUPT', `the storage ${path} is damaged (${message}); ${cure}`, { cause, info })
  }
  const cure = 'check free space, permissions and the disk'
  return new HeddleError('STORAGE_UNAVAILABLE', `the storage ${path} cannot be ${done} (${message}); ${cure}`, {
    cause,
    info
  })
}
