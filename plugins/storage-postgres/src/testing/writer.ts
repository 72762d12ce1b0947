/**
 * The process that durability tests kill: commits numbered batches, several at a time, and prints the number of each
 * that was acknowledged.
 */
import { systemContext } from '@heddle/core'
import { postgres } from '../index.js'
import { parseOptions } from '../options.js'
import { batchOf } from './batches.js'

/** Commits at the same time: each transaction then holds several batches. */
const CONCURRENT = 8

export async function main(connectionString: string, table: string, from: string): Promise<void> {
  const store = await postgres.create(parseOptions({ connectionString, table }), systemContext())
  let next = Number(from)
  const write = async () => {
    for (;;) {
      const number = next++
      await store.commit(batchOf(number))
      process.stdout.write(`${number}\n`)
    }
  }
  await Promise.all(Array.from({ length: CONCURRENT }, write))
}
