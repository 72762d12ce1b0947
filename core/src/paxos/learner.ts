/**
 * The learner of one slot (SPEC PAXOS): counts verified votes from wherever they come until a quorum of distinct servers
 * has voted for one value in one ballot. Called by devices for the votes servers push, and by the proposer.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { Ballot, Certificate } from '../wire/index.js'
import { ballotKey, compareBallots } from './ballot.js'
import type { CheckedVote } from './certificate.js'
import { assertConfig, bindsTo, isServer, quorum, type SlotConfig } from './config.js'
import type { Evidence } from './evidence.js'
import { toSigned } from './statement.js'

export type LearnerEffect =
  /** The slot is decided. Whoever lacks the value gets it by catching up or by finishing the slot. */
  | {
      readonly kind: 'certificate'
      readonly certificate: Certificate
      readonly ballot: Ballot
      readonly valueHash: Uint8Array
    }
  | { readonly kind: 'evidence'; readonly evidence: Evidence }

/** Votes kept per server; an honest one casts one a ballot, so this bounds what a lying one can make us keep. */
const votesPerServerMax = 16

export class Learner {
  readonly config: SlotConfig
  readonly #votes = new Map<string, CheckedVote[]>()
  #certified = false

  constructor(config: SlotConfig) {
    assertConfig(config)
    this.config = config
  }

  /** Somebody proposed in this slot: if it stays undecided, a finish-only proposer completes it. */
  get sawVotes(): boolean {
    return this.#votes.size > 0
  }

  get certified(): boolean {
    return this.#certified
  }

  /** Highest round voted in, to start a proposer above it; 0 when no votes were seen. */
  get roundMax(): bigint {
    let max = 0n
    for (const { vote } of [...this.#votes.values()].flat())
      if (vote.value.ballot.round > max) max = vote.value.ballot.round
    return max
  }

  /** Counts a vote whose checks have succeeded. A vote for another slot, or of a server outside it, does not count. */
  add(checked: CheckedVote): readonly LearnerEffect[] {
    const vote = checked.vote.value
    if (!bindsTo(this.config, vote) || !isServer(this.config, vote.server)) return []
    const cast = this.#votes.get(toHex(vote.server)) ?? []
    const inBallot = cast.filter((other) => compareBallots(other.vote.value.ballot, vote.ballot) === 0)
    if (inBallot.some((other) => equalBytes(other.vote.value.valueHash, vote.valueHash))) return []
    this.#votes.set(toHex(vote.server), keep([...cast, checked]))
    const effects: LearnerEffect[] = []
    const [first] = inBallot
    if (first !== undefined) {
      const evidence: Evidence = {
        kind: 'votes',
        server: vote.server,
        first: toSigned(first.vote),
        second: toSigned(checked.vote)
      }
      effects.push({ kind: 'evidence', evidence })
    }
    const certificate = this.#certificate(vote.ballot, vote.valueHash)
    if (certificate === undefined || this.#certified) return effects
    this.#certified = true
    return [...effects, { kind: 'certificate', certificate, ballot: vote.ballot, valueHash: vote.valueHash }]
  }

  #certificate(ballot: Ballot, valueHash: Uint8Array): Certificate | undefined {
    const wanted = ballotKey(ballot)
    const votes = [...this.#votes.values()].flatMap((cast) => {
      const match = cast.find(
        ({ vote }) => ballotKey(vote.value.ballot) === wanted && equalBytes(vote.value.valueHash, valueHash)
      )
      return match === undefined ? [] : [toSigned(match.vote)]
    })
    return votes.length < quorum(this.config) ? undefined : { votes }
  }
}

/** The votes in the highest ballots: a slot is decided there or, if lower, a later ballot decides the same value. */
function keep(votes: readonly CheckedVote[]): CheckedVote[] {
  return [...votes].sort((a, b) => compareBallots(b.vote.value.ballot, a.vote.value.ballot)).slice(0, votesPerServerMax)
}
