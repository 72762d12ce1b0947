/** A whole device in the browser: it creates a document on real servers, is reloaded without them, and another reads it. */
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatTicket, openDevice, type Server, startPlugins, startServer, systemContext } from '@heddle/core'
import { yjs } from '@heddle/crdt-yjs'
import { memoryStorage } from '@heddle/storage-memory'
import { websocket } from '@heddle/transport-websocket'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type * as Y from 'yjs'
import type { EditorPage } from './pages/editor.js'
import { type Chromium, missing, startChromium, titled } from './support/chromium.js'
import { call } from './support/remote.js'
import { type Site, serveSite } from './support/site.js'

describe.skipIf(missing !== undefined)(titled('a device in Chromium'), () => {
  let folder: string
  let site: Site
  let browser: Chromium
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-editor-'))
    site = await serveSite('editor.ts')
    browser = await startChromium(join(folder, 'profile'))
  }, 60_000)
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]()
    await site?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  test('its bundle has nothing of Node and nothing for servers only', () => {
    expect(
      site.modules.filter((id) => /node_modules\/ws\/|^node:|vite-browser-external|crypto\/node\.ts/.test(id))
    ).toEqual([])
    expect(site.modules.some((id) => id.endsWith('core/src/crypto/web.ts'))).toBe(true)
  })

  test('writes a document, finds it after a reload without servers, and shares it', async () => {
    await using servers = await startServers()
    const page = await browser.open(site.url)
    const id = await call<EditorPage, 'create'>(page, 'create', servers.tickets)
    await page.locator('textarea').pressSequentially('Written in a browser')
    await call<EditorPage, 'settled'>(page, 'settled', 'safe')

    await servers.stop()
    await page.reload()
    expect(await call<EditorPage, 'reopen'>(page, 'reopen')).toEqual({ ids: [id], text: 'Written in a browser' })
    await page.locator('textarea').press('Control+End')
    await page.locator('textarea').pressSequentially(', also offline')
    await call<EditorPage, 'settled'>(page, 'settled', 'stored')
    expect(await call<EditorPage, 'connection'>(page, 'connection')).toBe('offline')

    await servers.start()
    await call<EditorPage, 'settled'>(page, 'settled', 'safe')
    const link = await call<EditorPage, 'invite'>(page, 'invite')
    await using plugins = await nodePlugins()
    await using reader = await openDevice(plugins)
    const copy = await reader.join(link)
    const text = (copy.native as Y.Doc).getText('text')
    await expect.poll(() => text.toString()).toBe('Written in a browser, also offline')

    text.insert(0, 'Read. ')
    await expect.poll(() => page.locator('textarea').inputValue()).toBe('Read. Written in a browser, also offline')
    const picture = join(folder, 'editor.png')
    await page.screenshot({ path: picture })
    expect((await stat(picture)).size).toBeGreaterThan(1000)
    expect(await call<EditorPage, 'problems'>(page, 'problems')).toEqual([])
  }, 90_000)

  test('belongs to the tab that opened it last, and the one before says so', async () => {
    await using servers = await startServers()
    await using other = await startChromium(join(folder, 'two-tabs'))
    const first = await other.open(site.url)
    await call<EditorPage, 'create'>(first, 'create', servers.tickets)
    await first.locator('textarea').pressSequentially('one')
    await call<EditorPage, 'settled'>(first, 'settled', 'safe')

    const second = await other.open(site.url)
    expect(await call<EditorPage, 'reopen'>(second, 'reopen')).toMatchObject({ text: 'one' })
    await first.locator('textarea').pressSequentially(' lost')
    await expect
      .poll(() => call<EditorPage, 'problems'>(first, 'problems'))
      .toContainEqual(expect.stringMatching(/^STORAGE_CONFLICT: another process has opened the storage/))
    await second.locator('textarea').press('Control+End')
    await second.locator('textarea').pressSequentially(' two')
    await call<EditorPage, 'settled'>(second, 'settled', 'safe')
    await second.reload()
    expect(await call<EditorPage, 'reopen'>(second, 'reopen')).toMatchObject({ text: 'one two' })
  }, 90_000)

  test('is handed on from tab to tab by a lock of the browser, and loses nothing', async () => {
    await using servers = await startServers()
    await using other = await startChromium(join(folder, 'locked'))
    const first = await other.open(`${site.url}#one-tab`)
    await call<EditorPage, 'create'>(first, 'create', servers.tickets)
    const second = await other.open(`${site.url}#one-tab`)
    const reopened = call<EditorPage, 'reopen'>(second, 'reopen')
    await expect.poll(() => second.evaluate(async () => (await navigator.locks.query()).pending?.length)).toBe(1)
    await first.locator('textarea').pressSequentially('one after the other')
    await call<EditorPage, 'settled'>(first, 'settled', 'stored')
    expect(await call<EditorPage, 'problems'>(first, 'problems')).toEqual([])
    await first.close()
    expect(await reopened).toMatchObject({ text: 'one after the other' })
  }, 90_000)
})

/** Storage in memory, WebSocket and yjs, in the shape that devices and servers take. */
async function nodePlugins() {
  const context = systemContext()
  const running = await startPlugins({ crdts: [yjs()], storage: memoryStorage(), transports: [websocket()] }, context)
  return {
    context,
    storage: running.storage.instance,
    transports: running.transports.map(({ instance }) => instance),
    crdts: [...running.crdts.values()].map(({ instance }) => instance),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]()
  }
}

/** Three servers that can be stopped and started again with what they stored, on the same ports. */
async function startServers() {
  const hosts: { readonly plugins: Awaited<ReturnType<typeof nodePlugins>>; listen: string; server: Server }[] = []
  for (let i = 0; i < 3; i++) {
    const plugins = await nodePlugins()
    const server = await startServer({ ...plugins, listen: ['ws://127.0.0.1:0'] })
    hosts.push({ plugins, listen: server.addresses[0] ?? '', server })
  }
  return {
    tickets: hosts.map(({ listen, server }) => formatTicket(new URL(listen).href, server.id)),
    stop: async () => {
      for (const { server } of hosts) await server[Symbol.asyncDispose]()
    },
    start: async () => {
      for (const host of hosts) host.server = await startServer({ ...host.plugins, listen: [host.listen] })
    },
    async [Symbol.asyncDispose]() {
      for (const { server, plugins } of hosts) {
        await server[Symbol.asyncDispose]()
        await plugins[Symbol.asyncDispose]()
      }
    }
  }
}
