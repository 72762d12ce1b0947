/**
 * The documents of a server (SPEC SRV): opened from storage when somebody asks, kept in memory while used, created on
 * request. Called by the sessions.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type ClaimedGroup, PublicGroup } from '../group/index.js'
import type { Create } from '../wire/index.js'
import { type Began, entriesOf, readCreate, verifyCreate } from './create.js'
import { Document } from './document.js'
import { Epoch } from './epoch.js'
import { HourlyQuota } from './hourly-quota.js'
import { Mutex } from './mutex.js'
import { done, type Reply, type ServerParts } from './parts.js'
import { DocumentStore } from './store.js'
import { ValueCache } from './value-check.js'
import { WelcomeWaiters } from './welcome.js'

/** How far looking for a document in storage has come. */
interface Look {
  /** It is there: this slot is the one that has it. */
  found: boolean
  /** It was created meanwhile: whatever is found now, another slot has it. */
  tooEarly: boolean
}

interface Slot {
  readonly look: Look
  /** Undefined when storage has no such document. */
  readonly opening: Promise<Document | undefined>
  opened: Document | undefined
  /** Requests under way. */
  users: number
}

/** Documents looked at for one to forget, each time one is used. */
const forgetLooksMax = 8

export class Documents {
  readonly #parts: ServerParts
  /** By group in hexadecimal, the one used longest ago first. */
  readonly #slots = new Map<string, Slot>()
  readonly #creating = new Mutex()
  readonly #quota: HourlyQuota

  constructor(parts: ServerParts) {
    this.#parts = parts
    this.#quota = new HourlyQuota(parts.context.clock, parts.limits.createsPerPeerPerHour)
  }

  get inMemory(): number {
    return this.#slots.size
  }

  get subscriptions(): number {
    return [...this.#slots.values()].reduce((sum, { opened }) => sum + (opened?.subscriptions.size ?? 0), 0)
  }

  /**
   * Runs the task with the document, which stays in memory until the task has settled and what it wrote must be durable
   * by then. Tasks for one document start in the order of the calls. Throws UNKNOWN_DOCUMENT, STORAGE_CORRUPT.
   */
  async use<T>(group: Uint8Array, task: (document: Document) => T | Promise<T>): Promise<T> {
    const key = toHex(group)
    const slot = this.#slots.get(key) ?? this.#newSlot(key, group.slice())
    // Set anew: the map is in the order of use.
    this.#slots.delete(key)
    this.#slots.set(key, slot)
    slot.users++
    try {
      const document = await slot.opening
      if (document === undefined)
        throw new HeddleError('UNKNOWN_DOCUMENT', 'this server does not hold the document', { info: { group } })
      return await task(document)
    } finally {
      slot.users--
    }
  }

  /**
   * Takes the document of this GroupInfo up, at its beginning or with the decision that brings this server in. The same
   * again is no error. Throws INVALID, BAD_SIGNATURE, NOT_A_MEMBER, FORBIDDEN, ALREADY_EXISTS, LIMIT_EXCEEDED.
   */
  async create(create: Create, peer: Uint8Array): Promise<Reply> {
    const claimed = readCreate(create, this.#parts)
    const { groupId: group, document } = claimed
    const { mayCreate } = this.#parts.policy
    // Asked, and counted, before anything is verified: that is what costs.
    if (mayCreate !== undefined && !(await mayCreate({ peer, group, crdtType: document.crdtType })))
      throw new HeddleError('FORBIDDEN', 'this server does not let this device create documents', { info: { group } })
    if (await this.#isKnown(claimed)) return done
    const waitMs = this.#quota.take(peer)
    if (waitMs > 0)
      throw new HeddleError('LIMIT_EXCEEDED', 'this device has brought too many documents here within an hour', {
        info: { group, retryAfterMs: waitMs }
      })
    const began = await verifyCreate(claimed, create, peer, this.#parts)
    await this.#creating.run(() => this.#store(began))
    return done
  }

  /** Whether the document began here in the same way. Throws ALREADY_EXISTS when it began in another. */
  async #isKnown({ groupId: group, ctx }: Pick<ClaimedGroup, 'groupId' | 'ctx'>): Promise<boolean> {
    const known = await new DocumentStore(this.#parts.storage, group).readBeginning()
    if (known === undefined || equalBytes(known.ctx, ctx)) return known !== undefined
    throw new HeddleError('ALREADY_EXISTS', 'a document with this id and another beginning exists here', {
      info: { group }
    })
  }

  async #store(began: Began): Promise<void> {
    const { groupId } = began.group
    // It may have been brought twice at once.
    if (await this.#isKnown(began.group)) return
    const { storage, writer } = this.#parts
    await writer.write({ put: entriesOf(began, new DocumentStore(storage, groupId), this.#parts) })
    this.#forgetAbsent(toHex(groupId))
    this.#parts.count('created')
  }

  /** Whoever asked before it existed has left the answer "unknown"; whoever has found it already shares what is there. */
  #forgetAbsent(key: string): void {
    const look = this.#slots.get(key)?.look
    if (look === undefined || look.found) return
    look.tooEarly = true
    this.#slots.delete(key)
  }

  #newSlot(key: string, group: Uint8Array): Slot {
    this.#forgetIdle()
    const look = { found: false, tooEarly: false }
    const opening = this.#open(group, look)
    const slot: Slot = { look, opening, opened: undefined, users: 0 }
    this.#slots.set(key, slot)
    const forget = () => {
      if (this.#slots.get(key) === slot) this.#slots.delete(key)
    }
    opening.then((document) => {
      slot.opened = document
      if (document === undefined) forget()
    }, forget)
    return slot
  }

  async #open(group: Uint8Array, look: Look): Promise<Document | undefined> {
    const { storage, limits } = this.#parts
    const store = new DocumentStore(storage, group.slice())
    const beginning = await store.readBeginning()
    if (beginning === undefined || look.tooEarly) return undefined
    look.found = true
    const saved = await store.readGroups()
    if (saved.length === 0)
      throw new HeddleError('STORAGE_CORRUPT', `document ${toHex(group)} has no group state in storage`)
    const epochs = saved.map((bytes) => new Epoch(PublicGroup.load(bytes, this.#parts)))
    return new Document({
      parts: this.#parts,
      group: group.slice(),
      store,
      beginning,
      epochs,
      acceptor: await store.readAcceptor(),
      senders: await store.readSenders(),
      position: await store.readLastPosition(),
      mailboxes: (await store.readMailboxes()).map(([id, record]) => ({ id, record })),
      values: new ValueCache(),
      waiters: new WelcomeWaiters(limits.welcomeWaitersPerDocumentMax, limits.welcomeWaitersPerConnectionMax)
    })
  }

  /** Makes room for one more. Those that have to stay go to the end, so that the next look finds others. */
  #forgetIdle(): void {
    let looks = 0
    for (const [key, slot] of this.#slots) {
      if (this.#slots.size < this.#parts.limits.documentsInMemoryMax || looks++ >= forgetLooksMax) return
      this.#slots.delete(key)
      if (slot.users > 0 || slot.opened?.idle === false) this.#slots.set(key, slot)
    }
  }
}
