import { afterEach, describe, expect, test, vi } from 'vitest'
import { defineConfig, disposeAll, parseConfig, startPlugins, systemContext } from './config.js'
import { definePlugin, noOptions, schema } from './define.js'
import type { Context, CrdtBackend, Manifest, Storage } from './types.js'

const shared = { version: '1.0.0', api: '1.0', runtimes: ['node'] } as const
const events: string[] = []

const crdt = definePlugin<'crdt', { readonly typeId: string }>({
  manifest: {
    ...shared,
    kind: 'crdt',
    name: '@example/crdt',
    supports: { mergeUpdates: false, shallowSnapshot: false, detectsCorruption: true, actorIdBits: 64 }
  } satisfies Manifest<'crdt'>,
  options: schema((value) => ({ typeId: 'a/1', ...(value as object) })),
  create: async ({ typeId }): Promise<CrdtBackend> => ({
    typeId,
    open: () => Promise.reject(new Error('not opened in this test')),
    async [Symbol.asyncDispose]() {
      events.push(`stop ${typeId}`)
    }
  })
})

const storage = definePlugin<'storage', Record<string, never>>({
  manifest: {
    ...shared,
    kind: 'storage',
    name: '@example/storage',
    supports: { durable: false, multiProcess: false, keyBytesMax: 1, valueBytesMax: 1 }
  } satisfies Manifest<'storage'>,
  options: noOptions,
  create: async (): Promise<Storage> => ({
    get: async () => undefined,
    async *scan() {},
    async commit() {},
    async [Symbol.asyncDispose]() {
      events.push('stop storage')
    }
  })
})

const context = systemContext()
const code = (expected: string, message: string) => ({ code: expected, message: expect.stringContaining(message) })

describe('a configuration', () => {
  test('that is right is what it was; one that is wrong does not compile', () => {
    const config = { crdts: [crdt(), '@example/crdt'], storage: ['@example/storage', {}], transports: [] } as const
    expect(defineConfig(config)).toBe(config)
    // @ts-expect-error a crdt plugin does not fit the storage slot
    defineConfig({ crdts: [], storage: crdt(), transports: [] })
    // @ts-expect-error a storage plugin is no transport
    defineConfig({ crdts: [], storage: storage(), transports: [storage()] })
    // @ts-expect-error a factory has to be called
    defineConfig({ crdts: [], storage, transports: [] })
    // @ts-expect-error there has to be a storage
    defineConfig({ crdts: [], transports: [] })
    // @ts-expect-error an option of another type
    crdt({ typeId: 3 })
  })

  test('from a file is checked', () => {
    const config = { crdts: ['a'], storage: 'b', transports: [['c', {}]], limits: { frameBytesMax: 1000 } }
    expect(parseConfig(JSON.parse(JSON.stringify(config)))).toEqual(config)
    for (const [value, message] of [
      [undefined, '"crdts"'],
      ['text', '"crdts"'],
      [{ ...config, crdts: 'a' }, '"crdts"'],
      [{ ...config, transports: undefined }, '"transports"'],
      [{ ...config, storage: undefined }, '"storage"'],
      [{ ...config, storages: [] }, '"storages" is not known'],
      [{ ...config, limits: { frameBytesMax: 0 } }, '"limits.frameBytesMax"']
    ] as const) {
      expect(() => parseConfig(value)).toThrow(expect.objectContaining(code('CONFIG_INVALID', message)))
    }
  })
})

describe('starting the plugins of a configuration', () => {
  test('gives them by role and stops them in reverse order', async () => {
    events.length = 0
    const running = await startPlugins(
      { crdts: [crdt(), crdt({ typeId: 'b/1' })], storage: storage(), transports: [] },
      context
    )
    expect([...running.crdts.keys()]).toEqual(['a/1', 'b/1'])
    expect(running.storage.manifest.name).toBe('@example/storage')
    await running[Symbol.asyncDispose]()
    expect(events).toEqual(['stop b/1', 'stop a/1', 'stop storage'])
  })

  test('stops what has started when another fails', async () => {
    events.length = 0
    const config = { crdts: [crdt(), crdt()], storage: storage(), transports: [] }
    await expect(startPlugins(config, context)).rejects.toMatchObject(code('CONFIG_INVALID', 'both provide "a/1"'))
    expect(events).toEqual(['stop a/1', 'stop a/1', 'stop storage'])
  })
})

describe('disposeAll', () => {
  const part = (name: string, error?: Error): AsyncDisposable => ({
    async [Symbol.asyncDispose]() {
      events.push(name)
      if (error !== undefined) throw error
    }
  })

  test('disposes of all in reverse, and throws what failed', async () => {
    events.length = 0
    const [one, two] = [new Error('one'), new Error('two')]
    await disposeAll([])
    await expect(disposeAll([part('a'), part('b', one), part('c')])).rejects.toBe(one)
    expect(events).toEqual(['c', 'b', 'a'])
    const both = disposeAll([part('a', one), part('b', two), part('c')])
    await expect(both).rejects.toMatchObject(code('INTERNAL', '2 of 3'))
    await expect(both).rejects.toMatchObject({ cause: { errors: [two, one] } })
  })
})

describe('the context of a real process', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  test('has secure randomness of any length', () => {
    const bytes = context.random(200_000)
    expect(bytes.length).toBe(200_000)
    for (let start = 0; start < bytes.length; start += 50_000) {
      expect(new Set(bytes.subarray(start, start + 50_000)).size).toBe(256)
    }
    expect(context.random(32)).not.toEqual(context.random(32))
    expect(context.random(0)).toEqual(new Uint8Array(0))
  })

  test('fires a timer once and late enough, also one longer than setTimeout can hold', () => {
    vi.useFakeTimers()
    let fired = 0
    const longMs = 40 * 24 * 3600 * 1000
    context.clock.setTimer(longMs, () => {
      fired += 1
    })
    vi.advanceTimersByTime(longMs - 1)
    expect(fired).toBe(0)
    vi.advanceTimersByTime(1)
    expect(fired).toBe(1)
    vi.advanceTimersByTime(longMs)
    expect(fired).toBe(1)
  })

  test('cancels a timer, also a long one in its second part', () => {
    vi.useFakeTimers()
    const longMs = 40 * 24 * 3600 * 1000
    for (const [delayMs, waitedMs] of [
      [10, 5],
      [longMs, longMs - 5]
    ] as const) {
      const timer = context.clock.setTimer(delayMs, () => expect.unreachable('the timer was cancelled'))
      vi.advanceTimersByTime(waitedMs)
      timer[Symbol.dispose]()
      vi.advanceTimersByTime(longMs)
    }
    expect(vi.getTimerCount()).toBe(0)
  })

  test('takes signal, log and limits, and tells the time', () => {
    const controller = new AbortController()
    const lines: unknown[] = []
    const log: Context['log'] = (...line) => lines.push(line)
    const own = systemContext({ signal: controller.signal, log, limits: { frameBytesMax: 5 } })
    own.log('info', 'started', { port: 1 })
    controller.abort()
    expect(own.signal.aborted).toBe(true)
    expect(lines).toEqual([['info', 'started', { port: 1 }]])
    expect(own.limits.frameBytesMax).toBe(5)
    expect(context.signal.aborted).toBe(false)
    expect(Math.abs(context.clock.now() - Date.now())).toBeLessThan(1000)
    expect(() => context.log('error', 'nowhere')).not.toThrow()
  })
})
