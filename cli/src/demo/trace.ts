/**
 * Reads real editing histories in the format of josephg/editing-traces (gzipped or plain JSON): `{startContent?,
 * endContent, txns: [{patches: [[position, removed, inserted]]}]}`, concurrent ones with `parents` and `agent` in each
 * transaction. `heddle demo --trace` replays them.
 */
import { readFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { HeddleError } from '@heddle/core'
import type { Edit } from './edit.js'
import { type ConcurrentTransaction, linearise } from './trace-linearise.js'

export interface Trace {
  readonly startContent: string
  /** What the edits end in when they are applied in order. */
  readonly endContent: string
  /** All patches in order, for one author to replay. */
  readonly edits: readonly Edit[]
  /** How many authors the history had. */
  readonly authors: number
  /**
   * For a concurrent history: whether merging it here gave the content its authors recorded. Another CRDT may order
   * characters differently that were typed at one place at one time.
   */
  readonly mergedAsRecorded: boolean
}

/** Histories are a few megabytes unpacked; a file beyond this is something else. */
const TRACE_BYTES_MAX = 256 * 1024 * 1024

/** Reads a history. Throws CONFIG_INVALID when the file cannot be read or is no history. */
export async function readTrace(path: string): Promise<Trace> {
  let file: Uint8Array
  try {
    file = await readFile(path)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new HeddleError('CONFIG_INVALID', `the editing history ${path} cannot be read: ${reason}`, { cause })
  }
  return parseTrace(file, path)
}

/** The same from bytes; `name` stands in error messages. */
export function parseTrace(file: Uint8Array, name: string): Trace {
  let json: unknown
  try {
    const packed = file[0] === 0x1f && file[1] === 0x8b
    const bytes = packed ? gunzipSync(file, { maxOutputLength: TRACE_BYTES_MAX }) : file
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new HeddleError('CONFIG_INVALID', `${name} is no editing history (gzipped or plain JSON): ${reason}`, {
      cause
    })
  }
  const { startContent = '', endContent, txns } = asRecord(json)
  if (typeof startContent !== 'string' || typeof endContent !== 'string' || !Array.isArray(txns)) {
    throw notATrace(name, 'it has to have "endContent" and "txns"')
  }
  const transactions = txns.map((txn: unknown, index) => parseTransaction(txn, index, name))
  const concurrent = transactions.filter((transaction) => transaction.parents !== undefined)
  if (concurrent.length === 0) {
    const edits = transactions.flatMap((transaction) => transaction.patches)
    return { startContent, endContent, edits, authors: 1, mergedAsRecorded: true }
  }
  const merged = linearise(
    startContent,
    transactions.map((transaction, index): ConcurrentTransaction => {
      const { parents, agent = 0, patches } = transaction
      return { parents: parents ?? (index === 0 ? [] : [index - 1]), agent, patches }
    })
  )
  return {
    startContent,
    endContent: merged.endContent,
    edits: merged.edits,
    authors: new Set(transactions.map((transaction) => transaction.agent)).size,
    mergedAsRecorded: merged.endContent === endContent
  }
}

/** The trace as a sequential history in the same format, for somebody else to read. */
export function formatTrace({ startContent, endContent, edits }: Trace): string {
  const txns = edits.map(({ at, remove, insert }) => ({ patches: [[at, remove, insert]] }))
  return JSON.stringify({ startContent, endContent, txns })
}

interface Transaction {
  readonly patches: readonly Edit[]
  readonly parents: readonly number[] | undefined
  readonly agent: number | undefined
}

function parseTransaction(value: unknown, index: number, name: string): Transaction {
  const { patches, parents, agent } = asRecord(value)
  if (!Array.isArray(patches)) throw notATrace(name, `transaction ${index} has no "patches"`)
  const known = Array.isArray(parents) ? parents : undefined
  if (known !== undefined && !known.every((parent) => isCount(parent) && parent < index)) {
    throw notATrace(name, `transaction ${index} has a parent that does not come before it`)
  }
  return {
    patches: patches.map((patch: unknown) => parsePatch(patch, index, name)),
    parents: known,
    agent: isCount(agent) ? agent : undefined
  }
}

function parsePatch(value: unknown, index: number, name: string): Edit {
  const [at, remove, insert] = Array.isArray(value) ? (value as readonly unknown[]) : []
  if (!isCount(at) || !isCount(remove) || typeof insert !== 'string') {
    throw notATrace(name, `transaction ${index} has a patch that is not [position, removed, inserted]`)
  }
  return { at, remove, insert, pauseMs: 0 }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const asRecord = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}

const notATrace = (name: string, what: string) =>
  new HeddleError('CONFIG_INVALID', `${name} is no editing history: ${what}`)
