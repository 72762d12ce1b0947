/** What a user meets when the folder, the file or the disk is not as it should be: a typed error, never a crash. */
import { chmod, mkdir, mkdtemp, open as openFile, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Batch, type Entry, resolvePlugin, type Storage, systemContext } from '@heddle/core'
import { afterAll, describe, expect, test } from 'vitest'
import lmdbStorage, { type LmdbStorageOptions } from './index.js'
import { startModule } from './testing/process.js'

const root = await mkdtemp(join(tmpdir(), 'heddle-lmdb-fail-'))
afterAll(() => rm(root, { recursive: true }))

const open = (path: string, rest: Partial<LmdbStorageOptions> = {}): Promise<Storage> =>
  lmdbStorage.create({ path, ...rest }, systemContext())
const key = (text: string): Uint8Array => new TextEncoder().encode(text)
const entry = (text: string, valueBytes = 100): Entry => ({ key: key(text), value: new Uint8Array(valueBytes).fill(7) })
const all = { gte: new Uint8Array(0), lt: Uint8Array.of(0xff) }

async function count(store: Storage): Promise<number> {
  let entries = 0
  for await (const page of store.scan(all)) entries += page.length
  return entries
}

async function filled(path: string, entries: number, valueBytes?: number): Promise<void> {
  const store = await open(path)
  await store.commit({ put: Array.from({ length: entries }, (_, i) => entry(`k${i}`, valueBytes)) })
  await store[Symbol.asyncDispose]()
}

describe('opening', () => {
  test('creates its folder for this user only, but not the folder above', async () => {
    const path = join(root, 'new')
    await (await open(path))[Symbol.asyncDispose]()
    expect((await stat(path)).mode & 0o777).toBe(0o700)
    for (const file of await readdir(path)) expect((await stat(join(path, file))).mode & 0o777).toBe(0o600)
    await expect(open(join(root, 'no', 'such', 'place'))).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('the folder above it does not exist')
    })
  })

  test('refuses a path that is a file, or lies in one', async () => {
    const path = join(root, 'file')
    await writeFile(path, 'text')
    const refused = { code: 'STORAGE_UNAVAILABLE', message: expect.stringContaining('is a file') }
    await expect(open(path)).rejects.toMatchObject(refused)
    await expect(open(join(path, 'below'))).rejects.toMatchObject(refused)
  })

  test('refuses a folder that this user may not write', async () => {
    const path = join(root, 'readonly')
    await mkdir(path)
    await chmod(root, 0o755)
    await chmod(path, 0o555)
    const opener = startModule('./opener.ts', [path])
    await opener.ended
    expect(opener.lines).toEqual([
      expect.stringMatching(/^STORAGE_UNAVAILABLE .*readonly is not writable by this user/)
    ])
  })

  test('refuses a data file that is none, and one that is something else', async () => {
    const garbage = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 7919) & 0xff)
    const contents = { garbage, short: garbage.subarray(0, 100), zeros: new Uint8Array(8192) }
    for (const [name, bytes] of Object.entries(contents)) {
      const path = join(root, name)
      await mkdir(path)
      await writeFile(join(path, 'data.mdb'), bytes)
      await expect(open(path)).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' })
    }
    const path = join(root, 'folder')
    await mkdir(join(path, 'data.mdb'), { recursive: true })
    await expect(open(path)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
  })

  test('takes an empty data file for a new one', async () => {
    const path = join(root, 'empty')
    await mkdir(path)
    await writeFile(join(path, 'data.mdb'), '')
    const store = await open(path)
    expect(await count(store)).toBe(0)
    await store[Symbol.asyncDispose]()
  })

  test('says which option is wrong', async () => {
    const cases: readonly [options: unknown, message: string][] = [
      [undefined, '"path"'],
      [{ path: 3 }, '"path"'],
      [{ path: 'x', mapBytesMax: -1 }, '"mapBytesMax"'],
      [{ path: 'x', maxBytes: 1 }, '"maxBytes"']
    ]
    for (const [options, message] of cases) {
      await expect(resolvePlugin({ plugin: lmdbStorage, options }, 'storage', systemContext())).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(message)
      })
    }
  })
})

describe('a damaged data file', () => {
  test('that lost its end is refused, wherever it was cut', async () => {
    for (const valueBytes of [100, 9000]) {
      const path = join(root, `truncated-${valueBytes}`)
      await filled(path, 500, valueBytes)
      const file = join(path, 'data.mdb')
      const whole = await readFile(file)
      for (const part of [1, 2, 5, whole.length / 8192, whole.length / 4096 - 1]) {
        await writeFile(file, whole.subarray(0, Math.floor(part) * 4096))
        await expect(open(path)).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' })
      }
      await writeFile(file, whole)
      const store = await open(path)
      expect(await count(store)).toBe(500)
      await store[Symbol.asyncDispose]()
    }
  })

  test('that is short because LMDB left off freed pages is whole', async () => {
    for (const valueBytes of [100, 9000]) {
      const path = join(root, `left-off-${valueBytes}`)
      await filled(path, 500, valueBytes)
      const file = await openFile(join(path, 'data.mdb'), 'r+')
      for (const page of [0, 4096]) {
        const { buffer } = await file.read(Buffer.alloc(8), { position: page + 0x90 })
        buffer.writeBigUInt64LE(buffer.readBigUInt64LE() + 50n)
        await file.write(buffer, 0, 8, page + 0x90)
      }
      await file.close()
      const store = await open(path)
      expect(await count(store)).toBe(500)
      await store.commit({ put: [entry('more', 300_000)] })
      expect(await count(store)).toBe(501)
      await store[Symbol.asyncDispose]()
    }
  })

  test('with one flipped bit in a value gives STORAGE_CORRUPT for that value only', async () => {
    const path = join(root, 'flipped')
    await filled(path, 10)
    await flipValue(path, 'k4', 100)
    const store = await open(path)
    const corrupt = { code: 'STORAGE_CORRUPT', message: expect.stringContaining('checksum') }
    await expect(store.get(key('k4'))).rejects.toMatchObject(corrupt)
    await expect(count(store)).rejects.toMatchObject(corrupt)
    await expect(
      store.commit({ expect: [{ key: key('k4'), value: entry('k4').value }], put: [entry('no')] })
    ).rejects.toMatchObject(corrupt)
    expect(await store.get(key('k5'))).toEqual(entry('k5').value)
    await store.commit({ put: [entry('k4')] })
    expect(await count(store)).toBe(10)
    await store[Symbol.asyncDispose]()
  })
})

/** Flips a bit of the stored value that follows a key in the file. */
async function flipValue(path: string, name: string, valueBytes: number): Promise<void> {
  const file = await openFile(join(path, 'data.mdb'), 'r+')
  const { buffer } = await file.read({ buffer: new Uint8Array((await file.stat()).size), position: 0 })
  const stored = Buffer.concat([key(name), new Uint8Array(valueBytes).fill(7)])
  const position = Buffer.from(buffer).indexOf(stored)
  expect(position).toBeGreaterThan(0)
  await file.write(Uint8Array.of(7 ^ 0x10), 0, 1, position + name.length + 50)
  await file.close()
}

describe('a store that is full', () => {
  test('refuses puts past mapBytesMax, keeps what it has, and takes puts again after deletions', async () => {
    const store = await open(join(root, 'bounded'), { mapBytesMax: 1_000_000 })
    const refused = { code: 'STORAGE_UNAVAILABLE', message: expect.stringContaining('1000000 bytes') }
    let stored = 0
    const fill = async () => {
      for (; stored < 1000; stored++) await store.commit({ put: [entry(`k${stored}`, 10_000)] })
    }
    await expect(fill()).rejects.toMatchObject(refused)
    expect(stored).toBeGreaterThan(60)
    await expect(store.commit({ put: [entry('huge', 2_000_000)] })).rejects.toMatchObject(refused)
    expect(await count(store)).toBe(stored)
    await store.commit({ delRange: [all] })
    await store.commit({ put: [entry('again', 10_000)] })
    expect(await count(store)).toBe(1)
    await store[Symbol.asyncDispose]()
  })

  test('on a full disk fails the commit, changes nothing, and goes on when there is room', async () => {
    const path = join(root, 'full')
    // A bound on file size fails writes as a full disk does; the signal that comes with it is ignored.
    const filler = startModule('./filler.ts', [path], "trap '' XFSZ; ulimit -f 4000;")
    await filler.ended
    expect(filler.lines).toEqual([
      expect.stringMatching(/^STORAGE_UNAVAILABLE .*full cannot be written .*check free space/),
      'last 20000 refused undefined',
      'after deleting 10'
    ])
  }, 60_000)
})

describe('commits that go together', () => {
  test('are one transaction, in order', async () => {
    const path = join(root, 'group')
    const store = await open(path)
    const before = await transactions(path)
    const calls = Array.from({ length: 2000 }, (_, i) =>
      store.commit({ put: [entry(`k${i}`)], del: [key(`k${i - 1}`)] })
    )
    await Promise.all(calls)
    expect(await count(store)).toBe(1)
    await store[Symbol.asyncDispose]()
    expect((await transactions(path)) - before).toBeLessThanOrEqual(3)
  })

  test('fail alone when one of them breaks half-way, which leaves no trace', async () => {
    const store = await open(join(root, 'breaks'))
    let reads = 0
    const breaking: Entry = {
      key: key('m'),
      get value() {
        reads += 1
        if (reads > 2) throw new RangeError('the value is gone')
        return new Uint8Array(5)
      }
    }
    const batches: Batch[] = [
      { put: [entry('a')] },
      { put: [entry('b'), breaking], delRange: [all] },
      { put: [entry('c')] }
    ]
    const outcomes = await Promise.allSettled(batches.map((batch) => store.commit(batch)))
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(outcomes[1]).toMatchObject({ reason: { code: 'STORAGE_UNAVAILABLE' } })
    const left = await Promise.all(['a', 'b', 'c', 'm'].map((text) => store.get(key(text))))
    expect(left.map((value) => value?.length)).toEqual([100, undefined, 100, undefined])
    await store[Symbol.asyncDispose]()
  })
})

/** Number of the last transaction, from the newer meta page of the data file (liblmdb mdb.c, MDB_meta.mm_txnid). */
async function transactions(path: string): Promise<number> {
  const file = await openFile(join(path, 'data.mdb'), 'r')
  const { buffer } = await file.read({ buffer: Buffer.alloc(65_536 + 0xa0), position: 0 })
  await file.close()
  return Math.max(...[0, buffer.readUInt32LE(0x30)].map((page) => Number(buffer.readBigUInt64LE(page + 0x98))))
}
