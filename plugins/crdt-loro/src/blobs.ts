/**
 * Updates as bytes: one blob as Loro exports it, or several in a frame. Every blob's checksum is verified here before Loro
 * imports the first one of a batch. The document calls it.
 * Source: loro's docs/encoding.md, "Header": magic, 16 bytes of checksum of which the last four are used, mode.
 */
import { HeddleError } from '@heddle/core'
import { xxHash32 } from './xxhash32.js'

const MAGIC = [0x6c, 0x6f, 0x72, 0x6f] as const
const CHECKSUM_AT = 16
const CHECKSUM_END = 20
const HEADER_BYTES = 22
/** "LORO" as a little-endian number. */
const CHECKSUM_SEED = 0x4f524f4c
const MODES: readonly number[] = [3, 4]
/** First byte of a frame; no blob begins with it. Each blob in it comes after its length, 4 bytes, big-endian. */
const FRAME = 0x01
const LENGTH_BYTES = 4

/** The blobs of each update, as views of what was given. Throws CRDT_MALFORMED. */
export function parseUpdates(updates: readonly Uint8Array[]): Uint8Array[][] {
  return updates.map((update, i) => {
    try {
      const blobs = update[0] === FRAME ? splitFrame(update) : [update]
      blobs.forEach(checkBlob)
      return blobs
    } catch (cause) {
      const which = `update ${i + 1} of ${updates.length} (${update.length} bytes)`
      throw new HeddleError('CRDT_MALFORMED', `${which} is no Loro update; nothing of the batch was applied`, {
        cause,
        info: { index: i }
      })
    }
  })
}

/** One update of these blobs; a single one is the update itself. */
export function joinBlobs(blobs: readonly Uint8Array[]): Uint8Array {
  const [only] = blobs
  if (only !== undefined && blobs.length === 1) return only
  const length = blobs.reduce((sum, blob) => sum + LENGTH_BYTES + blob.length, 1)
  const out = new Uint8Array(length)
  const view = new DataView(out.buffer)
  out[0] = FRAME
  let at = 1
  for (const blob of blobs) {
    view.setUint32(at, blob.length)
    out.set(blob, at + LENGTH_BYTES)
    at += LENGTH_BYTES + blob.length
  }
  return out
}

function splitFrame(update: Uint8Array): Uint8Array[] {
  const view = new DataView(update.buffer, update.byteOffset, update.byteLength)
  const blobs: Uint8Array[] = []
  for (let at = 1; at < update.length; ) {
    if (at + LENGTH_BYTES > update.length) throw new RangeError(`the frame is cut off at byte ${at}`)
    const begin = at + LENGTH_BYTES
    at = begin + view.getUint32(at)
    if (at > update.length) throw new RangeError(`the blob at byte ${begin} is cut off`)
    blobs.push(update.subarray(begin, at))
  }
  if (blobs.length === 0) throw new RangeError('the frame is empty')
  return blobs
}

function checkBlob(blob: Uint8Array): void {
  if (blob.length < HEADER_BYTES || MAGIC.some((byte, i) => blob[i] !== byte)) throw new RangeError('there is no blob')
  if (blob.subarray(MAGIC.length, CHECKSUM_AT).some((byte) => byte !== 0)) throw new RangeError('the header is wrong')
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength)
  const sum = xxHash32(blob.subarray(CHECKSUM_END), CHECKSUM_SEED)
  if (view.getUint32(CHECKSUM_AT, true) !== sum) throw new RangeError('the checksum is wrong')
  const mode = view.getUint16(CHECKSUM_END)
  if (!MODES.includes(mode)) throw new RangeError(`the mode is ${mode}`)
}
