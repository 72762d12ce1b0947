/**
 * Makes sure that LMDB gets a folder it can work in and a data file it can map. LMDB itself crashes the process on a
 * data file that is no LMDB file or that lost its end, so both are looked at first. `create` calls it.
 */
import { constants } from 'node:fs'
import { access, mkdir, open, stat, truncate } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { HeddleError } from '@heddle/core'

/** Creates the folder if need be (its parent has to be there) and checks it. Throws STORAGE_UNAVAILABLE, STORAGE_CORRUPT. */
export async function prepareFolder(path: string): Promise<void> {
  const isNew = await createFolder(path)
  const found = await stat(path).catch((cause: unknown) => unavailable(path, 'cannot be read', cause))
  if (!found.isDirectory()) unavailable(path, 'is a file; LMDB needs a folder of its own, name another path')
  await access(path, constants.R_OK | constants.W_OK | constants.X_OK).catch((cause: unknown) =>
    unavailable(path, 'is not writable by this user; change its permissions or name another path', cause)
  )
  if (isNew) await syncFolder(dirname(resolve(path)))
  await checkDataFile(join(path, 'data.mdb'))
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

/** LMDB's constants and the layout of its meta page (liblmdb mdb.c: MDB_page_header, MDB_meta). */
const LMDB_MAGIC = 0xbeefc0de
const LMDB_DATA_VERSION = 2
const META_PAGE_FLAG = 0x08
const META_BYTES = 160
const FLAGS_OFFSET = 0x12
const MAGIC_OFFSET = 0x18
const VERSION_OFFSET = 0x1c
const PAGE_BYTES_OFFSET = 0x30
const LAST_PAGE_OFFSET = 0x90

async function checkDataFile(path: string): Promise<void> {
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    return unavailable(path, 'cannot be read; check its permissions', cause)
  })
  if (file === undefined) return
  let pagesBytes: number
  let fileBytes: number
  try {
    const { size, ...kind } = await file.stat()
    fileBytes = size
    if ((kind.mode & constants.S_IFMT) !== constants.S_IFREG) unavailable(path, 'is not a file; move it away')
    if (size === 0) return
    const meta = await readMeta(file, 0)
    const pageBytes = meta?.pageBytes ?? 0
    const other = pageBytes > 0 ? await readMeta(file, pageBytes) : undefined
    if (meta === undefined || other === undefined || other.pageBytes !== pageBytes) corrupt(path)
    pagesBytes = (Math.max(meta.lastPage, other.lastPage) + 1) * pageBytes
    if (!Number.isSafeInteger(pagesBytes)) corrupt(path)
  } finally {
    await file.close()
  }
  // LMDB leaves off pages that were freed at the end, so a short file may be whole. Reading past the end of a mapped
  // file kills the process; a page of zeros gives an error instead.
  if (fileBytes < pagesBytes) await truncate(path, pagesBytes)
}

interface Meta {
  readonly pageBytes: number
  readonly lastPage: number
}

async function readMeta(file: Awaited<ReturnType<typeof open>>, position: number): Promise<Meta | undefined> {
  const bytes = new Uint8Array(META_BYTES)
  const { bytesRead } = await file.read(bytes, 0, META_BYTES, position)
  const view = new DataView(bytes.buffer)
  if (bytesRead < META_BYTES || view.getUint32(MAGIC_OFFSET, true) !== LMDB_MAGIC) return undefined
  if ((view.getUint16(FLAGS_OFFSET, true) & META_PAGE_FLAG) === 0) return undefined
  if ((view.getUint32(VERSION_OFFSET, true) & 0xffff) !== LMDB_DATA_VERSION) return undefined
  const pageBytes = view.getUint32(PAGE_BYTES_OFFSET, true)
  const isPowerOf2 = (pageBytes & (pageBytes - 1)) === 0
  if (pageBytes < 256 || pageBytes > 65_536 || !isPowerOf2) return undefined
  return { pageBytes, lastPage: Number(view.getBigUint64(LAST_PAGE_OFFSET, true)) }
}

function unavailable(path: string, what: string, cause?: unknown): never {
  throw new HeddleError('STORAGE_UNAVAILABLE', `the storage ${path} ${what}`, { cause, info: { path } })
}

function corrupt(path: string): never {
  throw new HeddleError(
    'STORAGE_CORRUPT',
    `${path} is not a data file of LMDB, or it is damaged; restore it from a backup, or name another folder`,
    { info: { path } }
  )
}
