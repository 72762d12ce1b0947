/**
 * Finding what breaks a CRDT (SPEC DEV-009). A message may take effect later than it comes: it waits for one that is
 * missing, and breaks the document when that one comes, which then is not to blame. Called by `replica.ts`.
 */
import { HeddleError } from '../errors.js'
import type { CrdtDoc } from '../plugin/index.js'

/** Updates that stand or fall together; `source`: the entry of the log they are, or their place among the new messages. */
export interface Item<Source = bigint | number> {
  readonly source: Source
  readonly updates: readonly Uint8Array[]
}

export interface Sifted {
  /** By place among the new messages; those that are not here are good. */
  readonly errors: ReadonlyMap<number, HeddleError>
  /** Entries of the log that break what came after them. */
  readonly broken: ReadonlyMap<bigint, HeddleError>
}

type Open = (updates: readonly (readonly Uint8Array[])[]) => Promise<CrdtDoc>

/** `open`: a scratch document with these updates. Throws what the CRDT throws but CRDT_MALFORMED and CRDT_TAINTED. */
export async function sift(
  log: readonly Item<bigint>[],
  messages: readonly Item<number>[],
  open: Open
): Promise<Sifted> {
  const errors = new Map<number, HeddleError>()
  const broken = new Map<bigint, HeddleError>()
  const blame = ({ source }: Item, error: HeddleError) =>
    typeof source === 'bigint' ? broken.set(source, error) : errors.set(source, error)
  let good: readonly Item[] = log
  for (let rest = messages; rest.length > 0; ) {
    const { taken, failed } = await takeAll(good, rest, open)
    good = [...good, ...rest.slice(0, taken)]
    const message = rest[taken]
    rest = rest.slice(taken + 1)
    if (failed === undefined || message === undefined) continue
    const waiting = new Set(await waitingAmong(good, open))
    const settled = good.filter((item) => !waiting.has(item))
    if (waiting.size === 0 || (await takeAll(settled, [message], open)).failed !== undefined) {
      blame(message, failed)
      continue
    }
    // Without what waits the message is good: whatever of that does not go with it is at fault.
    good = [...settled, message]
    for (const item of waiting) {
      const { failed: atFault } = await takeAll(good, [item], open)
      if (atFault === undefined) good = [...good, item]
      else blame(item, atFault)
    }
  }
  return { errors, broken }
}

/** Takes items one after the other, on top of those that are good, until one fails. */
async function takeAll(good: readonly Item[], items: readonly Item[], open: Open) {
  const doc = await open(good.map(({ updates }) => updates))
  let taken = 0
  try {
    for (const { updates } of items) {
      doc.apply(updates)
      taken++
    }
  } catch (error) {
    if (!HeddleError.is(error, 'CRDT_MALFORMED') && !HeddleError.is(error, 'CRDT_TAINTED')) throw error
    return { taken, failed: error }
  } finally {
    await doc[Symbol.asyncDispose]()
  }
  return { taken, failed: undefined }
}

/** Items that waited for something when they came. */
async function waitingAmong(items: readonly Item[], open: Open): Promise<readonly Item[]> {
  const doc = await open([])
  const out: Item[] = []
  try {
    let before = 0
    for (const item of items) {
      const { pending } = doc.apply(item.updates)
      if (pending > before) out.push(item)
      before = pending
    }
  } finally {
    await doc[Symbol.asyncDispose]()
  }
  return out
}
