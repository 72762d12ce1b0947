/**
 * The table and every statement that touches it: connections that were checked before they are used, reads, and the
 * transaction that writes a group of batches. The storage calls it; it knows nothing of queues.
 *
 * Writers of all processes take turns by an advisory lock of the table, held until their transaction has ended. With it,
 * expectations of absent keys need no row to lock, commits are ordered, and no two writers can undo each other.
 */
import { createHash } from 'node:crypto'
import {
  type Batch,
  type Context,
  type Entry,
  HeddleError,
  type KeyRange,
  type Log,
  type MergedBatches,
  mergeBatches,
  PAGE_BYTES_MAX,
  toHex
} from '@heddle/core'
import pg, { type PoolClient } from 'pg'
import { byteaArray } from './bytea-array.js'
import { isLost, isRetryable, storageError } from './errors.js'
import type { Settings } from './options.js'

/** What one statement carries; a larger value goes alone. */
const STATEMENT_BYTES_MAX = 8 * 1024 * 1024
const STATEMENT_ROWS_MAX = 8192
/** How often a transaction that another one got in the way of is tried. */
const ATTEMPTS_MAX = 5
/** As pg_get_constraintdef and format_type of PostgreSQL write it. */
const COLUMNS = 'key bytea not null, value bytea not null'
const PRIMARY_KEY = 'PRIMARY KEY (key)'

interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

export class Database implements AsyncDisposable {
  /** What messages call it: without user and password. */
  readonly where: string
  /** Channel of NOTIFY. */
  readonly channel: string
  readonly #settings: Settings
  readonly #context: Context
  readonly #log: Log
  readonly #pool: pg.Pool
  /** Quoted; made of checked names only. */
  readonly #table: string
  readonly #lock: string
  readonly #checked = new WeakSet<PoolClient>()

  constructor(settings: Settings, context: Context) {
    const { schema, table, connectionsMax, timeoutMs } = settings
    const digest = createHash('sha256').update(`heddle/storage-postgres ${schema}.${table}`).digest()
    this.where = `the PostgreSQL table ${schema}.${table}`
    this.channel = `heddle_${digest.toString('hex').slice(0, 32)}`
    this.#lock = `SELECT pg_advisory_xact_lock(${digest.readBigInt64BE(0)})`
    this.#table = `"${schema}"."${table}"`
    this.#settings = settings
    this.#context = context
    this.#log = context.log
    this.#pool = new pg.Pool({
      ...this.clientConfig(),
      max: connectionsMax,
      query_timeout: timeoutMs,
      idleTimeoutMillis: 60_000
    })
    // Of connections that lie idle; the pool has dropped it already, and the next call opens another.
    this.#pool.on('error', (error) => this.#log('warn', 'postgres.connection-lost', { message: error.message }))
  }

  get timeoutMs(): number {
    return this.#settings.timeoutMs
  }

  /** For a connection outside the pool. */
  clientConfig(): pg.ClientConfig {
    const { address, timeoutMs } = this.#settings
    return { ...address, connectionTimeoutMillis: timeoutMs, keepAlive: true, application_name: 'heddle' }
  }

  /** Makes the table, unless it is there; throws CONFIG_INVALID when it is another's, STORAGE_UNAVAILABLE. */
  async prepare(): Promise<void> {
    await this.#withClient(async (client) => {
      if (await this.#hasTable(client)) return
      // Two processes that begin at the same time would both make it, and one would fail.
      await client.query(`BEGIN; ${this.#lock}`)
      if (!(await this.#hasTable(client))) {
        // Values are encrypted or small: compressing them costs time and gains nothing.
        await client.query(
          `CREATE TABLE ${this.#table} (key bytea PRIMARY KEY, value bytea NOT NULL);
           ALTER TABLE ${this.#table} ALTER COLUMN value SET STORAGE EXTERNAL`
        )
      }
      await client.query('COMMIT')
    })
  }

  /** Owned by the caller. Throws STORAGE_UNAVAILABLE, STORAGE_CORRUPT. */
  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const rows = await this.#withClient((client) =>
      read<Pick<Row, 'value'>>(client, `SELECT value FROM ${this.#table} WHERE key = $1`, [key])
    )
    return rows[0]?.value
  }

  /** The first entries of a range, at least one if there is one, about PAGE_BYTES_MAX bytes; owned by the caller. */
  async page({ gte, lt }: KeyRange, reverse: boolean, entriesMax: number): Promise<readonly Entry[]> {
    const order = reverse ? 'DESC' : 'ASC'
    // Lengths are known without reading the values, so what does not fit into the page is never read.
    const statement = `
      SELECT key, value FROM (
        SELECT key, value, row_number() OVER found AS number,
               sum(octet_length(key) + octet_length(value)) OVER (found ROWS UNBOUNDED PRECEDING) AS bytes
        FROM (SELECT key, value FROM ${this.#table} WHERE key >= $1 AND key < $2 ORDER BY key ${order} LIMIT $3) first
        WINDOW found AS (ORDER BY key ${order})
      ) counted WHERE number = 1 OR bytes <= $4 ORDER BY key ${order}`
    const bounds = [gte, lt, String(entriesMax), String(PAGE_BYTES_MAX)]
    return this.#withClient((client) => read<Row>(client, statement, bounds))
  }

  /**
   * Writes batches as one transaction, each judged after those before it. Returns for each why it changes nothing, or
   * undefined. `writer` is what listeners tell this process by. Throws as pg does, or CommitLost.
   */
  async commit(batches: readonly Batch[], writer: string): Promise<MergedBatches['refusals']> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#withClient((client) => this.#transact(client, batches, writer), false)
      } catch (error) {
        if (!isRetryable(error) || attempt >= ATTEMPTS_MAX) throw error
        this.#log('debug', 'postgres.commit-retried', { attempt })
      }
    }
  }

  /** Waits for what is under way, but not for a server that does not answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    let timer: Disposable | undefined
    const late = new Promise<void>((resolve) => {
      timer = this.#context.clock.setTimer(this.#settings.timeoutMs, resolve)
    })
    await Promise.race([this.#pool.end(), late])
    timer?.[Symbol.dispose]()
  }

  async #transact(client: PoolClient, batches: readonly Batch[], writer: string): Promise<MergedBatches['refusals']> {
    // The lock is taken by a statement of its own: the next one then sees all that was committed under it before. A
    // process that stops in the middle must not hold it for ever.
    await client.query(
      `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
       SET LOCAL idle_in_transaction_session_timeout = ${this.#settings.timeoutMs};
       SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';
       ${this.#lock}`
    )
    const stored = await this.#stored(client, batches)
    const merged = mergeBatches(batches, (key) => stored.get(toHex(key)))
    const hasChanges = await this.#write(client, merged)
    if (hasChanges) await this.#end(client, writer)
    else await client.query('ROLLBACK')
    return merged.refusals
  }

  /** Resolves when it is durable. */
  async #end(client: PoolClient, writer: string): Promise<void> {
    try {
      const results = (await client.query(`NOTIFY ${this.channel}, '${writer}'; COMMIT`)) as unknown as pg.QueryResult[]
      // A transaction that has failed answers COMMIT with ROLLBACK and no error.
      if (results.at(-1)?.command === 'COMMIT') return
    } catch (error) {
      throw isLost(error) ? new CommitLost(error) : error
    }
    throw new HeddleError('STORAGE_UNAVAILABLE', `${this.where} did not take a commit; nothing was changed`)
  }

  /** The values of all keys that are expected, by hexadecimal key. */
  async #stored(client: PoolClient, batches: readonly Batch[]): Promise<ReadonlyMap<string, Uint8Array>> {
    const keys = new Map<string, Uint8Array>()
    for (const { expect } of batches) for (const { key } of expect ?? []) keys.set(toHex(key), key)
    if (keys.size === 0) return new Map()
    const statement = `SELECT key, value FROM ${this.#table} WHERE key = ANY($1::bytea[])`
    const rows = await read<Row>(client, statement, [byteaArray([...keys.values()])])
    return new Map(rows.map(({ key, value }) => [toHex(key), value]))
  }

  /** Returns whether there was anything to change. */
  async #write(client: PoolClient, { delRange, del, put }: MergedBatches): Promise<boolean> {
    const table = this.#table
    for (const { gte, lt } of delRange)
      await client.query(`DELETE FROM ${table} WHERE key >= $1 AND key < $2`, [gte, lt])
    for (const keys of chunks(del, ({ length }) => length))
      await client.query(`DELETE FROM ${table} WHERE key = ANY($1::bytea[])`, [byteaArray(keys)])
    for (const entries of chunks(put, ({ key, value }) => key.length + value.length)) {
      await client.query(
        `INSERT INTO ${table} (key, value) SELECT * FROM unnest($1::bytea[], $2::bytea[])
         ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
        [byteaArray(entries.map(({ key }) => key)), byteaArray(entries.map(({ value }) => value))]
      )
    }
    return delRange.length + del.length + put.length > 0
  }

  /** Runs with a checked connection. With `isTyped`, its errors are those of the contract. */
  async #withClient<T>(use: (client: PoolClient) => Promise<T>, isTyped = true): Promise<T> {
    let client: PoolClient | undefined
    let failure: unknown
    try {
      client = await this.#pool.connect()
      // Between two statements nobody else listens; an error that nobody listens to would end the process.
      client.on('error', ignore)
      if (!this.#checked.has(client)) {
        await checkServer(client, this.where)
        this.#checked.add(client)
      }
      return await use(client)
    } catch (error) {
      failure = error
      throw isTyped ? storageError(error, this.where) : error
    } finally {
      client?.off('error', ignore)
      // After a failure the connection may be lost, or in the middle of a transaction: closing it ends both.
      client?.release(failure !== undefined)
    }
  }

  /** Whether the table is there. Throws CONFIG_INVALID when it is not such a one as `prepare` makes. */
  async #hasTable(client: PoolClient): Promise<boolean> {
    const { schema, table } = this.#settings
    const { rows } = await client.query<Readonly<Record<'kind' | 'persistence' | 'columns' | 'primary', string>>>(
      `SELECT c.relkind AS kind, c.relpersistence AS persistence,
         (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                            || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, ', ' ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
         (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
          WHERE k.conrelid = c.oid AND k.contype = 'p') AS primary
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`,
      [schema, table]
    )
    const found = rows[0]
    if (found === undefined) return false
    const { kind, persistence, columns, primary } = found
    if (kind === 'r' && persistence === 'p' && columns === COLUMNS && primary === PRIMARY_KEY) return true
    throw new HeddleError(
      'CONFIG_INVALID',
      `${this.where} is there and is not a logged table (${COLUMNS}, primary key on key); name another table`,
      { info: { kind, persistence, columns, primary } }
    )
  }
}

/** The connection was lost between sending COMMIT and its answer. */
export class CommitLost extends Error {
  override readonly name = 'CommitLost'

  constructor(override readonly cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause))
  }
}

/** Throws STORAGE_UNAVAILABLE when what this server commits is not safe, or is not to be written. */
async function checkServer(client: PoolClient, where: string): Promise<void> {
  const { rows } = await client.query<{ readonly fsync: string; readonly replica: boolean }>(
    "SELECT current_setting('fsync') AS fsync, pg_is_in_recovery() AS replica"
  )
  const wrong =
    rows[0]?.fsync !== 'on'
      ? 'it runs with fsync = off and forgets commits in a power cut; turn fsync on'
      : rows[0].replica
        ? 'this server is a read-only replica; connect to the primary'
        : undefined
  if (wrong !== undefined) throw new HeddleError('STORAGE_UNAVAILABLE', `${where} cannot be used: ${wrong}`)
}

/** Rows of bytea columns. They come as text: pg reads binary results as if they were UTF-8. */
async function read<T extends object>(
  client: PoolClient,
  text: string,
  values: readonly (Uint8Array | string)[]
): Promise<readonly T[]> {
  const { rows } = await client.query<T>({ text, values: [...values], types: plainBytes })
  return rows
}

const parseBytea: (text: string) => Uint8Array = pg.types.getTypeParser(pg.types.builtins.BYTEA)
/** pg gives Buffers, parts of a larger one. */
const plainBytes = { getTypeParser: () => (text: string) => new Uint8Array(parseBytea(text)) }

const ignore = (): void => {}

/** Parts that each fit into a statement. */
function* chunks<T>(items: readonly T[], bytesOf: (item: T) => number): Generator<readonly T[]> {
  let chunk: T[] = []
  let bytes = 0
  for (const item of items) {
    const itemBytes = bytesOf(item)
    if (chunk.length > 0 && (bytes + itemBytes > STATEMENT_BYTES_MAX || chunk.length >= STATEMENT_ROWS_MAX)) {
      yield chunk
      chunk = []
      bytes = 0
    }
    chunk.push(item)
    bytes += itemBytes
  }
  if (chunk.length > 0) yield chunk
}
