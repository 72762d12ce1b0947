/** What the memory storage has beyond the contract: its disk, its hook, and what it costs. */
import { HeddleError, resolvePlugin, type Storage, systemContext } from '@heddle/core'
import { afterEach, describe, expect, test, vi } from 'vitest'
import memoryStorage, { MemoryDisk, type MemoryStorageOptions } from './index.js'
import { SortedMap } from './sorted-map.js'

const open = (options: MemoryStorageOptions = {}): Promise<Storage> => memoryStorage.create(options, systemContext())
const key = (text: string): Uint8Array => new TextEncoder().encode(text)
const entry = (text: string) => ({ key: key(text), value: key(text) })

describe('a disk that several storages use in turn', () => {
  test('keeps what was committed when its storage is left without closing', async () => {
    const shared = new MemoryDisk()
    const before = await open({ shared })
    await before.commit({ put: [entry('a')] })
    const after = await open({ shared })
    expect(await after.get(key('a'))).toEqual(key('a'))
  })

  test('is taken from the storage before, with the commits not yet done', async () => {
    const shared = new MemoryDisk()
    const before = await open({ shared })
    const pending = before.commit({ put: [entry('a')] })
    const after = await open({ shared })
    const closed = { code: 'STORAGE_CLOSED' }
    await expect(pending).rejects.toMatchObject(closed)
    await expect(before.get(key('a'))).rejects.toMatchObject(closed)
    await expect(before.commit({ put: [entry('b')] })).rejects.toMatchObject(closed)
    expect(await after.get(key('a'))).toBeUndefined()
    await before[Symbol.asyncDispose]()
    await after.commit({ put: [entry('c')] })
  })
})

describe('the hook', () => {
  test('makes a commit fail, which changes nothing and stops no other', async () => {
    const full = new HeddleError('STORAGE_UNAVAILABLE', 'full')
    let calls = 0
    const store = await open({
      onCommit() {
        calls += 1
        if (calls === 2) throw full
      }
    })
    const outcomes = await Promise.allSettled(['a', 'b', 'c'].map((text) => store.commit({ put: [entry(text)] })))
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(outcomes[1]).toMatchObject({ reason: full })
    expect(await store.get(key('b'))).toBeUndefined()
    expect(await store.get(key('c'))).toEqual(key('c'))
  })

  test('delays a commit and those after it, in order', async () => {
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const store = await open({ onCommit: ({ del }) => (del === undefined ? undefined : held) })
    const calls = [
      store.commit({ put: [entry('a')] }),
      store.commit({ del: [key('a')] }),
      store.commit({ put: [entry('b')] })
    ]
    await calls[0]
    expect(await store.get(key('a'))).toEqual(key('a'))
    release()
    await Promise.all(calls)
    expect(await store.get(key('a'))).toBeUndefined()
    expect(await store.get(key('b'))).toEqual(key('b'))
  })
})

describe('time', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  test('is not needed: everything settles without a timer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] })
    const store = await open()
    const calls = Array.from({ length: 10 }, (_, i) => store.commit({ put: [entry(`k${i}`)] }))
    await Promise.all(calls)
    let entries = 0
    for await (const page of store.scan({ gte: key('k'), lt: key('l') })) entries += page.length
    await store[Symbol.asyncDispose]()
    expect(entries).toBe(10)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('cost', () => {
  const numberKey = (number: number): Uint8Array => {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, number)
    return bytes
  }

  /** Processor time for each entry set, microseconds, in an order that spreads over all keys or rises. */
  function costOf(entries: number, isRandom: boolean): number {
    const value = new Uint8Array(1)
    const begin = process.cpuUsage()
    let count = 0
    let used = 0
    // Where the system counts in ticks, less than some of them says nothing.
    do {
      const map = new SortedMap()
      for (let i = 0; i < entries; i++) map.set({ key: numberKey(isRandom ? Math.imul(i, 0x9e3779b1) : i), value })
      count += entries
      const { user, system } = process.cpuUsage(begin)
      used = user + system
    } while (used < 50_000)
    return used / count
  }

  test('of an entry hardly grows with the number of entries', () => {
    costOf(20_000, true)
    for (const isRandom of [true, false]) {
      const few = costOf(3000, isRandom)
      // Thirty times as many: a sorted array would cost about thirty times as much for each.
      expect(costOf(90_000, isRandom) / few).toBeLessThan(12)
    }
  })
})

test('says which option is wrong', async () => {
  for (const [options, message] of [
    [{ shared: {} }, '"shared"'],
    [{ onCommit: 1 }, '"onCommit"'],
    [{ path: '.' }, '"path"']
  ] as const) {
    await expect(resolvePlugin({ plugin: memoryStorage, options }, 'storage', systemContext())).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(message)
    })
  }
})
