/** What a commit acknowledges is there: after the browser was closed, and after SIGKILL to it at any moment. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StorePage } from './pages/store.js'
import { missing, startChromium, titled } from './support/chromium.js'
import { call } from './support/remote.js'
import { type Site, serveSite } from './support/site.js'

/** Killed after this many acknowledgements: early, in the middle of groups, and after the logs have grown. */
const KILLS_AFTER = [1, 17, 150, 600]

describe.skipIf(missing !== undefined)(titled('IndexedDB storage over restarts of Chromium'), () => {
  let folder: string
  let site: Site
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-indexeddb-'))
    site = await serveSite('store.ts')
  }, 60_000)
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  test('holds what was committed before the browser was closed', async () => {
    const profile = join(folder, 'closed')
    {
      await using browser = await startChromium(profile)
      const page = await browser.open(site.url)
      await call<StorePage, 'open'>(page, 'open', 'kept')
      expect(await call<StorePage, 'put'>(page, 'put', [10, 200_000])).toEqual(['done', 'done'])
    }
    await using browser = await startChromium(profile)
    const page = await browser.open(site.url)
    await call<StorePage, 'open'>(page, 'open', 'kept')
    expect(await call<StorePage, 'size'>(page, 'size', 0)).toBe(10)
    expect(await call<StorePage, 'size'>(page, 'size', 1)).toBe(200_000)
  }, 60_000)

  test('asks the browser to write to the disk within each commit', async () => {
    await using browser = await startChromium(join(folder, 'strict'))
    const page = await browser.open(site.url)
    await call<StorePage, 'open'>(page, 'open', 'strict')
    expect(await call<StorePage, 'durabilities'>(page, 'durabilities')).toEqual(['strict', 'strict'])
  }, 60_000)

  test('holds every acknowledged batch whole after the browser was killed, and none is torn', async () => {
    const profile = join(folder, 'killed')
    const acknowledged = new Set<number>()
    let next = 0
    for (const kills of [...KILLS_AFTER, 0]) {
      await using browser = await startChromium(profile)
      const page = await browser.open(site.url)
      await call<StorePage, 'open'>(page, 'open', 'killed')
      const { whole, torn } = await call<StorePage, 'readBatches'>(page, 'readBatches')
      const found = new Set(whole)
      expect({ lost: [...acknowledged].filter((number) => !found.has(number)), torn }).toEqual({ lost: [], torn: [] })
      if (kills === 0) break

      next = Math.max(-1, ...whole) + 1
      await new Promise<void>((resolve) => {
        let seen = 0
        void browser.context
          .exposeFunction('acknowledged', (number: number) => {
            acknowledged.add(number)
            seen += 1
            if (seen === kills) resolve()
          })
          .then(() => call<StorePage, 'write'>(page, 'write', next))
      })
      await browser.kill()
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(KILLS_AFTER.reduce((sum, kills) => sum + kills, 0))
  }, 120_000)
})
