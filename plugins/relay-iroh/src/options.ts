/** The options of the relay, their defaults and their checks. */
import { HeddleError } from '@heddle/core'
import type { Authorize } from './authorize.js'
import { FRAME_BYTES_MAX } from './protocol/index.js'

export interface RelayOptions {
  /** Who may use the relay: `everyone`, `members(…)`, `tokens(…)`, `anyOf(…)` or your own. */
  readonly authorize: Authorize
  /** Clients at once, those in the handshake included. Default 10000. */
  readonly clientsMax?: number
  /** Clients that may be in the handshake at once. Default 256. */
  readonly handshakesMax?: number
  /** How long a client may take to prove its key, the policy's answer included. Default 10000. */
  readonly handshakeTimeoutMs?: number
  /** Silence after which a client is pinged, plus 1 to 5 seconds by chance. Default 15000. */
  readonly pingIntervalMs?: number
  /** How long the answer to a ping may take. Default 5000. */
  readonly pongTimeoutMs?: number
  /** A client whose full queue has not moved for so long is given up. Default 10000. */
  readonly stallTimeoutMs?: number
  /** How long closing waits for the client's answer. Default 2000. */
  readonly closeTimeoutMs?: number
  /** Frames that may wait for one client; what comes after them is dropped. Default 512. */
  readonly queueFramesMax?: number
  /** Bytes that may wait for one client. Default 1 MiB. */
  readonly queueBytesMax?: number
  /** Bytes that may wait for all clients; above it each has 64 KiB. Default 128 MiB. */
  readonly queueBytesTotalMax?: number
  /** What one client may send in the long run; a frame counts as 512 bytes at least. Default 8 MiB. */
  readonly bytesPerSecond?: number
  /** What one client may send at once after a pause. Default 2 MiB. */
  readonly burstBytes?: number
}

const MiB = 1024 * 1024
const DAY_MS = 86_400_000
/** Numbers with their default and bounds. */
const NUMBERS = {
  clientsMax: [10_000, 1, 1_000_000],
  handshakesMax: [256, 1, 1_000_000],
  handshakeTimeoutMs: [10_000, 10, DAY_MS],
  pingIntervalMs: [15_000, 10, DAY_MS],
  pongTimeoutMs: [5_000, 10, DAY_MS],
  stallTimeoutMs: [10_000, 10, DAY_MS],
  closeTimeoutMs: [2_000, 10, DAY_MS],
  queueFramesMax: [512, 1, 1_000_000],
  queueBytesMax: [MiB, FRAME_BYTES_MAX, 1024 * MiB],
  queueBytesTotalMax: [128 * MiB, FRAME_BYTES_MAX, 1024 * 1024 * MiB],
  bytesPerSecond: [8 * MiB, FRAME_BYTES_MAX, 1024 * 1024 * MiB],
  burstBytes: [2 * MiB, FRAME_BYTES_MAX, 1024 * 1024 * MiB]
} as const satisfies Partial<Record<keyof RelayOptions, readonly [number, number, number]>>

type NumberName = keyof typeof NUMBERS
export type Limits = Readonly<Record<NumberName, number>>
export type ResolvedOptions = Limits & { readonly authorize: Authorize }

/** Throws CONFIG_INVALID, naming the option. */
export function resolveOptions(options: RelayOptions): ResolvedOptions {
  const names = Object.keys(NUMBERS) as NumberName[]
  const known: readonly string[] = ['authorize', ...names]
  const unknown = Object.keys(options).find((key) => !known.includes(key))
  if (unknown !== undefined) throw invalid(`unknown option "${unknown}"; there are ${known.join(', ')}`)
  if (typeof options.authorize !== 'function') {
    throw invalid('"authorize" must be a function; "everyone" makes an open relay')
  }
  const numbers = Object.fromEntries(names.map((name) => [name, resolveNumber(name, options[name])])) as Record<
    NumberName,
    number
  >
  return { ...numbers, authorize: options.authorize }
}

function resolveNumber(name: NumberName, value: number | undefined): number {
  const [usual, least, most] = NUMBERS[name]
  if (value === undefined) return usual
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw invalid(`"${name}" must be a whole number from ${least} to ${most}, not ${String(value)}`)
}

function invalid(why: string): HeddleError {
  return new HeddleError('CONFIG_INVALID', `the options of the iroh relay are wrong: ${why}`)
}
