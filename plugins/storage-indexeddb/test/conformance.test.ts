/** The storage suite, every check in a real browser. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { storageSuite } from '@heddle/conformance'
import indexedDbStorage from '@heddle/storage-indexeddb'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SuitePage } from './pages/suite.js'
import { type Chromium, missing, startChromium, titled } from './support/chromium.js'
import { call } from './support/remote.js'
import { type Site, serveSite } from './support/site.js'

describe.skipIf(missing !== undefined)(titled('IndexedDB storage in Chromium'), () => {
  let folder: string
  let site: Site
  let browser: Chromium
  let page: Page
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-indexeddb-'))
    site = await serveSite('suite.ts')
    browser = await startChromium(folder)
    page = await browser.open(site.url)
  }, 60_000)
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]()
    await site?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  // The ids and titles are those of the page's own suite, which alone opens anything.
  const checks = storageSuite({
    manifest: indexedDbStorage.manifest,
    open: () => Promise.reject(new Error('this suite runs in the browser'))
  })
  it.each(checks.map(({ id, title }) => [id, title] as const))(
    '%s %s',
    async (id) => {
      await call<SuitePage, 'run'>(page, 'run', id)
      expect(browser.errors).toEqual([])
    },
    60_000
  )
})
