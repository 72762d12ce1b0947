/** Opens a folder as another user and says how that went. */
import { HeddleError, systemContext } from '@heddle/core'
import { lmdbStorage } from '../index.js'

export async function main(path: string): Promise<void> {
  if (process.getuid?.() === 0) process.setuid?.(65_534)
  try {
    const store = await lmdbStorage.create({ path }, systemContext())
    await store[Symbol.asyncDispose]()
    process.stdout.write('opened\n')
  } catch (error) {
    process.stdout.write(`${HeddleError.is(error) ? `${error.code} ${error.message}` : String(error)}\n`)
  }
}
