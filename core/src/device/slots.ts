/**
 * Decided slots between a document and one server (SPEC PAXOS): asking for those this device lacks, and telling those the
 * server lacks, the document's beginning included.
 */
import { HeddleError } from '../errors.js'
import type { DeviceChannel } from '../net/index.js'
import { DecidedSlot } from '../wire/index.js'
import type { ServerLink } from './links.js'
import type { Room } from './room.js'

const decidedBytesMax = 2 * 1024 * 1024

export class SlotExchange {
  readonly #room: Room
  readonly #caughtUp: (slots: readonly DecidedSlot[], link: ServerLink) => Promise<void>
  /** Epoch this device was in when a server told more slots than it could apply. */
  #catchUpFrom: bigint | undefined

  /** `caughtUp` takes slots a server was asked for and resolves when what can be applied of them is. */
  constructor(room: Room, caughtUp: (slots: readonly DecidedSlot[], link: ServerLink) => Promise<void>) {
    this.#room = room
    this.#caughtUp = caughtUp
  }

  /** Asks a server for the slots after those known here. False when that brought the device no further. */
  async catchUp(link: ServerLink): Promise<boolean> {
    const { channel } = link
    const { groupId, group } = this.#room
    const first = group.epoch
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
      if (this.#room.group.epoch < next) {
        this.#catchUpFrom = this.#room.group.epoch
        break
      }
    }
    return this.#room.group.epoch > first
  }

  /** Asks for slots that were left out before, once those before them are applied. */
  async catchUpFurther(links: readonly ServerLink[]): Promise<void> {
    if (this.#catchUpFrom === undefined || this.#catchUpFrom === this.#room.group.epoch) return
    this.#catchUpFrom = undefined
    await Promise.all(links.map((link) => this.catchUp(link)))
  }

  /** Tells a server the slots from `slot` on that this device knows. */
  async teach(channel: DeviceChannel, slot: bigint): Promise<void> {
    const { store, group, groupId } = this.#room
    for (let from = slot; from < group.epoch; ) {
      const slots: DecidedSlot[] = []
      let bytes = 0
      for (; from < group.epoch && bytes < decidedBytesMax && slots.length < 256; from++) {
        const stored = await store.storage.get(store.key('decided', from))
        if (stored === undefined) throw new HeddleError('STALE_EPOCH', `slot ${from} is not kept here any more`)
        slots.push(DecidedSlot.decode(stored))
        bytes += stored.length
      }
      await channel.request({ $case: 'decided', value: { group: groupId, slots } })
    }
  }

  /** A server that missed the creation gets the document's beginning from the device that keeps it. */
  async createOn(channel: DeviceChannel): Promise<void> {
    const { store } = this.#room
    const groupInfo = await store.storage.get(store.key('genesis'))
    if (groupInfo === undefined) throw new HeddleError('UNKNOWN_DOCUMENT', 'the server does not hold the document')
    await channel.request({ $case: 'create', value: { groupInfo, decided: undefined } })
  }
}
