/** Says in Heddle's errors what IndexedDB reports by the name of a DOMException. */
import { HeddleError } from '@heddle/core'

/** Opening, reading or writing the database `name` failed. Returns STORAGE_UNAVAILABLE or STORAGE_CORRUPT. */
export function storageError(cause: unknown, name: string, done: 'opened' | 'read' | 'written'): HeddleError {
  const { name: domError = 'Error', message = String(cause) } = (cause ?? {}) as Partial<Error>
  const info = { name, domError }
  if (domError === 'NotReadableError') {
    return corrupt(name, `the browser lost a value of it (${message})`, { cause, info })
  }
  return new HeddleError(
    'STORAGE_UNAVAILABLE',
    `the database "${name}" cannot be ${done} (${domError}: ${message}); ${cures[domError] ?? 'reload the page'}`,
    { cause, info }
  )
}

/** What is stored in the database `name` is not what was put there. */
export function corrupt(name: string, what: string, options: ConstructorParameters<typeof HeddleError>[2] = {}) {
  return new HeddleError(
    'STORAGE_CORRUPT',
    `the database "${name}" is damaged: ${what}; delete the site's data and join the documents again`,
    { info: { name }, ...options }
  )
}

/** The connection to the database `name` is gone, not by disposal. */
export function connectionLost(name: string, why: string): HeddleError {
  return new HeddleError('STORAGE_UNAVAILABLE', `the database "${name}" was closed: ${why}; reload the page`, {
    info: { name }
  })
}

const cures: Readonly<Record<string, string>> = {
  QuotaExceededError:
    'the disk or the share of this site is full: free space, delete documents, or have the app call ' +
    'navigator.storage.persist()',
  SecurityError: 'the page may not store anything: allow storage for this site, and do not sandbox its frame',
  VersionError: 'a newer version of this app has written it: reload the page'
}
