/** Adds to a counter by compare-and-set; run by several processes at once on one table. */
import { HeddleError, type Storage, systemContext } from '@heddle/core'
import { postgres } from '../index.js'
import { parseOptions } from '../options.js'

export const counterKey = Uint8Array.of(1)

export async function main(connectionString: string, table: string, times: string): Promise<void> {
  const store = await postgres.create(parseOptions({ connectionString, table }), systemContext())
  process.stdout.write('open\n')
  const conflicts = await count(store, Number(times))
  process.stdout.write(`${conflicts}\n`)
  await store[Symbol.asyncDispose]()
}

/** Returns how often another came first. */
export async function count(store: Storage, times: number): Promise<number> {
  let conflicts = 0
  for (let done = 0; done < times; ) {
    const value = await store.get(counterKey)
    const put = [{ key: counterKey, value: bytesOf(counterOf(value) + 1) }]
    try {
      await store.commit({ expect: [{ key: counterKey, value }], put })
      done += 1
    } catch (error) {
      if (!HeddleError.is(error, 'STORAGE_CONFLICT')) throw error
      conflicts += 1
    }
  }
  return conflicts
}

export const counterOf = (value: Uint8Array | undefined): number =>
  value === undefined ? 0 : new DataView(value.buffer).getUint32(0)

function bytesOf(number: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}
