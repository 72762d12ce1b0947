/**
 * The latest envelopes of a document in memory, and the frames last made of them: what readers who keep up get without a
 * look into storage and without encoding the same frame for each (SPEC SRV). Bounded in bytes.
 */
import type { StoredEnvelope } from './store.js'

/** What an entry costs besides its bytes. */
const entryBytes = 128
const framesMax = 4
const frameBytesMax = 512 * 1024

export class RecentLog {
  readonly #bytesMax: number
  #entries: StoredEnvelope[] = []
  #start = 0
  #bytes = 0
  readonly #frames = new Map<string, Uint8Array>()

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Appends the next position. */
  push(envelope: StoredEnvelope): void {
    this.#entries.push(envelope)
    this.#bytes += envelope.bytes.length + entryBytes
    while (this.#bytes > this.#bytesMax && this.#start < this.#entries.length) {
      this.#bytes -= (this.#entries[this.#start]?.bytes.length ?? 0) + entryBytes
      this.#start++
    }
    if (this.#start > 64 && this.#start * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start)
      this.#start = 0
    }
  }

  /** Envelopes after this position, as many as fit; undefined when the first of them is not here any more. */
  after(position: bigint, itemsMax: number, bytesMax: number): readonly StoredEnvelope[] | undefined {
    const first = this.#entries[this.#start]
    if (first === undefined || first.position > position + 1n) return undefined
    const from = this.#start + Number(position + 1n - first.position)
    let end = from
    let bytes = 0
    while (end < this.#entries.length && end - from < itemsMax) {
      bytes += this.#entries[end]?.bytes.length ?? 0
      if (end > from && bytes > bytesMax) break
      end++
    }
    return this.#entries.slice(from, end)
  }

  /** The frame of this name, made now or lately for another reader. */
  frame(name: string, make: () => Uint8Array): Uint8Array {
    const known = this.#frames.get(name)
    if (known !== undefined) return known
    const frame = make()
    if (frame.length > frameBytesMax) return frame
    this.#frames.set(name, frame)
    for (const oldest of this.#frames.keys()) {
      if (this.#frames.size <= framesMax) break
      this.#frames.delete(oldest)
    }
    return frame
  }
}
