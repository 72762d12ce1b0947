/**
 * What one server says it has of a document (SPEC SYNC-010): heads of senders that are ahead of what is here. What the
 * streaming server does not bring in time is fetched from the server that announced it. One object per followed server.
 */
import { toHex } from '../bytes.js'
import type { Head } from '../wire/index.js'
import type { Gaps } from './gaps.js'
import type { Incoming } from './incoming.js'
import type { ServerLink } from './links.js'
import { asHeddleError, type Room } from './room.js'

/** How long a head may be ahead of what the streaming server sent before the message is fetched elsewhere. */
const withheldMs = 400
const withheldMsMax = 15_000
const checksPutOffMax = 8
/** Senders of whom a server may say what it has, and fetches from it at a time. */
const announcedMax = 4096
const fetchesMax = 8

/** The server that announces. */
export interface Announcer {
  readonly link: ServerLink
  /** Whether it is subscribed to at the moment. */
  isReady(): boolean
  /** All it has announced, up to this position of its log, is applied here. */
  level(through: bigint): void
}

export class Announced {
  readonly #room: Room
  readonly #incoming: Incoming
  readonly #gaps: Gaps
  readonly #by: Announcer
  /** What it said it has, and up to which position, until all of it is applied here. */
  #open: { readonly heads: readonly Head[]; readonly through: bigint } | undefined
  /** What it said of senders that no epoch reached so far knows. */
  #unknown: readonly Head[] = []
  /** Senders, no members any more, of whom it was asked for what it announced. */
  readonly #asked = new Set<string>()
  #check: Disposable | undefined
  /** Grows with every check that brought nothing. */
  #checkMs = withheldMs
  /** Messages applied at the last check, and checks put off since because more were. */
  #appliedAtCheck = 0
  #checksPutOff = 0

  constructor(room: Room, incoming: Incoming, gaps: Gaps, by: Announcer) {
    this.#room = room
    this.#incoming = incoming
    this.#gaps = gaps
    this.#by = by
  }

  /** Something it announced is not here. */
  get isOpen(): boolean {
    return this.#open !== undefined
  }

  announce(heads: readonly Head[], through: bigint): void {
    const known = heads.filter(({ member }) => this.#knows(member))
    if (known.length < heads.length) {
      const unknown = heads.filter(({ member }) => !this.#knows(member))
      this.#unknown = latest(this.#unknown, unknown).slice(0, announcedMax)
    }
    const all = this.#open === undefined ? known : latest(this.#open.heads, known)
    this.#open = { heads: all.slice(0, announcedMax), through }
    this.settle()
    if (this.isOpen) this.#watch()
    else this.#room.wake()
  }

  /** Looks again: messages were applied, or an epoch entered. `position`: how far the server's log is known. */
  lookAgain(position: bigint): void {
    // Senders that came with the epochs entered since count from now on.
    if (this.#unknown.some(({ member }) => this.#knows(member))) {
      const unknown = this.#unknown
      this.#unknown = []
      this.announce(unknown, this.#open?.through ?? position)
    }
    this.settle()
  }

  settle(): void {
    const open = this.#open
    if (open === undefined || open.heads.some((head) => this.#isAwaited(head))) return
    this.#open = undefined
    this.#check?.[Symbol.dispose]()
    this.#check = undefined
    this.#checkMs = withheldMs
    this.#by.level(open.through)
  }

  /** The connection has ended: what it announced, it announces anew. */
  forget(): void {
    this.#check?.[Symbol.dispose]()
    this.#check = undefined
    this.#open = undefined
    this.#unknown = []
    this.#asked.clear()
  }

  /** Whether a sender is, or within the retained epochs was, a member, or has written before. */
  #knows(member: Uint8Array): boolean {
    const { group, vector } = this.#room
    return vector.get(member) !== undefined || group.wasMember(member)
  }

  /** Whether an announced head is of a message that can be had and is not here yet. */
  #isAwaited(head: Head): boolean {
    if (!this.#incoming.isAwaited(head)) return false
    return this.#room.group.public.member(head.member) !== undefined || !this.#asked.has(toHex(head.member))
  }

  /** What the server announced and nobody delivered in time is fetched from it. */
  #watch(): void {
    this.#check ??= this.#room.context.clock.setTimer(this.#checkMs, () => {
      this.#check = undefined
      const open = this.#open
      if (open === undefined || !this.#by.isReady()) return
      const { applied } = this.#incoming
      if (applied !== this.#appliedAtCheck && this.#checksPutOff < checksPutOffMax) {
        // Messages are streaming in, these probably among them.
        this.#appliedAtCheck = applied
        this.#checksPutOff++
        this.#watch()
        return
      }
      this.#checksPutOff = 0
      this.#checkMs = Math.min(2 * this.#checkMs, withheldMsMax)
      this.#fetchAwaited(open.heads).finally(() => {
        if (this.isOpen && this.#by.isReady()) this.#watch()
      })
    })
  }

  /** Fetches what is awaited of each sender, a few senders at a time. */
  async #fetchAwaited(heads: readonly Head[]): Promise<void> {
    const { vector, group, context } = this.#room
    const { link } = this.#by
    const { channel } = link
    const awaited = heads.filter((head) => this.#isAwaited(head))
    const fetchNext = async (): Promise<void> => {
      for (let head = awaited.pop(); head !== undefined && this.#by.isReady(); head = awaited.pop()) {
        if (link.channel !== channel) return
        const { member } = head
        try {
          await this.#gaps.fetch(member, vector.seqOf(member) + 1n, link)
          // Of one that was removed there may be nothing this device can take: it is not waited for again.
          if (group.public.member(member) === undefined) this.#asked.add(toHex(member))
        } catch (error) {
          context.log('debug', 'fetch.failed', { error: asHeddleError(error, 'fetching').message })
        }
      }
    }
    await Promise.all(Array.from({ length: fetchesMax }, fetchNext))
    this.#room.wake()
  }
}

/** The later head of every member. */
function latest(a: readonly Head[], b: readonly Head[]): Head[] {
  const heads = new Map(a.map((head) => [toHex(head.member), head]))
  for (const head of b) {
    const known = heads.get(toHex(head.member))
    if (known === undefined || known.seq < head.seq) heads.set(toHex(head.member), head)
  }
  return [...heads.values()]
}
