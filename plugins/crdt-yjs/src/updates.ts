/** Looking at what comes from others before yjs acts on it. The document and the backend call it. */
import { HeddleError } from '@heddle/core'
import * as Y from 'yjs'

export interface CheckedUpdate {
  /** A copy: yjs keeps views of it, for bytes within other values. */
  readonly bytes: Uint8Array
  readonly decoded: ReturnType<typeof Y.decodeUpdate>
}

/** Decodes every update without touching a document. Throws CRDT_MALFORMED. */
export function decodeUpdates(updates: readonly Uint8Array[]): CheckedUpdate[] {
  return updates.map((update, i) => {
    const bytes = update.slice()
    try {
      return { bytes, decoded: Y.decodeUpdate(bytes) }
    } catch (cause) {
      throw new HeddleError(
        'CRDT_MALFORMED',
        `update ${i + 1} of ${updates.length} (${update.length} bytes) is no yjs update; nothing of the batch was applied`,
        { cause, info: { index: i } }
      )
    }
  })
}

/** A copy of a state vector that decodes. Throws CRDT_MALFORMED. */
export function stateVectorOf(version: Uint8Array): Uint8Array {
  const bytes = version.slice()
  try {
    Y.decodeStateVector(bytes)
  } catch (cause) {
    throw new HeddleError('CRDT_MALFORMED', `${version.length} bytes are no yjs state vector`, { cause })
  }
  return bytes
}

/** yjs compares every update with every other when it merges: fan-in keeps that linear. */
const MERGE_UPDATES_MAX = 16

/** One update with the effect of all; a new array. Throws CRDT_MALFORMED. */
export function mergeUpdates(updates: readonly Uint8Array[]): Uint8Array {
  let level: readonly Uint8Array[] = decodeUpdates(updates).map(({ bytes }) => bytes)
  while (level.length > 1) {
    const next: Uint8Array[] = []
    for (let i = 0; i < level.length; i += MERGE_UPDATES_MAX) {
      next.push(Y.mergeUpdates(level.slice(i, i + MERGE_UPDATES_MAX)))
    }
    level = next
  }
  return level[0] ?? Y.encodeStateAsUpdate(new Y.Doc())
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
