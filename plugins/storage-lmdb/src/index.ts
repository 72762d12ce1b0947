/** Storage on LMDB: durable, ordered, transactional; the default on Node. */
import { type Context, definePlugin, type Manifest, schema } from '@heddle/core'
import { open } from 'lmdb'
import { openError } from './errors.js'
import { prepareFolder, syncFolder } from './folder.js'
import { ForeignCommits } from './foreign.js'
import { type Database, KEY_BYTES_MAX, LmdbStorage } from './storage.js'

export interface LmdbStorageOptions {
  /** Folder for the database; created if need be, its parent has to exist. Nothing else belongs into it. */
  readonly path: string
  /** Bound of the pages in use, bytes; about where it is reached, puts are refused. Default: none but the disk. */
  readonly mapBytesMax?: number
}

const manifest: Manifest<'storage'> = {
  kind: 'storage',
  name: '@heddle/storage-lmdb',
  version: '0.1.0',
  api: '1.0',
  supports: { durable: true, multiProcess: true, keyBytesMax: KEY_BYTES_MAX, valueBytesMax: 64 * 1024 * 1024 },
  runtimes: ['node']
}

/** The plugin: `lmdbStorage({ path: './data' })`. */
export const lmdbStorage = definePlugin<'storage', LmdbStorageOptions, LmdbStorageOptions>({
  manifest,
  options: schema(parseOptions),
  create: openStorage
})
export default lmdbStorage

async function openStorage({ path, mapBytesMax }: LmdbStorageOptions, context: Context): Promise<LmdbStorage> {
  await prepareFolder(path)
  const options = {
    path,
    noSubdir: false,
    keyEncoding: 'binary',
    encoding: 'binary',
    // The sync belongs into the commit: with overlappingSync data is visible, and its promise resolved, before it is on
    // the disk. A server that answers from a promise it may forget breaks Paxos.
    overlappingSync: false,
    // Batching by event turn leaves a rejected promise behind that nobody can handle when a commit fails.
    eventTurnBatching: false,
    permissionsMode: 0o600
  } as const
  let database: Database
  try {
    database = open<Uint8Array, Uint8Array>(options)
  } catch (cause) {
    throw openError(cause, path)
  }
  await syncFolder(path)
  const lastTransaction = () => Number((database.getStats() as { readonly lastTxnId?: unknown }).lastTxnId)
  const foreign = new ForeignCommits(context.clock, lastTransaction)
  return new LmdbStorage({ database, manifest, path, mapBytesMax, foreign })
}

function parseOptions(value: unknown): LmdbStorageOptions {
  const { path, mapBytesMax, ...rest } = (value ?? {}) as Partial<LmdbStorageOptions>
  const unknown = Object.keys(rest)[0]
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there are path and mapBytesMax`)
  if (typeof path !== 'string' || path === '') throw new Error('"path" has to name the folder of the database')
  if (mapBytesMax === undefined) return { path }
  if (!Number.isSafeInteger(mapBytesMax) || mapBytesMax <= 0) {
    throw new Error('"mapBytesMax" has to be a number of bytes above 0')
  }
  return { path, mapBytesMax }
}
