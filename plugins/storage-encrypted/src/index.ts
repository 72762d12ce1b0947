/**
 * Encrypts any storage at rest with a key the app gives (SPEC PLUGIN-*): `encrypted(lmdbStorage({ path }), { key })`.
 * Values are sealed; keys stay as they are, because ranges need their order.
 */
import {
  type BoundPlugin,
  type Context,
  HeddleError,
  type Manifest,
  type Plugin,
  PLUGIN_API,
  resolvePlugin,
  type Runtime,
  schema,
  type Storage
} from '@heddle/core'
import { checkStoreKey, KEY_PREFIX_BYTES } from './key-check.js'
import { OVERHEAD_BYTES, Sealer } from './sealer.js'
import { EncryptedStorage } from './storage.js'

export interface EncryptedStorageOptions {
  /** 32 secret bytes, copied when the storage opens. Kept elsewhere by the app: without it nothing can be read again. */
  readonly key: Uint8Array
}

const KEY_BYTES = 32

const RUNTIMES: readonly Runtime[] = ['node', 'browser', 'deno', 'bun']

/**
 * A storage plugin whose values lie encrypted in another. It is durable and for several processes as far as the inner
 * one is; its bounds are the inner one's without what the sealing adds. There is no naming it in a configuration of
 * names: what it supports depends on what it wraps, and a key does not belong into such a file.
 * @throws CONFIG_INVALID when `inner` is no storage plugin called with its options.
 */
export function encrypted(inner: BoundPlugin<'storage'>, options: EncryptedStorageOptions): BoundPlugin<'storage'> {
  const wrapped = (inner as Partial<BoundPlugin<'storage'>> | undefined)?.plugin?.manifest
  if (wrapped?.kind !== 'storage') {
    throw new HeddleError(
      'CONFIG_INVALID',
      'encrypted() wraps a storage plugin called with its options: encrypted(lmdbStorage({ path }), { key })'
    )
  }
  const manifest = manifestOver(wrapped)
  const plugin: Plugin<'storage', EncryptedStorageOptions> = {
    manifest,
    options: schema(parseOptions),
    create: ({ key }, context) => open(inner, key, manifest, context)
  }
  return { plugin: plugin as Plugin<'storage'>, options }
}
export default encrypted

function manifestOver({ supports, runtimes }: Manifest<'storage'>): Manifest<'storage'> {
  return {
    kind: 'storage',
    name: '@heddle/storage-encrypted',
    version: '0.1.0',
    api: PLUGIN_API,
    supports: {
      ...supports,
      keyBytesMax: supports.keyBytesMax - KEY_PREFIX_BYTES,
      valueBytesMax: supports.valueBytesMax - OVERHEAD_BYTES
    },
    runtimes: RUNTIMES.filter((runtime) => runtimes.includes(runtime))
  }
}

async function open(
  inner: BoundPlugin<'storage'>,
  key: Uint8Array,
  manifest: Manifest<'storage'>,
  context: Context
): Promise<Storage> {
  const sealer = new Sealer(key, context.random)
  const { instance } = await resolvePlugin(inner, 'storage', context)
  try {
    await checkStoreKey(instance, sealer)
  } catch (error) {
    await instance[Symbol.asyncDispose]()
    throw error
  }
  return new EncryptedStorage(instance, sealer, manifest)
}

function parseOptions(value: unknown): EncryptedStorageOptions {
  const { key, ...rest } = (value ?? {}) as Partial<EncryptedStorageOptions>
  const unknown = Object.keys(rest)[0]
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there is key`)
  if (!(key instanceof Uint8Array) || key.length !== KEY_BYTES) {
    throw new Error(`"key" has to be a Uint8Array of ${KEY_BYTES} bytes`)
  }
  if (key.every((byte) => byte === 0)) throw new Error('"key" is all zeros: that is no secret')
  return { key }
}
