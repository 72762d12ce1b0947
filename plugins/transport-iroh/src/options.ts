/** The options of the iroh transport, their defaults and their checks. */
import { parseRelay } from './address.js'

export interface IrohOptions {
  /**
   * Relays, "https://host" or "http://host:port": a listener can be reached through them from behind a NAT, and says so in
   * its addresses. Without any, only direct addresses work, and nothing outside is ever contacted.
   */
  readonly relays?: readonly string[]
  /** How long `listen` waits for a relay to answer before it goes on without. Default 3000. */
  readonly relayTimeoutMs?: number
  /** Silence after which the peer is pinged. Default 5000. */
  readonly pingIntervalMs?: number
  /** Silence after which the connection counts as lost. Default 12000. */
  readonly deadAfterMs?: number
  /** How long a dial may take, the handshake included. Default 15000. */
  readonly dialTimeoutMs?: number
  /** How long a listener waits for a peer to finish the handshake. Default 10000. */
  readonly handshakeTimeoutMs?: number
  /** How long closing waits for what was written to arrive. Default 2000. */
  readonly closeTimeoutMs?: number
  /** Streams a peer may have open on a connection. Default 128. */
  readonly streamsMax?: number
  /** Connections that may be in the handshake or not yet taken from `connections`, for each listener. Default 256. */
  readonly pendingConnectionsMax?: number
  /** All connections of a listener. Default 10000. */
  readonly connectionsMax?: number
}

/** Numbers with their default and bounds. */
const NUMBERS = {
  relayTimeoutMs: [3_000, 0, 86_400_000],
  pingIntervalMs: [5_000, 10, 86_400_000],
  deadAfterMs: [12_000, 20, 86_400_000],
  dialTimeoutMs: [15_000, 10, 86_400_000],
  handshakeTimeoutMs: [10_000, 10, 86_400_000],
  closeTimeoutMs: [2_000, 10, 86_400_000],
  streamsMax: [128, 1, 4096],
  pendingConnectionsMax: [256, 1, 1_000_000],
  connectionsMax: [10_000, 1, 1_000_000]
} as const satisfies Partial<Record<keyof IrohOptions, readonly [number, number, number]>>

/** A ticket names one relay each, and a document keeps at most eight addresses of a server. */
const RELAYS_MAX = 4

type NumberName = keyof typeof NUMBERS
export type ResolvedOptions = Readonly<Record<NumberName, number>> & { readonly relays: readonly string[] }

/** Throws an Error that names the option. */
export function parseOptions(value: unknown): ResolvedOptions {
  if (value !== undefined && (typeof value !== 'object' || value === null || Array.isArray(value))) {
    throw new Error('the options must be an object')
  }
  const given: Readonly<Record<string, unknown>> = { ...value }
  const numbers = Object.keys(NUMBERS) as NumberName[]
  const known: readonly string[] = [...numbers, 'relays']
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown !== undefined) throw new Error(`unknown option "${unknown}"; there are ${known.join(', ')}`)
  const parsed = Object.fromEntries(numbers.map((name) => [name, parseNumber(name, given[name])])) as Record<
    NumberName,
    number
  >
  if (parsed.deadAfterMs <= parsed.pingIntervalMs) {
    throw new Error(`"deadAfterMs" (${parsed.deadAfterMs}) must be above "pingIntervalMs" (${parsed.pingIntervalMs})`)
  }
  return { ...parsed, relays: parseRelays(given.relays) }
}

function parseNumber(name: NumberName, value: unknown): number {
  const [usual, least, most] = NUMBERS[name]
  if (value === undefined) return usual
  if (!Number.isInteger(value) || Number(value) < least || Number(value) > most) {
    throw new Error(`"${name}" must be a whole number from ${least} to ${most}, not ${String(value)}`)
  }
  return Number(value)
}

function parseRelays(value: unknown): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || value.length > RELAYS_MAX || !value.every((url) => typeof url === 'string')) {
    throw new Error(`"relays" must be a list of at most ${RELAYS_MAX} URLs`)
  }
  return value.map((url: string) => {
    const relay = parseRelay(url)
    if (relay === undefined) throw new Error(`"relays" has "${url}"; write each as https://host or http://host:port`)
    return relay
  })
}
