/**
 * One reader of one document (SPEC SRV): a pump that sends what is durable from the reader's position on, as fast as the
 * reader takes it. It keeps positions, not queues, so a slow reader costs only its own delay.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type Body, problemOf, type ServerChannel } from '../net/index.js'
import { Frame, type Signed, SubscribeMode } from '../wire/index.js'
import type { Document } from './document.js'
import { ownMailboxes } from './mailbox.js'

import type { StoredEnvelope } from './store.js'

/** Votes are hints; of a slow reader's only the last are kept. */
const votesMax = 16
const deliverItemsMax = 4_096

export interface SubscriptionInit {
  readonly document: Document
  readonly channel: ServerChannel
  readonly mode: SubscribeMode
  /** Member id of the reader. */
  readonly member: Uint8Array
  readonly afterPosition: bigint
}

export class Subscription {
  readonly document: Document
  readonly channel: ServerChannel
  readonly member: Uint8Array
  readonly #full: boolean
  readonly #memberKey: string
  /** Last position sent, and first slot not sent. */
  #position: bigint
  #slot: bigint
  #votes: Signed[] = []
  readonly #changedHeads = new Set<string>()
  #mailboxes = true
  #greeted = false
  #removed = false
  #ended = false
  #headsAtMs = 0
  #woken = false
  #wake: (() => void) | undefined

  constructor({ document, channel, mode, member, afterPosition }: SubscriptionInit) {
    const { durable } = document
    this.document = document
    this.channel = channel
    this.member = member
    this.#memberKey = toHex(member)
    this.#full = mode === SubscribeMode.SUBSCRIBE_MODE_FULL
    // A position from before this server lost data: begin at its end, where Subscribed lets the device see the loss.
    this.#position = this.#full && afterPosition < durable.position ? afterPosition : durable.position
    this.#slot = durable.slot
  }

  /** Sends until `end` is called, as the session does when its connection ends. Never rejects. */
  async run(): Promise<void> {
    try {
      while (!this.#ended) {
        this.#woken = false
        if (!(await this.#sendNext())) await this.#news()
      }
    } catch (error) {
      await this.#failed(error)
    } finally {
      this.end()
    }
  }

  end(): void {
    this.#ended = true
    this.document.subscriptions.delete(this)
    this.wake()
  }

  /** There may be something to send. */
  wake(): void {
    this.#woken = true
    this.#wake?.()
  }

  vote(vote: Signed): void {
    this.#votes.push(vote)
    if (this.#votes.length > votesMax) this.#votes.shift()
    this.wake()
  }

  /** An envelope of this sender was stored. */
  headChanged(member: string): void {
    if (!this.#full && member !== this.#memberKey) this.#changedHeads.add(member)
  }

  mailboxesChanged(): void {
    this.#mailboxes = true
    this.wake()
  }

  /** The reader itself told us this slot. */
  skipSlot(slot: bigint): void {
    if (this.#slot === slot) this.#slot = slot + 1n
  }

  /** The reader is no member any more: it gets the slots that say so, then a Problem, and no more. */
  memberRemoved(): void {
    this.#removed = true
    this.wake()
  }

  /** Waits for the next `wake`, or not at all when there was one since the last look. */
  async #news(): Promise<void> {
    if (this.#woken) return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#wake = undefined
  }

  /** Sends the most urgent thing there is; false when there is none. */
  async #sendNext(): Promise<boolean> {
    const { durable, group } = this.document
    if (this.#slot < durable.slot) return this.#sendDecided()
    if (this.#removed) return this.#sendRemoved()
    const votes = this.#votes.splice(0)
    if (votes.length > 0) {
      for (const vote of votes) await this.#send({ $case: 'vote', value: { vote } })
      return true
    }
    if (this.#mailboxes) {
      this.#mailboxes = false
      for (const { id, items } of ownMailboxes(this.document, this.member))
        await this.#send({ $case: 'mailboxItems', value: { group, mailbox: id, items } })
      return true
    }
    return this.#full ? this.#sendEnvelopes() : this.#sendHeads()
  }

  async #sendDecided(): Promise<boolean> {
    const { document } = this
    const slots = await document.readDecided(this.#slot)
    const last = slots.at(-1)
    if (last === undefined) throw new HeddleError('STORAGE_CORRUPT', `decided slot ${this.#slot} is missing in storage`)
    this.#slot = last.slot + 1n
    await this.#send({ $case: 'decided', value: { group: document.group, slots } })
    return true
  }

  async #sendRemoved(): Promise<boolean> {
    await this.#send({ $case: 'problem', value: problemOf(this.document.notAMember()) })
    this.end()
    return true
  }

  async #sendEnvelopes(): Promise<boolean> {
    const { document } = this
    const after = this.#position
    const end = document.durable.position
    if (after >= end && this.#greeted) return false
    const page = await document.readLog(after, deliverItemsMax)
    const through = page.at(-1)?.position ?? after
    if (through === after && after < end)
      throw new HeddleError('STORAGE_CORRUPT', `the log ends at ${after}, before ${end}`)
    const others = page.filter(({ member }) => !equalBytes(member, this.member))
    const caughtUp = through >= document.durable.position
    const make = () => this.#deliver(others, after, through, caughtUp)
    const shared = others.length === page.length && page.length > 0
    const frame = shared ? document.recent.frame(`${after} ${through} ${caughtUp}`, make) : make()
    this.#position = through
    this.#greeted = true
    document.parts.count('envelopeDelivered', others.length)
    await this.channel.sendEncoded(frame)
    return true
  }

  #deliver(others: readonly StoredEnvelope[], afterPosition: bigint, throughPosition: bigint, caughtUp: boolean) {
    const envelopes = others.map(({ bytes }) => bytes)
    const value = { group: this.document.group, afterPosition, throughPosition, envelopes, caughtUp }
    return Frame.encode({ request: 0n, body: { $case: 'deliver', value } })
  }

  async #sendHeads(): Promise<boolean> {
    if (this.#changedHeads.size === 0) return false
    const { document } = this
    const { clock } = document.parts.context
    const waitMs = this.#headsAtMs + document.parts.limits.headsIntervalMs - clock.now()
    if (waitMs > 0) {
      // Woken early by something more urgent, the pump comes back here.
      const timer = clock.setTimer(waitMs, () => this.wake())
      await this.#news()
      timer[Symbol.dispose]()
      return true
    }
    this.#headsAtMs = clock.now()
    const heads = [...this.#changedHeads].flatMap((member) => document.durable.senders.get(member)?.head ?? [])
    this.#changedHeads.clear()
    const throughPosition = document.durable.position
    await this.#send({ $case: 'heads', value: { group: document.group, throughPosition, heads } })
    return true
  }

  async #send(body: Body): Promise<void> {
    await this.channel.send(0n, body)
  }

  async #failed(cause: unknown): Promise<void> {
    if (this.channel.end !== undefined || HeddleError.is(cause, 'TRANSPORT_CLOSED')) return
    const { log } = this.document.parts.context
    log('error', 'server.subscription-failed', { group: toHex(this.document.group), error: cause })
    const error = HeddleError.is(cause)
      ? cause
      : new HeddleError('INTERNAL', 'reading for a subscriber failed', { cause })
    await this.channel.close(error)
  }
}
