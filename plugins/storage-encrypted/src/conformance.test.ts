import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { storageSuite } from '@heddle/conformance'
import { type BoundPlugin, resolvePlugin, systemContext } from '@heddle/core'
import { lmdbStorage } from '@heddle/storage-lmdb'
import { memoryStorage } from '@heddle/storage-memory'
import { afterAll, describe, it } from 'vitest'
import { encrypted } from './index.js'

const root = await mkdtemp(join(tmpdir(), 'heddle-encrypted-'))
afterAll(() => rm(root, { recursive: true }))

const key = new Uint8Array(32).fill(7)
const inners: Readonly<Record<string, (place: string) => BoundPlugin<'storage'>>> = {
  memory: () => memoryStorage(),
  lmdb: (place) => lmdbStorage({ path: join(root, place) })
}

for (const [name, inner] of Object.entries(inners)) {
  describe(`encrypted storage over ${name}`, () => {
    const checks = storageSuite({
      manifest: encrypted(inner('manifest'), { key }).plugin.manifest,
      open: async (place) =>
        (await resolvePlugin(encrypted(inner(place), { key }), 'storage', systemContext())).instance
    })
    for (const { id, title, run } of checks) it(`${id} ${title}`, run)
  })
}
