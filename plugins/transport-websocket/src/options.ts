/** The options of the WebSocket transport, their defaults and their checks; the same in Node and in browsers. */
import type { Counters } from './counters.js'
import { STREAMS_MAX_MAX, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN } from './handshake/index.js'
import type { HttpMount } from './mount.js'

export type Health = (counters: Readonly<Counters>) => object

export interface WebSocketOptions {
  /**
   * The names clients dial this process by, "host:port" or "host" for any port. With them a handshake that was meant for
   * another server is refused; without, every name is taken.
   */
  readonly names?: readonly string[]
  /** Answers GET /healthz with its result as JSON; gets what the transport has counted. */
  readonly health?: Health
  /** Others on the same port, for paths that are not Heddle's; disposed of with the transport. */
  readonly mounts?: readonly HttpMount[]
  /** PEM texts. `key` and `cert` for listening on wss, `ca` to trust more than the system does when dialling. */
  readonly tls?: { readonly key?: string; readonly cert?: string; readonly ca?: string }
  /** Silence after which the peer is pinged. Default 5000. */
  readonly pingIntervalMs?: number
  /** Silence after which the connection counts as lost. Default 12000. */
  readonly deadAfterMs?: number
  /** How long a dial may take, the handshake included. Default 15000. */
  readonly dialTimeoutMs?: number
  /** How long a listener waits for a client to prove itself. Default 10000. */
  readonly handshakeTimeoutMs?: number
  /** How long closing waits for the peer's answer. Default 2000. */
  readonly closeTimeoutMs?: number
  /** Bytes a peer may have under way, unread, on each stream. Default 1 MiB. */
  readonly windowBytes?: number
  /** Streams a peer may have open on a connection; times `windowBytes`, what one can make this process hold. Default 128. */
  readonly streamsMax?: number
  /** Connections that may be unauthenticated or not yet taken from `connections`, for each listener. Default 256. */
  readonly pendingConnectionsMax?: number
  /** All connections of a listener. Default 10000. */
  readonly connectionsMax?: number
}

/** Numbers with their default and bounds. */
const NUMBERS = {
  pingIntervalMs: [5_000, 10, 86_400_000],
  deadAfterMs: [12_000, 20, 86_400_000],
  dialTimeoutMs: [15_000, 10, 86_400_000],
  handshakeTimeoutMs: [10_000, 10, 86_400_000],
  closeTimeoutMs: [2_000, 10, 86_400_000],
  windowBytes: [1024 * 1024, WINDOW_BYTES_MIN, WINDOW_BYTES_MAX],
  streamsMax: [128, 1, STREAMS_MAX_MAX],
  pendingConnectionsMax: [256, 1, 1_000_000],
  connectionsMax: [10_000, 1, 1_000_000]
} as const satisfies Partial<Record<keyof WebSocketOptions, readonly [number, number, number]>>

type NumberName = keyof typeof NUMBERS
export type ResolvedOptions = Readonly<Record<NumberName, number>> & {
  readonly names: readonly string[]
  readonly health: Health | undefined
  readonly mounts: readonly HttpMount[]
  readonly tls: { readonly key?: string; readonly cert?: string; readonly ca?: string }
}

/** Throws an Error that names the option. */
export function parseOptions(value: unknown): ResolvedOptions {
  if (value !== undefined && (typeof value !== 'object' || value === null || Array.isArray(value))) {
    throw new Error('the options must be an object')
  }
  const given: Readonly<Record<string, unknown>> = { ...value }
  const numbers = Object.keys(NUMBERS) as NumberName[]
  const known: readonly string[] = [...numbers, 'names', 'health', 'mounts', 'tls']
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there are ${known.join(', ')}`)
  const parsed = Object.fromEntries(numbers.map((name) => [name, parseNumber(name, given[name])])) as Record<
    NumberName,
    number
  >
  if (parsed.deadAfterMs <= parsed.pingIntervalMs) {
    throw new Error(`"deadAfterMs" (${parsed.deadAfterMs}) must be above "pingIntervalMs" (${parsed.pingIntervalMs})`)
  }
  return {
    ...parsed,
    names: parseNames(given.names),
    health: parseHealth(given.health),
    mounts: parseMounts(given.mounts),
    tls: parseTls(given.tls)
  }
}

function parseNumber(name: NumberName, value: unknown): number {
  const [usual, least, most] = NUMBERS[name]
  if (value === undefined) return usual
  if (!Number.isInteger(value) || Number(value) < least || Number(value) > most) {
    throw new Error(`"${name}" must be a whole number from ${least} to ${most}, not ${String(value)}`)
  }
  return Number(value)
}

function parseNames(value: unknown): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || !value.every((name) => typeof name === 'string' && /^[!-~]+$/.test(name))) {
    throw new Error('"names" must be a list of "host" or "host:port"')
  }
  return value.map((name: string) => name.toLowerCase())
}

function parseHealth(value: unknown): Health | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'function') throw new Error('"health" must be a function that returns an object')
  return value as Health
}

function parseMounts(value: unknown): readonly HttpMount[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || !value.every(isMount)) {
    throw new Error('"mounts" must be a list of objects with "request", "upgrade" and [Symbol.asyncDispose]')
  }
  return [...value]
}

function isMount(value: unknown): value is HttpMount {
  if (typeof value !== 'object' || value === null) return false
  const { request, upgrade, [Symbol.asyncDispose]: dispose } = value as Partial<HttpMount>
  return [request, upgrade, dispose].every((method) => typeof method === 'function')
}

function parseTls(value: unknown): ResolvedOptions['tls'] {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null) throw new Error('"tls" must be an object with key, cert and ca')
  for (const [key, pem] of Object.entries(value)) {
    if (!['key', 'cert', 'ca'].includes(key)) throw new Error(`unknown option "tls.${key}"; there are key, cert and ca`)
    if (typeof pem !== 'string' || !pem.includes('-----BEGIN')) throw new Error(`"tls.${key}" must be a PEM text`)
  }
  const tls = value as ResolvedOptions['tls']
  if ((tls.key === undefined) !== (tls.cert === undefined)) throw new Error('"tls" needs both key and cert, or neither')
  return tls
}

/** Whether `serverName` ("host:port") is one of `names`; always when there are none. */
export function isNamed(names: readonly string[], serverName: string): boolean {
  const host = serverName.slice(0, serverName.lastIndexOf(':'))
  return names.length === 0 || names.includes(serverName) || names.includes(host)
}
