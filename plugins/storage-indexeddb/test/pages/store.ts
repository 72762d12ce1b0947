/** The page with one storage of which tests of durability, tabs and failures make use. */
import { HeddleError, type Storage, systemContext } from '@heddle/core'
import indexedDbStorage from '@heddle/storage-indexeddb'
import { batchOf, readBatches } from '../support/batches.js'

/** Commits at the same time: each transaction then holds several batches. */
const CONCURRENT = 8
const counter = new TextEncoder().encode('counter')
const logged: string[] = []
let store: Storage | undefined
let closes = 0
const { close } = IDBDatabase.prototype
IDBDatabase.prototype.close = function (this: IDBDatabase) {
  closes += 1
  close.apply(this)
}
let notices = 0

/** Set by the test, in Node. */
declare global {
  function acknowledged(number: number): Promise<void>
}

function opened(): Storage {
  if (store === undefined) throw new Error('the page has not opened its storage')
  return store
}

const remote = {
  async open(name: string): Promise<void> {
    const context = systemContext({ log: (level, event) => logged.push(`${level} ${event}`) })
    store = await indexedDbStorage.create({ name }, context)
  },
  close: () => opened()[Symbol.asyncDispose](),
  logged: () => logged,

  /** Commits numbered batches for ever, and tells of each once it is acknowledged. */
  write(from: number): void {
    let next = from
    const write = async () => {
      for (;;) {
        const number = next++
        await opened().commit(batchOf(number))
        await globalThis.acknowledged(number)
      }
    }
    for (let i = 0; i < CONCURRENT; i++) void write()
  },
  readBatches: () => readBatches(opened()),

  watch(): void {
    opened().watch?.(new Uint8Array(0), () => {
      notices += 1
    })
  },
  notices: () => notices,
  /** One batch that changes nothing, and one that is refused; returns its code. */
  async changeNothing(): Promise<string> {
    await opened().commit({ expect: [{ key: Uint8Array.of(9), value: undefined }] })
    const refused = opened().commit({ expect: [{ key: Uint8Array.of(9), value: counter }], del: [counter] })
    return refused.then(
      () => 'done',
      (error: unknown) => (HeddleError.is(error) ? error.code : String(error))
    )
  },
  /** What the transactions that write were opened with, during two commits at once and one after. */
  async durabilities(): Promise<readonly string[]> {
    const seen: string[] = []
    const { transaction } = IDBDatabase.prototype
    IDBDatabase.prototype.transaction = function (this: IDBDatabase, ...args) {
      const begun = transaction.apply(this, args)
      if (begun.mode === 'readwrite') seen.push(begun.durability)
      return begun
    }
    await remote.put([1, 2])
    await remote.put([3])
    IDBDatabase.prototype.transaction = transaction
    return seen
  },

  /** Counts up by compare-and-set; returns how many conflicts there were. */
  async count(times: number): Promise<number> {
    let conflicts = 0
    for (let done = 0; done < times; ) {
      const value = await opened().get(counter)
      const next = Uint8Array.of((value?.[0] ?? 0) + 1)
      try {
        await opened().commit({ expect: [{ key: counter, value }], put: [{ key: counter, value: next }] })
        done += 1
      } catch (error) {
        if (!HeddleError.is(error, 'STORAGE_CONFLICT')) throw error
        conflicts += 1
      }
    }
    return conflicts
  },
  counted: async () => (await opened().get(counter))?.[0],

  /** Puts values of this many random bytes (browsers compress) at once, each in a commit of its own; says how each ended. */
  async put(sizes: readonly number[]): Promise<readonly string[]> {
    const outcomes = await Promise.allSettled(
      sizes.map((size, i) => opened().commit({ put: [{ key: Uint8Array.of(i), value: systemContext().random(size) }] }))
    )
    return outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'done' : said(outcome.reason)))
  },
  /** As `put`, while the browser refuses to overwrite anything. */
  async putOnce(sizes: readonly number[]): Promise<readonly string[]> {
    const { put, add } = IDBObjectStore.prototype
    IDBObjectStore.prototype.put = add
    try {
      return await remote.put(sizes)
    } finally {
      IDBObjectStore.prototype.put = put
    }
  },
  /** Reads until that fails. */
  async read(): Promise<never> {
    for (;;) await Promise.all(Array.from({ length: 20 }, () => opened().get(counter)))
  },
  /** Bytes of the values in each page of a scan. */
  async pages(reverse: boolean): Promise<readonly number[]> {
    const pages: number[] = []
    for await (const page of opened().scan({ gte: new Uint8Array(0), lt: Uint8Array.of(0xff), reverse })) {
      pages.push(page.reduce((sum, { value }) => sum + value.length, 0))
    }
    return pages
  },
  /** How many connections were closed in this page. */
  closes: () => closes,
  /** Bytes of the value that `put` left at an index. */
  size: async (index: number) => (await opened().get(Uint8Array.of(index)))?.length,

  /** What another app, or a later version, would do to the database. */
  async openAs(name: string, version: number, objectStore: string): Promise<void> {
    const request = indexedDB.open(name, version)
    request.onupgradeneeded = () => void request.result.createObjectStore(objectStore)
    await new Promise((resolve, reject) => {
      request.onsuccess = resolve
      request.onerror = () => reject(request.error)
    })
    request.result.close()
  },
  async remove(name: string): Promise<void> {
    const request = indexedDB.deleteDatabase(name)
    await new Promise((resolve, reject) => {
      request.onsuccess = resolve
      request.onerror = () => reject(request.error)
    })
  },
  /** Opens the database in an older version and does not let go, as an app with a fault would. */
  async hold(name: string): Promise<void> {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => void request.result.createObjectStore('entries')
    await new Promise((resolve) => {
      request.onsuccess = resolve
    })
    // A deletion that is kept waiting keeps every later opening waiting.
    indexedDB.deleteDatabase(name)
  },
  /** Puts what is no bytes under the key 1. */
  async spoil(name: string): Promise<void> {
    const request = indexedDB.open(name)
    await new Promise((resolve) => {
      request.onsuccess = resolve
    })
    const transaction = request.result.transaction('entries', 'readwrite')
    transaction.objectStore('entries').put('no bytes', Uint8Array.of(1))
    await new Promise((resolve) => {
      transaction.oncomplete = resolve
    })
    request.result.close()
  }
}
export type StorePage = typeof remote
Object.assign(globalThis, { remote })

const said = (error: unknown): string => (HeddleError.is(error) ? `${error.code}: ${error.message}` : String(error))
