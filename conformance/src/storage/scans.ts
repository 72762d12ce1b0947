/** Ranges: order, bounds, pages, and what a scan may see of writes made meanwhile. */
import type { Entry } from '@heddle/core'
import { ascii, type Check, expectCode, expectEqual, expectTrue, hex, nextTurn, Seeded } from '../check.js'
import {
  everything,
  numberKey,
  numberOf,
  put,
  range,
  readAll,
  readKeys,
  type StorageFactory,
  type StorageTrial,
  storageCheck
} from './bench.js'

/** What one page may hold: a scan must not load a whole store at once. One entry may be larger. */
const PAGE_ENTRIES_BOUND = 1024
const PAGE_BYTES_BOUND = 4 * 1024 * 1024

export function scanChecks(factory: StorageFactory): Check[] {
  const check = (id: string, title: string, trial: StorageTrial) => storageCheck(factory, id, title, trial)
  return [
    check('STORAGE-SCAN-001', 'Keys come in the order of unsigned bytes, a prefix first', async (store) => {
      const seeded = new Seeded(2)
      const fixed = [
        '00',
        '0000',
        '0001',
        '01',
        '61',
        '6100',
        '6161',
        '62',
        '7f',
        '7fff',
        '80',
        '8000',
        'fe',
        'ff',
        'ff00',
        'ffff'
      ]
      const random = Array.from({ length: 500 }, () => hex(seeded.bytes(1 + seeded.below(6))))
      // Of one length or not, hexadecimal text sorts as the bytes do.
      const sorted = [...new Set([...fixed, ...random])].sort()
      const entries = seeded.shuffled(sorted).map((text) => ({ key: fromHex(text), value: ascii(text) }))
      await store.commit({ put: entries })
      const order = async (reverse: boolean) =>
        (await readAll(store, { ...everything, reverse })).map(({ key }) => hex(key))
      expectEqual(await order(false), sorted, 'the order of a scan')
      expectEqual(await order(true), sorted.toReversed(), 'the order of a reverse scan')
    }),

    check(
      'STORAGE-SCAN-002',
      'A range has its first bound and not its last, whether they are stored or not',
      async (store) => {
        await store.commit({ put: ['a', 'b', 'ba', 'c', 'd'].map((key) => put(key)) })
        const cases: readonly [gte: string, lt: string, expected: string[]][] = [
          ['b', 'd', ['b', 'ba', 'c']],
          ['aa', 'bz', ['b', 'ba']],
          ['b', 'b\0', ['b']],
          ['b\0', 'c', ['ba']],
          ['', 'b', ['a']],
          ['c', 'z', ['c', 'd']],
          ['e', 'z', []],
          ['b', 'b', []],
          ['d', 'a', []],
          ['a', '', []],
          ['', '', []]
        ]
        for (const [gte, lt, expected] of cases) {
          const what = `the range from "${gte}" to "${lt}"`
          expectEqual(await readKeys(store, range(gte, lt)), expected, what)
          expectEqual(
            await readKeys(store, range(gte, lt, { reverse: true })),
            expected.toReversed(),
            `${what}, reverse`
          )
        }
      }
    ),

    check('STORAGE-SCAN-003', 'A bound may be longer than any key', async (store) => {
      const { keyBytesMax } = factory.manifest.supports
      const longest = new Uint8Array(keyBytesMax).fill(0x62)
      const beyond = new Uint8Array(keyBytesMax + 50).fill(0x62)
      await store.commit({ put: [put('a'), { key: longest, value: ascii('l') }, put('c')] })
      const count = async (gte: Uint8Array, lt: Uint8Array, reverse: boolean) =>
        (await readAll(store, { gte, lt, reverse })).length
      for (const reverse of [false, true]) {
        expectEqual(await count(ascii('a'), beyond, reverse), 2, 'keys before a long bound')
        expectEqual(await count(beyond, ascii('z'), reverse), 1, 'keys after a long bound')
      }
      await store.commit({ delRange: [{ gte: beyond, lt: ascii('z') }] })
      expectEqual((await readAll(store)).length, 2, 'entries left when those after a long bound are deleted')
      await store.commit({ delRange: [{ gte: ascii('b'), lt: beyond }] })
      expectEqual(await readKeys(store), ['a'], 'entries left when those before a long bound are deleted')
    }),

    check('STORAGE-SCAN-004', 'A limit counts entries over all pages, in both directions', async (store) => {
      const total = 1500
      await store.commit({ put: numbered(0, total) })
      for (const limit of [0, 1, 255, 256, 257, 1000, total, total + 1]) {
        const ascending = await readAll(store, { ...everything, limit })
        const expected = Array.from({ length: Math.min(limit, total) }, (_, i) => i)
        expectEqual(
          ascending.map(({ key }) => numberOf(key)),
          expected,
          `limit ${limit}`
        )
        const descending = await readAll(store, { ...everything, limit, reverse: true })
        expectEqual(
          descending.map(({ key }) => numberOf(key)),
          expected.map((i) => total - 1 - i),
          `limit ${limit}, reverse`
        )
      }
    }),

    check('STORAGE-SCAN-005', 'A long scan comes in pages of bounded size, none empty', async (store) => {
      const total = 5000
      await store.commit({ put: numbered(0, total, 2000) })
      for (const reverse of [false, true]) {
        const seen: number[] = []
        for await (const page of store.scan({ ...everything, reverse })) {
          const bytes = page.reduce((sum, { key, value }) => sum + key.length + value.length, 0)
          expectTrue(page.length >= 1 && page.length <= PAGE_ENTRIES_BOUND, 'entries of a page', page.length)
          expectTrue(bytes <= PAGE_BYTES_BOUND, `bytes of a page are at most ${PAGE_BYTES_BOUND}`, bytes)
          seen.push(...page.map(({ key }) => numberOf(key)))
        }
        const ascending = Array.from({ length: total }, (_, i) => i)
        expectEqual(seen, reverse ? ascending.toReversed() : ascending, 'keys seen')
      }
      for await (const page of store.scan({ gte: ascii('z'), lt: ascii('zz') })) {
        expectEqual(page, 'none', 'a page of a range without entries')
      }
    }),

    check('STORAGE-SCAN-006', 'Writes between pages disturb no entry that stays', async (store) => {
      const total = 2000
      for (const reverse of [false, true]) {
        await store.commit({ put: numbered(0, total).map((entry) => ({ ...entry, value: ascii('old') })) })
        const seen: number[] = []
        for await (const page of store.scan({ ...everything, reverse })) {
          seen.push(...page.map(({ key }) => numberOf(key)))
          const last = seen.at(-1) ?? 0
          // What was read goes, the last key with it; what lies ahead loses its odd keys and gains new ones.
          const [from, to] = reverse ? [last, total] : [0, last + 1]
          const odd = Array.from({ length: total }, (_, i) => i).filter((i) => i % 2 === 1)
          const ahead = odd.filter((i) => (reverse ? i < last : i > last))
          await store.commit({
            delRange: [{ gte: numberKey(from), lt: numberKey(to) }],
            del: ahead.map(numberKey),
            put: [{ key: numberKey(reverse ? total + seen.length : 0), value: ascii('behind') }]
          })
        }
        const sorted = [...new Set(seen)].sort((a, b) => (reverse ? b - a : a - b))
        expectEqual(seen, sorted, 'keys in order and once each')
        const even = seen.filter((i) => i < total && i % 2 === 0)
        expectEqual(even.length, total / 2, 'entries that stayed until they were read')
      }
    }),

    check('STORAGE-SCAN-007', 'A page shows a batch whole or not at all', async (store) => {
      const pair = (n: number): Entry[] => ['a', 'z'].map((key) => put(key, numberKey(n)))
      await store.commit({ put: pair(0) })
      const writes = Array.from({ length: 200 }, (_, i) => store.commit({ put: pair(i + 1) }))
      const done = Promise.allSettled(writes)
      for (let n = 0; n < 200; ) {
        await nextTurn()
        for await (const page of store.scan(range('a', 'zz'))) {
          expectEqual(
            page.map(({ key }) => key),
            [ascii('a'), ascii('z')],
            'keys of the page'
          )
          const [first, second] = page.map(({ value }) => numberOf(value))
          expectEqual(first, second, 'the two values of one batch')
          n = Math.max(n + 1, first ?? 0)
        }
      }
      const failed = (await done).find(({ status }) => status === 'rejected')
      expectEqual(failed, undefined, 'a batch that failed')
    }),

    check('STORAGE-SCAN-008', 'A scan can be aborted and left', async (store) => {
      await store.commit({ put: numbered(0, 1000) })
      const drain = async (signal: AbortSignal, onPage: () => void) => {
        for await (const _ of store.scan(everything, signal)) onPage()
      }
      await expectCode(() => drain(AbortSignal.abort(), () => undefined), 'ABORTED', 'a scan aborted before it began')
      const controller = new AbortController()
      await expectCode(
        () => drain(controller.signal, () => controller.abort()),
        'ABORTED',
        'a scan aborted at its first page'
      )
      for (let i = 0; i < 300; i++) for await (const _ of store.scan(everything)) break
      await store.commit({ delRange: [{ gte: numberKey(0), lt: numberKey(999) }] })
      expectEqual((await readAll(store)).length, 1, 'entries left after scans were left')
    }),

    check('STORAGE-SCAN-009', 'Scans do not disturb each other', async (store) => {
      await store.commit({ put: numbered(0, 1200) })
      const up = store.scan(everything)[Symbol.asyncIterator]()
      const down = store.scan({ ...everything, reverse: true })[Symbol.asyncIterator]()
      const seen = { up: 0, down: 0 }
      for (;;) {
        const [a, b] = [await up.next(), await down.next()]
        if (a.done && b.done) break
        seen.up += a.done ? 0 : a.value.length
        seen.down += b.done ? 0 : b.value.length
      }
      expectEqual(seen, { up: 1200, down: 1200 }, 'entries seen by two scans in turn')
    })
  ]
}

function numbered(from: number, to: number, valueBytes = 8): Entry[] {
  return Array.from({ length: to - from }, (_, i) => ({
    key: numberKey(from + i),
    value: new Uint8Array(valueBytes).fill(i & 0xff)
  }))
}

const fromHex = (text: string): Uint8Array =>
  Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16))
