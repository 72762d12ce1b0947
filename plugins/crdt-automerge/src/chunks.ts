/**
 * Updates as bytes: chunks of Automerge's binary format one after the other, as its own files have them. Their checksums
 * are verified here, because `applyChanges` does not look at them. The document and the backend call it.
 * Source: https://automerge.org/automerge-binary-format-spec/, chunk header.
 */
import { init, save } from '@automerge/automerge'
import { HeddleError } from '@heddle/core'
import { changeExtent, documentExtent, OPERATIONS_MAX, readActor } from './extent.js'
import { Reader } from './leb128.js'

/** One update, taken apart. The arrays are views of what was given. */
export interface Chunked {
  /** Whole documents, each with its history. */
  readonly documents: readonly Uint8Array[]
  readonly changes: readonly Uint8Array[]
}

const MAGIC = [0x85, 0x6f, 0x4a, 0x83] as const
const CHECKSUM_BYTES = 4
const TYPE_AT = MAGIC.length + CHECKSUM_BYTES
const CHUNK_DOCUMENT = 0
const CHUNK_CHANGE = 1

export class Chunks {
  readonly #sha256: (bytes: Uint8Array) => Uint8Array

  constructor(sha256: (bytes: Uint8Array) => Uint8Array) {
    this.#sha256 = sha256
  }

  /**
   * Takes updates apart and verifies every checksum. Those of others are measured too; what a device has stored may have
   * grown beyond what one update may hold. Throws CRDT_MALFORMED.
   */
  parse(updates: readonly Uint8Array[], from: 'others' | 'storage' = 'others'): Chunked[] {
    return updates.map((update, i) => {
      try {
        return this.#parseOne(update, from === 'others')
      } catch (cause) {
        const which = `update ${i + 1} of ${updates.length} (${update.length} bytes)`
        const message = `${which} is no Automerge update; nothing of the batch was applied`
        throw new HeddleError('CRDT_MALFORMED', message, { cause, info: { index: i } })
      }
    })
  }

  /** One update with the effect of all; a new array. Throws CRDT_MALFORMED. */
  merge(updates: readonly Uint8Array[]): Uint8Array {
    this.parse(updates)
    return joinChunks(updates)
  }

  #parseOne(update: Uint8Array, isMeasured: boolean): Chunked {
    const documents: Uint8Array[] = []
    const changes: Uint8Array[] = []
    let operations = 0
    if (update.length === 0) throw new RangeError('it is empty')
    for (let at = 0; at < update.length; ) {
      const { begin, end, type } = readHeader(update, at)
      const sum = this.#sha256(update.subarray(at + TYPE_AT, end))
      for (let i = 0; i < CHECKSUM_BYTES; i++) {
        if (sum[i] !== update[at + MAGIC.length + i]) throw new RangeError(`the checksum at byte ${at} is wrong`)
      }
      // Compressed changes are not taken: their checksum is over what they inflate to, and nobody here writes them.
      if (type !== CHUNK_DOCUMENT && type !== CHUNK_CHANGE) throw new RangeError(`chunk type ${type} at byte ${at}`)
      const isDocument = type === CHUNK_DOCUMENT
      const contents = update.subarray(begin, end)
      if (isMeasured) operations += isDocument ? documentExtent(contents) : changeExtent(contents)
      if (operations > OPERATIONS_MAX) throw new RangeError(`it has more than ${OPERATIONS_MAX} operations`)
      const chunks = isDocument ? documents : changes
      chunks.push(update.subarray(at, end))
      at = end
    }
    return { documents, changes }
  }
}

/** One update of these chunks; a new array. Of none it is the document without a change, as no update is empty. */
export function joinChunks(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 0) return save(init({ actor: '00' }))
  const out = new Uint8Array(byteLength(chunks))
  let at = 0
  for (const chunk of chunks) {
    out.set(chunk, at)
    at += chunk.length
  }
  return out
}

export function byteLength(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0)
}

/** The actor of a change that the library has read, in hexadecimal. */
export function actorOf(change: Uint8Array): string {
  const header = new Reader(change, TYPE_AT + 1)
  header.unsigned()
  return hex(readActor(header))
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function readHeader(bytes: Uint8Array, at: number) {
  if (MAGIC.some((byte, i) => bytes[at + i] !== byte)) throw new RangeError(`there is no chunk at byte ${at}`)
  const reader = new Reader(bytes, at + TYPE_AT)
  const [type] = reader.take(1)
  const length = reader.unsigned()
  const begin = reader.at
  reader.take(length)
  return { type, begin, end: reader.at }
}
