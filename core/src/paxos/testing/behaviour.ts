/**
 * What a shell around the room does where it can go wrong, so that a mutant can do it wrong: when it writes, what it
 * hands to the room, which incarnation it draws. Test-only.
 */
import type { AcceptRequest, Prepare } from '../../wire/index.js'
import type { Acceptor, CheckedAccept, CheckedPromise, CheckedVote, Refusal, Statement, ToVerify } from '../index.js'

export interface Shell {
  /** Replies of these kinds leave before their record is durable. */
  readonly hasty: readonly ('promise' | 'vote')[]
  /** Goes on with the new acceptor, and answers duplicates from it, before its record is durable. */
  readonly eager: boolean
  incarnation(random: () => number): bigint
  seePromise(promise: CheckedPromise): CheckedPromise
  /** `count` votes have been seen by this proposer before. */
  seeVote(vote: CheckedVote, count: number, servers: readonly Uint8Array[]): CheckedVote
  inspectAccept(acceptor: Acceptor, request: AcceptRequest): ToVerify<CheckedAccept> | Refusal
  /** The acceptor to go on with after a Prepare was refused as stale. */
  afterStale(acceptor: Acceptor, prepare: Statement<Prepare>): Acceptor
}

export const honest: Shell = {
  hasty: [],
  eager: false,
  incarnation: (random) => BigInt(Math.floor(random() * 2 ** 32)),
  seePromise: (promise) => promise,
  seeVote: (vote) => vote,
  inspectAccept: (acceptor, request) => acceptor.inspectAccept(request),
  afterStale: (acceptor) => acceptor
}
