/** Storage in memory, for tests and simulation: nothing outlives the process. */
import { definePlugin, type Manifest, schema } from '@heddle/core'
import { MemoryDisk } from './disk.js'
import { MemoryStorage, type OnCommit } from './storage.js'

export { MemoryDisk, type OnCommit }

export interface MemoryStorageOptions {
  /** The disk to use; without it each storage has its own and begins empty. */
  readonly shared?: MemoryDisk
  /** Failure injection: what it throws makes that commit fail, what it awaits delays it. */
  readonly onCommit?: OnCommit
}

const manifest: Manifest<'storage'> = {
  kind: 'storage',
  name: '@heddle/storage-memory',
  version: '0.1.0',
  api: '1.0',
  // The bounds are those of storage-lmdb, so that what works here does not fail there.
  supports: { durable: false, multiProcess: false, keyBytesMax: 1978, valueBytesMax: 64 * 1024 * 1024 },
  runtimes: ['node', 'browser', 'deno', 'bun']
}

/** The plugin: `memoryStorage()`, or `memoryStorage({ shared: disk })`. */
export const memoryStorage = definePlugin<'storage', MemoryStorageOptions>({
  manifest,
  options: schema(parseOptions),
  create: async ({ shared, onCommit }) => new MemoryStorage(shared ?? new MemoryDisk(), manifest, onCommit)
})
export default memoryStorage

function parseOptions(value: unknown): MemoryStorageOptions {
  const { shared, onCommit, ...rest } = (value ?? {}) as Partial<MemoryStorageOptions>
  const unknown = Object.keys(rest)[0]
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there are shared and onCommit`)
  if (shared !== undefined && !(shared instanceof MemoryDisk)) throw new Error('"shared" has to be a MemoryDisk')
  if (onCommit !== undefined && typeof onCommit !== 'function') throw new Error('"onCommit" has to be a function')
  return { ...(shared && { shared }), ...(onCommit && { onCommit }) }
}
