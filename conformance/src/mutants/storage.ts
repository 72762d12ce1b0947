/** Broken storages, each around a right one. Most are faults seen in real adapters. */
import type { Batch, Entry, ScanRange, Storage } from '@heddle/core'
import { compareBytes, equalBytes, HeddleError } from '@heddle/core'
import { hex, nextTurn } from '../check.js'
import type { StorageFactory } from '../storage/index.js'
import type { Mutant } from './mutant.js'

type Overrides = (store: Storage) => Partial<Storage>

export const storageMutants: readonly Mutant<StorageFactory>[] = [
  mutant('delRange takes every key that begins like its first bound', ['STORAGE-COMMIT-002'], (store) => ({
    async commit(batch) {
      const del: Uint8Array[] = []
      for (const { gte } of batch.delRange ?? []) {
        for (const { key } of await entriesOf(store)) if (equalBytes(key.subarray(0, gte.length), gte)) del.push(key)
      }
      await store.commit({ ...batch, delRange: [], del: [...del, ...(batch.del ?? [])] })
    }
  })),

  mutant('delRange takes one page of entries only', ['STORAGE-COMMIT-003', 'STORAGE-DURABLE-001'], (store) => ({
    async commit(batch) {
      const del: Uint8Array[] = []
      for (const range of batch.delRange ?? []) {
        const { value } = await store
          .scan({ ...range, limit: 50 })
          [Symbol.asyncIterator]()
          .next()
        for (const { key } of (value ?? []) as readonly Entry[]) del.push(key)
      }
      await store.commit({ ...batch, delRange: [], del: [...del, ...(batch.del ?? [])] })
    }
  })),

  mutant('keeps the arrays of the caller', ['STORAGE-OWN-001'], (store) => {
    const kept = new Map<string, Entry>()
    return {
      async commit(batch) {
        await store.commit(batch)
        for (const entry of batch.put ?? []) kept.set(hex(entry.key), entry)
      },
      async *scan(range, signal) {
        for await (const page of store.scan(range, signal)) yield page.map((entry) => kept.get(hex(entry.key)) ?? entry)
      }
    }
  }),

  mutant('keeps the bounds of a scan instead of copying them', ['STORAGE-OWN-002'], (store) => ({
    async *scan(range, signal) {
      let from = range.gte
      for (;;) {
        const { value } = await store
          .scan({ ...range, gte: from }, signal)
          [Symbol.asyncIterator]()
          .next()
        const last = (value as readonly Entry[] | undefined)?.at(-1)
        if (value === undefined || last === undefined) return
        from = Uint8Array.of(...last.key, 0)
        yield value as readonly Entry[]
      }
    }
  })),

  mutant('gives out its own arrays', ['STORAGE-GET-003'], (store) => {
    const cache = new Map<string, Uint8Array | undefined>()
    const cached = async (key: Uint8Array) => {
      if (!cache.has(hex(key))) cache.set(hex(key), await store.get(key))
      return cache.get(hex(key))
    }
    return {
      get: cached,
      async *scan(range, signal) {
        for await (const page of store.scan(range, signal)) {
          const entries = page.map(async ({ key, value }) => ({ key, value: (await cached(key)) ?? value }))
          yield await Promise.all(entries)
        }
      }
    }
  }),

  mutant('gives out Node Buffers', ['STORAGE-GET-003'], (store) => ({
    async get(key) {
      const value = await store.get(key)
      return value && Buffer.from(value)
    }
  })),

  mutant('takes an empty value for none', ['STORAGE-GET-001', 'STORAGE-COMMIT-004'], (store) => ({
    async get(key) {
      const value = await store.get(key)
      return value?.length === 0 ? undefined : value
    },
    commit: (batch) =>
      store.commit({
        ...batch,
        expect: (batch.expect ?? []).map(({ key, value }) => ({ key, value: value?.length === 0 ? undefined : value }))
      })
  })),

  mutant('reads keys and values as text', ['STORAGE-GET-002', 'STORAGE-KEY-001'], (store) => {
    const asText = (bytes: Uint8Array) => new TextEncoder().encode(new TextDecoder().decode(bytes))
    const textEntry = ({ key, value }: Entry): Entry => ({ key: asText(key), value: asText(value) })
    return {
      get: (key) => store.get(asText(key)),
      commit: (batch) => store.commit({ ...batch, put: (batch.put ?? []).map(textEntry) })
    }
  }),

  mutant('cuts keys off at 64 bytes', ['STORAGE-KEY-001'], (store) => ({
    get: (key) => store.get(key.subarray(0, 64)),
    commit: (batch) =>
      store.commit({ ...batch, put: (batch.put ?? []).map(({ key, value }) => ({ key: key.subarray(0, 64), value })) })
  })),

  mutant('takes no notice of bounds on keys and values', ['STORAGE-KEY-002', 'STORAGE-VALUE-002'], (store) => {
    const fits = (key: Uint8Array) => key.length > 0 && key.length < 1900
    return {
      get: async (key) => (fits(key) ? store.get(key) : undefined),
      commit: (batch) =>
        store.commit({
          ...batch,
          expect: (batch.expect ?? []).filter(({ key }) => fits(key)),
          del: (batch.del ?? []).filter(fits),
          put: (batch.put ?? []).filter(({ key, value }) => fits(key) && value.length <= 1 << 25)
        })
    }
  }),

  mutant('cuts values off at 16 MiB', ['STORAGE-VALUE-001'], (store) => ({
    commit: (batch) =>
      store.commit({
        ...batch,
        put: (batch.put ?? []).map(({ key, value }) => ({ key, value: value.subarray(0, 1 << 24) }))
      })
  })),

  mutant('orders keys by signed bytes', ['STORAGE-SCAN-001'], (store) => ({
    async *scan(range, signal) {
      for await (const page of store.scan(range, signal)) {
        const signed = ({ key }: Entry) => Int8Array.from(key)
        yield page.toSorted((a, b) =>
          compareBytes(Uint8Array.from(signed(a), flipSign), Uint8Array.from(signed(b), flipSign))
        )
      }
    }
  })),

  mutant('includes the last bound', ['STORAGE-SCAN-002', 'STORAGE-COMMIT-002'], (store) => ({
    scan: (range, signal) => store.scan({ ...range, lt: Uint8Array.of(...range.lt, 0) }, signal),
    commit: (batch) =>
      store.commit({
        ...batch,
        delRange: (batch.delRange ?? []).map(({ gte, lt }) => ({ gte, lt: Uint8Array.of(...lt, 0) }))
      })
  })),

  mutant('refuses bounds longer than its keys', ['STORAGE-SCAN-003'], (store) => ({
    async *scan(range, signal) {
      for (const bound of [range.gte, range.lt]) if (bound.length > 0) await store.get(bound)
      yield* store.scan(range, signal)
    }
  })),

  mutant('counts a limit for each page', ['STORAGE-SCAN-004'], (store) => ({
    async *scan({ limit, ...range }, signal) {
      for await (const page of store.scan(range, signal)) {
        if (limit === 0) return
        yield page.slice(0, limit)
      }
    }
  })),

  mutant('gives a whole range as one page', ['STORAGE-SCAN-005'], (store) => ({
    async *scan(range, signal) {
      const entries: Entry[] = []
      for await (const page of store.scan(range, signal)) entries.push(...page)
      yield entries
    }
  })),

  mutant('finds the next page by counting entries', ['STORAGE-SCAN-006'], (store) => ({
    async *scan(range, signal) {
      for (let skipped = 0; ; ) {
        const entries = (await entriesOf(store, range, signal)).slice(skipped, skipped + 256)
        if (entries.length === 0) return
        skipped += entries.length
        yield entries
      }
    }
  })),

  mutant('writes the entries of a batch one after the other', ['STORAGE-SCAN-007'], (store) => ({
    async commit({ put = [], ...rest }) {
      for (const [i, entry] of put.entries()) {
        await store.commit({ ...(i === 0 ? rest : {}), put: [entry] })
        await nextTurn()
      }
      if (put.length === 0) await store.commit(rest)
    }
  })),

  mutant('does not look at the signal of a scan', ['STORAGE-SCAN-008'], (store) => ({
    scan: (range) => store.scan(range)
  })),

  mutant('shares one cursor between scans', ['STORAGE-SCAN-009'], (store) => {
    let shared: AsyncIterator<readonly Entry[]> | undefined
    return {
      async *scan(range, signal) {
        shared ??= store.scan(range, signal)[Symbol.asyncIterator]()
        for (let next = await shared.next(); !next.done; next = await shared.next()) yield next.value
        shared = undefined
      }
    }
  }),

  mutant('deletes after it has put', ['STORAGE-COMMIT-001', 'STORAGE-COMMIT-005'], (store) => ({
    async commit({ expect = [], put = [], ...deletions }) {
      await store.commit({ put })
      await store.commit({ expect, ...deletions })
    }
  })),

  mutant('applies a batch before it looks at expectations', ['STORAGE-COMMIT-004', 'STORAGE-COMMIT-005'], (store) => ({
    async commit({ expect = [], ...rest }) {
      await store.commit(rest)
      await store.commit({ expect })
    }
  })),

  mutant('compares, then writes, with a gap between', ['STORAGE-CAS-001', 'STORAGE-ORDER-001'], (store) => ({
    async commit({ expect = [], ...rest }) {
      for (const { key, value } of expect) {
        const found = await store.get(key)
        const holds = value === undefined || found === undefined ? value === found : equalBytes(value, found)
        if (!holds) throw new HeddleError('STORAGE_CONFLICT', 'changed')
      }
      await store.commit(rest)
    }
  })),

  mutant('fails all calls that go together when one fails', ['STORAGE-ORDER-002'], (store) => {
    let group: { readonly batches: Batch[]; readonly done: Promise<void> } | undefined
    return {
      commit(batch) {
        if (group === undefined) {
          const batches: Batch[] = []
          const done = Promise.resolve().then(async () => {
            group = undefined
            for (const each of batches) await store.commit(each)
          })
          group = { batches, done }
        }
        group.batches.push(batch)
        return group.done
      }
    }
  }),

  mutant('lets short batches overtake long ones', ['STORAGE-ORDER-003', 'STORAGE-ORDER-001'], (store) => {
    let calls = 0
    return {
      async commit(batch) {
        if (calls++ % 2 === 0) for (let i = 0; i < 10; i++) await undefined
        await store.commit(batch)
      }
    }
  }),

  mutant('resolves before the batch has taken effect', ['STORAGE-ORDER-004'], (store) => ({
    async commit(batch) {
      void nextTurn().then(() => store.commit(batch).catch(() => undefined))
    }
  })),

  mutant('drops every hundredth batch', ['STORAGE-MODEL-001'], (store) => {
    let calls = 0
    return {
      async commit(batch) {
        if (++calls % 100 > 0 || (batch.expect ?? []).length === 0) await store.commit(batch)
      }
    }
  }),

  mutant('answers after it was closed', ['STORAGE-CLOSE-001'], (store) => ({
    async get(key) {
      return store.get(key).catch(() => undefined)
    }
  })),

  mutant('closes without waiting', ['STORAGE-CLOSE-002'], (store) => ({
    async [Symbol.asyncDispose]() {
      void store[Symbol.asyncDispose]()
    }
  })),

  {
    name: 'claims to be durable and is not',
    caughtBy: ['STORAGE-DURABLE-001'],
    mutate: (factory) => {
      let opened = 0
      return claiming({ durable: true }, { ...factory, open: (place) => factory.open(`${place}-${opened++}`) })
    }
  },

  {
    name: 'is durable and denies it',
    caughtBy: ['STORAGE-DURABLE-002'],
    mutate: (factory) => claiming({ durable: false }, factory)
  },

  {
    name: 'has a watch and denies it',
    caughtBy: ['STORAGE-PROCESS-001'],
    mutate: (factory) =>
      claiming(
        { multiProcess: false },
        overriding(factory, () => ({ watch: () => ({ [Symbol.dispose]() {} }) }))
      )
  },

  {
    name: 'claims to serve several processes and takes the store from the first',
    caughtBy: ['STORAGE-PROCESS-002', 'STORAGE-PROCESS-003'],
    mutate: (factory) => claiming({ multiProcess: true }, factory)
  },

  {
    name: 'states bounds too small for the core',
    caughtBy: ['STORAGE-MANIFEST-001'],
    mutate: (factory) => claiming({ valueBytesMax: 1024 * 1024 }, factory)
  }
]

function mutant(name: string, caughtBy: readonly string[], overrides: Overrides): Mutant<StorageFactory> {
  return { name, caughtBy, mutate: (factory) => overriding(factory, overrides) }
}

function overriding(factory: StorageFactory, overrides: Overrides): StorageFactory {
  return {
    ...factory,
    async open(place) {
      const store = await factory.open(place)
      return {
        get: (key) => store.get(key),
        scan: (range, signal) => store.scan(range, signal),
        commit: (batch) => store.commit(batch),
        ...(store.watch && { watch: store.watch.bind(store) }),
        [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
        ...overrides(store)
      }
    }
  }
}

function claiming(supports: Partial<StorageFactory['manifest']['supports']>, factory: StorageFactory): StorageFactory {
  return { ...factory, manifest: { ...factory.manifest, supports: { ...factory.manifest.supports, ...supports } } }
}

async function entriesOf(store: Storage, range?: ScanRange, signal?: AbortSignal): Promise<Entry[]> {
  const entries: Entry[] = []
  const all = { gte: new Uint8Array(0), lt: new Uint8Array(40).fill(0xff) }
  for await (const page of store.scan(range ?? all, signal)) entries.push(...page)
  return entries
}

const flipSign = (byte: number): number => byte + 128
