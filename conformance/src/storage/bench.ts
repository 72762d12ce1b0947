/** The small tools of the storage checks: a fresh store for each, and reading a range whole. */
import type { Entry, Manifest, ScanRange, Storage } from '@heddle/core'
import { ascii, type Check, hex } from '../check.js'

/** How a suite gets at the storage it tries. */
export interface StorageFactory {
  readonly manifest: Manifest<'storage'>
  /**
   * Opens the store at a place. A place begins empty; opening it again opens the same store as far as the manifest
   * promises one (durable: after it was closed; multiProcess: while it is open).
   */
  open(place: string): Promise<Storage>
}

export type StorageTrial = (store: Storage, factory: StorageFactory, place: string) => Promise<void>

/** A check on a store of its own, which is closed afterwards. */
export function storageCheck(factory: StorageFactory, id: string, title: string, trial: StorageTrial): Check {
  let runs = 0
  return {
    id,
    title,
    async run() {
      const place = `${id}-${runs++}`.toLowerCase()
      const store = await factory.open(place)
      try {
        await trial(store, factory, place)
      } finally {
        await store[Symbol.asyncDispose]()
      }
    }
  }
}

/** Bounds that hold every key of the suite except some of 0xff only. */
export const everything: ScanRange = { gte: new Uint8Array(0), lt: new Uint8Array(40).fill(0xff) }

export async function readAll(store: Storage, range: ScanRange = everything): Promise<Entry[]> {
  const entries: Entry[] = []
  for await (const page of store.scan(range)) entries.push(...page)
  return entries
}

/** The keys of a range as text, in the order of the scan. */
export async function readKeys(store: Storage, range: ScanRange = everything): Promise<string[]> {
  return (await readAll(store, range)).map(({ key }) => new TextDecoder().decode(key))
}

/** The whole store as one comparable value. */
export async function dump(store: Storage): Promise<Record<string, string>> {
  return Object.fromEntries((await readAll(store)).map(({ key, value }) => [hex(key), hex(value)]))
}

export const put = (key: string, value: string | Uint8Array = key): Entry => ({
  key: ascii(key),
  value: typeof value === 'string' ? ascii(value) : value
})

export const range = (gte: string, lt: string, rest: Partial<ScanRange> = {}): ScanRange => ({
  gte: ascii(gte),
  lt: ascii(lt),
  ...rest
})

/** Four bytes, big-endian: keys that sort by number. */
export function numberKey(number: number): Uint8Array {
  const key = new Uint8Array(4)
  new DataView(key.buffer).setUint32(0, number)
  return key
}

export const numberOf = (key: Uint8Array): number => new DataView(key.buffer, key.byteOffset).getUint32(0)
