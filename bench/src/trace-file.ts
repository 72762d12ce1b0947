/** Reads the edits of a recorded history in the format of josephg/editing-traces, gzipped or plain, of one author. */
import { readFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'

export interface TraceEdit {
  readonly at: number
  readonly remove: number
  readonly insert: string
}

/** Throws when the file cannot be read or is no such history. */
export async function readTraceEdits(path: string): Promise<readonly TraceEdit[]> {
  const file = await readFile(path)
  const bytes = file[0] === 0x1f && file[1] === 0x8b ? gunzipSync(file) : file
  const { txns } = JSON.parse(bytes.toString('utf8')) as { readonly txns?: unknown }
  if (!Array.isArray(txns)) throw new Error(`${path} is no editing history: it has no "txns"`)
  return txns.flatMap((txn: { readonly patches?: unknown }) => {
    if (!Array.isArray(txn.patches)) throw new Error(`${path} is no editing history: a transaction has no "patches"`)
    return txn.patches.map((patch: unknown) => {
      const [at, remove, insert] = Array.isArray(patch) ? (patch as readonly unknown[]) : []
      if (typeof at !== 'number' || typeof remove !== 'number' || typeof insert !== 'string')
        throw new Error(`${path} is no editing history: a patch is not [position, removed, inserted]`)
      return { at, remove, insert }
    })
  })
}
