/** What a browser gets: a bundle with nothing of Node in it, and errors that say what a browser can know. */
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { build } from 'vite'
import { WebSocket } from 'ws'
import { websocket } from '../src/browser.js'
import { parseOptions } from '../src/options.js'
import { type WebSocketConstructor, type WebSocketLike, connectWeb } from '../src/socket/web.js'
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

  it('waits for a full send buffer to drain, by asking again', async () => {
    await using host = await testHost()
    const listener = await host.listen()
    let buffered = 0
    class Slow extends WebSocket {
      constructor(...args: ConstructorParameters<typeof WebSocket>) {
        super(...args)
        Object.defineProperty(this, 'bufferedAmount', { get: () => buffered })
      }
    }
    const never = new AbortController().signal
    const socket = await connectWeb(
      Slow as unknown as WebSocketConstructor,
      systemClock,
      addressOf(listener),
      'heddle.1',
      never
    )
    const drained = new Promise<void>((resolve) =>
      socket.attach({ message: () => {}, drained: resolve, closed: () => {} })
    )
    buffered = 300_000
    expect(socket.send(new Uint8Array(10))).toBe(false)
    buffered = 1000
    await drained
    socket.terminate()
  })

  it.each([
    ['a text message', 'hello'],
    ['a message above 256 KiB', new ArrayBuffer(256 * 1024 + 1)]
  ])('ends the connection over %s', async (_, data) => {
    const listeners = new Map<string, (event: never) => void>()
    const ws: WebSocketLike = {
      binaryType: '',
      bufferedAmount: 0,
      readyState: 1,
      send: () => {},
      close: () => {},
      addEventListener: (type: string, listener: (event: never) => void) => void listeners.set(type, listener)
    }
    const Constructor = function FakeWebSocket() {
      return ws
    } as unknown as WebSocketConstructor
    const connecting = connectWeb(Constructor, systemClock, 'ws://x', 'heddle.1', new AbortController().signal)
    listeners.get('open')?.({} as never)
    const socket = await connecting
    const end = new Promise((closed) => socket.attach({ message: () => {}, drained: () => {}, closed }))
    listeners.get('message')?.({ data } as never)
    expect(await end).toMatchObject({ code: 4400, cause: { code: 'MALFORMED' } })
  })
})

describe('TLS', () => {
  it('carries a connection on wss, and the name is still the dialled one', async () => {
    const { readFile } = await import('node:fs/promises')
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
