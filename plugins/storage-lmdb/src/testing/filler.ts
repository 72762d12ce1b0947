/** The process that runs out of space: commits until it is refused, says how, and whether the store still works. */
import { HeddleError, systemContext } from '@heddle/core'
import { lmdbStorage } from '../index.js'

export async function main(path: string): Promise<void> {
  process.on('unhandledRejection', (error) => {
    process.stdout.write(`unhandled ${String(error)}\n`)
  })
  const store = await lmdbStorage.create({ path }, systemContext())
  const key = (number: number) => Uint8Array.of(number >> 8, number & 0xff)
  let number = 0
  try {
    for (; ; number++) await store.commit({ put: [{ key: key(number), value: new Uint8Array(20_000).fill(1) }] })
  } catch (error) {
    process.stdout.write(`${HeddleError.is(error) ? `${error.code} ${error.message}` : String(error)}\n`)
  }
  const value = await store.get(key(number - 1))
  process.stdout.write(`last ${value?.length} refused ${(await store.get(key(number)))?.length}\n`)
  await store.commit({ delRange: [{ gte: key(0), lt: key(number) }] })
  await store.commit({ put: [{ key: key(number), value: new Uint8Array(10) }] })
  process.stdout.write(`after deleting ${(await store.get(key(number)))?.length}\n`)
  await store[Symbol.asyncDispose]()
}
