/**
 * Welcomes (SPEC SRV): they lie inside decided values and are given to whoever names the key package they are for. A
 * joiner that asks too early is told so, and again when the slot is decided.
 */
import { toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { BodyOf, ServerChannel } from '../net/index.js'
import type { Entry } from '../plugin/index.js'
import type { WelcomeRequest } from '../wire/index.js'
import type { Document } from './document.js'
import { type Reply, reply } from './parts.js'
import type { DocumentStore, WelcomePlace } from './store.js'
import type { CheckedValue } from './value-check.js'

/** Joiners that have asked and wait, by the reference of their key package. */
export class WelcomeWaiters {
  readonly #max: number
  readonly #waiting = new Map<string, Set<ServerChannel>>()
  readonly #watched = new WeakSet<ServerChannel>()
  readonly #perConnectionMax: number
  readonly #sizeOf = new Map<ServerChannel, number>()
  #size = 0

  constructor(max: number, perConnectionMax: number) {
    this.#max = max
    this.#perConnectionMax = perConnectionMax
  }

  get size(): number {
    return this.#size
  }

  /** False when there is no room: the joiner has to ask again later. */
  add(key: string, channel: ServerChannel): boolean {
    const channels = this.#waiting.get(key) ?? new Set<ServerChannel>()
    if (channels.has(channel)) return true
    const ofChannel = this.#sizeOf.get(channel) ?? 0
    if (this.#size >= this.#max || ofChannel >= this.#perConnectionMax) return false
    this.#waiting.set(key, channels)
    channels.add(channel)
    this.#size++
    this.#sizeOf.set(channel, ofChannel + 1)
    this.#watch(channel)
    return true
  }

  take(key: string): readonly ServerChannel[] {
    const channels = [...(this.#waiting.get(key) ?? [])]
    for (const channel of channels) this.#remove(key, channel)
    return channels
  }

  /** Once for each channel, however often it asks. */
  #watch(channel: ServerChannel): void {
    if (this.#watched.has(channel)) return
    this.#watched.add(channel)
    channel.closed.then(() => {
      for (const key of [...this.#waiting.keys()]) this.#remove(key, channel)
    })
  }

  #remove(key: string, channel: ServerChannel): void {
    const channels = this.#waiting.get(key)
    if (channels?.delete(channel) !== true) return
    this.#size--
    const left = (this.#sizeOf.get(channel) ?? 1) - 1
    if (left === 0) this.#sizeOf.delete(channel)
    else this.#sizeOf.set(channel, left)
    if (channels.size === 0) this.#waiting.delete(key)
  }
}

/** What is stored with a decided slot, for those it adds. */
export function welcomeEntries(
  store: DocumentStore,
  { next, welcomeRefs }: CheckedValue,
  place: WelcomePlace
): readonly Entry[] {
  if (welcomeRefs.length === 0) return []
  return [store.tree(place.slot, next.group.ratchetTree()), ...welcomeRefs.map((ref) => store.welcome(ref, place))]
}

/** Runs under the document's mutex, so that no decision slips in between looking and waiting. */
export async function answerWelcome(
  document: Document,
  { keyPackageRef }: WelcomeRequest,
  channel: ServerChannel
): Promise<Reply> {
  const place = await document.store.readWelcome(keyPackageRef)
  if (place !== undefined) return reply(await welcomeReply(document, place))
  if (!document.waiters.add(toHex(keyPackageRef), channel))
    throw document.problem('LIMIT_EXCEEDED', 'too many joiners wait for their Welcome; ask again later')
  throw document.problem('NOT_FOUND', 'no decided commit adds this key package yet; the Welcome is sent when one does')
}

/** The slots that were decided have become durable: who waits for a Welcome in them gets it. */
export async function sendWelcomes(document: Document, places: ReadonlyMap<string, WelcomePlace>): Promise<void> {
  for (const [key, place] of places)
    for (const channel of document.waiters.take(key))
      try {
        await channel.send(0n, await welcomeReply(document, place))
      } catch (error) {
        if (channel.end === undefined)
          document.parts.context.log('warn', 'server.welcome-failed', { group: toHex(document.group), error })
      }
}

async function welcomeReply(document: Document, { slot, position }: WelcomePlace): Promise<BodyOf<'welcomeReply'>> {
  const [decided] = await document.store.readDecided(slot, slot + 1n, 1, 1)
  if (decided === undefined) throw new HeddleError('STORAGE_CORRUPT', `decided slot ${slot} is missing in storage`)
  const tree = await document.store.readTree(slot)
  return { $case: 'welcomeReply', value: { group: document.group, decided, position, tree } }
}
