/** Storage on IndexedDB, for browsers: durable, transactional, shared by the tabs of an origin (SPEC PLUGIN-*). */
import { type Context, definePlugin, type Manifest, schema } from '@heddle/core'
import { openConnection } from './connection.js'
import { Notices } from './notices.js'
import { IndexedDbStorage } from './storage.js'

export interface IndexedDbStorageOptions {
  /** The database's name within the origin; created if need be. Nothing else may use it. */
  readonly name: string
}

const manifest: Manifest<'storage'> = {
  kind: 'storage',
  name: '@heddle/storage-indexeddb',
  version: '0.1.0',
  api: '1.0',
  // IndexedDB bounds neither; these are the bounds of storage-lmdb, so that what works here does not fail there.
  supports: { durable: true, multiProcess: true, keyBytesMax: 1978, valueBytesMax: 64 * 1024 * 1024 },
  runtimes: ['browser']
}

/** The plugin: `indexedDbStorage({ name: 'my-app' })`. */
export const indexedDbStorage = definePlugin<'storage', IndexedDbStorageOptions, IndexedDbStorageOptions>({
  manifest,
  options: schema(parseOptions),
  create: openStorage
})
export default indexedDbStorage

async function openStorage({ name }: IndexedDbStorageOptions, context: Context): Promise<IndexedDbStorage> {
  const connection = await openConnection(name, context)
  if ((await globalThis.navigator?.storage?.persisted?.()) === false) {
    // A device whose storage is evicted is gone for good, with its keys; only the app can ask at a good moment.
    context.log('warn', 'indexeddb.evictable', { name, cure: 'call navigator.storage.persist()' })
  }
  return new IndexedDbStorage({ connection, manifest, notices: new Notices(name) })
}

function parseOptions(value: unknown): IndexedDbStorageOptions {
  const { name, ...rest } = (value ?? {}) as Partial<IndexedDbStorageOptions>
  const unknown = Object.keys(rest)[0]
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there is name`)
  if (typeof name !== 'string' || name === '') throw new Error('"name" has to name the database within the origin')
  return { name }
}
