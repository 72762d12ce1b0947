/** Several tabs on one database: they see, respect and tell each other, and none keeps another from an upgrade. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { StorePage } from './pages/store.js'
import { type Chromium, missing, startChromium, titled } from './support/chromium.js'
import { call } from './support/remote.js'
import { type Site, serveSite } from './support/site.js'

const lost = { name: 'HeddleError', code: 'STORAGE_UNAVAILABLE' }

describe.skipIf(missing !== undefined)(titled('tabs of Chromium on one database'), () => {
  let folder: string
  let site: Site
  let browser: Chromium
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-indexeddb-'))
    site = await serveSite('store.ts')
    browser = await startChromium(folder)
  }, 60_000)
  afterEach(() => {
    expect(browser.errors).toEqual([])
  })
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]()
    await site?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function tabs(name: string): Promise<readonly [Page, Page]> {
    const pages = [await browser.open(site.url), await browser.open(site.url)] as const
    for (const page of pages) await call<StorePage, 'open'>(page, 'open', name)
    return pages
  }

  test('lose none of the changes that they compare and set at the same time', async () => {
    const pages = await tabs('counted')
    const conflicts = await Promise.all(pages.map((page) => call<StorePage, 'count'>(page, 'count', 60)))
    for (const page of pages) expect(await call<StorePage, 'counted'>(page, 'counted')).toBe(120)
    expect(conflicts.reduce((sum, count) => sum + count)).toBeGreaterThan(0)
  })

  test('are told what the other has committed, and not what failed or changed nothing', async () => {
    const [one, other] = await tabs('watched')
    await call<StorePage, 'watch'>(one, 'watch')
    expect(await call<StorePage, 'changeNothing'>(other, 'changeNothing')).toBe('STORAGE_CONFLICT')
    expect(await call<StorePage, 'put'>(other, 'put', [100_000_000])).toEqual([
      expect.stringContaining('CAPABILITY_MISSING')
    ])
    expect(await call<StorePage, 'put'>(other, 'put', [1])).toEqual(['done'])
    await expect.poll(() => call<StorePage, 'notices'>(one, 'notices')).toBe(1)
    expect(await call<StorePage, 'size'>(one, 'size', 0)).toBe(1)
  })

  test('do not keep a newer version of the app waiting, and say why they cannot go on', async () => {
    const [one, newer] = await tabs('upgraded')
    await call<StorePage, 'close'>(newer, 'close')
    await call<StorePage, 'openAs'>(newer, 'openAs', 'upgraded', 2, 'more')
    const upgrades = { ...lost, message: expect.stringContaining('another tab upgrades it; reload the page') }
    await expect(call<StorePage, 'size'>(one, 'size', 0)).rejects.toMatchObject(upgrades)
    await expect(call<StorePage, 'count'>(one, 'count', 1)).rejects.toMatchObject(upgrades)
    await call<StorePage, 'close'>(one, 'close')
    await expect(call<StorePage, 'size'>(one, 'size', 0)).rejects.toMatchObject({ code: 'STORAGE_CLOSED' })
    const older = { ...lost, message: expect.stringContaining('newer version of this app') }
    await expect(call<StorePage, 'open'>(one, 'open', 'upgraded')).rejects.toMatchObject(older)
  })

  test('let the database be deleted', async () => {
    const [one, other] = await tabs('deleted')
    await call<StorePage, 'close'>(other, 'close')
    await call<StorePage, 'remove'>(other, 'remove', 'deleted')
    const deletes = { ...lost, message: expect.stringContaining('another tab deletes it') }
    await expect(call<StorePage, 'size'>(one, 'size', 0)).rejects.toMatchObject(deletes)
  })

  test('give up opening when another does not let go, and do not stand in the way afterwards', async () => {
    const [holder, other] = await tabs('unrelated')
    await call<StorePage, 'hold'>(holder, 'hold', 'held')
    const late = { ...lost, message: expect.stringContaining('did not open within') }
    await expect(call<StorePage, 'open'>(other, 'open', 'held')).rejects.toMatchObject(late)
    await holder.close()
    await expect.poll(() => call<StorePage, 'closes'>(other, 'closes')).toBe(1)
    await call<StorePage, 'remove'>(other, 'remove', 'held')
    await call<StorePage, 'open'>(other, 'open', 'held')
  })
})
