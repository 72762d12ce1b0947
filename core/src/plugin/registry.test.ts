import { describe, expect, test } from 'vitest'
import { systemContext } from './config.js'
import { definePlugin, noOptions, schema } from './define.js'
import { resolvePlugin } from './registry.js'
import type { Context, CrdtBackend, Manifest, Plugin, PluginRef, Storage } from './types.js'

const manifest: Manifest<'storage'> = {
  kind: 'storage',
  name: '@example/storage',
  version: '1.2.3',
  api: '1.0',
  supports: { durable: false, multiProcess: false, keyBytesMax: 1, valueBytesMax: 1 },
  runtimes: ['node', 'browser']
}

interface SizeOptions {
  readonly size: number
}

/** Keeps what it was created with, to look at. */
class ExampleStorage implements Storage {
  readonly options: SizeOptions
  constructor(options: SizeOptions) {
    this.options = options
  }
  async get(): Promise<undefined> {}
  async *scan(): AsyncGenerator<never> {}
  async commit(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

const storage = definePlugin<'storage', SizeOptions>({
  manifest,
  options: schema((value) => {
    const { size = 10 } = value as Partial<SizeOptions>
    if (typeof size !== 'number') throw new Error('"size" has to be a number')
    return { size }
  }),
  create: async (options) => new ExampleStorage(options)
})

const crdt = definePlugin<'crdt', Record<string, never>>({
  manifest: {
    ...manifest,
    kind: 'crdt',
    name: '@example/crdt',
    supports: { mergeUpdates: false, shallowSnapshot: false, detectsCorruption: true, actorIdBits: 64 }
  },
  options: noOptions,
  create: async (): Promise<CrdtBackend> => ({
    typeId: 'example/1',
    open: () => Promise.reject(new Error('not opened in this test')),
    async [Symbol.asyncDispose]() {}
  })
})

const context = systemContext()
const modules = new Map<string, unknown>([
  ['@example/storage', { default: storage }],
  ['@example/crdt', { default: crdt }],
  ['empty', {}],
  ['no-plugin', { default: { manifest: {} } }]
])
const importModule = async (name: string): Promise<unknown> => {
  const found = modules.get(name)
  if (found === undefined) throw new Error(`Cannot find package '${name}'`)
  return found
}
const resolve = (ref: unknown, host: Context = context) =>
  resolvePlugin(ref as PluginRef<'storage'>, 'storage', host, { importModule })

/** The example with another manifest or another way to start. */
const altered = (changes: Partial<Plugin<'storage'>>) => ({
  plugin: { manifest, options: noOptions, create: async () => new ExampleStorage({ size: 1 }), ...changes },
  options: {}
})

describe('resolving a plugin', () => {
  test('a typed object and a module name with the same options give the same thing', async () => {
    for (const ref of [storage({ size: 3 }), ['@example/storage', { size: 3 }]]) {
      const { instance, manifest: found } = await resolve(ref)
      expect(instance).toEqual(new ExampleStorage({ size: 3 }))
      expect(found).toBe(manifest)
    }
    for (const ref of [storage(), '@example/storage', ['@example/storage']]) {
      expect((await resolve(ref)).instance).toEqual(new ExampleStorage({ size: 10 }))
    }
  })

  test('imports natively, and paths relative to the configuration', async () => {
    const seen: string[] = []
    const spy = async (name: string) => {
      seen.push(name)
      return { default: storage }
    }
    const options = { importModule: spy, base: 'file:///app/heddle.config.js' }
    for (const name of ['./a.js', '../b.js', '/c.js', 'd', '@e/f', 'file:///g.js']) {
      await resolvePlugin(name, 'storage', context, options)
    }
    expect(seen).toEqual(['file:///app/a.js', 'file:///b.js', 'file:///c.js', 'd', '@e/f', 'file:///g.js'])
    await expect(resolvePlugin('./a.js', 'storage', context)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    // `import(name)` itself: a module of Node is found and is no plugin.
    await expect(resolvePlugin('node:path', 'storage', context)).rejects.toMatchObject({
      code: 'PLUGIN_NOT_FOUND',
      message: expect.stringContaining('default export')
    })
  })

  test.each<[what: string, ref: unknown, code: string, message: string]>([
    ['a module that is not there', 'missing', 'PLUGIN_NOT_FOUND', 'npm install missing'],
    ['a module without a default export', 'empty', 'PLUGIN_NOT_FOUND', 'default export'],
    ['a module that exports something else', ['no-plugin', {}], 'PLUGIN_NOT_FOUND', 'default export'],
    ['a factory that was not called', storage, 'CONFIG_INVALID', 'use factory(options)'],
    ['nothing', undefined, 'CONFIG_INVALID', 'the storage plugin'],
    ['a number', 3, 'CONFIG_INVALID', 'no plugin'],
    ['null', null, 'CONFIG_INVALID', 'no plugin'],
    ['a plugin of another kind', crdt(), 'PLUGIN_WRONG_KIND', '@example/crdt is a crdt plugin'],
    ['a module of another kind', '@example/crdt', 'PLUGIN_WRONG_KIND', 'where a storage plugin belongs'],
    ['a wrong option', ['@example/storage', { size: 'x' }], 'CONFIG_INVALID', '@example/storage are wrong: "size"'],
    ['a newer major API', altered({ manifest: { ...manifest, api: '2.0' } }), 'PLUGIN_API_VERSION', 'API 2.0'],
    ['a newer minor API', altered({ manifest: { ...manifest, api: '1.1' } }), 'PLUGIN_API_VERSION', 'API 1.1'],
    ['an older major API', altered({ manifest: { ...manifest, api: '0.9' } }), 'PLUGIN_API_VERSION', 'API 0.9'],
    [
      'an API version that is none',
      altered({ manifest: { ...manifest, api: '1.x' as '1.0' } }),
      'PLUGIN_API_VERSION',
      'API 1.x'
    ],
    [
      'a manifest that leaves a flag out',
      altered({
        manifest: { ...manifest, supports: { ...manifest.supports, durable: undefined as unknown as boolean } }
      }),
      'CONFIG_INVALID',
      'supports.durable'
    ],
    [
      'another runtime',
      altered({ manifest: { ...manifest, runtimes: ['browser', 'deno'] } }),
      'CAPABILITY_MISSING',
      'runs on browser, deno, not on node'
    ],
    [
      'an instance that is something else',
      altered({ create: async () => ({ get: () => {} }) as unknown as Storage }),
      'PLUGIN_WRONG_KIND',
      'no method scan'
    ],
    [
      'an instance that cannot be closed',
      altered({ create: async () => ({ get() {}, scan() {}, commit() {} }) as unknown as Storage }),
      'PLUGIN_WRONG_KIND',
      'asyncDispose'
    ],
    [
      'a plugin that fails to start',
      altered({ create: () => Promise.reject(new TypeError('no disk')) }),
      'INTERNAL',
      '@example/storage failed to start: no disk'
    ]
  ])('refuses %s', async (_, ref, code, message) => {
    await expect(resolve(ref)).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
  })

  test('tells where in the options the fault lies', async () => {
    const options = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: async () => ({
          issues: [{ message: 'is too long', path: ['names', { key: 0 }] }, { message: 'odd' }]
        })
      }
    }
    await expect(resolve(altered({ options }))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('names.0: is too long; odd')
    })
  })

  test('hands on the error a plugin throws, and starts nothing once the host shuts down', async () => {
    const { HeddleError } = await import('../errors.js')
    const full = new HeddleError('STORAGE_UNAVAILABLE', 'full')
    await expect(resolve(altered({ create: () => Promise.reject(full) }))).rejects.toBe(full)
    const stopping = systemContext({ signal: AbortSignal.abort() })
    let isStarted = false
    const create = async () => {
      isStarted = true
      return new ExampleStorage({ size: 1 })
    }
    await expect(resolve(altered({ create }), stopping)).rejects.toMatchObject({ code: 'ABORTED' })
    expect(isStarted).toBe(false)
  })
})
