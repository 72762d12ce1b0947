/**
 * How a proposer paces itself (SPEC PAXOS): when it repeats, how long it backs off, which round it takes next. Pure
 * functions of the measured round-trip time and of random numbers that the caller draws.
 */
import { roundJumpMax } from './ballot.js'

/** What the caller knows when it hands an event to a proposer. */
export interface Pulse {
  /** Estimated round-trip time to the servers, milliseconds. */
  readonly rttMs: number
  /** Uniformly random in [0, 1), drawn anew for every event. */
  readonly jitter: number
}

const retransmitMsMin = 200
const retransmitMsMax = 5_000

/** Before the same message is sent once more; `repeats` counts from 0. Milliseconds. */
export function retransmitMs({ rttMs, jitter }: Pulse, repeats: number): number {
  const first = Math.max(4 * rttMs, retransmitMsMin) * (1 + jitter)
  return Math.round(Math.min(first * 1.5 ** Math.min(repeats, 20), retransmitMsMax))
}

/**
 * When a quorum is ready again, of servers that ask for these delays (0: none): a server that lies about it holds nobody
 * up as long as the others make a quorum. Milliseconds.
 */
export function quorumDelayMs(delaysMs: readonly number[], quorum: number): number {
  return [...delaysMs].sort((a, b) => a - b)[quorum - 1] ?? 0
}

/**
 * Before the next ballot, after `failures` ballots of this slot were refused: U(0, 2.2)·RTT + U(0, 1)·1.2·RTT·2^k, long
 * enough that one of several duelling proposers gets both its phases through, and never below `retryAfterMs`.
 */
export function backoffMs({ rttMs, jitter }: Pulse, failures: number, retryAfterMs: number): number {
  // One draw serves as two: its low bits are independent of its magnitude.
  const second = (jitter * 65_536) % 1
  const k = Math.min(Math.max(failures - 1, 0), 5)
  return Math.round(Math.max(jitter * 2.2 * rttMs + second * 1.2 * rttMs * 2 ** k, retryAfterMs, 1))
}

/**
 * The round of the next ballot: above every round known, unless that would jump too far for a quorum. Without the
 * second bound one member could push a single server's round so high that no round suits a quorum any more; nor can a
 * server that lies about its promise lead the proposer astray. Undefined when the rounds are used up, which takes more
 * lying servers than a quorum leaves out.
 *
 * @param known the highest round every server is known to have promised, 0 when nothing is known of it
 * @param seen a round that was seen elsewhere, to start above
 * @param last the round of this proposer's last ballot
 */
export function nextRound(known: readonly bigint[], seen: bigint, quorum: number, last: bigint): bigint | undefined {
  const ascending = [...known].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const highest = ascending.at(-1) ?? 0n
  const aboveAll = (seen > highest ? seen : highest) + 1n
  const reachable = (ascending[quorum - 1] ?? 0n) + roundJumpMax
  const wanted = aboveAll < reachable ? aboveAll : reachable
  const round = wanted > last ? wanted : last + 1n
  return round > roundMax ? undefined : round
}

/** The greatest round the wire carries. */
const roundMax = BigInt(Number.MAX_SAFE_INTEGER)
