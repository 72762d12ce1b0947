/**
 * One connection of a device (SPEC SRV): takes its requests, keeps their order per document, bounds what is under way, and
 * answers each once everything the answer speaks of is durable.
 */
import { toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Body, BodyOf, ReceivedFrame, ServerChannel } from '../net/index.js'
import { parseAccept, parsePrepare } from '../paxos/index.js'
import { FRAMES, type Subscribe } from '../wire/index.js'
import { accept, prepare } from './acceptor-driver.js'
import { catchUp, learnDecided } from './decided.js'
import type { Document } from './document.js'
import type { Documents } from './documents.js'
import type { HeldPrepare } from './held.js'
import { TokenBucket } from './limits.js'
import { closeMailbox, openMailbox, putIntoMailbox } from './mailbox.js'
import { done, errorFields, isOwnFailure, type Reply, type ServerParts } from './parts.js'
import { fetchEnvelopes, subscribedBody } from './read.js'
import { Subscription } from './subscription.js'
import { storeUpload } from './upload.js'
import { answerWelcome } from './welcome.js'

/** Requests about one document. */
type DocumentRequest = BodyOf<
  | 'subscribe'
  | 'unsubscribe'
  | 'upload'
  | 'fetch'
  | 'prepare'
  | 'accept'
  | 'decided'
  | 'catchUp'
  | 'mailboxOpen'
  | 'mailboxPut'
  | 'mailboxClose'
  | 'welcomeRequest'
>

/** What a request is counted for besides its own bytes: its answer may be this large. */
const answerBytesEstimate = 64 * 1024

export class Session {
  readonly #parts: ServerParts
  readonly #documents: Documents
  readonly #channel: ServerChannel
  readonly #subscriptions = new Map<string, Subscription>()
  readonly #openRequests: TokenBucket
  readonly #proposals: TokenBucket
  readonly #held = new Set<HeldPrepare>()
  #inFlightBytes = 0
  #inFlight = 0
  #room: (() => void) | undefined

  constructor(parts: ServerParts, documents: Documents, channel: ServerChannel) {
    const { limits, context } = parts
    this.#parts = parts
    this.#documents = documents
    this.#channel = channel
    this.#openRequests = new TokenBucket(context.clock, limits.openRequestsPerSecond, limits.openRequestsBurst)
    this.#proposals = new TokenBucket(context.clock, limits.proposalsPerSecond, limits.proposalsBurst)
  }

  /** Serves until the connection ends. */
  async run(): Promise<void> {
    await this.#channel.run((frame) => this.#take(frame))
    for (const subscription of this.#subscriptions.values()) subscription.end()
    for (const held of this.#held) held.drop()
  }

  async close(reason: HeddleError): Promise<void> {
    await this.#channel.close(reason)
  }

  /** Starts on a request and resolves when there is room for the next. */
  async #take({ request, body, bytes }: ReceivedFrame): Promise<void> {
    this.#parts.count('request')
    const cost = bytes + answerBytesEstimate
    this.#inFlight++
    this.#inFlightBytes += cost
    this.#serve(request, body).then(() => {
      this.#inFlight--
      this.#inFlightBytes -= cost
      this.#room?.()
    })
    const { inFlightBytesMax, inFlightRequestsMax } = this.#parts.limits
    while (this.#inFlight > 1 && (this.#inFlight >= inFlightRequestsMax || this.#inFlightBytes >= inFlightBytesMax))
      await new Promise<void>((resolve) => {
        this.#room = resolve
      })
  }

  /** Never rejects. */
  async #serve(request: bigint, body: Body): Promise<void> {
    try {
      await this.#handle(request, body)
    } catch (cause) {
      // Not even a Problem can be told when the connection is gone; then this is all there is to do.
      await this.#refuse(request, asHeddleError(cause)).catch((error: unknown) => this.close(asHeddleError(error)))
    }
  }

  async #handle(request: bigint, body: Body): Promise<void> {
    if (request === 0n) {
      // Nothing waits for an answer here, so there is nothing to take one for.
      if (body.$case === 'problem' || body.$case === 'pong') return
      throw new HeddleError('UNEXPECTED_FRAME', `${FRAMES[body.$case].name} needs a request number`)
    }
    switch (body.$case) {
      case 'create':
        this.#spend(this.#openRequests)
        return this.#answer(request, await this.#documents.create(body.value, this.#channel.peer))
      case 'prepare':
      case 'accept':
        this.#spend(this.#proposals)
        return this.#inDocument(request, groupOf(body), body)
      case 'mailboxPut':
      case 'welcomeRequest':
      case 'decided':
        this.#spend(this.#openRequests)
        return this.#inDocument(request, body.value.group, body)
      case 'subscribe':
      case 'unsubscribe':
      case 'upload':
      case 'fetch':
      case 'catchUp':
      case 'mailboxOpen':
      case 'mailboxClose':
        return this.#inDocument(request, body.value.group, body)
      default:
        throw new HeddleError('UNEXPECTED_FRAME', `${FRAMES[body.$case].name} is not taken here`)
    }
  }

  async #inDocument(request: bigint, group: Uint8Array, body: DocumentRequest): Promise<void> {
    await this.#documents.use(group, async (document) => {
      const step = async () => {
        const outcome = await this.#outcome(document, body)
        // Taken in the same step: a later request's batch is not what this answer speaks of.
        return { outcome, written: document.written }
      }
      const take = () => (isRead(body) ? step() : document.mutex.run(step))
      let taken = await take()
      while ('released' in taken.outcome) {
        await this.#untilReleased(document, taken.outcome)
        taken = await take()
      }
      const { outcome, written } = taken
      // A refusal speaks of the document's state as much as an answer does.
      await written
      if (HeddleError.is(outcome)) await this.#refuse(request, outcome)
      else await this.#answer(request, outcome)
    })
  }

  /** Waits while others have their turn. Throws when the Prepare is not to be handled any more. */
  async #untilReleased(document: Document, held: HeldPrepare): Promise<void> {
    this.#held.add(held)
    if (this.#channel.end !== undefined) held.drop()
    const release = await held.released
    this.#held.delete(held)
    if (release === 'replaced')
      // Without the slot, which need not be durable yet.
      throw new HeddleError('LIMIT_EXCEEDED', 'this member has sent another Prepare while this one was held back', {
        info: { group: document.group }
      })
    if (release === 'dropped') throw new HeddleError('TRANSPORT_CLOSED', 'the proposer has left')
  }

  async #outcome(document: Document, body: DocumentRequest): Promise<Reply | HeldPrepare | HeddleError> {
    try {
      return await this.#perform(document, body)
    } catch (cause) {
      return asHeddleError(cause)
    }
  }

  #perform(document: Document, body: DocumentRequest): Reply | Promise<Reply | HeldPrepare> {
    const { peer } = this.#channel
    switch (body.$case) {
      case 'upload':
        return storeUpload(document, body.value, peer)
      case 'subscribe':
        return this.#subscribe(document, body.value)
      case 'unsubscribe':
        return this.#unsubscribe(document)
      case 'fetch':
        return fetchEnvelopes(document, body.value, peer)
      case 'prepare':
        return prepare(document, body.value, this.#channel)
      case 'accept':
        return accept(document, body.value, this.#channel)
      case 'decided':
        return learnDecided(document, body.value, this.#channel)
      case 'catchUp':
        return catchUp(document, body.value, peer)
      case 'mailboxOpen':
        return openMailbox(document, body.value, peer)
      case 'mailboxPut':
        return putIntoMailbox(document, body.value)
      case 'mailboxClose':
        return closeMailbox(document, body.value, peer)
      case 'welcomeRequest':
        return answerWelcome(document, body.value, this.#channel)
    }
  }

  #subscribe(document: Document, { mode, afterPosition }: Subscribe): Reply {
    const { id: member } = document.requireMember(this.#channel.peer)
    const key = toHex(document.group)
    const max = this.#parts.limits.subscriptionsPerConnectionMax
    if (!this.#subscriptions.has(key) && this.#subscriptions.size >= max)
      throw document.problem('LIMIT_EXCEEDED', `a connection has at most ${max} subscriptions`)
    let subscription: Subscription | undefined
    return {
      body: () => {
        if (this.#channel.end !== undefined) throw this.#channel.end
        // The member may have been removed while the answer waited.
        if (document.durableEpoch?.memberById(member) === undefined) throw document.notAMember()
        this.#subscriptions.get(key)?.end()
        // Made in the moment the answer is: what it says and what the pump begins with are the same state.
        subscription = new Subscription({ document, channel: this.#channel, mode, member, afterPosition })
        this.#subscriptions.set(key, subscription)
        document.subscriptions.add(subscription)
        return subscribedBody(document)
      },
      sent: () => {
        subscription?.run().then(() => {
          if (this.#subscriptions.get(key) === subscription) this.#subscriptions.delete(key)
        })
      }
    }
  }

  #unsubscribe(document: Document): Reply {
    const key = toHex(document.group)
    this.#subscriptions.get(key)?.end()
    this.#subscriptions.delete(key)
    return done
  }

  async #answer(request: bigint, { body, sent }: Reply): Promise<void> {
    const sending = this.#channel.send(request, body())
    sent?.()
    await sending
  }

  async #refuse(request: bigint, error: HeddleError): Promise<void> {
    if (this.#channel.end !== undefined) return
    this.#report(error)
    await this.#channel.refuse(request, error)
  }

  #report(error: HeddleError): void {
    const { count, context } = this.#parts
    count('problem')
    const own = isOwnFailure(error)
    if (own) count('internalError')
    const fields = { peer: toHex(this.#channel.peer), ...errorFields(error) }
    if (own) context.log('error', 'server.request-failed', { ...fields, error })
    else context.log('debug', 'server.request-refused', fields)
  }

  #spend(bucket: TokenBucket): void {
    const waitMs = bucket.take()
    if (waitMs > 0)
      throw new HeddleError('LIMIT_EXCEEDED', 'too many requests of this kind on this connection', {
        info: { retryAfterMs: waitMs }
      })
  }
}

function asHeddleError(cause: unknown): HeddleError {
  return HeddleError.is(cause) ? cause : new HeddleError('INTERNAL', 'the server failed', { cause })
}

/** These look at what is durable only and need not take turns with the others. */
const isRead = ({ $case }: DocumentRequest): boolean => $case === 'fetch' || $case === 'catchUp'

/** The document a signed Prepare or Accept is about. Throws MALFORMED. */
function groupOf(body: BodyOf<'prepare' | 'accept'>): Uint8Array {
  const { value } = body.$case === 'prepare' ? parsePrepare(body.value.prepare) : parseAccept(body.value.accept)
  return value.group
}
