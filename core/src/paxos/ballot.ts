/**
 * Ballot numbers (SPEC PAXOS): ordered by round, then leaf, then incarnation. Every ballot belongs to one proposer
 * instance, so no two values are ever proposed in one ballot by an honest device.
 */
import type { Ballot } from '../wire/index.js'

/** How far a round may lie above the one an acceptor has promised: 2^37 requests would be needed to use up the rounds. */
export const roundJumpMax = 65_536n

/** Negative when `a` is below `b`; no ballot is below every ballot. */
export function compareBallots(a: Ballot | undefined, b: Ballot | undefined): number {
  if (a === undefined || b === undefined) return (a === undefined ? 0 : 1) - (b === undefined ? 0 : 1)
  if (a.round !== b.round) return a.round < b.round ? -1 : 1
  if (a.leaf !== b.leaf) return a.leaf - b.leaf
  if (a.incarnation !== b.incarnation) return a.incarnation < b.incarnation ? -1 : 1
  return 0
}

export const equalBallots = (a: Ballot | undefined, b: Ballot | undefined): boolean => compareBallots(a, b) === 0

/** Whether an acceptor that promised `promised` must refuse `ballot` for its round alone. */
export const jumpsTooFar = (ballot: Ballot, promised: Ballot | undefined): boolean =>
  ballot.round > (promised?.round ?? 0n) + roundJumpMax

/** Key of a Map. */
export const ballotKey = (ballot: Ballot): string => `${ballot.round}.${ballot.leaf}.${ballot.incarnation}`
