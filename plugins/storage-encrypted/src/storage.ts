/**
 * The storage over another: seals what goes down, unseals what comes up. Expectations are about plain values and the
 * same value is sealed differently each time, so a batch that expects is judged here on what was just read, and goes down
 * expecting those very ciphertexts: whoever comes in between makes it fail, and it is judged again. Commits called while
 * one is under way go together into the next, each atomic for itself and in the order of the calls (SPEC PLUGIN-005).
 */
import {
  type Batch,
  checkBatch,
  checkKey,
  type Entry,
  HeddleError,
  type KeyRange,
  type Manifest,
  mergeBatches,
  type MergedBatches,
  type ScanRange,
  type Storage,
  toHex
} from '@heddle/core'
import { innerKey, outerKey } from './key-check.js'
import type { Sealer } from './sealer.js'

/** What goes down as one batch; a larger one goes alone. */
const GROUP_BYTES_MAX = 16 * 1024 * 1024
const GROUP_BATCHES_MAX = 4096
/** How often other processes may come in between; each time, one of them got on. */
const ATTEMPTS_MAX = 1000

interface Job {
  readonly batch: Batch
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class EncryptedStorage implements Storage {
  /** There when the wrapped storage has one: called for whatever lies under the prefix. */
  readonly watch?: NonNullable<Storage['watch']>
  readonly #inner: Storage
  readonly #sealer: Sealer
  readonly #manifest: Manifest<'storage'>
  readonly #waiting: Job[] = []
  #writing: Promise<void> | undefined
  #closed: Promise<void> | undefined

  /** Owns the inner storage: disposing of this one disposes of it. */
  constructor(inner: Storage, sealer: Sealer, manifest: Manifest<'storage'>) {
    this.#inner = inner
    this.#sealer = sealer
    this.#manifest = manifest
    if (inner.watch !== undefined) {
      this.watch = (prefix, callback) => {
        this.#checkOpen()
        return inner.watch?.(innerKey(prefix), callback) ?? { [Symbol.dispose]: () => {} }
      }
    }
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#checkOpen()
    checkKey(key, this.#manifest)
    const stored = innerKey(key)
    const sealed = await this.#inner.get(stored)
    return sealed && this.#sealer.unseal(stored, sealed)
  }

  async *scan(range: ScanRange, signal?: AbortSignal): AsyncGenerator<readonly Entry[]> {
    this.#checkOpen()
    for await (const page of this.#inner.scan({ ...range, ...innerRange(range) }, signal)) {
      yield page.map(({ key, value }) => ({ key: outerKey(key), value: this.#sealer.unseal(key, value) }))
    }
  }

  async commit(batch: Batch): Promise<void> {
    this.#checkOpen()
    checkBatch(batch, this.#manifest)
    const bytes = (batch.put ?? []).reduce((sum, { key, value }) => sum + key.length + value.length, 0)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, bytes, resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#writing
    await this.#inner[Symbol.asyncDispose]()
  }

  async #writeAll(): Promise<void> {
    // Calls of the same turn go together.
    await undefined
    while (this.#waiting.length > 0) await this.#writeGroup(this.#takeGroup())
    this.#writing = undefined
  }

  async #writeGroup(group: readonly Job[]): Promise<void> {
    let refusals: MergedBatches['refusals']
    try {
      refusals = await this.#commitGroup(group.map(({ batch }) => batch))
    } catch (error) {
      // Alone, only the one that is at fault fails; but not when the group may be there already.
      const isOver = HeddleError.is(error) && error.info.mayHaveCommitted === true
      if (group.length > 1 && !isOver) for (const job of group) await this.#writeGroup([job])
      else for (const { reject } of group) reject(error)
      return
    }
    group.forEach(({ resolve, reject }, i) => {
      const refusal = refusals[i]
      if (refusal === undefined) resolve()
      else reject(refusal)
    })
  }

  async #commitGroup(batches: readonly Batch[]): Promise<MergedBatches['refusals']> {
    for (let attempt = 1; ; attempt++) {
      const sealed = await this.#expected(batches)
      const merged = mergeBatches(batches, (key) => {
        const found = sealed.get(toHex(key))
        return found?.value && this.#sealer.unseal(found.key, found.value)
      })
      if (merged.refusals.every((refusal) => refusal !== undefined)) return merged.refusals
      try {
        // Also when nothing is put: that all expectations hold at one moment, only the storage below can say.
        await this.#inner.commit({
          expect: [...sealed.values()],
          delRange: merged.delRange.map(innerRange),
          del: merged.del.map(innerKey),
          put: merged.put.map(({ key, value }) => this.#sealedEntry(key, value))
        })
        return merged.refusals
      } catch (error) {
        if (!HeddleError.is(error, 'STORAGE_CONFLICT') || attempt >= ATTEMPTS_MAX) throw error
      }
    }
  }

  /** What is stored now under every key that is expected, by hexadecimal key. */
  async #expected(batches: readonly Batch[]) {
    const keys = new Map<string, Uint8Array>()
    for (const { expect } of batches) for (const { key } of expect ?? []) keys.set(toHex(key), innerKey(key))
    const found = [...keys].map(async ([text, key]) => [text, { key, value: await this.#inner.get(key) }] as const)
    return new Map(await Promise.all(found))
  }

  #sealedEntry(key: Uint8Array, value: Uint8Array): Entry {
    const stored = innerKey(key)
    return { key: stored, value: this.#sealer.seal(stored, value) }
  }

  #takeGroup(): Job[] {
    let count = 1
    let bytes = this.#waiting[0]?.bytes ?? 0
    while (count < Math.min(this.#waiting.length, GROUP_BATCHES_MAX)) {
      bytes += this.#waiting[count]?.bytes ?? 0
      if (bytes > GROUP_BYTES_MAX) break
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  #checkOpen(): void {
    if (this.#closed === undefined) return
    throw new HeddleError('STORAGE_CLOSED', 'the encrypted storage was used after it was closed')
  }
}

const innerRange = ({ gte, lt }: KeyRange): KeyRange => ({ gte: innerKey(gte), lt: innerKey(lt) })
