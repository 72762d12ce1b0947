/** What a commit acknowledges is there: for other processes, and after SIGKILL at any moment. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Storage, systemContext } from '@heddle/core'
import { afterAll, expect, test } from 'vitest'
import lmdbStorage from './index.js'
import { PARTS, partOf } from './testing/batches.js'
import { startModule } from './testing/process.js'

const root = await mkdtemp(join(tmpdir(), 'heddle-lmdb-kill-'))
afterAll(() => rm(root, { recursive: true }))

const open = (path: string): Promise<Storage> => lmdbStorage.create({ path }, systemContext())

/** Killed after this many acknowledgements: early, in the middle of groups, and after the file has grown. */
const KILLS_AFTER = [1, 3, 17, 150, 500, 1200]

test('every acknowledged batch is there whole after the process was killed, and none is torn', async () => {
  const path = join(root, 'killed')
  const acknowledged = new Set<number>()
  let next = 0
  for (const lines of KILLS_AFTER) {
    const writer = startModule('./writer.ts', [path, String(next)])
    await writer.printed(lines)
    writer.process.kill('SIGKILL')
    await writer.ended
    for (const line of writer.lines) acknowledged.add(Number(line))

    const store = await open(path)
    const partsOf = await readBatches(store)
    const torn = [...partsOf].filter(([, parts]) => parts !== PARTS)
    const lost = [...acknowledged].filter((number) => !partsOf.has(number))
    expect({ lost, torn }).toEqual({ lost: [], torn: [] })
    await store[Symbol.asyncDispose]()
    next = Math.max(...partsOf.keys()) + 1
  }
  expect(acknowledged.size).toBeGreaterThanOrEqual(KILLS_AFTER.reduce((sum, lines) => sum + lines, 0))
}, 120_000)

test('a process sees at once what another has acknowledged, and is told', async () => {
  const path = join(root, 'shared')
  const store = await open(path)
  let calls = 0
  const watcher = store.watch?.(new Uint8Array(0), () => {
    calls += 1
  })
  const writer = startModule('./writer.ts', [path, '0'])
  for (let seen = 0; seen < 300 || calls < 2; ) {
    await writer.printed(seen + 1)
    for (const line of writer.lines.slice(seen)) {
      const { key, value } = partOf(Number(line), PARTS - 1)
      expect(await store.get(key)).toEqual(value)
      seen += 1
    }
    // The two take turns at the write lock.
    if (seen % 10 === 0) await store.commit({ put: [{ key: Uint8Array.of(0xff), value: Uint8Array.of(seen & 0xff) }] })
  }
  writer.process.kill('SIGKILL')
  await writer.ended
  watcher?.[Symbol.dispose]()
  await store.commit({ put: [{ key: Uint8Array.of(0xff), value: new Uint8Array(0) }] })
  await store[Symbol.asyncDispose]()
}, 60_000)

test('the environment is one that syncs within the commit', async () => {
  const path = join(root, 'flags')
  const store = await open(path)
  await store.commit({ put: [partOf(0, 0)] })
  await store[Symbol.asyncDispose]()
  // LMDB keeps its persistent flags in both meta pages (liblmdb mdb.c, MDB_meta.mm_flags); 0x1000 is MDB_OVERLAPPINGSYNC.
  const file = await readFile(join(path, 'data.mdb'))
  const flags = [0, file.readUInt32LE(0x30)].map((page) => file.readUInt16LE(page + 0x34) & 0x1000)
  expect(flags).toEqual([0, 0])
})

/** How many right parts of each batch are stored. */
async function readBatches(store: Storage): Promise<Map<number, number>> {
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
