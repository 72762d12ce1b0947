/** What a browser gets: a bundle with nothing of Node in it, and errors that say what a browser can know. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Clock } from '@heddle/core'
import { createVirtualClock } from '@heddle/transport-memory'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { build } from 'vite'
import { websocket } from '../src/browser.js'
import { parseOptions } from '../src/options.js'
import { connectWeb, type WebSocketConstructor } from '../src/socket/web.js'
import { systemClock, testContext } from './context.js'
import { addressOf, nextOf, testHost } from './host.js'
import { identity } from './identities.js'

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('the browser build', () => {
  it('contains neither ws nor anything of Node', async () => {
    const entry = fileURLToPath(new URL('../src/browser.ts', import.meta.url))
    const built = await build({
      configFile: false,
      logLevel: 'silent',
      build: {
        write: false,
        minify: false,
        lib: { entry, formats: ['es'], fileName: 'browser' },
        rollupOptions: { external: ['@heddle/core'] }
      }
    })
    const output = [built].flat().flatMap((result) => ('output' in result ? result.output : []))
    const chunks = output.filter((part) => part.type === 'chunk')
    expect(chunks.flatMap((chunk) => chunk.imports)).toEqual(['@heddle/core'])
    const modules = chunks.flatMap((chunk) => Object.keys(chunk.modules))
    expect(modules.filter((id) => /node_modules\/ws\/|^node:|vite-browser-external/.test(id))).toEqual([])
    expect(modules.some((id) => id.endsWith('src/socket/web.ts'))).toBe(true)
  })

  it('is what the package gives to a bundler for browsers', async () => {
    const entry = fileURLToPath(new URL('./fixtures/app.ts', import.meta.url))
    const built = await build({
      configFile: false,
      logLevel: 'silent',
      resolve: { conditions: ['source', 'browser', 'module', 'import'] },
      build: {
        write: false,
        lib: { entry, formats: ['es'], fileName: 'app' },
        rollupOptions: { external: ['@heddle/core'] }
      }
    })
    const chunks = [built].flat().flatMap((result) => ('output' in result ? result.output : []))
    const modules = chunks.flatMap((chunk) => (chunk.type === 'chunk' ? Object.keys(chunk.modules) : []))
    expect(modules.some((id) => id.endsWith('transport-websocket/src/browser.ts'))).toBe(true)
    expect(modules.filter((id) => /node_modules\/ws\//.test(id))).toEqual([])
  })

  it('says so where there is no WebSocket', async () => {
    vi.stubGlobal('WebSocket', undefined)
    await expect(websocket.create(parseOptions({}), testContext())).rejects.toMatchObject({
      code: 'CAPABILITY_MISSING'
    })
  })

  it('asks a full send buffer again until it has drained', async () => {
    const clock = createVirtualClock(0)
    const { socket, ws } = await fakeSocket(clock)
    let drains = 0
    socket.attach({ message: () => {}, drained: () => drains++, closed: () => {} })
    ws.bufferedAmount = 256 * 1024
    expect(socket.send(new Uint8Array(10))).toBe(false)
    await clock.run({ untilMs: 100 })
    expect(drains).toBe(0)
    ws.bufferedAmount = 1000
    await clock.run({ untilMs: 104 })
    expect([drains, clock.pending]).toEqual([1, 0])
    expect(socket.send(new Uint8Array(10))).toBe(true)
  })

  it.each([
    ['a text message', 'hello'],
    ['a message above 256 KiB', new ArrayBuffer(256 * 1024 + 1)]
  ])('ends the connection over %s', async (_, data) => {
    const { socket, emit } = await fakeSocket(systemClock)
    const end = new Promise((closed) => socket.attach({ message: () => {}, drained: () => {}, closed }))
    emit('message', { data })
    expect(await end).toMatchObject({ code: 4400, cause: { code: 'MALFORMED' } })
  })
})

/** A socket on a WebSocket whose buffer and events the test makes up; no server can be made to fill one on cue. */
async function fakeSocket(clock: Clock) {
  const listeners = new Map<string, (event: object) => void>()
  const emit = (type: string, event: object) => listeners.get(type)?.(event)
  const ws = {
    binaryType: '',
    bufferedAmount: 0,
    readyState: 1,
    send: () => {},
    close: () => {},
    addEventListener: (type: string, listener: (event: never) => void) =>
      void listeners.set(type, listener as (event: object) => void)
  }
  const Constructor = function FakeWebSocket() {
    return ws
  } as unknown as WebSocketConstructor
  const connecting = connectWeb(Constructor, clock, 'ws://x', 'heddle.1', new AbortController().signal)
  emit('open', {})
  return { socket: await connecting, ws, emit }
}

describe('TLS', () => {
  it('carries a connection on wss, and the name is still the dialled one', async () => {
    const pem = (name: string) => readFile(new URL(`./fixtures/${name}.pem`, import.meta.url), 'utf8')
    const tls = { key: await pem('key'), cert: await pem('cert'), ca: await pem('cert') }
    await using host = await testHost({ tls, names: ['localhost'] })
    const listener = await host.listen('wss://localhost:0')
    const connection = await host.dial(addressOf(listener))
    expect((await nextOf(listener.connections)).peer).toEqual(identity(1).publicKey)
    expect(connection.peer).toEqual(identity(2).publicKey)

    await using distrustful = await testHost()
    await expect(distrustful.dial(addressOf(listener))).rejects.toMatchObject({
      code: 'TRANSPORT_UNREACHABLE',
      message: expect.stringContaining('certificate')
    })
  })
})
