/**
 * Keeps two processes from using one device folder at the same time: both would write as the same device, and the
 * second would continue what the first has already said. `openDevice` takes it for as long as the device is open.
 */
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { HeddleError } from '@heddle/core'

/** Creates the folder if need be and locks it. Dispose to unlock. Throws STORAGE_UNAVAILABLE. */
export async function lockFolder(path: string): Promise<AsyncDisposable> {
  const file = join(path, 'lock')
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    for (let attempt = 0; attempt < 3; attempt++) {
      if (await create(file)) return { [Symbol.asyncDispose]: () => rm(file, { force: true }) }
      const holder = await holderOf(file)
      if (holder !== undefined && isAlive(holder)) {
        throw new HeddleError(
          'STORAGE_UNAVAILABLE',
          `${path} is in use by process ${holder}; stop it, or name another folder: one device runs in one process at a time`
        )
      }
      // Its process died without unlocking.
      await rm(file, { force: true })
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

async function create(file: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile(`${process.pid}\n`)
    } finally {
      await handle.close()
    }
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw cause
  }
}

/** The process that holds the lock; undefined when it is gone or its holder died before it had written its number. */
async function holderOf(file: string): Promise<number | undefined> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return ''
    throw cause
  })
  const pid = Number(text)
  return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    // EPERM: it lives and belongs to somebody else.
    return (cause as NodeJS.ErrnoException).code === 'EPERM'
  }
}
