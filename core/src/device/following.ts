/**
 * The servers a document follows (SPEC SYNC): which they are, what they say, and this device's messages on their way to
 * each until it has receipted them. How one is subscribed to is `subscribing.ts`' work. Called by the document.
 */
import { toHex } from '../bytes.js'
import type { HeddleError } from '../errors.js'
import { errorOf, type News } from '../net/index.js'
import { quorum, slotConfigOf } from '../paxos/index.js'
import { type ServerEntry, ServerProgressRecord, SubscribeMode } from '../wire/index.js'
import { Announced } from './announced.js'
import type { ServerStatus } from './api.js'
import type { Followed, FollowingEvents } from './followed.js'
import { Gaps } from './gaps.js'
import type { Incoming } from './incoming.js'
import type { LinkUser, ServerLink } from './links.js'
import type { Outbox } from './outbox.js'
import { asHeddleError, type Room, report } from './room.js'
import { SlotExchange } from './slots.js'
import type { Turn } from './store.js'
import { Subscribing } from './subscribing.js'
import { uploadTo } from './uploading.js'

/** How long a server that was removed is read on while nothing comes. */
const formerMs = 30_000
/** A server that was behind is told the slots it lacks and tried again at once, but not more often than this. */
const behindPauseMs = 2_000

export class Following implements LinkUser {
  readonly #room: Room
  readonly #incoming: Incoming
  readonly #outbox: () => Outbox
  readonly #events: FollowingEvents
  /** By server id: the document's servers, and those that were removed and are read on. */
  readonly #followed = new Map<string, Followed>()
  readonly #subscribing: Subscribing
  readonly gaps: Gaps
  readonly slots: SlotExchange
  readonly #progress: ReadonlyMap<string, ServerProgressRecord>
  #stopped = false

  constructor(
    room: Room,
    incoming: Incoming,
    outbox: () => Outbox,
    progress: ReadonlyMap<string, ServerProgressRecord>,
    events: FollowingEvents
  ) {
    this.#room = room
    this.#incoming = incoming
    this.#outbox = outbox
    this.#progress = progress
    this.#events = events
    this.gaps = new Gaps(room, incoming, () => this.#readableLinks)
    this.slots = new SlotExchange(room, events.caughtUp, () => this.#readableLinks)
    this.#subscribing = new Subscribing(room, this.slots, outbox, {
      all: () => [...this.#followed.values()],
      rolledBack: events.rolledBack,
      subscribed: (followed) => {
        events.ready(followed.link)
        this.#upload(followed)
      },
      refusedFormer: (followed) => this.#forgetLater(followed)
    })
  }

  /**
   * Follows exactly the servers of the group's present epoch. Resolves when those it lets go are left; the set itself
   * changes before anything is waited for, so that of overlapping calls the last one holds.
   */
  async follow(servers: readonly ServerEntry[]): Promise<void> {
    if (this.#stopped) return
    const wanted = new Set(servers.map(({ id }) => toHex(id)))
    const left: Promise<void>[] = []
    for (const [id, followed] of [...this.#followed]) {
      if (wanted.has(id)) continue
      if (followed.link.channel !== undefined && !followed.isRead) this.#readOn(followed)
      else left.push(this.#forget(followed))
    }
    for (const server of servers) {
      const known = this.#followed.get(toHex(server.id))
      if (known === undefined) this.#attach(server)
      else {
        this.#endFormer(known)
        known.link.learn(this.#room.id, server.addresses)
      }
    }
    await Promise.all(left)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    const all = [...this.#followed.values()]
    this.#followed.clear()
    for (const followed of all) this.#endFormer(followed)
    this.gaps[Symbol.dispose]()
    this.#incoming.release()
    for (const followed of all) this.#stop(followed)
    await Promise.all(all.map(({ link }) => link.detach(this.#room.id)))
  }

  /** Servers that take this document's messages at the moment. */
  get readyLinks(): readonly ServerLink[] {
    return this.#present
      .filter(({ channel, refusedWith }) => channel !== undefined && refusedWith?.code !== 'FORK')
      .map(({ link }) => link)
  }

  /** Servers that may be asked for messages, those that were removed and are read on included. */
  get #readableLinks(): readonly ServerLink[] {
    return [...this.#followed.values()].filter(({ channel }) => channel !== undefined).map(({ link }) => link)
  }

  /** The document's servers of now. */
  get #present(): readonly Followed[] {
    return [...this.#followed.values()].filter(({ former }) => former === undefined)
  }

  /**
   * Whether all that enough servers say they have is applied here: so many that every safe message is on an honest one of
   * them.
   */
  get isLevel(): boolean {
    const config = slotConfigOf(this.#room.group.public)
    const enough = config.servers.length - quorum(config) + 1 + config.faultBound
    const ready = this.#present.filter(({ channel }) => channel !== undefined)
    const level = ready.filter(({ announced }) => !announced.isOpen).length
    return level >= enough
  }

  get links(): readonly ServerLink[] {
    return this.#present.map(({ link }) => link)
  }

  /** How the document's servers are: one that is connected may refuse this document all the same. */
  get statuses(): readonly ServerStatus[] {
    return this.#present.map(({ link, refusedWith }) => {
      const status = link.status(this.#room.id)
      if (status.state !== 'connected' || refusedWith === undefined) return status
      return { ...status, state: 'refused', lastError: refusedWith }
    })
  }

  onUp(link: ServerLink): void {
    const followed = this.#followed.get(link.id)
    if (followed === undefined || link.channel === undefined) return
    this.#room.emit({ type: 'server', server: link.status(this.#room.id) })
    this.#subscribing.begin(followed)
  }

  onDown(link: ServerLink): void {
    const followed = this.#followed.get(link.id)
    if (followed === undefined) return
    this.#stop(followed)
    this.#incoming.forgetStrangers(link.id)
    if (followed.former !== undefined) {
      this.#forgetLater(followed)
      return
    }
    this.#room.emit({ type: 'server', server: link.status(this.#room.id) })
    this.#subscribing.ensureStream()
    this.#room.wake()
  }

  /** Resolves, when it has to wait, once more may come from this server. */
  onNews(link: ServerLink, news: News): void | Promise<void> {
    const followed = this.#followed.get(link.id)
    if (followed === undefined) return
    switch (news.$case) {
      case 'deliver':
        return this.#incoming.add({
          server: link.id,
          envelopes: news.value.envelopes,
          throughPosition: news.value.throughPosition
        })
      case 'heads':
        followed.announced.announce(news.value.heads, news.value.throughPosition)
        break
      case 'decided':
        this.#events.decided(news.value.slots, link)
        break
      case 'vote':
        this.#events.vote(news, link)
        break
      case 'mailboxItems':
        this.#events.mailbox(news, link)
        break
      case 'problem':
        // The server ended the subscription, as when it learned of this device's removal. It is asked again after a pause,
        // however often it says so.
        if (followed.channel !== undefined) this.#subscribing.failed(followed, errorOf(news.value))
        break
      default:
        break
    }
  }

  /**
   * Notes how far the servers' logs are applied and what they have receipted; durable with the turn. `positions` is empty
   * while something waits: that is not durable, so after a crash the servers must be asked for it again.
   */
  noteProgress(turn: Turn, positions: ReadonlyMap<string, bigint>): void {
    for (const [server, position] of positions) {
      const followed = this.#followed.get(server)
      if (followed !== undefined && position > followed.position) followed.position = position
    }
    const outbox = this.#outbox()
    for (const followed of this.#followed.values()) {
      followed.announced.lookAgain(followed.position)
      const { link, position, stored } = followed
      // A receipt that came too late obliges to say it again, which a crash must not make this device forget.
      const receiptedSeq = outbox.owesResend ? stored.receiptedSeq : outbox.receiptedSeq(link.id)
      if (turn.isEmpty || (position === stored.position && receiptedSeq === stored.receiptedSeq)) continue
      followed.stored = { position, receiptedSeq }
      turn.put(this.#room.store.key('server', link.publicKey), ServerProgressRecord.encode(followed.stored))
    }
  }

  /** A server sent what no honest one sends. */
  blame(server: string, error: HeddleError): void {
    report(this.#room, error)
    this.#followed.get(server)?.link.blame(error)
  }

  /** The group is at a new epoch: what a server refused before, it may take now. */
  retryRefused(): void {
    this.#subscribing.retryRefused()
  }

  /** Messages became durable here: every server gets what it lacks. */
  upload(): void {
    for (const followed of this.#present) this.#upload(followed)
  }

  #stop(followed: Followed): void {
    this.#subscribing.end(followed)
    followed.announced.forget()
    followed.isRead = false
  }

  /** All a server has announced is here. */
  #level(followed: Followed, through: bigint): void {
    followed.isRead = true
    if (through > followed.position) followed.position = through
    if (followed.former !== undefined) this.#forgetLater(followed)
  }

  /**
   * A server that was removed may be the only one that has what was written while this device was away: it is read to the
   * end, as long as something comes.
   */
  #readOn(followed: Followed): void {
    const { clock } = this.#room.context
    const look = () => {
      if (followed.former === undefined) return
      if (followed.former.applied === this.#incoming.applied) return this.#forgetLater(followed)
      followed.former = { applied: this.#incoming.applied, timer: clock.setTimer(formerMs, look) }
    }
    followed.former ??= { applied: this.#incoming.applied, timer: clock.setTimer(formerMs, look) }
  }

  /** It is one of the document's servers again. */
  #endFormer(followed: Followed): void {
    followed.former?.timer[Symbol.dispose]()
    followed.former = undefined
  }

  #forgetLater(followed: Followed): void {
    this.#forget(followed).catch((error: unknown) => {
      const { message } = asHeddleError(error, 'leaving a server')
      this.#room.context.log('debug', 'server.leave-failed', { server: followed.link.id, message })
    })
  }

  #attach({ id, addresses }: ServerEntry): void {
    const link = this.#room.pool.link(id)
    const { position, receiptedSeq } = this.#progress.get(link.id) ?? { position: 0n, receiptedSeq: 0n }
    const followed: Followed = {
      link,
      position,
      channel: undefined,
      mode: SubscribeMode.SUBSCRIBE_MODE_HEADS,
      streaming: false,
      uploadedSeq: 0n,
      uploading: false,
      behindAtMs: Number.NEGATIVE_INFINITY,
      announced: new Announced(this.#room, this.#incoming, this.gaps, {
        link,
        isReady: () => followed.channel !== undefined,
        level: (through) => this.#level(followed, through)
      }),
      isRead: false,
      former: undefined,
      retry: undefined,
      refusals: 0,
      refusedWith: undefined,
      stored: { position, receiptedSeq }
    }
    this.#followed.set(link.id, followed)
    link.attach(this.#room.id, this, addresses)
  }

  async #forget(followed: Followed): Promise<void> {
    // It may have come back meanwhile, and be another one under the same link.
    if (this.#followed.get(followed.link.id) !== followed) return
    this.#followed.delete(followed.link.id)
    this.#endFormer(followed)
    this.#stop(followed)
    this.#subscribing.ensureStream()
    await followed.link.detach(this.#room.id)
  }

  #uploadAgain(followed: Followed): void {
    followed.retry?.[Symbol.dispose]()
    followed.retry = undefined
    this.#upload(followed)
  }

  async #upload(followed: Followed): Promise<void> {
    const { channel } = followed
    if (channel === undefined || followed.uploading || followed.retry !== undefined) return
    followed.uploading = true
    try {
      await uploadTo(followed, this.#room, this.#outbox())
    } catch (error) {
      if (followed.channel === channel) await this.#uploadFailed(followed, asHeddleError(error, 'uploading'))
    } finally {
      if (followed.channel === channel) followed.uploading = false
    }
  }

  /** Learns anew where the server stands, after a pause unless it only lacked a decided slot. */
  async #uploadFailed(followed: Followed, error: HeddleError): Promise<void> {
    const { code, message } = error
    if (error.retry === 'never') {
      if (followed.refusedWith?.message !== message) report(this.#room, error)
      followed.refusedWith = { code, message }
    }
    // What other members have signed there shows whether it is so: it is read on (SPEC SYNC-030).
    if (code === 'FORK' && followed.former === undefined)
      return this.#subscribing.later(followed, () => this.#uploadAgain(followed))
    this.#subscribing.lose(followed)
    const now = this.#room.context.clock.now()
    // STALE_EPOCH: it was removed from the document, and this device has yet to learn of that.
    if ((error.code === 'BEHIND' || error.code === 'STALE_EPOCH') && now - followed.behindAtMs > behindPauseMs) {
      followed.behindAtMs = now
      return this.#subscribing.begin(followed)
    }
    this.#subscribing.failed(followed, error)
  }
}
