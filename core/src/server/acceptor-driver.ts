/**
 * The I/O around the acceptor (SPEC SRV, PAXOS): verifies, validates, makes the record durable, signs, answers. Its steps
 * are taken one at a time per document and go on at once with what is on its way to storage: every answer, to a
 * duplicate too, waits in the writer behind the record it speaks of.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Body, ServerChannel } from '../net/index.js'
import type { AcceptorOutcome, AcceptorReply, Refusal, SignatureCheck } from '../paxos/index.js'
import { compareBallots, signedInput } from '../paxos/index.js'
import { type AcceptRequest, type PrepareRequest, SIGNATURE_LABELS, type Signed } from '../wire/index.js'
import type { Document } from './document.js'
import type { HeldPrepare } from './held.js'
import { errorFields, type Reply, reply, type ServerParts, signStatement } from './parts.js'
import { checkValue } from './value-check.js'

/**
 * Runs under the document's mutex, as `accept` does. One that is to be held waits outside of it and is then handed in
 * anew, for the acceptor may have moved.
 */
export async function prepare(
  document: Document,
  request: PrepareRequest,
  channel: ServerChannel
): Promise<Reply | HeldPrepare> {
  document.requireMember(channel.peer)
  const inspected = document.acceptor.inspectPrepare(request)
  if (inspected.kind !== 'verify') return refused(document, inspected)
  // Before it is counted: nobody else can use up a member's budget.
  verifyAll(document.parts, inspected.checks)
  const { ballot } = inspected.item.prepare.value
  const raises = compareBallots(ballot, document.acceptor.record.promised) > 0
  const held = raises ? document.held.hold(ballot) : undefined
  if (held !== undefined) return held
  return step(document, document.acceptor.prepare(inspected.item), channel)
}

export async function accept(document: Document, request: AcceptRequest, channel: ServerChannel): Promise<Reply> {
  document.requireMember(channel.peer)
  const inspected = document.acceptor.inspectAccept(request)
  if (inspected.kind !== 'verify') return refused(document, inspected)
  verifyAll(document.parts, inspected.checks)
  const valid = inspected.item.repeated || (await isValid(document, request.value))
  return step(document, document.acceptor.accept(inspected.item, valid ? 'valid' : 'invalid'), channel)
}

/** Throws BAD_SIGNATURE. */
export function verifyAll({ crypto }: ServerParts, checks: readonly SignatureCheck[]): void {
  for (const { publicKey, label, statement, signature } of checks)
    if (!crypto.verify(publicKey, signedInput(label, statement), signature))
      throw new HeddleError('BAD_SIGNATURE', `the signature of a "${label}" does not verify`)
}

async function isValid(document: Document, value: Uint8Array): Promise<boolean> {
  const { context, count } = document.parts
  try {
    await checkValue(document, value)
    return true
  } catch (error) {
    if (!HeddleError.is(error)) throw error
    count('invalidValue')
    context.log('warn', 'server.invalid-value', { group: toHex(document.group), ...errorFields(error) })
    return false
  }
}

async function step(document: Document, outcome: AcceptorOutcome, channel: ServerChannel): Promise<Reply> {
  const { parts, store } = document
  const before = document.acceptor.record.accepted?.valueHash
  document.acceptor = outcome.acceptor
  const { record, value, evidence } = outcome
  if (evidence !== undefined) {
    parts.count('equivocation')
    parts.context.log('warn', 'server.equivocation', { group: toHex(document.group), evidence })
  }
  if (record !== undefined) {
    const put = [store.acceptor(record)]
    const accepted = record.accepted?.valueHash
    if (value !== undefined && accepted !== undefined) put.push(store.value(accepted, value.slice()))
    // Only the value accepted last is ever asked for; a member could fill the disk with the others.
    const isReplaced = before !== undefined && accepted !== undefined && !equalBytes(before, accepted)
    document.write(isReplaced ? { put, del: [store.valueKey(before)] } : { put })
  }
  return replyTo(document, outcome.reply, channel)
}

async function replyTo(document: Document, answer: AcceptorReply, channel: ServerChannel): Promise<Reply> {
  const { parts } = document
  if (answer.kind === 'refused') return refused(document, answer.refusal)
  if (answer.kind === 'vote') {
    parts.count('vote')
    const vote = signStatement(parts, SIGNATURE_LABELS.Vote, answer.statement)
    return { body: () => ({ $case: 'vote', value: { vote } }), sent: () => pushVote(document, vote, channel) }
  }
  parts.count('promise')
  const promise = signStatement(parts, SIGNATURE_LABELS.Promise, answer.statement)
  const value = answer.valueHash === undefined ? new Uint8Array(0) : await acceptedValue(document, answer.valueHash)
  return reply({ $case: 'promise', value: { promise, accept: answer.accept, value } })
}

function pushVote(document: Document, vote: Signed, proposer: ServerChannel): void {
  for (const subscription of document.subscriptions) if (subscription.channel !== proposer) subscription.vote(vote)
}

async function acceptedValue(document: Document, hash: Uint8Array): Promise<Uint8Array> {
  // It may have been accepted a moment ago and still be on its way to storage.
  await document.written
  const value = await document.store.readValue(hash)
  if (value === undefined) throw new HeddleError('STORAGE_CORRUPT', `the accepted value ${toHex(hash)} is missing`)
  return value
}

async function refused(document: Document, refusal: Refusal): Promise<Reply> {
  const { group } = document
  switch (refusal.kind) {
    case 'nack':
      return reply({ $case: 'nack', value: refusal.nack })
    case 'stale':
      return decidedFrom(document, refusal.fromSlot)
    case 'malformed':
      throw document.problem('MALFORMED', refusal.reason)
    case 'behind':
      throw document.problem('BEHIND', `this server has not learned slot ${refusal.slot} yet`)
    case 'fork':
      throw document.problem('FORK', `the proposer holds another group context for slot ${refusal.slot}`)
    case 'not-a-member':
      throw document.problem('NOT_A_MEMBER', 'no member has the leaf of this ballot')
    case 'not-mine':
      throw document.problem('INVALID', 'this server is no acceptor of the document at this slot')
    case 'wrong-document':
      throw new HeddleError('INTERNAL', `a request for another document reached ${toHex(group)}`)
  }
}

/** A slot that is decided here but not yet durable is told of once it is. */
async function decidedFrom(document: Document, slot: bigint): Promise<Reply> {
  await document.written
  const slots = await document.readDecided(slot)
  const body: Body = { $case: 'decided', value: { group: document.group, slots } }
  return reply(body)
}
