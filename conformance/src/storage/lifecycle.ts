/** Closing, opening again, and several users of one store: what the manifest promises and what it denies. */
import { ascii, type Check, expectCode, expectEqual, expectSoon, expectTrue, nextEvent } from '../check.js'
import {
  everything,
  numberKey,
  numberOf,
  put,
  readAll,
  readKeys,
  type StorageFactory,
  type StorageTrial,
  storageCheck
} from './bench.js'

export function lifecycleChecks(factory: StorageFactory): Check[] {
  const check = (id: string, title: string, trial: StorageTrial) => storageCheck(factory, id, title, trial)
  const { durable, multiProcess } = factory.manifest.supports
  const always = [
    check('STORAGE-CLOSE-001', 'After it was closed every call is answered STORAGE_CLOSED', async (store) => {
      await store.commit({ put: [put('a')] })
      const scan = store.scan(everything)[Symbol.asyncIterator]()
      await store[Symbol.asyncDispose]()
      const calls = {
        get: () => store.get(ascii('a')),
        commit: () => store.commit({ put: [put('b')] }),
        scan: () => readAll(store),
        'a scan begun before': () => scan.next()
      }
      for (const [name, call] of Object.entries(calls))
        await expectCode(call, 'STORAGE_CLOSED', `${name} after closing`)
      await store[Symbol.asyncDispose]()
    }),

    check('STORAGE-CLOSE-002', 'Closing waits for the commits called before', async (store) => {
      let settled = 0
      const calls = Array.from({ length: 100 }, (_, i) =>
        store.commit({ put: [{ key: numberKey(i), value: numberKey(i) }] }).then(() => {
          settled += 1
        })
      )
      const outcomes = Promise.allSettled(calls)
      await store[Symbol.asyncDispose]()
      expectEqual(settled, 100, 'commits done when closing has resolved')
      await outcomes
    })
  ]
  return [
    ...always,
    ...(durable ? durableChecks(factory) : volatileChecks(factory)),
    ...processChecks(factory, multiProcess)
  ]
}

function durableChecks(factory: StorageFactory): Check[] {
  const check = (id: string, title: string, trial: StorageTrial) => storageCheck(factory, id, title, trial)
  return [
    check('STORAGE-DURABLE-001', 'Opened again, a store holds what was committed', async (store, _, place) => {
      const total = 2000
      const value = (i: number) => new Uint8Array(i % 50 === 0 ? 20_000 : i % 90).fill(i & 0xff)
      await store.commit({ put: Array.from({ length: total }, (_, i) => ({ key: numberKey(i), value: value(i) })) })
      await store.commit({ delRange: [{ gte: numberKey(100), lt: numberKey(200) }], del: [numberKey(5)] })
      const last = store.commit({ put: [put('last')] })
      await Promise.all([store[Symbol.asyncDispose](), last])
      const again = await factory.open(place)
      try {
        const entries = await readAll(again)
        expectEqual(entries.length, total - 101 + 1, 'entries in the store opened again')
        for (const entry of entries.slice(0, -1)) {
          expectEqual(entry.value, value(numberOf(entry.key)), `the value of ${numberOf(entry.key)}`)
        }
        expectEqual(entries.at(-1), put('last'), 'the batch committed just before closing')
        await again.commit({ put: [put('more')] })
        expectEqual(await again.get(ascii('more')), ascii('more'), 'a value put after opening again')
      } finally {
        await again[Symbol.asyncDispose]()
      }
    })
  ]
}

function volatileChecks(factory: StorageFactory): Check[] {
  return [
    storageCheck(
      factory,
      'STORAGE-DURABLE-002',
      'A store that is not durable begins empty',
      async (store, _, place) => {
        await store.commit({ put: [put('a')] })
        await store[Symbol.asyncDispose]()
        const again = await factory.open(place)
        try {
          expectEqual(await readKeys(again), [], 'keys of the store opened again; a store that keeps them is durable')
        } finally {
          await again[Symbol.asyncDispose]()
        }
      }
    )
  ]
}

function processChecks(factory: StorageFactory, multiProcess: boolean): Check[] {
  const check = (id: string, title: string, trial: StorageTrial) => storageCheck(factory, id, title, trial)
  if (!multiProcess) {
    return [
      check('STORAGE-PROCESS-001', 'A store for one process has no watch', async (store) => {
        expectEqual(store.watch, undefined, 'watch')
      })
    ]
  }
  return [
    check('STORAGE-PROCESS-002', 'Two users of one store see and respect each other', async (store, _, place) => {
      const other = await factory.open(place)
      try {
        for (let i = 0; i < 20; i++) {
          const [writer, reader] = i % 2 === 0 ? [store, other] : [other, store]
          let isDone = false
          const commit = writer.commit({ put: [put('n', numberKey(i))] })
          const done = Promise.allSettled([commit]).then(() => {
            isDone = true
          })
          // What was read just before must not stand in the way of what is new.
          while (!isDone) {
            await reader.get(ascii('n'))
            await nextEvent()
          }
          await done
          await commit
          expectEqual(await reader.get(ascii('n')), numberKey(i), 'what the other one has committed')
        }
        const claims = [store, other].map((user, i) =>
          user.commit({ expect: [{ key: ascii('claim'), value: undefined }], put: [put('claim', numberKey(i))] })
        )
        const outcomes = (await Promise.allSettled(claims)).map(({ status }) => status).sort()
        expectEqual(outcomes, ['fulfilled', 'rejected'], 'two claims of the same key')
      } finally {
        await other[Symbol.asyncDispose]()
      }
      expectEqual((await readKeys(store)).length, 2, 'keys seen after the other one was closed')
      await store.commit({ put: [put('still')] })
    }),

    check(
      'STORAGE-PROCESS-003',
      'watch calls back when another user has committed, until disposed',
      async (store, _, place) => {
        const other = await factory.open(place)
        try {
          let calls = 0
          let notify = () => {}
          const watcher = store.watch?.(ascii('doc/'), () => {
            calls += 1
            notify()
          })
          expectTrue(watcher !== undefined, 'watch is there', watcher)
          for (let i = 0; i < 3; i++) {
            const called = new Promise<void>((resolve) => {
              notify = resolve
            })
            // Batches that change nothing must not hide those of the other user that follow.
            await store.commit({ expect: [{ key: ascii('absent'), value: undefined }], del: [ascii('absent')] })
            await other.commit({ put: [put('doc/1', numberKey(i))] })
            await expectSoon(called, 'the callback of watch')
          }
          watcher?.[Symbol.dispose]()
          const before = calls
          const called = new Promise<void>((resolve) => {
            notify = resolve
          })
          const second = store.watch?.(ascii('doc/'), () => notify())
          await other.commit({ put: [put('doc/1', 'after')] })
          await expectSoon(called, 'the callback of a second watch')
          expectEqual(calls, before, 'calls of the watch disposed of')
          second?.[Symbol.dispose]()
        } finally {
          await other[Symbol.asyncDispose]()
        }
      }
    )
  ]
}
