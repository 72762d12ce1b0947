import { memoryStorage } from '@heddle/storage-memory'
import { describe, expect, it } from 'vitest'
import { HeddleError } from '../errors.js'
import { type Batch, type Storage, systemContext } from '../plugin/index.js'
import { gate, settled } from './testing/expect.js'
import { Writer } from './writer.js'

const fence = { key: Uint8Array.of(2), value: Uint8Array.of(9) }
const entry = (key: number, value = key) => ({ key: Uint8Array.of(50, key), value: Uint8Array.of(value) })

async function setUp(before?: (batch: Batch) => void | Promise<void>) {
  const batches: Batch[] = []
  const storage: Storage = await memoryStorage.create(
    {
      onCommit: (batch) => {
        batches.push(batch)
        return before?.(batch)
      }
    },
    systemContext()
  )
  await storage.commit({ put: [fence] })
  batches.length = 0
  return { storage, batches, writer: new Writer(storage, fence) }
}

describe('the writer', () => {
  it('stores what gathers during a commit in one, and tells in order', async () => {
    const held = gate()
    const { writer, batches } = await setUp((batch) => (batch.expect === undefined ? undefined : held.passed))
    const told: string[] = []
    const write = (name: string, key: number) =>
      writer.write({ put: [entry(key)] }, () => told.push(`durable ${name}`)).then(() => told.push(`resolved ${name}`))
    const writes = [write('a', 1), write('b', 2), write('c', 3)]
    await settled()
    expect(told).toEqual([])
    expect(writer.queuedBytes).toBe(9)
    held.open()
    await Promise.all(writes)
    expect(batches.map(({ put }) => put?.length)).toEqual([1, 2])
    expect(told).toEqual(['durable a', 'resolved a', 'durable b', 'durable c', 'resolved b', 'resolved c'])
    expect(writer.queuedBytes).toBe(0)
  })

  it('never lets a later deletion undo an earlier write of the same round, nor the other way round', async () => {
    const { writer, storage, batches } = await setUp()
    await writer.write({ put: [entry(1)] })
    batches.length = 0
    const range = { gte: Uint8Array.of(50), lt: Uint8Array.of(51) }
    await Promise.all([
      writer.write({ put: [entry(7)] }),
      writer.write({ put: [entry(2)] }),
      writer.write({ delRange: [range], put: [entry(3)] }),
      writer.write({ put: [entry(4)] }),
      writer.write({ del: [entry(4).key] }),
      writer.write({ put: [entry(4, 44)] })
    ])
    const found: number[][] = []
    for await (const page of storage.scan(range))
      for (const { key, value } of page) found.push([key[1] ?? 0, value[0] ?? 0])
    expect(found).toEqual([
      [3, 3],
      [4, 44]
    ])
    expect(batches.length).toBe(4)
  })

  it('has every batch expect its owner, and fails for good when there is another', async () => {
    const { writer, storage } = await setUp()
    await writer.write({ put: [entry(1)] })
    await storage.commit({ put: [{ key: fence.key, value: Uint8Array.of(10) }] })
    let told = false
    const write = writer.write({ put: [entry(2)] }, () => {
      told = true
    })
    await expect(write).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
    expect((await writer.failed).message).toContain('another server process')
    await expect(writer.write({ put: [entry(3)] })).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' })
    expect(told).toBe(false)
    expect(await storage.get(entry(2).key)).toBeUndefined()
  })

  it('refuses everything under way and to come when a commit fails', async () => {
    const held = gate()
    let fails = false
    const { writer } = await setUp(async () => {
      if (!fails) return
      await held.passed
      throw new Error('disk on fire')
    })
    fails = true
    const outcomes = Promise.allSettled([writer.write({ put: [entry(1)] }), writer.write({ put: [entry(2)] })])
    held.open()
    for (const outcome of await outcomes)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'STORAGE_UNAVAILABLE' } })
    expect(HeddleError.is(await writer.failed, 'STORAGE_UNAVAILABLE')).toBe(true)
  })

  it('finishes what it took when it is closed, and takes no more', async () => {
    const held = gate()
    const { writer, storage } = await setUp((batch) => (batch.expect === undefined ? undefined : held.passed))
    const write = writer.write({ put: [entry(1)] })
    const second = writer.write({ put: [entry(2)] })
    const closing = writer.close()
    await expect(writer.write({ put: [entry(3)] })).rejects.toMatchObject({ code: 'GOING_AWAY' })
    held.open()
    await Promise.all([closing, write, second])
    expect(await storage.get(entry(2).key)).toEqual(Uint8Array.of(2))
  })
})
