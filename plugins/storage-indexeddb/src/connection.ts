/**
 * Opens the database and watches over the connection: another tab that upgrades or deletes the database is never kept
 * waiting, and a connection that the browser ends is noticed. The plugin opens one for each storage.
 */
import { type Context, HeddleError } from '@heddle/core'
import { type DBSchema, type IDBPDatabase, openDB } from 'idb'
import { connectionLost, storageError } from './errors.js'

export const ENTRIES = 'entries'
const SCHEMA_VERSION = 1
/** Opening waits for a tab that upgrades or deletes the database, and for one that keeps another from it. */
const OPEN_TIMEOUT_MS = 10_000

/** Keys and values are array buffers: IndexedDB compares binary keys as unsigned bytes. */
export interface Schema extends DBSchema {
  readonly [ENTRIES]: { readonly key: ArrayBuffer; readonly value: ArrayBuffer }
}
export type Database = IDBPDatabase<Schema>

export interface Connection {
  readonly name: string
  readonly database: Database
  /** Why the connection is gone, unless it was closed by who opened it. */
  readonly lost: HeddleError | undefined
}

/** Throws CAPABILITY_MISSING where there is no IndexedDB fit for it, STORAGE_UNAVAILABLE, CONFIG_INVALID, ABORTED. */
export async function openConnection(name: string, { clock, signal }: Context): Promise<Connection> {
  assertPlatform()
  let lost: HeddleError | undefined
  let isBlocked = false
  const opening = openDB<Schema>(name, SCHEMA_VERSION, {
    upgrade: (database) => void database.createObjectStore(ENTRIES),
    blocked() {
      isBlocked = true
    },
    blocking(_version, wantedVersion) {
      lost = connectionLost(name, `another tab ${wantedVersion === null ? 'deletes' : 'upgrades'} it`)
      void opening.then((database) => database.close())
    },
    terminated() {
      lost = connectionLost(name, "the browser ended the connection, as it does when the site's data is deleted")
    }
  })
  const database = await Promise.race([opening, lateOrAborted()]).catch((cause: unknown) => {
    // A connection that comes late must not stand in the way of other tabs.
    opening.then((late) => late.close()).catch(() => undefined)
    throw HeddleError.is(cause) ? cause : storageError(cause, name, 'opened')
  })
  try {
    assertUsable(database)
  } catch (error) {
    database.close()
    throw error
  }
  return {
    name,
    database,
    get lost() {
      return lost
    }
  }

  function lateOrAborted(): Promise<never> {
    return new Promise((_, reject) => {
      const aborted = () => reject(new HeddleError('ABORTED', `opening the database "${name}" was aborted`))
      const timer = clock.setTimer(OPEN_TIMEOUT_MS, () => {
        const holder = isBlocked ? 'another tab keeps an older version of it open' : 'another tab may be changing it'
        const message = `the database "${name}" did not open within ${OPEN_TIMEOUT_MS} ms: ${holder}; close other tabs`
        reject(new HeddleError('STORAGE_UNAVAILABLE', message, { info: { name, isBlocked } }))
      })
      signal.addEventListener('abort', aborted)
      if (signal.aborted) aborted()
      const stop = () => {
        timer[Symbol.dispose]()
        signal.removeEventListener('abort', aborted)
      }
      opening.then(stop, stop)
    })
  }
}

function assertPlatform(): void {
  const { indexedDB, BroadcastChannel } = globalThis as Partial<typeof globalThis>
  if (indexedDB !== undefined && BroadcastChannel !== undefined) return
  throw new HeddleError(
    'CAPABILITY_MISSING',
    'there is no IndexedDB here: @heddle/storage-indexeddb runs in browsers; in Node use @heddle/storage-lmdb'
  )
}

function assertUsable(database: Database): void {
  const { name } = database
  if (database.objectStoreNames.length !== 1 || !database.objectStoreNames.contains(ENTRIES)) {
    throw new HeddleError(
      'CONFIG_INVALID',
      `the database "${name}" holds something else; give the storage a name of its own`
    )
  }
  const { durability } = database.transaction(ENTRIES, 'readonly', { durability: 'strict' })
  // A browser that does not know the option may acknowledge what a power failure takes back. Some know it on https only.
  if (durability !== 'strict') {
    throw new HeddleError(
      'CAPABILITY_MISSING',
      'this browser does not promise that what it stores is on the disk (IDBTransaction.durability): ' +
        (globalThis.isSecureContext ? 'update it' : 'open the page over https')
    )
  }
}
