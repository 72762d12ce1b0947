/**
 * Commit certificates (SPEC PAXOS): a quorum of distinct servers' equal votes. A decided slot proves itself under the
 * configuration of its slot, whoever it comes from. Called by devices and servers that catch up.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { DecidedSlot, Signed } from '../wire/index.js'
import { equalBallots } from './ballot.js'
import { bindsTo, isServer, quorum, type SlotConfig } from './config.js'
import { type Bad, checkOf, orBad, parseVote, type Statement, type ToVerify } from './statement.js'
import type { Vote } from '../wire/index.js'
import { valueHash } from './value.js'

/** A vote that was decoded and is about the slot. */
export interface CheckedVote {
  readonly vote: Statement<Vote>
}

/** A decided slot whose certificate is structurally sound; decided once its signatures are verified. */
export interface CheckedDecision {
  readonly slot: bigint
  /** Canonical bytes of the Value, a view of what was inspected. */
  readonly value: Uint8Array
  readonly valueHash: Uint8Array
}

/** Decodes a vote and checks that it is of a server of this slot and about it. */
export function inspectVote(config: SlotConfig, signed: Signed): ToVerify<CheckedVote> | Bad {
  const vote = orBad(() => parseVote(signed))
  if ('kind' in vote) return vote
  if (!bindsTo(config, vote.value)) return bad('the vote is for another document, slot or context')
  if (!isServer(config, vote.value.server)) return bad('the vote is of a server that is no acceptor of this slot')
  return { kind: 'verify', checks: [checkOf('Vote', vote.value.server, vote)], item: { vote } }
}

/**
 * Decodes a decided slot and says what to verify. `bad` unless its votes are of a quorum of distinct servers, every one
 * of them of this configuration, all for this document, slot and context, one ballot, and the hash of the value.
 */
export function inspectDecided(config: SlotConfig, decided: DecidedSlot): ToVerify<CheckedDecision> | Bad {
  if (decided.slot !== config.slot) return bad(`the decided slot is ${decided.slot}, not ${config.slot}`)
  const inspected = decided.certificate.votes.map((signed) => inspectVote(config, signed))
  const checks = []
  const votes: Vote[] = []
  for (const one of inspected) {
    if (one.kind === 'bad') return one
    checks.push(...one.checks)
    votes.push(one.item.vote.value)
  }
  const hash = valueHash(decided.value)
  const fault = certificateFault(config, votes, hash)
  if (fault !== undefined) return bad(fault)
  return { kind: 'verify', checks, item: { slot: decided.slot, value: decided.value, valueHash: hash } }
}

const bad = (reason: string): Bad => ({ kind: 'bad', reason })

function certificateFault(config: SlotConfig, votes: readonly Vote[], hash: Uint8Array): string | undefined {
  const servers = new Set(votes.map((vote) => toHex(vote.server)))
  if (servers.size !== votes.length) return 'two votes of the certificate are of one server'
  if (servers.size < quorum(config)) return 'the votes of the certificate are fewer than a quorum'
  const ballot = votes[0]?.ballot
  if (votes.some((vote) => !equalBallots(vote.ballot, ballot))) return 'the votes of the certificate are of two ballots'
  if (votes.some((vote) => !equalBytes(vote.valueHash, hash))) return 'a vote of the certificate is for another value'
  return undefined
}
