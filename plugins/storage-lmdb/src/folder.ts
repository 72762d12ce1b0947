/** Makes sure that LMDB gets a folder it can work in and a data file it can map. The plugin's `create` calls it. */
import { constants } from 'node:fs'
import { access, mkdir, open, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { HeddleError } from '@heddle/core'
import { dataFileFault } from './datafile.js'

/** Creates the folder if need be (its parent has to be there) and checks it. Throws STORAGE_UNAVAILABLE, STORAGE_CORRUPT. */
export async function prepareFolder(path: string): Promise<void> {
  const isNew = await createFolder(path)
  const found = await stat(path).catch((cause: unknown) => unavailable(path, 'cannot be read', cause))
  if (!found.isDirectory()) unavailable(path, 'is a file; LMDB needs a folder of its own, name another path')
  await access(path, constants.R_OK | constants.W_OK | constants.X_OK).catch((cause: unknown) =>
    unavailable(path, 'is not writable by this user; change its permissions or name another path', cause)
  )
  if (isNew) await syncFolder(dirname(resolve(path)))
  const file = join(path, 'data.mdb')
  const fault = await dataFileFault(file).catch((cause: unknown) =>
    unavailable(file, 'cannot be read; check that it is a file and its permissions', cause)
  )
  if (fault === undefined) return
  throw new HeddleError(
    'STORAGE_CORRUPT',
    `${file} cannot be used: ${fault}; restore it from a backup, or name another folder`,
    { info: { path } }
  )
}

/** Makes the entries of a folder durable: a data file just created is lost with them otherwise. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function createFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 })
    return true
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    if (code === 'ENOENT') unavailable(path, 'cannot be created: the folder above it does not exist; create it', cause)
    if (code === 'ENOTDIR')
      unavailable(path, 'cannot be created: something above it is a file; name another path', cause)
    unavailable(path, 'cannot be created; check the permissions of the folder above it', cause)
  }
}

function unavailable(path: string, what: string, cause?: unknown): never {
  throw new HeddleError('STORAGE_UNAVAILABLE', `the storage ${path} ${what}`, { cause, info: { path } })
}
