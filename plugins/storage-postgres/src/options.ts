/** What an app says about the database, checked before anything is connected (SPEC PLUGIN-002). */

/** Where the database is, when it is not written as one string. */
export interface PostgresConnection {
  /** A name, an address, or the folder of a Unix socket ("/run/postgresql"). */
  readonly host: string
  /** Default: 5432. */
  readonly port?: number
  readonly database: string
  readonly user: string
  readonly password?: string
  /** true: TLS with a certificate the system trusts; `ca`: PEM of the authority to trust instead. */
  readonly ssl?: boolean | { readonly ca: string }
}

export interface PostgresStorageOptions {
  /** "postgres://user:password@host:port/database?sslmode=verify-full". This or `connection`. */
  readonly connectionString?: string
  readonly connection?: PostgresConnection
  /** The table, made if it is not there; nothing else writes it. Lower case, digits and "_". Default: "heddle". */
  readonly table?: string
  /** The schema of the table; it has to exist. Default: "public". */
  readonly schema?: string
  /** Connections of this process at most, besides one for `watch`; at least 2. Default: 8. */
  readonly connectionsMax?: number
  /** How long the server may take to be reached, or to answer, milliseconds. Default: 30,000. */
  readonly timeoutMs?: number
}

/** The options with everything said. */
export interface Settings {
  readonly address: { readonly connectionString: string } | PostgresConnection
  readonly table: string
  readonly schema: string
  readonly connectionsMax: number
  readonly timeoutMs: number
}

const OPTIONS = ['connectionString', 'connection', 'table', 'schema', 'connectionsMax', 'timeoutMs']
const FIELDS = ['host', 'port', 'database', 'user', 'password', 'ssl']
/** PostgreSQL cuts longer names off. Lower case only: what is written without quotes elsewhere means the same table. */
const NAME = /^[a-z_][a-z0-9_]{0,62}$/

/** Throws an Error that names the option and what it has to be; never with a password in it. */
export function parseOptions(value: unknown): Settings {
  if (typeof value !== 'object' || value === null) throw new Error('the options have to be an object')
  const unknown = Object.keys(value).find((name) => !OPTIONS.includes(name))
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there are ${OPTIONS.join(', ')}`)
  const options = value as PostgresStorageOptions
  return {
    address: addressOf(options),
    table: nameOf('table', options.table ?? 'heddle'),
    schema: nameOf('schema', options.schema ?? 'public'),
    connectionsMax: integerOf('connectionsMax', options.connectionsMax ?? 8, 2, 1000),
    timeoutMs: integerOf('timeoutMs', options.timeoutMs ?? 30_000, 1, 2 ** 31 - 1)
  }
}

function addressOf({ connectionString, connection }: PostgresStorageOptions): Settings['address'] {
  if ((connectionString === undefined) === (connection === undefined)) {
    throw new Error('give "connectionString" or "connection", one of the two')
  }
  if (connection === undefined) {
    if (typeof connectionString === 'string' && /^postgres(ql)?:\/\//.test(connectionString)) {
      return { connectionString }
    }
    throw new Error('"connectionString" has to begin with "postgres://" or "postgresql://"')
  }
  if (typeof connection !== 'object' || connection === null) throw new Error('"connection" has to be an object')
  const unknown = Object.keys(connection).find((name) => !FIELDS.includes(name))
  if (unknown !== undefined) throw new Error(`unknown option "connection.${unknown}"; there are ${FIELDS.join(', ')}`)
  for (const name of ['host', 'database', 'user'] as const) textOf(`connection.${name}`, connection[name])
  if (connection.password !== undefined) textOf('connection.password', connection.password)
  if (connection.port !== undefined) integerOf('connection.port', connection.port, 1, 65_535)
  const { ssl } = connection
  if (typeof ssl === 'object') textOf('connection.ssl.ca', ssl?.ca)
  else if (ssl !== undefined && typeof ssl !== 'boolean') {
    throw new Error('"connection.ssl" has to be true, false or { ca }')
  }
  return { ...connection }
}

function textOf(name: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') throw new Error(`"${name}" has to be a text that is not empty`)
}

function nameOf(option: string, name: unknown): string {
  if (typeof name === 'string' && NAME.test(name)) return name
  throw new Error(`"${option}" has to be a name of lower-case letters, digits and "_", at most 63, no digit first`)
}

function integerOf(option: string, value: unknown, min: number, max: number): number {
  if (Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max) return Number(value)
  throw new Error(`"${option}" has to be a whole number from ${min} to ${max}`)
}
