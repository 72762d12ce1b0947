/** Batches: all or nothing, in the order of the calls, compare-and-set. */
import type { Entry, Storage } from '@heddle/core'
import { HeddleError } from '@heddle/core'
import {
  ascii,
  type Check,
  CheckFailure,
  expectCode,
  expectEqual,
  expectTrue,
  hex,
  nextTurn,
  Seeded
} from '../check.js'
import {
  dump,
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

/** A writer among others has lost this often only when nobody wins. */
const ATTEMPTS_MAX = 1000

export function commitChecks(factory: StorageFactory): Check[] {
  const check = (id: string, title: string, trial: StorageTrial) => storageCheck(factory, id, title, trial)
  return [
    check('STORAGE-COMMIT-001', 'delRange, then del, then put take effect', async (store) => {
      await store.commit({ put: ['a', 'b', 'c', 'd'].map((key) => put(key, 'old')) })
      await store.commit({
        put: [put('b', 'new'), put('c', 'first'), put('c', 'last'), put('e', 'new')],
        del: [ascii('c'), ascii('d'), ascii('e'), ascii('absent')],
        delRange: [range('a', 'c')]
      })
      expectEqual(await readAll(store), [put('b', 'new'), put('c', 'last'), put('e', 'new')], 'the store afterwards')
      await store.commit({})
      await store.commit({ expect: [], put: [], del: [], delRange: [] })
      expectEqual((await readAll(store)).length, 3, 'entries after empty batches')
    }),

    check('STORAGE-COMMIT-002', 'delRange deletes its range and nothing beside it', async (store) => {
      const keys = ['A', 'AAAA', 'AAAA\xff', 'AAAAA', 'AAAAA\0', 'AAAAAB', 'AAAAAÿ', 'AAAAB', 'AAAB', 'B']
      await store.commit({ put: keys.map((key) => put(key)) })
      const before = await readKeys(store)
      await store.commit({ delRange: [range('AAAAA', 'AAAAA\0')] })
      expectEqual(
        await readKeys(store),
        before.filter((key) => key !== 'AAAAA'),
        'keys left beside a single one'
      )
      await store.commit({ delRange: [range('AAAAA', 'AAAAB')] })
      expectEqual(
        await readKeys(store),
        before.filter((key) => !key.startsWith('AAAAA')),
        'keys left beside a prefix'
      )
      await store.commit({ delRange: [range('B', 'A'), range('A', 'A'), range('C', 'D'), range('A', '')] })
      expectEqual(
        await readKeys(store),
        before.filter((key) => !key.startsWith('AAAAA')),
        'keys left by empty ranges'
      )
      await store.commit({ delRange: [range('', 'AAAB'), range('B', 'C')] })
      expectEqual(await readKeys(store), ['AAAB'], 'keys left by two ranges')
    }),

    check('STORAGE-COMMIT-003', 'delRange takes thousands of entries', async (store) => {
      const entries = Array.from({ length: 6000 }, (_, i) => ({ key: numberKey(i), value: numberKey(i) }))
      await store.commit({ put: entries })
      await store.commit({ delRange: [{ gte: numberKey(10), lt: numberKey(5990) }] })
      expectEqual(
        (await readAll(store)).map(({ key }) => numberOf(key)),
        [...upTo(10), ...upTo(10).map((i) => 5990 + i)],
        'keys left'
      )
    }),

    check('STORAGE-COMMIT-004', 'A batch whose expectation fails changes nothing', async (store) => {
      await store.commit({ put: [put('a', '1'), put('empty', ''), put('z', '1')] })
      const before = await dump(store)
      const wrong: readonly [key: string, value: string | undefined][] = [
        ['a', undefined],
        ['a', '2'],
        ['a', ''],
        ['a', '11'],
        ['empty', undefined],
        ['empty', '1'],
        ['absent', '1'],
        ['absent', '']
      ]
      for (const [key, value] of wrong) {
        const expect = [expectation('z', '1'), expectation(key, value)]
        const batch = { expect, delRange: [range('a', 'zz')], del: [ascii('a')], put: [put('b')] }
        await expectCode(() => store.commit(batch), 'STORAGE_CONFLICT', `"${key}" expected to be ${value}`)
        expectEqual(await dump(store), before, `the store after "${key}" was not ${value}`)
      }
      const expect = [expectation('a', '1'), expectation('empty', ''), expectation('absent', undefined)]
      await store.commit({ expect, put: [put('b')] })
      expectEqual(await readKeys(store), ['a', 'b', 'empty', 'z'], 'keys after expectations that hold')
      await store.commit({ expect: [expectation('b', 'b')] })
      await expectCode(
        () => store.commit({ expect: [expectation('b', 'c')] }),
        'STORAGE_CONFLICT',
        'a batch that only expects'
      )
    }),

    check('STORAGE-COMMIT-005', 'Expectations are checked before the batch itself takes effect', async (store) => {
      await store.commit({ put: [put('a', '1')] })
      await store.commit({ expect: [expectation('a', '1')], del: [ascii('a')], put: [put('a', '2')] })
      const action = () => store.commit({ expect: [expectation('b', 'b')], put: [put('b', 'b')] })
      await expectCode(action, 'STORAGE_CONFLICT', 'an expectation that the batch would fulfil')
      expectEqual(await readAll(store), [put('a', '2')], 'the store afterwards')
    }),

    check('STORAGE-ORDER-001', 'Calls take effect in the order made, without waiting for each other', async (store) => {
      const chain = upTo(200).map((i) =>
        store.commit({
          expect: [{ key: ascii('n'), value: i === 0 ? undefined : numberKey(i - 1) }],
          put: [put('n', numberKey(i))]
        })
      )
      await Promise.all(chain)
      expectEqual(await store.get(ascii('n')), numberKey(199), 'the value after a chain of expectations')
    }),

    check('STORAGE-ORDER-002', 'A call that fails among others fails alone', async (store) => {
      const outcomes = await Promise.allSettled([
        store.commit({ put: [put('a', '1'), put('n', '1')] }),
        store.commit({
          expect: [expectation('a', '0')],
          put: [put('a', '2'), put('n', '2')],
          delRange: [range('', 'zz')]
        }),
        store.commit({ expect: [expectation('a', '1')], put: [put('a', '3')] }),
        store.commit({ put: [{ key: new Uint8Array(0), value: ascii('4') }] }),
        store.commit({ expect: [expectation('a', '3')], put: [put('b', '5')] })
      ])
      const statuses = outcomes.map((outcome) => (outcome.status === 'rejected' ? codeOf(outcome.reason) : 'done'))
      expectEqual(
        statuses,
        ['done', 'STORAGE_CONFLICT', 'done', 'CAPABILITY_MISSING', 'done'],
        'outcomes of five calls'
      )
      expectEqual(await readAll(store), [put('a', '3'), put('b', '5'), put('n', '1')], 'the store afterwards')
    }),

    check('STORAGE-ORDER-003', 'A reader never sees a later call without the earlier ones', async (store) => {
      const [first, second] = [ascii('first'), ascii('second')]
      const total = 300
      let isDone = false
      const calls = upTo(total).flatMap((i) =>
        [first, second].map((key) => store.commit({ put: [{ key, value: numberKey(i + 1) }] }))
      )
      const done = Promise.allSettled(calls).then((outcomes) => {
        isDone = true
        return outcomes
      })
      const read = async (key: Uint8Array) => numberOf((await store.get(key)) ?? numberKey(0))
      for (let seen = 0, reads = 0; !isDone; reads++) {
        // Between two promises, mostly; but the store may need a turn of the event loop to get on.
        if (reads % 50 === 49) await nextTurn()
        seen = await read(second)
        const earlier = await read(first)
        expectTrue(earlier >= seen, 'the value written first is at least as new', { first: earlier, second: seen })
      }
      const failed = (await done).find(({ status }) => status === 'rejected')
      expectEqual(failed, undefined, 'a call that failed')
      expectEqual([await read(first), await read(second)], [total, total], 'the values at the end')
    }),

    check('STORAGE-ORDER-004', 'A read sees every batch whose commit has resolved', async (store) => {
      for (const i of upTo(100)) {
        const key = numberKey(i % 7)
        await store.commit({ put: [{ key, value: numberKey(i) }] })
        expectEqual(await store.get(key), numberKey(i), 'get right after the commit')
        const found = (await readAll(store)).find((entry) => hex(entry.key) === hex(key))
        expectEqual(found?.value, numberKey(i), 'a scan right after the commit')
      }
    }),

    check('STORAGE-CAS-001', 'Of writers that compare and set, none is lost', async (store) => {
      const key = ascii('counter')
      let conflicts = 0
      const increment = async () => {
        for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
          const value = await store.get(key)
          const next = numberKey(value === undefined ? 1 : numberOf(value) + 1)
          try {
            return await store.commit({ expect: [{ key, value }], put: [{ key, value: next }] })
          } catch (error) {
            if (!HeddleError.is(error, 'STORAGE_CONFLICT')) throw error
            conflicts += 1
          }
        }
        throw new CheckFailure('writers that retry get on', 'a commit', `${ATTEMPTS_MAX} conflicts`)
      }
      await Promise.all(upTo(20).map(increment))
      expectEqual(await store.get(key), numberKey(20), 'the counter after 20 increments')
      expectTrue(conflicts > 0, 'writers at the same time did conflict', conflicts)
    }),

    check('STORAGE-MODEL-001', 'A long run of batches leaves what a plain map would hold', async (store) => {
      const seeded = new Seeded(3)
      const model = new Map<string, string>()
      for (const step of upTo(300)) await randomStep(store, model, seeded, step)
      expectEqual(await dump(store), Object.fromEntries(model), 'the whole store')
    })
  ]
}

async function randomStep(store: Storage, model: Map<string, string>, seeded: Seeded, step: number): Promise<void> {
  const key = () => Uint8Array.from({ length: 1 + seeded.below(3) }, () => seeded.below(4) * 85)
  const puts: Entry[] = upTo(seeded.below(6)).map(() => ({ key: key(), value: seeded.bytes(seeded.below(20)) }))
  const del = upTo(seeded.below(3)).map(key)
  const delRange = upTo(seeded.below(2)).map(() => ({ gte: key(), lt: key() }))
  const guard = key()
  const isRight = seeded.below(4) > 0
  const held = model.get(hex(guard))
  const value = isRight ? (held === undefined ? undefined : fromModel(held)) : ascii(`not this ${step}`)
  const outcome = store.commit({ expect: [{ key: guard, value }], put: puts, del, delRange }).then(
    () => 'done',
    (error: unknown) => codeOf(error)
  )
  expectEqual(await outcome, isRight ? 'done' : 'STORAGE_CONFLICT', `the outcome of step ${step}`)
  if (isRight) {
    for (const { gte, lt } of delRange) {
      for (const text of [...model.keys()]) if (text >= hex(gte) && text < hex(lt)) model.delete(text)
    }
    for (const text of del.map(hex)) model.delete(text)
    for (const entry of puts) model.set(hex(entry.key), hex(entry.value))
  }
  const [gte, lt] = [key(), key()]
  const reverse = seeded.below(2) === 1
  const limit = seeded.below(10)
  const got = (await readAll(store, { gte, lt, reverse, limit })).map((entry) => hex(entry.key))
  const inRange = [...model.keys()].filter((text) => text >= hex(gte) && text < hex(lt)).sort()
  expectEqual(got, (reverse ? inRange.reverse() : inRange).slice(0, limit), `a range after step ${step}`)
}

const expectation = (key: string, value: string | undefined) => ({
  key: ascii(key),
  value: value === undefined ? undefined : ascii(value)
})

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

const fromModel = (text: string): Uint8Array =>
  Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16))

const codeOf = (error: unknown): string => (HeddleError.is(error) ? error.code : String(error))
