/**
 * What the simulation of this room stands on: seeded randomness, virtual time, and signatures that nobody can forge
 * because only the notary makes them. Test-only.
 */
import { equalBytes } from '../../bytes.js'
import type { SignatureCheck } from '../index.js'

/** Seeded pseudo-random numbers in [0, 1) (mulberry32): the same seed gives the same run. */
export function seeded(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

interface Scheduled {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

/** Virtual time: events run in order of time, those of one moment in the order they were scheduled. */
export class Timeline {
  nowMs = 0
  #heap: Scheduled[] = []
  #order = 0

  after(delayMs: number, run: () => void): void {
    const item = { atMs: this.nowMs + delayMs, order: this.#order++, run }
    const heap = this.#heap
    let i = heap.push(item) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(item, at(heap, parent))) break
      heap[i] = at(heap, parent)
      i = parent
    }
    heap[i] = item
  }

  /** Runs the next event; false when there is none up to `untilMs`. */
  step(untilMs: number): boolean {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined || first.atMs > untilMs) return false
    const last = heap.pop()
    if (last !== undefined && heap.length > 0) this.#sink(last)
    this.nowMs = first.atMs
    first.run()
    return true
  }

  #sink(item: Scheduled): void {
    const heap = this.#heap
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(at(heap, child + 1), at(heap, child))) child++
      if (!before(at(heap, child), item)) break
      heap[i] = at(heap, child)
      i = child
    }
    heap[i] = item
  }
}

const before = (a: Scheduled, b: Scheduled): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

function at(heap: readonly Scheduled[], index: number): Scheduled {
  const item = heap[index]
  if (item === undefined) throw new Error(`the heap has no item ${index}`)
  return item
}

/** Makes and knows all signatures of a world: a statement verifies only if its signer signed exactly these bytes. */
export class Notary {
  readonly #made: SignatureCheck[] = []
  readonly #byDigest = new Map<number, SignatureCheck[]>()

  /** Deterministic, like Ed25519: the same statement gets the same signature. */
  sign(publicKey: Uint8Array, label: string, statement: Uint8Array): Uint8Array {
    const digest = digestOf(statement)
    const alike = this.#byDigest.get(digest) ?? []
    const earlier = alike.find((made) => sameSigned(made, publicKey, label, statement))
    if (earlier !== undefined) return earlier.signature
    const signature = new Uint8Array(64)
    new DataView(signature.buffer).setUint32(0, this.#made.length + 1)
    const made = { publicKey, label, statement, signature }
    this.#made.push(made)
    this.#byDigest.set(digest, [...alike, made])
    return signature
  }

  verify({ publicKey, label, statement, signature }: SignatureCheck): boolean {
    const made = this.#made[new DataView(signature.buffer, signature.byteOffset).getUint32(0) - 1]
    return made !== undefined && equalBytes(made.signature, signature) && sameSigned(made, publicKey, label, statement)
  }
}

const sameSigned = (made: SignatureCheck, publicKey: Uint8Array, label: string, statement: Uint8Array): boolean =>
  made.label === label && equalBytes(made.publicKey, publicKey) && equalBytes(made.statement, statement)

function digestOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash
}
