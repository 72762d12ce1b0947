/**
 * Decided slots between a document and one server (SPEC PAXOS): asking for those this device lacks, and telling those the
 * server lacks, the document's beginning included.
 */
import { HeddleError } from '../errors.js'
import type { DeviceChannel } from '../net/index.js'
import { Create, DecidedSlot } from '../wire/index.js'
import type { ServerLink } from './links.js'
import { headOf, type Room } from './room.js'
import { decodeRecord } from './store.js'

const decidedBytesMax = 2 * 1024 * 1024

export class SlotExchange {
  readonly #room: Room
  readonly #caughtUp: (slots: readonly DecidedSlot[], link: ServerLink) => Promise<void>
  readonly #links: () => readonly ServerLink[]
  /** Epoch this device was in when a server told more slots than it could apply. */
  #catchUpFrom: bigint | undefined

  /**
   * `caughtUp` takes slots a server was asked for and resolves when what can be applied of them is. `links`: servers that
   * may be asked at the moment.
   */
  constructor(
    room: Room,
    caughtUp: (slots: readonly DecidedSlot[], link: ServerLink) => Promise<void>,
    links: () => readonly ServerLink[]
  ) {
    this.#room = room
    this.#caughtUp = caughtUp
    this.#links = links
  }

  /** Asks a server for the slots after those known here. False when that brought the device no further. */
  async catchUp(link: ServerLink): Promise<boolean> {
    const { channel } = link
    const { groupId } = this.#room
    const first = headOf(this.#room).epoch
    let next = first
    while (channel !== undefined && link.channel === channel) {
      const { value } = await channel.request({ $case: 'catchUp', value: { group: groupId, fromSlot: next } })
      const { slots } = value
      if (slots.some(({ slot }, i) => slot !== next + BigInt(i))) {
        throw new HeddleError('MALFORMED', 'a server answered CatchUp with other slots than those asked for')
      }
      if (slots.length === 0) break
      next += BigInt(slots.length)
      await this.#caughtUp(slots, link)
      // The rest is asked for once these are applied; one that tells slots which do not hold must not keep this up.
      if (headOf(this.#room).epoch < next) {
        this.#catchUpFrom = headOf(this.#room).epoch
        break
      }
    }
    return headOf(this.#room).epoch > first
  }

  /** Asks for slots that were left out before, once those before them are applied. */
  async catchUpFurther(links: readonly ServerLink[]): Promise<void> {
    if (this.#catchUpFrom === undefined || this.#catchUpFrom === headOf(this.#room).epoch) return
    this.#catchUpFrom = undefined
    await Promise.all(links.map((link) => this.catchUp(link)))
  }

  /** Tells a server the slots from `slot` on, those this device does not have from another server. Throws STALE_EPOCH. */
  async teach(channel: DeviceChannel, slot: bigint): Promise<void> {
    const { groupId } = this.#room
    for (let from = slot; from < headOf(this.#room).epoch; ) {
      const stored = await this.#storedFrom(from)
      const slots = stored.length > 0 ? stored : await this.#askOthers(from, channel)
      await channel.request({ $case: 'decided', value: { group: groupId, slots } })
      from += BigInt(slots.length)
    }
  }

  /** Slots from this one on that this device has kept, as many as go into a frame. */
  async #storedFrom(first: bigint): Promise<readonly DecidedSlot[]> {
    const { store } = this.#room
    const { epoch } = headOf(this.#room)
    const slots: DecidedSlot[] = []
    let bytes = 0
    for (let slot = first; slot < epoch && bytes < decidedBytesMax && slots.length < 256; slot++) {
      const stored = await store.storage.get(store.key('decided', slot))
      if (stored === undefined) break
      slots.push(DecidedSlot.decode(stored))
      bytes += stored.length
    }
    return slots
  }

  /** From before this device's time. Whoever they are told to checks them. */
  async #askOthers(first: bigint, except: DeviceChannel): Promise<readonly DecidedSlot[]> {
    const { groupId } = this.#room
    for (const { channel } of this.#links()) {
      if (channel === undefined || channel === except) continue
      const request = { $case: 'catchUp', value: { group: groupId, fromSlot: first } } as const
      const { slots } = (await channel.request(request)).value
      if (slots.length > 0 && slots.every(({ slot }, i) => slot === first + BigInt(i))) return slots
    }
    throw new HeddleError('STALE_EPOCH', `slot ${first} is not kept here, and no other server has it`)
  }

  /**
   * A server that does not have the document gets its beginning there from a device that keeps it: the creation, or the
   * commit that brought the server in. Returns the first slot it lacks after that. Throws UNKNOWN_DOCUMENT.
   */
  async createOn(channel: DeviceChannel): Promise<bigint> {
    const { store } = this.#room
    const stored =
      (await store.storage.get(store.key('genesis', channel.peer))) ?? (await store.storage.get(store.key('genesis')))
    if (stored === undefined) throw new HeddleError('UNKNOWN_DOCUMENT', 'the server does not hold the document')
    const value = decodeRecord(Create, stored, "document's beginning")
    await channel.request({ $case: 'create', value })
    return value.decided === undefined ? 0n : value.decided.slot + 1n
  }
}
