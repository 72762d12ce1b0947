/**
 * Messages whose predecessor is missing (SPEC SYNC): it is asked for at one server after the other until it has come.
 */
import { toHex } from '../bytes.js'
import type { Incoming } from './incoming.js'
import type { ServerLink } from './links.js'
import { asHeddleError, type Room } from './room.js'

const gapMs = 400
const gapMsMax = 15_000

export class Gaps {
  readonly #room: Room
  readonly #incoming: Incoming
  readonly #links: () => readonly ServerLink[]
  readonly #open = new Map<string, Disposable>()
  #disposed = false

  /** `links`: servers that may be asked at the moment. */
  constructor(room: Room, incoming: Incoming, links: () => readonly ServerLink[]) {
    this.#room = room
    this.#incoming = incoming
    this.#links = links
  }

  /** Asks the servers in turn, with growing pauses, for what is missing of a sender until nothing of it waits any more. */
  fill(member: Uint8Array): void {
    const key = toHex(member)
    if (this.#open.has(key) || this.#disposed) return
    const attempt = (tries: number): void => {
      const links = this.#links()
      const link = links[tries % Math.max(1, links.length)]
      if (link !== undefined) {
        this.fetch(member, this.#room.vector.seqOf(member) + 1n, link).catch((error: unknown) => {
          this.#room.context.log('debug', 'fetch.failed', { error: asHeddleError(error, 'fetching').message })
        })
      }
      const delayMs = Math.min(gapMs * 2 ** tries, gapMsMax)
      const timer = this.#room.context.clock.setTimer(delayMs, () => {
        this.#open.delete(key)
        if (this.#incoming.isWaitingFor(member)) attempt(tries + 1)
      })
      this.#open.set(key, timer)
    }
    attempt(0)
  }

  /** Fetches a sender's messages from this number on, from one server. */
  async fetch(member: Uint8Array, fromSeq: bigint, { channel }: ServerLink): Promise<void> {
    if (channel === undefined) return
    const { value } = await channel.request({
      $case: 'fetch',
      value: { group: this.#room.groupId, member, fromSeq, max: 1024 }
    })
    if (value.envelopes.length > 0)
      await this.#incoming.add({ server: toHex(channel.peer), envelopes: value.envelopes })
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    for (const timer of this.#open.values()) timer[Symbol.dispose]()
    this.#open.clear()
  }
}
