/**
 * The one way to storage: a FIFO of batches of all documents. While a commit is under way the next batches gather, and go
 * together in one (group commit). Whatever a server says waits until the last batch before it of the same document is
 * durable, so that nothing is acknowledged that a crash can undo (SPEC SRV).
 */
import { HeddleError } from '../errors.js'
import type { Batch, Entry, KeyRange, Storage } from '../plugin/index.js'

const roundBytesMax = 16 * 1024 * 1024
const roundPutsMax = 8_192

interface Write {
  readonly batch: Batch
  readonly bytes: number
  readonly onDurable: (() => void) | undefined
  readonly resolve: () => void
  readonly reject: (error: HeddleError) => void
}

export class Writer {
  /** Resolves when storage has failed; every write from then on is refused with that error. */
  readonly failed: Promise<HeddleError>
  readonly #storage: Storage
  readonly #fence: Entry
  readonly #queue: Write[] = []
  #queuedBytes = 0
  #isRunning = false
  #running: Promise<void> = Promise.resolve()
  #end: HeddleError | undefined
  #resolveFailed: (error: HeddleError) => void = () => {}

  /** `fence` is expected by every batch: another owner of the storage makes the next one fail. */
  constructor(storage: Storage, fence: Entry) {
    this.#storage = storage
    this.#fence = fence
    this.failed = new Promise((resolve) => {
      this.#resolveFailed = resolve
    })
  }

  /** Bytes that wait for storage. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /**
   * Resolves once the batch, and all that was written before, is durable. When several become durable together, first
   * every `onDurable` runs, in order, then the promises resolve, in order.
   * `onDurable` must not throw. Rejects when storage has failed or the writer was closed. Owns the batch's bytes.
   */
  write(batch: Batch, onDurable?: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end)
      const bytes = (batch.put ?? []).reduce((sum, { key, value }) => sum + key.length + value.length, 0)
      this.#queue.push({ batch, bytes, onDurable, resolve, reject })
      this.#queuedBytes += bytes
      if (!this.#isRunning) this.#running = this.#run()
    })
  }

  /** Takes no more and waits for what was written. */
  async close(): Promise<void> {
    this.#end ??= new HeddleError('GOING_AWAY', 'the server is shutting down')
    await this.#running
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    let round: readonly Write[] = []
    try {
      for (round = this.#takeRound(); round.length > 0; round = this.#takeRound()) {
        await this.#storage.commit({ ...merged(round), expect: [this.#fence] })
        for (const write of round) {
          this.#queuedBytes -= write.bytes
          write.onDurable?.()
        }
        for (const write of round) write.resolve()
      }
    } catch (cause) {
      this.#fail(cause, round)
    } finally {
      this.#isRunning = false
    }
  }

  /**
   * What goes together in one commit. A batch deletes before it puts, so one that deletes can only be the first of its
   * round: a later one would delete before what an earlier one puts.
   */
  #takeRound(): readonly Write[] {
    let bytes = 0
    let puts = 0
    let count = 0
    for (const write of this.#queue) {
      if (count > 0 && (deletes(write.batch) || bytes > roundBytesMax || puts > roundPutsMax)) break
      bytes += write.bytes
      puts += write.batch.put?.length ?? 0
      count++
    }
    return this.#queue.splice(0, count)
  }

  #fail(cause: unknown, round: readonly Write[]): void {
    const error = fatalError(cause)
    this.#end = error
    this.#resolveFailed(error)
    for (const write of [...round, ...this.#queue.splice(0)]) write.reject(error)
  }
}

const deletes = (batch: Batch): boolean => (batch.del?.length ?? 0) + (batch.delRange?.length ?? 0) > 0

function merged(round: readonly Write[]): Required<Omit<Batch, 'expect'>> {
  const put: Entry[] = []
  const del: Uint8Array[] = []
  const delRange: KeyRange[] = []
  for (const { batch } of round) {
    put.push(...(batch.put ?? []))
    del.push(...(batch.del ?? []))
    delRange.push(...(batch.delRange ?? []))
  }
  return { put, del, delRange }
}

function fatalError(cause: unknown): HeddleError {
  if (HeddleError.is(cause, 'STORAGE_CONFLICT'))
    return new HeddleError(
      'STORAGE_CONFLICT',
      'another server process has taken over this storage; this one has stopped. Run one server per storage',
      { cause }
    )
  if (HeddleError.is(cause)) return cause
  return new HeddleError('STORAGE_UNAVAILABLE', 'storage failed; the server has stopped so as not to lose data', {
    cause
  })
}
