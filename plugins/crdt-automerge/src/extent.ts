/**
 * How much a chunk unfolds to. Columns hold runs: a hundred bytes can stand for 2^40 operations, which the library would
 * begin to go through. So they are counted first, without unfolding them. `chunks.ts` calls it.
 * Source: https://automerge.org/automerge-binary-format-spec/, change chunks, document chunks, columns.
 */
import { inflateRaw } from './inflate.js'
import { Reader } from './leb128.js'

/** Operations that one update may hold: what the library takes some seconds for. */
export const OPERATIONS_MAX = 2 ** 23
/** What the compressed columns of one document may unfold to. */
export const INFLATED_BYTES_MAX = 2 ** 26

/** SHA-256, of changes. */
export const HASH_BYTES = 32

/** Parts of a column's specification: its type, and whether it is compressed. */
const TYPE_MASK = 0x07
const DEFLATED = 0x08
const TYPE_DELTA = 3
const TYPE_BOOLEAN = 4
const TYPE_STRING = 5
const TYPE_RAW = 7

interface Column {
  readonly type: number
  readonly isDeflated: boolean
  readonly length: number
}

/** The most items that a column of this change has. Throws a RangeError when it is no change, or has too many. */
export function changeExtent(contents: Uint8Array): number {
  const reader = new Reader(contents)
  readActor(reader)
  // Sequence number, first operation, time.
  reader.unsigned()
  reader.unsigned()
  reader.signed()
  reader.take(reader.unsigned())
  skipActors(reader)
  const columns = readColumns(reader)
  if (columns.some(({ isDeflated }) => isDeflated)) throw new RangeError('a column of a change is compressed')
  return extentOf(reader, columns)
}

/** The actor of a change: a view. */
export function readActor(reader: Reader): Uint8Array {
  reader.take(HASH_BYTES * reader.unsigned())
  return reader.take(reader.unsigned())
}

/** The most items that a column of this document has. Throws a RangeError when it is no document, or has too many. */
export function documentExtent(contents: Uint8Array): number {
  const reader = new Reader(contents)
  skipActors(reader)
  reader.take(HASH_BYTES * reader.unsigned())
  const ofChanges = readColumns(reader)
  return extentOf(reader, [...ofChanges, ...readColumns(reader)])
}

function skipActors(reader: Reader): void {
  for (let count = reader.unsigned(); count > 0; count--) reader.take(reader.unsigned())
}

function readColumns(reader: Reader): Column[] {
  const columns: Column[] = []
  for (let count = reader.unsigned(); count > 0; count--) {
    const specification = reader.unsigned()
    const isDeflated = (specification & DEFLATED) > 0
    columns.push({ type: specification & TYPE_MASK, isDeflated, length: reader.unsigned() })
  }
  return columns
}

function extentOf(reader: Reader, columns: readonly Column[]): number {
  let most = 0
  let inflatedBytesLeft = INFLATED_BYTES_MAX
  for (const { type, isDeflated, length } of columns) {
    let bytes = reader.take(length)
    if (isDeflated) {
      bytes = inflateRaw(bytes, inflatedBytesLeft)
      inflatedBytesLeft -= bytes.length
    }
    most = Math.max(most, type === TYPE_BOOLEAN ? booleanItems(bytes) : type === TYPE_RAW ? 0 : runItems(type, bytes))
  }
  return most
}

/** A boolean column is the lengths of its runs, false and true in turn. */
function booleanItems(bytes: Uint8Array): number {
  const reader = new Reader(bytes)
  let items = 0
  while (!reader.isAtEnd) items = bounded(items + reader.unsigned())
  return items
}

/** Any other is runs of one value, of values written out (a negative length), or of nothing (0 and a length). */
function runItems(type: number, bytes: Uint8Array): number {
  const reader = new Reader(bytes)
  const skipValue = () => {
    if (type === TYPE_STRING) reader.take(reader.unsigned())
    else if (type === TYPE_DELTA) reader.signed()
    else reader.unsigned()
  }
  let items = 0
  while (!reader.isAtEnd) {
    const length = reader.signed()
    if (length === 0) {
      items = bounded(items + reader.unsigned())
      continue
    }
    items = bounded(items + Math.abs(length))
    for (let values = length > 0 ? 1 : -length; values > 0; values--) skipValue()
  }
  return items
}

function bounded(items: number): number {
  if (items > OPERATIONS_MAX) throw new RangeError(`it has more than ${OPERATIONS_MAX} operations`)
  return items
}
