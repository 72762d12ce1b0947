/**
 * The door of the paxos room (SPEC PAXOS): one slot's commit is decided among untrusted acceptors. Pure: events and
 * requests in, effects and records out; no I/O, clock, randomness or MLS. Values are opaque bytes, known by their hash.
 *
 * | message | frame | from | what this room does with it |
 * |---|---|---|---|
 * | Prepare (1a) | PrepareRequest | proposer | `Proposer` makes it; `Acceptor.inspectPrepare`, then `prepare` |
 * | Promise (1b) | PromiseReply | acceptor | `Acceptor` makes it; `inspectPromise`, then `Proposer` event `promise` |
 * | Accept (2a) | AcceptRequest | proposer | `Proposer` makes it; `Acceptor.inspectAccept`, then `accept` |
 * | Vote (2b) | VoteNotice | acceptor | `Acceptor` makes it; `inspectVote`, then `Proposer` event `vote`, `Learner.add` |
 * | - | Nack | acceptor | `Acceptor` makes it; `Proposer` event `nack`; unsigned, a hint only |
 * | DecidedSlot | Decided | anyone | `Proposer` makes it; `inspectDecided`, then it is decided |
 *
 * Every `inspect…` decodes, bounds and returns either what is wrong or `{ kind: 'verify', checks, item }`. The caller
 * verifies all `checks` (Ed25519 over `signedInput(label, statement)`), asynchronously if need be, and only then hands
 * on `item`; a failed check is a bad signature of the peer.
 *
 * Server, one step at a time per document (a queue; several processes: compare-and-set on the record):
 *
 *     const inspected = document.acceptor.inspectAccept(request)          // may run outside the queue, as the next line
 *     // refused: answer it. verify: all checks, and MLS public validation of the value unless item.repeated
 *     const outcome = document.acceptor.accept(inspected.item, verdict)   // inside the queue; checks the state again
 *     if (outcome.record) await storage.commit(outcome.record, outcome.value)
 *     document.acceptor = outcome.acceptor                                // only now, or not at all when commit failed
 *     reply(outcome.reply)                                                // sign; votes go to all subscribers too
 *
 * To pipeline, go on with `outcome.acceptor` at once, but then records must become durable in order, every answer, also
 * one without a record, must wait for all records before it, and a write that fails must end the process.
 *
 * When a slot is decided: store it and `acceptor.advance(nextConfig).record` in one batch. After a restart:
 * `new Acceptor(config, serverId, storedRecord)`. Before a Prepare whose ballot is above `acceptor.record.promised` is
 * handed on, `PreemptionBudget.holdMs` says how long to hold it.
 *
 * Device: `new Proposer({ config, leaf, incarnation })` with a fresh random incarnation each time; feed it events with
 * `rttMs` and a fresh random `jitter`; carry out its effects in order. On `need-value` build the commit, make it durable,
 * answer with `propose`. On `decided` compare `valueHash` with the pending commit's. Votes that servers push go to the
 * slot's `Learner` and to the proposer if there is one; when `sawVotes` and the slot stays undecided, start a proposer
 * with purpose `finish-only`. When the slot is decided by other news, drop both.
 */
export {
  Acceptor,
  type AcceptorOutcome,
  type AcceptorReply,
  type CheckedAccept,
  type CheckedPrepare,
  type Refusal,
  type ValueVerdict
} from './acceptor.js'
export { compareBallots, equalBallots, roundJumpMax } from './ballot.js'
export { PreemptionBudget } from './budget.js'
export { type CheckedDecision, type CheckedVote, inspectDecided, inspectVote } from './certificate.js'
export { assertConfig, isServer, quorum, type SlotConfig, type SlotEpoch, serversMax, slotConfigOf } from './config.js'
export type { Evidence } from './evidence.js'
export { Learner, type LearnerEffect } from './learner.js'
export type { Pulse } from './pacing.js'
export { type CheckedPromise, inspectPromise } from './promise.js'
export { Proposer, type ProposerEffect, type ProposerEvent, type ProposerOptions, type Purpose } from './proposer.js'
export { inspectReport, type Report, type Selection, select } from './selection.js'
export {
  type Bad,
  type PromiseStatement,
  parseAccept,
  parsePrepare,
  parsePromise,
  parseVote,
  type SignatureCheck,
  type Statement,
  signedInput,
  type ToVerify
} from './statement.js'
export { proofHash, valueHash } from './value.js'
