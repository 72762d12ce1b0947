/**
 * The omniscient observer of a simulated world: sees every statement that leaves an honest server and every decision
 * that a device takes, and throws at the first broken promise. Test-only.
 */
import { equalBytes, toHex } from '../../bytes.js'
import { Accept, Promise as PromiseCodec, Vote } from '../../wire/index.js'
import { ballotKey, compareBallots } from '../ballot.js'
import { type Evidence, quorum, type PromiseStatement, type SlotConfig } from '../index.js'

export class Violation extends Error {
  override readonly name = 'Violation'
}

interface Sent {
  readonly promises: PromiseStatement[]
  readonly votes: Vote[]
}

export class Oracle {
  /** Value hash decided in each slot, as far as anyone can know. */
  readonly decided = new Map<bigint, string>()
  readonly #sent = new Map<string, Sent>()
  /** Statement bytes by server and number. */
  readonly #numbered = new Map<string, Uint8Array>()
  readonly #voters = new Map<string, Set<string>>()

  /** A promise leaves an honest server. */
  promised(bytes: Uint8Array): void {
    const promise = PromiseCodec.decode(bytes)
    this.#number(promise, bytes)
    const sent = this.#sentBy(promise)
    for (const other of sent.promises) promisesAgree(other, promise)
    for (const vote of sent.votes) voteAgrees(vote, promise)
    sent.promises.push(promise)
  }

  /** A vote leaves an honest server. */
  voted(bytes: Uint8Array, config: SlotConfig): void {
    const vote = Vote.decode(bytes)
    this.#number(vote, bytes)
    const sent = this.#sentBy(vote)
    const repeated = sent.votes.some((other) => compareBallots(other.ballot, vote.ballot) === 0)
    for (const promise of sent.promises) {
      voteAgrees(vote, promise)
      if (!repeated && compareBallots(promise.ballot, vote.ballot) > 0)
        throw new Violation(`server ${name(vote.server)} voted below its promise`)
    }
    for (const other of sent.votes)
      if (compareBallots(other.ballot, vote.ballot) === 0 && !equalBytes(other.valueHash, vote.valueHash))
        throw new Violation(`server ${name(vote.server)} voted for two values in one ballot`)
    sent.votes.push(vote)
    this.cast(vote, config)
  }

  /** A vote exists, of whomever: a quorum of them is a decision, whether or not anybody sees it. */
  cast(vote: Vote, config: SlotConfig): void {
    const key = this.#voteKey(vote.slot, ballotKey(vote.ballot), vote.valueHash)
    const voters = this.#voters.get(key) ?? new Set()
    this.#voters.set(key, voters.add(toHex(vote.server)))
    if (voters.size >= quorum(config)) this.#agree(vote.slot, toHex(vote.valueHash))
  }

  /** A device or server takes a slot as decided. */
  learned(slot: bigint, valueHash: Uint8Array): void {
    if (!this.decided.has(slot)) throw new Violation(`slot ${slot} was taken as decided without a quorum of votes`)
    this.#agree(slot, toHex(valueHash))
  }

  /** Evidence must prove something, and never name the honest. */
  accused(
    evidence: Evidence,
    isHonestLeaf: (leaf: number) => boolean,
    isHonestServer: (server: Uint8Array) => boolean
  ): void {
    if (evidence.kind !== 'accepts') {
      if (isHonestServer(evidence.server)) throw new Violation(`evidence names the server ${name(evidence.server)}`)
      return
    }
    const [first, second] = [Accept.decode(evidence.first.statement), Accept.decode(evidence.second.statement)]
    if (compareBallots(first.ballot, second.ballot) !== 0 || equalBytes(first.valueHash, second.valueHash))
      throw new Violation('evidence proves nothing')
    if (isHonestLeaf(evidence.leaf)) throw new Violation(`evidence names the honest leaf ${evidence.leaf}`)
  }

  #agree(slot: bigint, hash: string): void {
    const earlier = this.decided.get(slot)
    if (earlier !== undefined && earlier !== hash) throw new Violation(`slot ${slot} was decided twice`)
    this.decided.set(slot, hash)
  }

  #number(statement: PromiseStatement | Vote, bytes: Uint8Array): void {
    const key = `${name(statement.server)}|${statement.statementSeq}`
    const other = this.#numbered.get(key)
    if (other !== undefined && !equalBytes(other, bytes))
      throw new Violation(`server ${name(statement.server)} numbered two statements ${statement.statementSeq}`)
    this.#numbered.set(key, bytes)
  }

  #sentBy(statement: PromiseStatement | Vote): Sent {
    const key = `${name(statement.server)}|${statement.slot}`
    const sent = this.#sent.get(key) ?? { promises: [], votes: [] }
    this.#sent.set(key, sent)
    return sent
  }

  #voteKey = (slot: bigint, ballot: string, valueHash: Uint8Array): string => `${slot}|${ballot}|${toHex(valueHash)}`
}

const name = (server: Uint8Array): string => toHex(server.subarray(0, 2))

function promisesAgree(a: PromiseStatement, b: PromiseStatement): void {
  if (compareBallots(a.ballot, b.ballot) !== 0) return
  const same =
    compareBallots(a.accepted?.ballot, b.accepted?.ballot) === 0 &&
    (a.accepted === undefined || (b.accepted !== undefined && equalBytes(a.accepted.valueHash, b.accepted.valueHash)))
  if (!same) throw new Violation(`server ${name(a.server)} reported two things in promises for one ballot`)
}

/** A vote below a promise must stand in its report, or have been followed by a higher vote that does. */
function voteAgrees(vote: Vote, promise: PromiseStatement): void {
  if (compareBallots(vote.ballot, promise.ballot) >= 0) return
  const order = compareBallots(promise.accepted?.ballot, vote.ballot)
  const hidden = order < 0 || (order === 0 && !equalBytes(promise.accepted?.valueHash ?? vote.ctx, vote.valueHash))
  if (hidden) throw new Violation(`server ${name(vote.server)} hid a vote in a promise`)
}
