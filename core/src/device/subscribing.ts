/**
 * Subscribing to the servers of a document (SPEC SYNC-010): one of them streams the messages, the others only say how far
 * each sender has come, so that a server that keeps something back is noticed and the message fetched elsewhere. A server
 * is told the decided slots it lacks first; one that refuses is asked again after a pause. Called by `following.ts`.
 */
import { equalBytes } from '../bytes.js'
import { type ErrorName, HeddleError } from '../errors.js'
import type { DeviceChannel } from '../net/index.js'
import { type Subscribed, SubscribeMode } from '../wire/index.js'
import type { Followed } from './followed.js'
import type { Outbox } from './outbox.js'
import { asHeddleError, headOf, type Room, report } from './room.js'
import type { SlotExchange } from './slots.js'
import { isRolledBack } from './uploading.js'

/** Pause before a server that refused the subscription is asked again. */
const refusedPauseMs = 2_000
const refusedPauseMsMax = 60_000
const refusesForGood: ReadonlySet<ErrorName> = new Set(['FORBIDDEN', 'ALREADY_EXISTS', 'INVALID', 'FORK'])

export interface SubscribingHooks {
  /** All servers that are followed, those included that were removed and are read on. */
  all(): readonly Followed[]
  /** One of the document's servers took the subscription. */
  subscribed(followed: Followed): void
  /** One that was removed from the document does not let itself be read on. */
  refusedFormer(followed: Followed): void
  /** A server holds messages this device has signed and knows nothing of. */
  rolledBack(error: HeddleError): void
}

export class Subscribing {
  readonly #room: Room
  readonly #slots: SlotExchange
  readonly #outbox: () => Outbox
  readonly #hooks: SubscribingHooks

  constructor(room: Room, slots: SlotExchange, outbox: () => Outbox, hooks: SubscribingHooks) {
    this.#room = room
    this.#slots = slots
    this.#outbox = outbox
    this.#hooks = hooks
  }

  /** Subscribes to a server that is connected, and goes on trying while it is. */
  begin(followed: Followed): void {
    this.#begin(followed, this.#modeFor(followed))
  }

  /** Lets another server stream after the one that did is lost. */
  ensureStream(): void {
    const all = this.#hooks.all()
    const next = all.find((one) => one.channel !== undefined && !this.#hasBetterStart(one))
    if (next === undefined || all.some(({ streaming }) => streaming)) return
    this.#begin(next, SubscribeMode.SUBSCRIBE_MODE_FULL)
  }

  /** The server refused, or ended the subscription: it is asked again later. */
  failed(followed: Followed, error: unknown): void {
    const problem = asHeddleError(error, 'subscribing')
    if (followed.link.channel === undefined || this.#room.removed) return
    this.#room.context.log('debug', 'subscribe.failed', { server: followed.link.id, code: problem.code })
    if (!this.#isFollowed(followed)) return
    if (followed.former !== undefined) return this.#hooks.refusedFormer(followed)
    // That it takes the document not, for good, is nothing that passes: somebody has to know.
    const { code, message: said } = problem
    if (refusesForGood.has(code) && followed.refusedWith?.message !== said) {
      followed.refusedWith = { code, message: said }
      const message = `server ${followed.link.id.slice(0, 8)} does not take the document: ${problem.message}`
      report(this.#room, new HeddleError(code, message, { cause: problem }))
    }
    this.lose(followed)
    this.ensureStream()
    this.later(followed, () => this.#tryAgain(followed))
  }

  /** After it has refused, the longer the more often it did. */
  later(followed: Followed, again: () => void): void {
    const pauseMs = Math.min(refusedPauseMsMax, refusedPauseMs * 2 ** Math.min(followed.refusals++, 10))
    followed.retry?.[Symbol.dispose]()
    followed.retry = this.#room.context.clock.setTimer(pauseMs, again)
  }

  /** The group is at a new epoch: what a server refused before, it may take now. */
  retryRefused(): void {
    for (const followed of this.#hooks.all()) {
      followed.refusals = 0
      if (followed.retry !== undefined) this.#tryAgain(followed)
    }
  }

  /** Nothing is sent to this server until it is subscribed to anew. */
  lose(followed: Followed): void {
    followed.channel = undefined
    followed.streaming = false
    followed.uploading = false
  }

  /** The connection is gone, or the server is left. */
  end(followed: Followed): void {
    this.lose(followed)
    followed.retry?.[Symbol.dispose]()
    followed.retry = undefined
  }

  #begin(followed: Followed, mode: SubscribeMode): void {
    this.#subscribe(followed, mode).catch((error: unknown) => this.failed(followed, error))
  }

  #tryAgain(followed: Followed): void {
    followed.retry?.[Symbol.dispose]()
    followed.retry = undefined
    if (followed.link.channel === undefined || !this.#isFollowed(followed)) return
    this.#room.emit({ type: 'server', server: followed.link.status(this.#room.id) })
    this.begin(followed)
  }

  #isFollowed(followed: Followed): boolean {
    return this.#hooks.all().includes(followed)
  }

  #modeFor(followed: Followed): SubscribeMode {
    const other = this.#hooks.all().some((one) => one !== followed && one.streaming)
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
    return this.#hooks.all().some(({ position, link }) => {
      const { state } = link.status(this.#room.id)
      return position > 0n && (state === 'connected' || state === 'connecting')
    })
  }

  async #subscribe(followed: Followed, mode: SubscribeMode): Promise<void> {
    const { link } = followed
    const channel = link.channel
    if (channel === undefined || this.#room.removed) return
    followed.mode = mode
    followed.streaming = mode === SubscribeMode.SUBSCRIBE_MODE_FULL
    const subscribed = await this.#askToSubscribe(followed, channel)
    if (link.channel !== channel || !this.#isFollowed(followed)) return
    const { slot, heads, position } = subscribed
    const { groupId, group } = this.#room
    if (!equalBytes(subscribed.group, groupId)) throw new HeddleError('MALFORMED', 'an answer for another document')
    const { epoch } = headOf(this.#room)
    if (slot > epoch) await this.#slots.catchUp(link)
    else if (slot < epoch) await this.#slots.teach(channel, slot)
    // What it has of this device needs no second upload, but for its last message if that has no receipt yet.
    const known = heads.find(({ member }) => equalBytes(member, group.memberId))?.seq ?? 0n
    if (known > this.#outbox().ownSeq) await this.#checkRollback(followed, channel)
    if (link.channel !== channel || !this.#isFollowed(followed)) return
    const receipted = this.#outbox().receiptedSeq(link.id)
    followed.uploadedSeq = known > receipted ? known - 1n : known
    followed.channel = channel
    // The one that streams, too, is held to what it has: its log may have begun anew before the position asked for.
    followed.announced.announce(heads, position)
    if (followed.former !== undefined) return
    this.#room.emit({ type: 'server', server: link.status(this.#room.id) })
    if (this.#outbox().envelopesAfter(followed.uploadedSeq, 1).length === 0) {
      followed.refusals = 0
      followed.refusedWith = undefined
    }
    this.#hooks.subscribed(followed)
    this.ensureStream()
    this.#room.wake()
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
        await this.#slots.teach(channel, await this.#slots.createOn(channel))
        return await ask()
      }
      const slot = error instanceof HeddleError ? error.info.slot : undefined
      if (!HeddleError.is(error, 'NOT_A_MEMBER') || typeof slot !== 'bigint') throw error
      const { epoch } = headOf(this.#room)
      if (slot < epoch) await this.#slots.teach(channel, slot)
      else if (slot === epoch || !(await this.#slots.catchUp(followed.link))) throw error
      return await ask()
    }
  }

  /** A server claims messages of this device that it has not sealed: a lie, or storage that was set back. */
  async #checkRollback({ link }: Followed, channel: DeviceChannel): Promise<void> {
    if (!(await isRolledBack(channel, this.#room, this.#outbox().ownSeq))) {
      link.blame(new HeddleError('MALFORMED', 'a server claims messages of this device that it does not have'))
      return
    }
    const what = `this device's storage is older than what it has sent; join again with a new invite`
    this.#hooks.rolledBack(new HeddleError('STORAGE_CORRUPT', what))
  }
}
