/** What a user meets when the server, the table or the network is not as it should be: a typed error, never a hang. */
import { type Entry, type HeddleError, resolvePlugin, type Storage, systemContext } from '@heddle/core'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import postgres, { type PostgresStorageOptions } from './index.js'
import { parseOptions } from './options.js'
import { TestServer, whyNoServer } from './testing/server.js'

const reason = await whyNoServer()

const key = (text: string): Uint8Array => new TextEncoder().encode(text)
const entry = (text: string): Entry => ({ key: key(text), value: key(text) })
const open = (options: PostgresStorageOptions): Promise<Storage> =>
  postgres.create(parseOptions(options), systemContext())

test.each<[what: string, options: unknown, message: string]>([
  ['nothing', undefined, '"connectionString" or "connection"'],
  ['two addresses', { connectionString: 'postgres://a/b', connection: {} }, 'one of the two'],
  ['another scheme', { connectionString: 'mysql://a/b' }, '"connectionString"'],
  ['an unknown option', { connectionString: 'postgres://a/b', tables: 'x' }, '"tables"'],
  ['a table to break out of', { connectionString: 'postgres://a/b', table: 'a"; DROP TABLE b' }, '"table"'],
  ['a long table', { connectionString: 'postgres://a/b', table: 'a'.repeat(64) }, '"table"'],
  ['a schema with a dot', { connectionString: 'postgres://a/b', schema: 'a.b' }, '"schema"'],
  ['one connection', { connectionString: 'postgres://a/b', connectionsMax: 1 }, '"connectionsMax"'],
  ['no time', { connectionString: 'postgres://a/b', timeoutMs: 0 }, '"timeoutMs"'],
  ['no host', { connection: { database: 'd', user: 'u' } }, '"connection.host"'],
  ['a port too high', { connection: { host: 'h', database: 'd', user: 'u', port: 70_000 } }, '"connection.port"'],
  ['TLS of a number', { connection: { host: 'h', database: 'd', user: 'u', ssl: 1 } }, '"connection.ssl"'],
  ['an unknown field', { connection: { host: 'h', database: 'd', user: 'u', pw: 'x' } }, '"connection.pw"']
])('options with %s are refused before anything is connected', async (_, options, message) => {
  const ref = postgres(options as PostgresStorageOptions)
  await expect(resolvePlugin(ref, 'storage', systemContext())).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining(message)
  })
})

describe.skipIf(reason !== undefined)(`postgres failures${reason === undefined ? '' : ` (${reason})`}`, () => {
  let server: TestServer
  let admin: pg.Client
  const connectAdmin = async () => {
    admin = new pg.Client(server.url)
    admin.on('error', () => {})
    await admin.connect()
  }
  beforeAll(async () => {
    server = await TestServer.start(['deadlock_timeout=50ms'])
    await connectAdmin()
  }, 60_000)
  afterAll(async () => {
    await admin.end()
    await server[Symbol.asyncDispose]()
  })
  const openTable = (table: string, rest: Partial<PostgresStorageOptions> = {}) =>
    open({ connectionString: server.url, table, ...rest })

  describe('opening', () => {
    test('makes the table once, whoever comes first, and takes a socket as well', async () => {
      const socket = { host: server.folder, port: server.port, database: 'postgres', user: 'heddle' }
      const stores = await Promise.all([
        ...Array.from({ length: 6 }, () => openTable('together')),
        open({ connection: socket, table: 'together' })
      ])
      await stores[0]?.commit({ put: [entry('a')] })
      for (const store of stores) {
        expect(await store.get(key('a'))).toEqual(key('a'))
        await store[Symbol.asyncDispose]()
      }
      // A user that may only use the table needs no right to make it.
      await admin.query('CREATE ROLE guest LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON together TO guest')
      const guest = await open({ connection: { ...socket, user: 'guest' }, table: 'together' })
      await guest.commit({ put: [entry('b')], del: [key('a')] })
      await guest[Symbol.asyncDispose]()
      await expect(open({ connection: { ...socket, user: 'guest' }, table: 'none' })).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        message: expect.stringContaining('Grant')
      })
    })

    test('refuses a table that is something else, or that a crash would empty', async () => {
      const tables = {
        numbers: 'TABLE numbers (key int PRIMARY KEY, value bytea NOT NULL)',
        wider: 'TABLE wider (key bytea PRIMARY KEY, value bytea NOT NULL, more int)',
        nullable: 'TABLE nullable (key bytea PRIMARY KEY, value bytea)',
        keyless: 'TABLE keyless (key bytea NOT NULL, value bytea NOT NULL)',
        unlogged: 'UNLOGGED TABLE unlogged (key bytea PRIMARY KEY, value bytea NOT NULL)',
        seen: "VIEW seen AS SELECT ''::bytea AS key, ''::bytea AS value"
      }
      for (const [table, definition] of Object.entries(tables)) {
        await admin.query(`CREATE ${definition}`)
        await expect(openTable(table)).rejects.toMatchObject({
          code: 'CONFIG_INVALID',
          message: expect.stringContaining('name another table')
        })
      }
    })

    test('says what is wrong when the server, the database or the schema is not there, and never the password', async () => {
      const cases: readonly [options: PostgresStorageOptions, message: string][] = [
        [{ connectionString: 'postgres://u:secret@127.0.0.1:1/d' }, 'ECONNREFUSED'],
        [{ connectionString: `postgres://heddle:secret@127.0.0.1:${server.port}/none` }, 'Check user, password'],
        [{ connectionString: `postgres://nobody:secret@127.0.0.1:${server.port}/postgres` }, 'Check user, password'],
        [{ connectionString: server.url, schema: 'none' }, 'Create the schema']
      ]
      for (const [options, message] of cases) {
        const error = await open(options).then(
          () => undefined,
          (cause: unknown) => cause as HeddleError
        )
        expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', message: expect.stringContaining(message) })
        expect(`${error?.message} ${JSON.stringify(error)} ${String(error?.cause)}`).not.toContain('secret')
      }
    })

    test('refuses a server that does not sync', async () => {
      await using careless = await TestServer.start(['fsync=off'])
      await expect(open({ connectionString: careless.url })).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        message: expect.stringContaining('fsync')
      })
    }, 60_000)
  })

  describe('commits that go together', () => {
    test('are few transactions', async () => {
      const store = await openTable('grouped')
      const transaction = async () => {
        const { rows } = await admin.query<{ readonly id: string }>('SELECT pg_current_xact_id() AS id')
        return Number(rows[0]?.id)
      }
      const before = await transaction()
      const calls = Array.from({ length: 1000 }, (_, i) =>
        store.commit({ put: [entry(`k${i}`)], del: [key(`k${i - 1}`)] })
      )
      await Promise.all(calls)
      expect((await transaction()) - before).toBeLessThanOrEqual(10)
      expect(await store.get(key('k998'))).toBeUndefined()
      expect(await store.get(key('k999'))).toEqual(key('k999'))
      await store[Symbol.asyncDispose]()
    })

    test('fail alone when the server refuses one of them', async () => {
      const store = await openTable('refusing')
      await admin.query("ALTER TABLE refusing ADD CHECK (key <> 'bad')")
      const calls = ['a', 'bad', 'c'].map((text) => store.commit({ put: [entry(text), entry(`${text}2`)] }))
      const outcomes = await Promise.allSettled(calls)
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(outcomes[1]).toMatchObject({ reason: { code: 'STORAGE_UNAVAILABLE', info: { sqlState: '23514' } } })
      const left = await Promise.all(['a', 'a2', 'bad', 'bad2', 'c', 'c2'].map((text) => store.get(key(text))))
      expect(left.map((value) => value !== undefined)).toEqual([true, true, false, false, true, true])
      await store[Symbol.asyncDispose]()
    })

    test('are tried again after a deadlock', async () => {
      const store = await openTable('locked')
      await store.commit({ put: [entry('a')] })
      // Somebody else holds the row and then wants the lock of the writers: the server ends one of the two.
      await admin.query("BEGIN; SET deadlock_timeout = '1min'; SELECT * FROM locked FOR UPDATE")
      const { rows } = await admin.query<{ readonly pid: number }>('SELECT pg_backend_pid() AS pid')
      const commit = store.commit({ put: [{ key: key('a'), value: key('new') }] })
      const watcher = new pg.Client(server.url)
      await watcher.connect()
      const advisory = "SELECT objid, classid, pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
      let held: { readonly objid: string; readonly classid: string } | undefined
      while (held === undefined) held = (await watcher.query(advisory)).rows[0] as typeof held
      const lockId = BigInt.asIntN(64, (BigInt(held.classid) << 32n) | BigInt(held.objid))
      expect(rows[0]?.pid).toBeGreaterThan(0)
      await admin.query(`SELECT pg_advisory_xact_lock(${lockId})`)
      await admin.query('COMMIT')
      await commit
      expect(await store.get(key('a'))).toEqual(key('new'))
      await watcher.end()
      await store[Symbol.asyncDispose]()
    })
  })

  test('a scan that waits is over when it is aborted', async () => {
    const store = await openTable('waiting')
    await store.commit({ put: [entry('a')] })
    await admin.query('BEGIN; LOCK TABLE waiting')
    const controller = new AbortController()
    const scan = store.scan({ gte: key('a'), lt: key('b') }, controller.signal)[Symbol.asyncIterator]()
    const page = scan.next()
    const locks = "SELECT 1 FROM pg_locks WHERE relation = 'waiting'::regclass AND NOT granted"
    while ((await admin.query(locks)).rows.length === 0);
    controller.abort()
    await expect(page).rejects.toMatchObject({ code: 'ABORTED' })
    await admin.query('COMMIT')
    expect(await store.get(key('a'))).toEqual(key('a'))
    await store[Symbol.asyncDispose]()
  })

  describe('watch', () => {
    test('tells of what was committed while its connection was lost, and not of own commits', async () => {
      const [store, other] = [await openTable('watched'), await openTable('watched')]
      let calls = 0
      let onCall = () => {}
      const called = () =>
        new Promise<void>((resolve) => {
          onCall = resolve
        })
      let next = called()
      const watcher = store.watch?.(new Uint8Array(0), () => {
        calls += 1
        onCall()
      })
      await next
      const before = calls
      for (const text of ['a', 'b']) await store.commit({ put: [entry(text)] })
      next = called()
      await other.commit({ put: [entry('c')] })
      await next
      expect(calls).toBe(before + 1)

      next = called()
      const listeners = "query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
      await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${listeners}`)
      await other.commit({ put: [entry('d')] })
      await next
      expect(await store.get(key('d'))).toEqual(key('d'))
      // And it listens again.
      next = called()
      await other.commit({ put: [entry('e')] })
      await next
      watcher?.[Symbol.dispose]()
      for (const one of [store, other]) await one[Symbol.asyncDispose]()
    })
  })

  describe('a server that goes away', () => {
    test('fails calls with a typed error, and is used again when it is back', async () => {
      const store = await openTable('outage')
      await store.commit({ put: [entry('a')] })
      await server.crash()
      const unavailable = { code: 'STORAGE_UNAVAILABLE' }
      const commits = Array.from({ length: 300 }, (_, i) => store.commit({ put: [entry(`lost${i}`)] }))
      for (const outcome of await Promise.allSettled(commits)) expect(outcome).toMatchObject({ reason: unavailable })
      await expect(store.get(key('a'))).rejects.toMatchObject(unavailable)
      await expect(
        store
          .scan({ gte: key('a'), lt: key('b') })
          [Symbol.asyncIterator]()
          .next()
      ).rejects.toMatchObject(unavailable)
      await server.restart()
      await connectAdmin()
      expect(await store.get(key('a'))).toEqual(key('a'))
      expect(await store.get(key('lost0'))).toBeUndefined()
      await store.commit({ expect: [{ key: key('a'), value: key('a') }], put: [entry('b')] })
      await store[Symbol.asyncDispose]()
    }, 60_000)

    test('keeps nobody who closes the storage', async () => {
      const store = await openTable('outage')
      const watcher = store.watch?.(new Uint8Array(0), () => {})
      await server.crash()
      await store[Symbol.asyncDispose]()
      watcher?.[Symbol.dispose]()
      await server.restart()
      await connectAdmin()
    }, 60_000)

    test('in the middle of a commit leaves it open whether it took effect, and says so', async () => {
      const store = await openTable('unsure', { timeoutMs: 500 })
      // A commit that waits for a second server, which there is none.
      await admin.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
      await admin.query('SELECT pg_reload_conf()')
      while ((await admin.query('SHOW synchronous_standby_names')).rows[0]?.synchronous_standby_names !== 'nobody');
      await expect(store.commit({ put: [entry('a')] })).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        message: expect.stringContaining('may have been committed'),
        info: { mayHaveCommitted: true }
      })
      await admin.query('ALTER SYSTEM RESET synchronous_standby_names')
      await server.restart()
      await connectAdmin()
      expect(await store.get(key('a'))).toEqual(key('a'))
      await store[Symbol.asyncDispose]()
    }, 60_000)
  })
})
