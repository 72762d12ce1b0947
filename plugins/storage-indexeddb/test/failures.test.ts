/** What an app meets when the browser does not do as it should: a typed error that says what to do, never a hang. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { resolvePlugin, systemContext } from '@heddle/core'
import indexedDbStorage from '@heddle/storage-indexeddb'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StorePage } from './pages/store.js'
import { type Chromium, missing, startChromium, titled } from './support/chromium.js'
import { call } from './support/remote.js'
import { type Site, serveSite } from './support/site.js'

describe('in Node', () => {
  test('it can be imported, and says where it runs when it is started', async () => {
    await expect(indexedDbStorage.create({ name: 'x' }, systemContext())).rejects.toMatchObject({
      code: 'CAPABILITY_MISSING',
      message: expect.stringContaining('@heddle/storage-lmdb')
    })
  })

  test('it says which option is wrong', () => {
    for (const [options, message] of [
      [{}, '"name"'],
      [{ name: '' }, '"name"'],
      [{ name: 7 }, '"name"'],
      [{ name: 'x', path: '.' }, '"path"']
    ] as const) {
      expect(indexedDbStorage.options['~standard'].validate(options)).toEqual({
        issues: [{ message: expect.stringContaining(message) }]
      })
    }
  })

  test('the core does not start it', async () => {
    const starting = resolvePlugin(indexedDbStorage({ name: 'x' }), 'storage', systemContext())
    await expect(starting).rejects.toMatchObject({ code: 'CAPABILITY_MISSING' })
  })
})

describe.skipIf(missing !== undefined)(titled('in Chromium'), () => {
  let folder: string
  let site: Site
  let browser: Chromium
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-indexeddb-'))
    site = await serveSite('store.ts')
    browser = await startChromium(folder)
  }, 60_000)
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]()
    await site?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function tab(name: string): Promise<Page> {
    const page = await browser.open(site.url)
    await call<StorePage, 'open'>(page, 'open', name)
    return page
  }
  const origin = () => new URL(site.url).origin

  test('a batch beyond the quota fails alone, and says what helps', async () => {
    const page = await tab('quota')
    const session = await browser.context.newCDPSession(page)
    await session.send('Storage.overrideQuotaForOrigin', { origin: origin(), quotaSize: 4_000_000 })
    expect(await call<StorePage, 'put'>(page, 'put', [1000, 12_000_000, 2000])).toEqual([
      'done',
      expect.stringMatching(/^STORAGE_UNAVAILABLE: .*QuotaExceededError.*free space/),
      'done'
    ])
    expect(await call<StorePage, 'size'>(page, 'size', 1)).toBeUndefined()
    expect(await call<StorePage, 'size'>(page, 'size', 2)).toBe(2000)
    await session.send('Storage.overrideQuotaForOrigin', { origin: origin() })
    expect(await call<StorePage, 'put'>(page, 'put', [1, 12_000_000])).toEqual(['done', 'done'])
  })

  test('a request that the browser refuses fails its batch alone, and is named', async () => {
    const page = await tab('refused')
    await call<StorePage, 'put'>(page, 'put', [10])
    expect(await call<StorePage, 'putOnce'>(page, 'putOnce', [20, 30])).toEqual([
      expect.stringMatching(/^STORAGE_UNAVAILABLE: .*ConstraintError/),
      'done'
    ])
    expect(await call<StorePage, 'size'>(page, 'size', 0)).toBe(10)
  })

  test('site data deleted by the user ends the storage, without an error that nobody handles', async () => {
    const page = await tab('cleared')
    const session = await browser.context.newCDPSession(page)
    const gone = { code: 'STORAGE_UNAVAILABLE', message: expect.stringContaining('reload the page') }
    const failed = Promise.all([
      expect(call<StorePage, 'count'>(page, 'count', 200)).rejects.toMatchObject(gone),
      expect(call<StorePage, 'read'>(page, 'read')).rejects.toMatchObject(gone)
    ])
    await session.send('Storage.clearDataForOrigin', { origin: origin(), storageTypes: 'indexeddb' })
    await failed
    await expect(call<StorePage, 'size'>(page, 'size', 0)).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining('the browser ended the connection')
    })
    expect(browser.errors).toEqual([])
  })

  test('a database of something else is left alone', async () => {
    const page = await browser.open(site.url)
    await call<StorePage, 'openAs'>(page, 'openAs', 'foreign', 1, 'todos')
    await expect(call<StorePage, 'open'>(page, 'open', 'foreign')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('a name of its own')
    })
  })

  test('a value that is no bytes is damage, to reads and to expectations', async () => {
    const page = await tab('spoiled')
    await call<StorePage, 'spoil'>(page, 'spoil', 'spoiled')
    const corrupt = { code: 'STORAGE_CORRUPT' }
    await expect(call<StorePage, 'size'>(page, 'size', 1)).rejects.toMatchObject(corrupt)
    await expect(call<StorePage, 'readBatches'>(page, 'readBatches')).rejects.toMatchObject(corrupt)
    expect(await call<StorePage, 'size'>(page, 'size', 0)).toBeUndefined()
  })

  test('a page of a scan ends at 1 MiB, and a larger value has one to itself', async () => {
    const page = await tab('pages')
    await call<StorePage, 'put'>(page, 'put', [400_000, 400_000, 400_000, 3_000_000, 10, 20])
    expect(await call<StorePage, 'pages'>(page, 'pages', false)).toEqual([800_000, 400_000, 3_000_000, 30])
    expect(await call<StorePage, 'pages'>(page, 'pages', true)).toEqual([30, 3_000_000, 800_000, 400_000])
  })

  test('a store that the browser may evict is warned of', async () => {
    const page = await tab('evictable')
    expect(await call<StorePage, 'logged'>(page, 'logged')).toEqual(['warn indexeddb.evictable'])
  })
})
