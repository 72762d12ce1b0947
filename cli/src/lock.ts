/**
 * Keeps two processes from using one device folder at the same time: both would write as the same device, and the
 * second would continue what the first has already said. `openDevice` takes it for as long as the device is open.
 */
import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'

/** Creates the folder if need be and locks it. Dispose to unlock. Throws STORAGE_UNAVAILABLE. */
export async function lockFolder(path: string): Promise<AsyncDisposable> {
  const file = join(path, 'lock')
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    for (let attempt = 0; attempt < 5; attempt++) {
      if (await create(file)) return { [Symbol.asyncDispose]: () => rm(file, { force: true }) }
      const holder = await holderOf(file)
      if (holder !== undefined && isAlive(holder)) {
        throw new HeddleError(
          'STORAGE_UNAVAILABLE',
          `${path} is in use by process ${holder.pid}; stop it or name another folder, as a device runs in one process at a time (if that is another program, remove ${file})`
        )
      }
      // Its process died without unlocking.
      if (holder !== undefined) await removeStale(file)
    }
  } catch (cause) {
    if (HeddleError.is(cause)) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new HeddleError(
      'STORAGE_UNAVAILABLE',
      `the folder ${path} cannot be used (${reason}); check its permissions or name another one`,
      { cause }
    )
  }
  throw new HeddleError('STORAGE_UNAVAILABLE', `${path} is being opened by other processes at this moment; try again`)
}

/** A process, told from a later one with the same number: in a container every start has number 1. */
interface Holder {
  readonly pid: number
  readonly startedMs: number
}

const self: Holder = { pid: process.pid, startedMs: Math.round(performance.timeOrigin) }

/** By way of a link, so that the lock is there with its content or not at all. */
async function create(file: string): Promise<boolean> {
  const draft = `${file}.${randomUUID()}`
  await writeFile(draft, `${self.pid} ${self.startedMs}\n`, { mode: 0o600 })
  try {
    await link(draft, file)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw cause
  } finally {
    await rm(draft, { force: true })
  }
}

/** Undefined when the lock has just been released. What cannot be read was held by nobody alive. */
async function holderOf(file: string): Promise<Holder | undefined> {
  try {
    const [pid = 0, startedMs = 0] = (await readFile(file, 'utf8')).split(' ').map(Number)
    return { pid, startedMs }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  }
}

/** Moved away and looked at once more: another process may have been faster, and then the lock is a live one. */
async function removeStale(file: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`
  try {
    await rename(file, aside)
    const holder = await holderOf(aside)
    if (holder !== undefined && isAlive(holder)) await link(aside, file)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'EEXIST') throw cause
  } finally {
    await rm(aside, { force: true })
  }
}

function isAlive({ pid, startedMs }: Holder): boolean {
  if (pid === self.pid) return startedMs === self.startedMs
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    // EPERM: it lives and belongs to somebody else.
    return (cause as NodeJS.ErrnoException).code === 'EPERM'
  }
}
