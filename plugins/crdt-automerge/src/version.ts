/**
 * How a replica says what it has: the hashes of its newest changes, and of some older ones at growing distances. Who does
 * not know the newest finds one that both have, and sends what came after it; who finds none sends the whole document. A
 * clock of all actors would name the difference exactly, but takes a walk over the whole history. The document calls it.
 */
import { type Doc, getBackend, getHeads, type Heads } from '@automerge/automerge'
import { HeddleError } from '@heddle/core'
import { hex } from './chunks.js'
import { HASH_BYTES } from './extent.js'

/** How far back it looks, which takes about 10 milliseconds. */
const WALK_CHANGES_MAX = 1024

/** The version of a document; a new array. */
export function encodeVersion(doc: Doc<unknown>): Uint8Array {
  const heads = getHeads(doc).toSorted()
  const history = walkBack(doc, heads)
  const hashes = new Set(heads)
  for (let distance = 1; distance < history.length; distance *= 2) {
    const hash = history[distance]
    if (hash !== undefined) hashes.add(hash)
  }
  const out = new Uint8Array(HASH_BYTES * hashes.size)
  let at = 0
  for (const hash of hashes) {
    for (let i = 0; i < HASH_BYTES; i++) out[at + i] = Number.parseInt(hash.slice(2 * i, 2 * i + 2), 16)
    at += HASH_BYTES
  }
  return out
}

/** Hashes of changes and of what they build on, generation by generation. */
function walkBack(doc: Doc<unknown>, heads: Heads): Heads {
  const backend = getBackend(doc)
  const seen = new Set(heads)
  for (const hash of seen) {
    if (seen.size >= WALK_CHANGES_MAX) break
    for (const dep of backend.getChangeMetaByHash(hash)?.deps ?? []) seen.add(dep)
  }
  return [...seen]
}

/** Throws CRDT_MALFORMED. */
export function decodeVersion(version: Uint8Array): Heads {
  if (version.length % HASH_BYTES > 0) {
    throw new HeddleError('CRDT_MALFORMED', `${version.length} bytes are no version of an Automerge document`)
  }
  const hashes: string[] = []
  for (let at = 0; at < version.length; at += HASH_BYTES) hashes.push(hex(version.subarray(at, at + HASH_BYTES)))
  return hashes
}
