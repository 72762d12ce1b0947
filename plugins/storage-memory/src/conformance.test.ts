import { type StorageFactory, storageSuite } from '@heddle/conformance'
import { type Storage, systemContext } from '@heddle/core'
import { describe, it } from 'vitest'
import memoryStorage, { MemoryDisk } from './index.js'

const open = (shared?: MemoryDisk): Promise<Storage> =>
  memoryStorage.create(shared === undefined ? {} : { shared }, systemContext())

const own: StorageFactory = { manifest: memoryStorage.manifest, open: () => open() }

const disks = new Map<string, MemoryDisk>()
const onDisk: StorageFactory = {
  manifest: { ...memoryStorage.manifest, supports: { ...memoryStorage.manifest.supports, durable: true } },
  open(place) {
    const disk = disks.get(place) ?? new MemoryDisk()
    disks.set(place, disk)
    return open(disk)
  }
}

describe('memory storage', () => {
  for (const { id, title, run } of storageSuite(own)) it(`${id} ${title}`, run)
})

describe('memory storage on a disk that outlives it', () => {
  for (const { id, title, run } of storageSuite(onDisk)) it(`${id} ${title}`, run)
})
