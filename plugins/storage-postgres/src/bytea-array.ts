/**
 * A list of byte strings as one parameter of type bytea[], in PostgreSQL's binary format (src/backend/utils/adt/
 * arrayfuncs.c, array_recv): pg itself would write it as text of more than twice the size. The database room calls it.
 */
const BYTEA_OID = 17
/** Dimensions, whether there are nulls, type of the elements, length, first index. */
const HEADER_BYTES = 20

/** A new array. */
export function byteaArray(items: readonly Uint8Array[]): Uint8Array {
  const length = items.reduce((sum, item) => sum + 4 + item.length, HEADER_BYTES)
  const out = new Uint8Array(length)
  const view = new DataView(out.buffer)
  view.setInt32(0, 1)
  view.setInt32(4, 0)
  view.setInt32(8, BYTEA_OID)
  view.setInt32(12, items.length)
  view.setInt32(16, 1)
  let offset = HEADER_BYTES
  for (const item of items) {
    view.setInt32(offset, item.length)
    out.set(item, offset + 4)
    offset += 4 + item.length
  }
  return out
}
