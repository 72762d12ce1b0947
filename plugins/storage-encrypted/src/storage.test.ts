/** What lies on the disk, what a wrong key meets, and what becomes of values that somebody else changed. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BoundPlugin, HeddleError, resolvePlugin, type Storage, systemContext } from '@heddle/core'
import { lmdbStorage } from '@heddle/storage-lmdb'
import { MemoryDisk, memoryStorage } from '@heddle/storage-memory'
import { afterAll, describe, expect, test } from 'vitest'
import { type EncryptedStorageOptions, encrypted } from './index.js'
import { innerKey } from './key-check.js'
import { OVERHEAD_BYTES } from './sealer.js'

const root = await mkdtemp(join(tmpdir(), 'heddle-encrypted-'))
afterAll(() => rm(root, { recursive: true }))

const secret = Uint8Array.from({ length: 32 }, (_, i) => i + 1)
const other = new Uint8Array(32).fill(9)
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const entry = (key: string, value = key) => ({ key: bytes(key), value: bytes(value) })

const start = async (ref: BoundPlugin<'storage'>): Promise<Storage> =>
  (await resolvePlugin(ref, 'storage', systemContext())).instance
const open = (inner: BoundPlugin<'storage'>, key = secret) => start(encrypted(inner, { key }))

/** An encrypted storage, and the one below it that somebody with access to the disk would see. */
async function pair() {
  const shared = new MemoryDisk()
  const store = await open(memoryStorage({ shared }))
  return { store, shared }
}

describe('on the disk', () => {
  test('no value is to be found, however often it is written', async () => {
    const path = join(root, 'grep')
    const store = await open(lmdbStorage({ path }))
    const text = 'Alice was beginning to get very tired of sitting by her sister on the bank'
    for (let i = 0; i < 20; i++) await store.commit({ put: [entry(`visible key ${i % 5}`, text.repeat(1 + i))] })
    expect(await store.get(bytes('visible key 4'))).toEqual(bytes(text.repeat(20)))
    await store[Symbol.asyncDispose]()
    const names = await readdir(path)
    const files = Buffer.concat(await Promise.all(names.map((name) => readFile(join(path, name)))))
    for (const part of [text, 'Alice', 'sister on', 'heddle encrypted storage'])
      expect(files.includes(part)).toBe(false)
    expect(files.includes(Buffer.from(secret))).toBe(false)
    // The README says so: keys are there for everybody to see.
    expect(files.includes('visible key 4')).toBe(true)
  })

  test('equal values look different, and are longer by the same', async () => {
    const { store, shared } = await pair()
    await store.commit({ put: [entry('a', 'same'), entry('b', 'same')] })
    const first = shared.get(innerKey(bytes('a')))
    await store.commit({ put: [entry('a', 'same')] })
    const second = shared.get(innerKey(bytes('a')))
    const beside = shared.get(innerKey(bytes('b')))
    for (const sealed of [first, second, beside]) expect(sealed?.length).toBe(4 + OVERHEAD_BYTES)
    expect(new Set([first, second, beside].map((sealed) => String(sealed))).size).toBe(3)
  })
})

describe('a key', () => {
  test('that is not the right one is refused, and the right one still works', async () => {
    const inner = lmdbStorage({ path: join(root, 'wrong') })
    const store = await open(inner)
    await store.commit({ put: [entry('a')] })
    await store[Symbol.asyncDispose]()
    await expect(open(inner, other)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('not the one this storage was encrypted with')
    })
    const again = await open(inner)
    expect(await again.get(bytes('a'))).toEqual(bytes('a'))
    await again[Symbol.asyncDispose]()
  })

  test('is the same for all that begin at once', async () => {
    const checkKey = Uint8Array.of(0)
    for (const [theirs, outcome] of [
      [secret, 'fulfilled'],
      [other, 'rejected']
    ] as const) {
      const elsewhere = new MemoryDisk()
      await open(memoryStorage({ shared: elsewhere }), theirs)
      const record = elsewhere.get(checkKey) ?? new Uint8Array(0)
      const shared = new MemoryDisk()
      // Another process puts its check record between our looking for one and our putting one.
      const inner = memoryStorage({ shared, onCommit: () => shared.apply({ put: [{ key: checkKey, value: record }] }) })
      const [opened] = await Promise.allSettled([open(inner)])
      expect(opened?.status).toBe(outcome)
      if (opened?.status === 'rejected') expect(opened.reason).toMatchObject({ code: 'CONFIG_INVALID' })
      expect(shared.get(checkKey)).toEqual(record)
    }
  })

  test('may be overwritten by the app once the storage is open', async () => {
    const shared = new MemoryDisk()
    const key = secret.slice()
    const store = await open(memoryStorage({ shared }), key)
    key.fill(0)
    await store.commit({ put: [entry('a')] })
    const again = await open(memoryStorage({ shared }))
    expect(await again.get(bytes('a'))).toEqual(bytes('a'))
  })

  test.each<[what: string, options: unknown, message: string]>([
    ['none', {}, '"key" has to be'],
    ['text', { key: 'secret' }, '"key" has to be'],
    ['too short', { key: new Uint8Array(16) }, '32 bytes'],
    ['zeros', { key: new Uint8Array(32) }, 'all zeros'],
    ['an unknown option', { key: secret, cipher: 'aes' }, '"cipher"']
  ])('%s is refused', async (_, options, message) => {
    const ref = encrypted(memoryStorage(), options as EncryptedStorageOptions)
    await expect(start(ref)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(message)
    })
  })
})

describe('what it wraps', () => {
  test('is a storage plugin called with its options', () => {
    for (const wrong of [undefined, '@heddle/storage-lmdb', memoryStorage, {}]) {
      const call = () => encrypted(wrong as unknown as BoundPlugin<'storage'>, { key: secret })
      expect(call).toThrowError(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    }
  })

  test('decides what it supports, and its options are checked', async () => {
    const { supports } = memoryStorage.manifest
    expect(encrypted(memoryStorage(), { key: secret }).plugin.manifest).toMatchObject({
      supports: { ...supports, keyBytesMax: supports.keyBytesMax - 1, valueBytesMax: supports.valueBytesMax - 41 },
      runtimes: memoryStorage.manifest.runtimes
    })
    const overLmdb = encrypted(lmdbStorage({ path: 'x' }), { key: secret }).plugin.manifest
    expect(overLmdb).toMatchObject({ supports: { durable: true, multiProcess: true }, runtimes: ['node'] })
    await expect(open(lmdbStorage({ path: '' }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('"path"')
    })
  })

  test('may not hold anything that is not encrypted, and is closed again when it does', async () => {
    const inner = lmdbStorage({ path: join(root, 'plain') })
    const plain = await start(inner)
    await plain.commit({ put: [entry('a')] })
    await expect(open(inner)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('not encrypted')
    })
    expect(await plain.get(bytes('a'))).toEqual(bytes('a'))
    await plain[Symbol.asyncDispose]()

    const shared = new MemoryDisk()
    shared.apply({ put: [entry('a')] })
    const { plugin, options } = memoryStorage({ shared })
    const opened: Storage[] = []
    const create: typeof plugin.create = async (...args) => {
      const instance = await plugin.create(...args)
      opened.push(instance)
      return instance
    }
    await expect(open({ plugin: { ...plugin, create }, options })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await expect(opened[0]?.get(bytes('a'))).rejects.toMatchObject({ code: 'STORAGE_CLOSED' })
  })
})

describe('a value that somebody changed', () => {
  test('in any of its bytes gives STORAGE_CORRUPT, for that value only', async () => {
    const { store, shared } = await pair()
    await store.commit({ put: [entry('a', 'value'), entry('b')] })
    const key = innerKey(bytes('a'))
    const sealed = shared.get(key) ?? new Uint8Array(0)
    const changed = [...sealed.keys()].map((i) => sealed.with(i, (sealed[i] ?? 0) ^ 1))
    for (const value of [...changed, sealed.subarray(1), sealed.subarray(0, 40), new Uint8Array(0)]) {
      shared.apply({ put: [{ key, value }] })
      await expect(store.get(bytes('a'))).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' })
    }
    const scan = store.scan({ gte: bytes('a'), lt: bytes('c') })[Symbol.asyncIterator]()
    await expect(scan.next()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' })
    const batches = [
      { expect: [entry('a', 'value')], put: [entry('c')] },
      { expect: [entry('b')], put: [entry('d')] }
    ]
    const outcomes = await Promise.allSettled(batches.map((batch) => store.commit(batch)))
    expect(outcomes).toMatchObject([{ reason: { code: 'STORAGE_CORRUPT' } }, { status: 'fulfilled' }])
    expect(await store.get(bytes('c'))).toBeUndefined()
    await store.commit({ put: [entry('a', 'new')] })
    expect(await store.get(bytes('a'))).toEqual(bytes('new'))
  })

  test('for another stored value gives STORAGE_CORRUPT', async () => {
    const { store, shared } = await pair()
    await store.commit({ put: [entry('a', 'value of a'), entry('b', 'value of b')] })
    const value = shared.get(innerKey(bytes('b'))) ?? new Uint8Array(0)
    shared.apply({ put: [{ key: innerKey(bytes('a')), value }] })
    await expect(store.get(bytes('a'))).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' })
    expect(await store.get(bytes('b'))).toEqual(bytes('value of b'))
  })

  test('in the check record keeps the storage from being opened', async () => {
    const { shared } = await pair()
    const key = Uint8Array.of(0)
    const record = shared.get(key) ?? new Uint8Array(0)
    shared.apply({ put: [{ key, value: record.with(50, (record[50] ?? 0) ^ 1) }] })
    await expect(open(memoryStorage({ shared }))).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    shared.apply({ put: [{ key, value: record.subarray(1) }] })
    await expect(open(memoryStorage({ shared }))).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' })
  })
})

describe('compare and set', () => {
  test('loses nothing among several users, though each seals differently', async () => {
    const inner = lmdbStorage({ path: join(root, 'counter') })
    const stores = [await open(inner), await open(inner), await open(inner)]
    const key = bytes('counter')
    let conflicts = 0
    const increment = async (store: Storage): Promise<void> => {
      for (;;) {
        const value = await store.get(key)
        try {
          await store.commit({ expect: [{ key, value }], put: [{ key, value: Uint8Array.of((value?.[0] ?? 0) + 1) }] })
          return
        } catch (error) {
          if (!HeddleError.is(error, 'STORAGE_CONFLICT')) throw error
          conflicts += 1
        }
      }
    }
    await Promise.all(stores.flatMap((store) => Array.from({ length: 20 }, () => increment(store))))
    expect(await stores[0]?.get(key)).toEqual(Uint8Array.of(60))
    expect(conflicts).toBeGreaterThan(0)
    for (const store of stores) await store[Symbol.asyncDispose]()
  })

  test('does not fail when the same value was only written anew', async () => {
    const shared = new MemoryDisk()
    let store: Storage | undefined
    let rewrites = 0
    const inner = memoryStorage({
      shared,
      async onCommit({ expect: expected }) {
        const found = expected?.find(({ key }) => key.length > 1)
        if (found?.value === undefined || rewrites >= 3) return
        rewrites += 1
        // As another process would that puts what is there already: the bytes below differ, the value does not.
        const value = await store?.get(bytes('a'))
        const twin = await twinOf(shared, value ?? new Uint8Array(0))
        shared.apply({ put: [{ key: found.key, value: twin }] })
      }
    })
    store = await open(inner)
    await store.commit({ put: [entry('a')] })
    await store.commit({ expect: [entry('a')], put: [entry('b')] })
    expect(rewrites).toBe(3)
    expect(await store.get(bytes('b'))).toEqual(bytes('b'))
  })
})

describe('commits that go together', () => {
  test('fail alone when the storage below refuses one of them', async () => {
    const full = new HeddleError('STORAGE_UNAVAILABLE', 'full')
    const store = await open(
      memoryStorage({
        onCommit({ put }) {
          if (put?.some(({ key }) => key[1] === 'b'.charCodeAt(0))) throw full
        }
      })
    )
    const outcomes = await Promise.allSettled(['a', 'b', 'c'].map((text) => store.commit({ put: [entry(text)] })))
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(outcomes[1]).toMatchObject({ reason: full })
    expect(await store.get(bytes('b'))).toBeUndefined()
  })

  test('are not tried again when they may be there already', async () => {
    const unsure = new HeddleError('STORAGE_UNAVAILABLE', 'lost', { info: { mayHaveCommitted: true } })
    const shared = new MemoryDisk()
    let commits = 0
    const inner = memoryStorage({
      shared,
      onCommit(batch) {
        commits += 1
        if (commits === 1) return
        // It took effect, and the answer was lost.
        shared.apply(batch)
        throw unsure
      }
    })
    const store = await open(inner)
    const calls = ['a', 'b'].map((text) =>
      store.commit({ expect: [{ key: bytes(text), value: undefined }], put: [entry(text)] })
    )
    for (const outcome of await Promise.allSettled(calls)) expect(outcome).toMatchObject({ reason: unsure })
    expect(commits).toBe(2)
    expect(await store.get(bytes('b'))).toEqual(bytes('b'))
  })
})

/** The value of "a" sealed once more. */
async function twinOf(shared: MemoryDisk, value: Uint8Array): Promise<Uint8Array> {
  const copy = new MemoryDisk()
  const record = shared.get(Uint8Array.of(0))
  if (record !== undefined) copy.apply({ put: [{ key: Uint8Array.of(0), value: record }] })
  const store = await open(memoryStorage({ shared: copy }))
  await store.commit({ put: [{ key: bytes('a'), value }] })
  return copy.get(innerKey(bytes('a'))) ?? new Uint8Array(0)
}
