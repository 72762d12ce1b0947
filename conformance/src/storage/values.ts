/** Single entries: what goes in comes out, whoever owns the arrays, within the bounds of the manifest. */
import type { Batch } from '@heddle/core'
import { ascii, type Check, expectCode, expectEqual, expectTrue, Seeded } from '../check.js'
import { dump, put, readAll, type StorageFactory, type StorageTrial, storageCheck } from './bench.js'

/** The core keeps whole snapshots as values. */
const VALUE_BYTES_NEEDED = 32 * 1024 * 1024
const KEY_BYTES_NEEDED = 256

export function valueChecks(factory: StorageFactory): Check[] {
  const check = (id: string, title: string, trial: StorageTrial) => storageCheck(factory, id, title, trial)
  const { keyBytesMax, valueBytesMax } = factory.manifest.supports
  return [
    check(
      'STORAGE-MANIFEST-001',
      'The manifest states every flag, and bounds that the core can work with',
      async () => {
        const { kind, supports } = factory.manifest
        expectEqual(kind, 'storage', 'the kind of the manifest')
        expectEqual([typeof supports.durable, typeof supports.multiProcess], ['boolean', 'boolean'], 'flags said')
        expectTrue(keyBytesMax >= KEY_BYTES_NEEDED, `keyBytesMax is at least ${KEY_BYTES_NEEDED}`, keyBytesMax)
        expectTrue(
          valueBytesMax >= VALUE_BYTES_NEEDED,
          `valueBytesMax is at least ${VALUE_BYTES_NEEDED}`,
          valueBytesMax
        )
      }
    ),

    check('STORAGE-GET-001', 'An absent key gives undefined, an empty value gives zero bytes', async (store) => {
      expectEqual(await store.get(ascii('a')), undefined, 'a key never put')
      await store.commit({ put: [put('a', ''), put('ab', 'x')] })
      expectEqual(await store.get(ascii('a')), new Uint8Array(0), 'an empty value')
      expectEqual(await store.get(ascii('aa')), undefined, 'a key between two others')
      expectEqual(await readAll(store), [put('a', ''), put('ab', 'x')], 'an empty value in a scan')
    }),

    check('STORAGE-GET-002', 'Keys and values of every byte come back, also out of larger arrays', async (store) => {
      const bytes = Uint8Array.from({ length: 300 }, (_, i) => i & 0xff)
      const entries = Array.from({ length: 256 }, (_, i) => ({
        key: bytes.subarray(i, i + 1),
        value: bytes.subarray(i, i + 40)
      }))
      await store.commit({ put: entries })
      for (const { key, value } of entries) expectEqual(await store.get(key), value, `the value of ${key}`)
      expectEqual(await readAll(store), entries, 'all of them in a scan')
    }),

    check('STORAGE-GET-003', 'What is read is a plain Uint8Array and belongs to the caller', async (store) => {
      await store.commit({ put: [put('k', 'value')] })
      const fromGet = await store.get(ascii('k'))
      const fromScan = (await readAll(store))[0]
      for (const bytes of [fromGet, fromScan?.key, fromScan?.value]) {
        expectEqual(
          bytes === undefined ? undefined : Object.getPrototypeOf(bytes) === Uint8Array.prototype,
          true,
          'plain'
        )
        bytes?.fill(0)
      }
      expectEqual(await readAll(store), [put('k', 'value')], 'the store after the results were overwritten')
    }),

    check('STORAGE-OWN-001', 'Arguments are not changed, and are not kept once a commit has settled', async (store) => {
      const seeded = new Seeded(1)
      const [key, other, gte, lt] = [seeded.bytes(8), seeded.bytes(8), ascii('m'), ascii('n')]
      const value = seeded.bytes(5000)
      const batch: Batch = {
        expect: [{ key, value: undefined }],
        delRange: [{ gte, lt }],
        del: [other],
        put: [{ key, value }]
      }
      const before = [key, other, gte, lt, value].map((bytes) => bytes.slice())
      await store.commit(batch)
      await store.get(key)
      for await (const page of store.scan({ gte, lt }))
        expectTrue(page.length > 0, 'a page that is not empty', page.length)
      expectEqual([key, other, gte, lt, value], before, 'the arguments after the calls')
      for (const bytes of [key, other, gte, lt, value]) bytes.fill(0)
      expectEqual(await readAll(store), [{ key: before[0], value: before[4] }], 'the store after they were overwritten')
    }),

    check('STORAGE-OWN-002', 'The bounds of a scan may be overwritten while it runs', async (store) => {
      const entries = Array.from({ length: 1000 }, (_, i) => put(`k${String(i).padStart(4, '0')}`))
      await store.commit({ put: entries })
      const [gte, lt] = [ascii('k'), ascii('l')]
      const seen: unknown[] = []
      for await (const page of store.scan({ gte, lt })) {
        seen.push(...page)
        gte.fill(0xff)
        lt.fill(0)
      }
      expectEqual(seen.length, entries.length, 'entries seen')
    }),

    check('STORAGE-KEY-001', 'Keys of 1 to keyBytesMax bytes are kept apart by their last bit', async (store) => {
      const longest = (last: number) => new Uint8Array(keyBytesMax).fill(0xff).with(keyBytesMax - 1, last)
      const keys = [Uint8Array.of(0), Uint8Array.of(0, 0), Uint8Array.of(0xff), longest(0xfe), longest(0xff)]
      await store.commit({ put: keys.map((key, i) => ({ key, value: Uint8Array.of(i) })) })
      for (const [i, key] of keys.entries()) expectEqual(await store.get(key), Uint8Array.of(i), `key ${i}`)
      const lt = new Uint8Array(keyBytesMax + 1).fill(0xff)
      const found = await readAll(store, { gte: new Uint8Array(0), lt })
      expectEqual(
        found.map(({ value }) => value[0]),
        [0, 1, 2, 3, 4],
        'their order'
      )
      await store.commit({ del: [longest(0xff)] })
      expectEqual((await readAll(store, { gte: new Uint8Array(0), lt })).length, 4, 'entries left')
    }),

    check('STORAGE-KEY-002', 'A key that is empty or too long is refused and nothing changes', async (store) => {
      await store.commit({ put: [put('a')] })
      const before = await dump(store)
      const fine = put('b')
      const value = ascii('v')
      for (const key of [new Uint8Array(0), new Uint8Array(keyBytesMax + 1), new Uint8Array(100_000)]) {
        const what = `a key of ${key.length} bytes in`
        await expectCode(() => store.get(key), 'CAPABILITY_MISSING', `${what} get`)
        await expectCode(() => store.commit({ put: [fine, { key, value }] }), 'CAPABILITY_MISSING', `${what} put`)
        await expectCode(() => store.commit({ put: [fine], del: [key] }), 'CAPABILITY_MISSING', `${what} del`)
        const expect = [{ key, value: undefined }]
        await expectCode(() => store.commit({ expect, put: [fine] }), 'CAPABILITY_MISSING', `${what} expect`)
      }
      expectEqual(await dump(store), before, 'the store afterwards')
    }),

    check('STORAGE-VALUE-001', 'A large value comes back whole', async (store) => {
      const value = new Uint8Array(VALUE_BYTES_NEEDED)
      for (let i = 0; i < value.length; i += 4093) value[i] = i & 0xff
      await store.commit({ put: [{ key: ascii('large'), value }, put('small')] })
      const isSame = (bytes: Uint8Array | undefined) =>
        bytes !== undefined && bytes.length === value.length && bytes.every((byte, i) => byte === value[i])
      expectTrue(isSame(await store.get(ascii('large'))), 'the value from get', 'another')
      const entries = await readAll(store)
      expectTrue(isSame(entries[0]?.value), 'the value from a scan', 'another')
      await store.commit({ put: [put('large', 'now small')] })
      expectEqual(await store.get(ascii('large')), ascii('now small'), 'the value that replaced it')
    }),

    check('STORAGE-VALUE-002', 'A value above valueBytesMax is refused with its whole batch', async (store) => {
      const value = new Uint8Array(valueBytesMax + 1)
      const action = () => store.commit({ put: [put('a'), { key: ascii('b'), value }] })
      await expectCode(action, 'CAPABILITY_MISSING', 'a value too large')
      expectEqual(await dump(store), {}, 'the store afterwards')
    })
  ]
}
