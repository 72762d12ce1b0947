/**
 * How a document follows its servers (SPEC SYNC): one of them streams the messages, the others only say how far each
 * sender has come, so that a server that keeps something back is noticed and the message fetched elsewhere. Every server
 * is told the decided slots it lacks, and gets this device's messages until it has receipted them.
 */
import { equalBytes, toHex } from '../bytes.js'
import { type ErrorName, HeddleError } from '../errors.js'
import { type DeviceChannel, errorOf, type News } from '../net/index.js'
import { quorum, slotConfigOf } from '../paxos/index.js'
import { type ServerEntry, ServerProgressRecord, type Subscribed, SubscribeMode } from '../wire/index.js'
import { Announced } from './announced.js'
import type { ServerStatus } from './api.js'
import type { Followed, FollowingEvents } from './followed.js'
import { Gaps } from './gaps.js'
import type { Incoming } from './incoming.js'
import type { LinkUser, ServerLink } from './links.js'
import type { Outbox } from './outbox.js'
import { asHeddleError, headOf, type Room, report } from './room.js'
import { SlotExchange } from './slots.js'
import type { Turn } from './store.js'
import { isRolledBack, uploadTo } from './uploading.js'

/** How long a server that was removed is read on while nothing comes. */
const formerMs = 30_000
/** Pause before a server that refused the subscription is asked again. */
const refusedPauseMs = 2_000
const refusedPauseMsMax = 60_000
const refusesForGood: ReadonlySet<ErrorName> = new Set(['FORBIDDEN', 'ALREADY_EXISTS', 'INVALID', 'FORK'])

export class Following implements LinkUser {
  readonly #room: Room
  readonly #incoming: Incoming
  readonly #outgoing: () => Outbox
  readonly #events: FollowingEvents
  readonly #followed = new Map<string, Followed>()
  readonly gaps: Gaps
  readonly slots: SlotExchange
  readonly #progress: ReadonlyMap<string, ServerProgressRecord>
  #stopped = false

  constructor(
    room: Room,
    incoming: Incoming,
    outgoing: () => Outbox,
    progress: ReadonlyMap<string, ServerProgressRecord>,
    events: FollowingEvents
  ) {
    this.#room = room
    this.#incoming = incoming
    this.#outgoing = outgoing
    this.#progress = progress
    this.#events = events
    this.gaps = new Gaps(room, incoming, () => this.#readableLinks)
    this.slots = new SlotExchange(room, events.caughtUp, () => this.#readableLinks)
  }

  /** Follows exactly the servers of the group's present epoch. */
  async follow(servers: readonly ServerEntry[]): Promise<void> {
    if (this.#stopped) return
    const wanted = new Set(servers.map(({ id }) => toHex(id)))
    for (const [id, followed] of [...this.#followed]) {
      if (wanted.has(id)) continue
      if (followed.link.channel !== undefined && !followed.isRead) this.#readOn(followed)
      else await this.#forget(followed)
    }
    for (const server of servers) {
      // The document may have been closed while a removed server was let go.
      if (this.#stopped) return
      const id = toHex(server.id)
      const known = this.#followed.get(id)
      if (known !== undefined) {
        this.#endFormer(known)
        known.link.learn(server.addresses)
        continue
      }
      const link = this.#room.pool.link(server)
      const { position, receiptedSeq } = this.#progress.get(id) ?? { position: 0n, receiptedSeq: 0n }
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
      this.#followed.set(id, followed)
      link.attach(this.#room.id, this, server.addresses)
    }
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
    return this.#present.filter(({ channel }) => channel !== undefined).map(({ link }) => link)
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
      const status = link.status()
      if (status.state !== 'connected' || refusedWith === undefined) return status
      return { ...status, state: 'refused', lastError: refusedWith }
    })
  }

  onUp(link: ServerLink): void {
    const followed = this.#followed.get(link.id)
    if (followed === undefined || link.channel === undefined) return
    this.#room.emit({ type: 'server', server: link.status() })
    this.#subscribe(followed, this.#modeFor(followed)).catch((error: unknown) => this.#subscribeFailed(followed, error))
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
    this.#room.emit({ type: 'server', server: link.status() })
    this.#ensureStream()
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
        if (followed.channel !== undefined) this.#subscribeFailed(followed, errorOf(news.value))
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
    const outgoing = this.#outgoing()
    for (const followed of this.#followed.values()) {
      followed.announced.lookAgain(followed.position)
      const { link, position, stored } = followed
      // A receipt that came too late obliges to say it again, which a crash must not make this device forget.
      const receiptedSeq = outgoing.owesResend ? stored.receiptedSeq : outgoing.receiptedSeq(link.id)
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

  /** Messages became durable here: every server gets what it lacks. */
  upload(): void {
    for (const followed of this.#present) this.#upload(followed)
  }

  #modeFor(followed: Followed): SubscribeMode {
    const other = [...this.#followed.values()].some((one) => one !== followed && one.streaming)
    return other || this.#hasBetterStart(followed)
      ? SubscribeMode.SUBSCRIBE_MODE_HEADS
      : SubscribeMode.SUBSCRIBE_MODE_FULL
  }

  /**
   * A joiner knows of one server only where in its log the document begins for it; any other would stream all of the
   * history that it cannot open. So it waits for that one, unless it cannot be reached.
   */
  #hasBetterStart(followed: Followed): boolean {
    if (followed.position > 0n) return false
    return [...this.#followed.values()].some(({ position, link }) => {
      const { state } = link.status()
      return position > 0n && (state === 'connected' || state === 'connecting')
    })
  }

  /** Lets another server stream after the one that did is lost. */
  #ensureStream(): void {
    const all = [...this.#followed.values()]
    const next = all.find((one) => one.channel !== undefined && !this.#hasBetterStart(one))
    if (next === undefined || all.some(({ streaming }) => streaming)) return
    this.#subscribe(next, SubscribeMode.SUBSCRIBE_MODE_FULL).catch((error: unknown) =>
      this.#subscribeFailed(next, error)
    )
  }

  async #subscribe(followed: Followed, mode: SubscribeMode): Promise<void> {
    const { link } = followed
    const channel = link.channel
    if (channel === undefined || this.#room.removed) return
    followed.mode = mode
    followed.streaming = mode === SubscribeMode.SUBSCRIBE_MODE_FULL
    const subscribed = await this.#askToSubscribe(followed, channel)
    if (link.channel !== channel || this.#followed.get(link.id) !== followed) return
    const { slot, heads, position } = subscribed
    const { groupId, group } = this.#room
    if (!equalBytes(subscribed.group, groupId)) throw new HeddleError('MALFORMED', 'an answer for another document')
    const { epoch } = headOf(this.#room)
    if (slot > epoch) await this.slots.catchUp(link)
    else if (slot < epoch) await this.slots.teach(channel, slot)
    // What it has of this device needs no second upload, but for its last message if that has no receipt yet.
    const known = heads.find(({ member }) => equalBytes(member, group.memberId))?.seq ?? 0n
    if (known > this.#outgoing().ownSeq) await this.#checkRollback(followed, channel)
    if (link.channel !== channel || this.#followed.get(link.id) !== followed) return
    const receipted = this.#outgoing().receiptedSeq(link.id)
    followed.uploadedSeq = known > receipted ? known - 1n : known
    followed.channel = channel
    // The one that streams, too, is held to what it has: its log may have begun anew before the position asked for.
    followed.announced.announce(heads, position)
    if (followed.former !== undefined) return
    this.#room.emit({ type: 'server', server: link.status() })
    if (this.#outgoing().envelopesAfter(followed.uploadedSeq, 1).length === 0) {
      followed.refusals = 0
      followed.refusedWith = undefined
    }
    this.#events.ready(link)
    this.#upload(followed)
    this.#ensureStream()
    this.#room.wake()
  }

  /** A server claims messages of this device that it has not sealed: a lie, or storage that was set back. */
  async #checkRollback({ link }: Followed, channel: DeviceChannel): Promise<void> {
    if (!(await isRolledBack(channel, this.#room, this.#outgoing().ownSeq))) {
      link.blame(new HeddleError('MALFORMED', 'a server claims messages of this device that it does not have'))
      return
    }
    const what = `this device's storage is older than what it has sent; join again with a new invite`
    this.#events.rolledBack(new HeddleError('STORAGE_CORRUPT', what))
  }

  /** Subscribes, after telling the server what it lacks where that is why it refuses. */
  async #askToSubscribe(followed: Followed, channel: DeviceChannel): Promise<Subscribed> {
    const { groupId } = this.#room
    const ask = async () =>
      (
        await channel.request({
          $case: 'subscribe',
          value: { group: groupId, mode: followed.mode, afterPosition: followed.position }
        })
      ).value
    try {
      return await ask()
    } catch (error) {
      if (HeddleError.is(error, 'UNKNOWN_DOCUMENT')) {
        await this.slots.teach(channel, await this.slots.createOn(channel))
        return await ask()
      }
      const slot = error instanceof HeddleError ? error.info.slot : undefined
      if (!HeddleError.is(error, 'NOT_A_MEMBER') || typeof slot !== 'bigint') throw error
      const { epoch } = headOf(this.#room)
      if (slot < epoch) await this.slots.teach(channel, slot)
      else if (slot === epoch || !(await this.slots.catchUp(followed.link))) throw error
      return await ask()
    }
  }

  #subscribeFailed(followed: Followed, error: unknown): void {
    const problem = asHeddleError(error, 'subscribing')
    if (followed.link.channel === undefined || this.#room.removed) return
    this.#room.context.log('debug', 'subscribe.failed', { server: followed.link.id, code: problem.code })
    if (this.#followed.get(followed.link.id) !== followed) return
    if (followed.former !== undefined) return this.#forgetLater(followed)
    // That it takes the document not, for good, is nothing that passes: somebody has to know.
    const { code, message: said } = problem
    if (refusesForGood.has(code) && followed.refusedWith?.message !== said) {
      followed.refusedWith = { code, message: said }
      const message = `server ${followed.link.id.slice(0, 8)} does not take the document: ${problem.message}`
      report(this.#room, new HeddleError(code, message, { cause: problem }))
    }
    this.#lose(followed)
    this.#ensureStream()
    const pauseMs = Math.min(refusedPauseMsMax, refusedPauseMs * 2 ** Math.min(followed.refusals++, 10))
    followed.retry?.[Symbol.dispose]()
    followed.retry = this.#room.context.clock.setTimer(pauseMs, () => this.#tryAgain(followed))
  }

  #tryAgain(followed: Followed): void {
    followed.retry?.[Symbol.dispose]()
    followed.retry = undefined
    this.onUp(followed.link)
  }

  /** The group is at a new epoch: what a server refused before, it may take now. */
  retryRefused(): void {
    for (const followed of this.#followed.values()) {
      followed.refusals = 0
      if (followed.retry !== undefined) this.#tryAgain(followed)
    }
  }

  #lose(followed: Followed): void {
    followed.channel = undefined
    followed.streaming = false
    followed.uploading = false
  }

  #stop(followed: Followed): void {
    this.#lose(followed)
    followed.retry?.[Symbol.dispose]()
    followed.retry = undefined
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

  async #forget(followed: Followed): Promise<void> {
    if (this.#followed.get(followed.link.id) === followed) this.#followed.delete(followed.link.id)
    this.#endFormer(followed)
    this.#stop(followed)
    this.#ensureStream()
    await followed.link.detach(this.#room.id)
  }

  async #upload(followed: Followed): Promise<void> {
    const { channel } = followed
    if (channel === undefined || followed.uploading) return
    followed.uploading = true
    try {
      await uploadTo(followed, this.#room, this.#outgoing())
    } catch (error) {
      if (followed.channel === channel) await this.#uploadFailed(followed, asHeddleError(error, 'uploading'))
    } finally {
      if (followed.channel === channel) followed.uploading = false
    }
  }

  /** Learns anew where the server stands, after a pause unless it only lacked a decided slot. */
  async #uploadFailed(followed: Followed, error: HeddleError): Promise<void> {
    this.#lose(followed)
    const now = this.#room.context.clock.now()
    // STALE_EPOCH: it was removed from the document, and this device has yet to learn of that.
    if ((error.code === 'BEHIND' || error.code === 'STALE_EPOCH') && now - followed.behindAtMs > refusedPauseMs) {
      followed.behindAtMs = now
      this.#subscribe(followed, this.#modeFor(followed)).catch((cause: unknown) =>
        this.#subscribeFailed(followed, cause)
      )
      return
    }
    const { code, message } = error
    if (error.retry === 'never') {
      if (followed.refusedWith?.message !== message) report(this.#room, error)
      followed.refusedWith = { code, message }
    }
    this.#subscribeFailed(followed, error)
  }
}
