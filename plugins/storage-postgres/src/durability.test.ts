/** What a commit acknowledges is there: for other processes, after SIGKILL of the writer, and after a crash of the server. */
import { type Storage, systemContext } from '@heddle/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import postgres from './index.js'
import { parseOptions } from './options.js'
import { batchOf, PARTS, partOf } from './testing/batches.js'
import { count, counterKey, counterOf } from './testing/counter.js'
import { startModule } from './testing/process.js'
import { TestServer, whyNoServer } from './testing/server.js'

const reason = await whyNoServer()

describe.skipIf(reason !== undefined)(`postgres durability${reason === undefined ? '' : ` (${reason})`}`, () => {
  let server: TestServer
  beforeAll(async () => {
    // A server that would lose the last ten seconds if nobody asked it not to.
    server = await TestServer.start(['synchronous_commit=off', 'wal_writer_delay=10s'])
  }, 60_000)
  afterAll(() => server[Symbol.asyncDispose]())

  const open = (table: string): Promise<Storage> =>
    postgres.create(parseOptions({ connectionString: server.url, table }), systemContext())

  test('every acknowledged batch is there whole after the server crashed in the middle, and none is torn', async () => {
    const store = await open('crashed')
    const acknowledged = new Set<number>()
    let next = 0
    let wanted = 0
    let onWanted = () => {}
    const write = async () => {
      for (;;) {
        const number = next++
        await store.commit(batchOf(number))
        acknowledged.add(number)
        if (acknowledged.size >= wanted) onWanted()
      }
    }
    for (const more of [1, 40, 150]) {
      wanted = acknowledged.size + more
      const enough = new Promise<void>((resolve) => {
        onWanted = resolve
      })
      const writers = Array.from({ length: 8 }, write)
      const outcomes = Promise.allSettled(writers)
      await Promise.race([enough, outcomes])
      await server.crash()
      for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'STORAGE_UNAVAILABLE' } })
      await expect(store.get(Uint8Array.of(1))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
      await server.restart()
      // The same storage goes on by itself.
      expect(await damage(store, acknowledged)).toEqual({ lost: [], torn: [] })
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(191)
    await store[Symbol.asyncDispose]()
  }, 120_000)

  test('every acknowledged batch is there whole after the process was killed, and none is torn', async () => {
    const acknowledged = new Set<number>()
    const store = await open('killed')
    let next = 0
    for (const lines of [1, 20, 200]) {
      const writer = startModule('./writer.ts', [server.url, 'killed', String(next)])
      await writer.printed(lines)
      writer.process.kill('SIGKILL')
      await writer.ended
      for (const line of writer.lines) acknowledged.add(Number(line))
      // What the killed one had under way holds nobody up.
      await store.commit({ put: [partOf(0, 0)] })
      expect(await damage(store, acknowledged)).toEqual({ lost: [], torn: [] })
      next = Math.max(...(await partsOfBatches(store)).keys()) + 1
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(221)
    await store[Symbol.asyncDispose]()
  }, 120_000)

  test('of processes that compare and set on one table, none loses what it counted', async () => {
    const store = await open('counted')
    const others = [0, 1].map(() => startModule('./counter.ts', [server.url, 'counted', '60']))
    await Promise.all(others.map((other) => other.printed(1)))
    const conflicts = await count(store, 60)
    await Promise.all(others.map(({ ended }) => ended))
    expect(counterOf(await store.get(counterKey))).toBe(180)
    expect(conflicts + others.reduce((sum, { lines }) => sum + Number(lines[1]), 0)).toBeGreaterThan(0)
    await store[Symbol.asyncDispose]()
  }, 60_000)
})

/** Acknowledged batches that are not there, and batches of which a part is missing or wrong. */
async function damage(store: Storage, acknowledged: ReadonlySet<number>) {
  const partsOf = await partsOfBatches(store)
  return {
    lost: [...acknowledged].filter((number) => !partsOf.has(number)),
    torn: [...partsOf].filter(([, parts]) => parts !== PARTS)
  }
}

/** How many right parts of each batch are stored. */
async function partsOfBatches(store: Storage): Promise<Map<number, number>> {
  const partsOf = new Map<number, number>()
  for await (const page of store.scan({ gte: new Uint8Array(0), lt: Uint8Array.of(0xff) })) {
    for (const { key, value } of page) {
      const view = new DataView(key.buffer)
      const number = view.getUint32(4)
      const expected = partOf(number, view.getUint32(0))
      const isRight = Buffer.compare(value, expected.value) === 0
      partsOf.set(number, (partsOf.get(number) ?? 0) + (isRight ? 1 : PARTS + 1))
    }
  }
  return partsOf
}
