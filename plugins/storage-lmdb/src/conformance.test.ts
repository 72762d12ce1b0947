import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { storageSuite } from '@heddle/conformance'
import { systemContext } from '@heddle/core'
import { afterAll, describe, it } from 'vitest'
import lmdbStorage from './index.js'

const root = await mkdtemp(join(tmpdir(), 'heddle-lmdb-'))
afterAll(() => rm(root, { recursive: true }))

describe('lmdb storage', () => {
  const checks = storageSuite({
    manifest: lmdbStorage.manifest,
    open: (place) => lmdbStorage.create({ path: join(root, place) }, systemContext())
  })
  for (const { id, title, run } of checks) it(`${id} ${title}`, run)
})
