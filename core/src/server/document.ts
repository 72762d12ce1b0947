/**
 * One document in memory: what is true once everything under way is stored, and beside it what is durable, of which alone
 * the server speaks (SPEC SRV). The other files of the room change it, one at a time under its mutex.
 */
import { equalBytes, toHex } from '../bytes.js'
import { type ErrorName, HeddleError } from '../errors.js'
import { Acceptor } from '../paxos/index.js'
import type { Batch } from '../plugin/index.js'
import { StateVector } from '../sync/index.js'
import {
  type AcceptorRecord,
  type DecidedSlot,
  Receipt,
  type SenderRecord,
  SIGNATURE_LABELS,
  type Signed
} from '../wire/index.js'
import type { Epoch, EpochMember } from './epoch.js'
import { HeldPrepares } from './held.js'
import { HourlyQuota } from './hourly-quota.js'
import type { Mailbox } from './mailbox.js'
import { Mutex } from './mutex.js'
import { type ServerParts, signStatement } from './parts.js'
import { RecentLog } from './recent.js'
import type { Beginning, DocumentStore, StoredEnvelope } from './store.js'
import type { Subscription } from './subscription.js'
import type { ValueCache } from './value-check.js'
import type { WelcomeWaiters } from './welcome.js'

/** What storage held when the document was opened. */
export interface DocumentInit {
  readonly parts: ServerParts
  readonly group: Uint8Array
  readonly store: DocumentStore
  readonly beginning: Beginning
  /** Retained epochs in ascending order, the open one last. */
  readonly epochs: readonly Epoch[]
  readonly acceptor: AcceptorRecord | undefined
  readonly senders: readonly SenderRecord[]
  readonly position: bigint
  readonly mailboxes: readonly Mailbox[]
  readonly values: ValueCache
  readonly waiters: WelcomeWaiters
}

/** What may be told. */
interface Durable {
  /** First slot whose decision is not durable here. */
  slot: bigint
  /** Last position of the log. */
  position: bigint
  /** By member id in hexadecimal. */
  readonly senders: Map<string, SenderRecord>
}

export class Document {
  readonly parts: ServerParts
  readonly group: Uint8Array
  readonly store: DocumentStore
  readonly mutex = new Mutex()
  readonly subscriptions = new Set<Subscription>()
  readonly mailboxes = new Map<string, Mailbox>()
  /** Control messages of members that may not write. */
  readonly readersQuota: HourlyQuota
  readonly recent: RecentLog
  readonly values: ValueCache
  readonly waiters: WelcomeWaiters
  readonly held: HeldPrepares
  readonly durable: Durable
  /** Heads and last position with what is on its way to storage. */
  readonly heads: StateVector
  position: bigint
  senderCount: number
  beginning: Beginning
  /** By member id in hexadecimal: epoch since which the sender's own device has left out nothing (SRV-072). */
  readonly begun: Map<string, bigint>
  acceptor: Acceptor
  #epochs: readonly Epoch[]
  #lastWrite: Promise<void> = Promise.resolve()
  readonly #receipts = new Map<string, { readonly position: bigint; readonly receipt: Signed }>()

  constructor(init: DocumentInit) {
    const { parts, epochs, senders, position } = init
    this.parts = parts
    this.group = init.group
    this.store = init.store
    this.beginning = init.beginning
    this.begun = new Map(senders.map(({ head, begunEpoch }) => [toHex(head.member), begunEpoch]))
    this.#epochs = epochs
    this.values = init.values
    this.readersQuota = new HourlyQuota(parts.context.clock, parts.limits.controlsPerReaderPerHour)
    this.waiters = init.waiters
    this.held = new HeldPrepares(parts.context.clock)
    this.recent = new RecentLog(parts.limits.tailBytesMax)
    this.heads = new StateVector(senders.map(({ head }) => head))
    this.position = position
    this.senderCount = senders.length
    const byMember = senders.map((record) => [toHex(record.head.member), record] as const)
    this.durable = { slot: this.current.number, position, senders: new Map(byMember) }
    this.acceptor = new Acceptor(this.current.config, parts.identity.id, init.acceptor)
    for (const mailbox of init.mailboxes) this.mailboxes.set(toHex(mailbox.id), mailbox)
  }

  /** The open epoch, tentative as long as its beginning is on its way to storage. */
  get current(): Epoch {
    const last = this.#epochs.at(-1)
    if (last === undefined) throw new HeddleError('STORAGE_CORRUPT', 'a document without a group state')
    return last
  }

  /** The open epoch as far as may be told; undefined when it lies before those retained. */
  get durableEpoch(): Epoch | undefined {
    return this.epoch(this.durable.slot)
  }

  get oldestEpoch(): bigint {
    return this.#epochs[0]?.number ?? 0n
  }

  /** A retained epoch. */
  epoch(number: bigint): Epoch | undefined {
    return this.#epochs.find((epoch) => epoch.number === number)
  }

  /** The next epoch begins; past ones are kept as the document's policy says. */
  begin(epoch: Epoch): void {
    const oldest = epoch.number - BigInt(epoch.retainedEpochs)
    this.#epochs = [...this.#epochs.filter(({ number }) => number >= oldest), epoch]
    this.acceptor = this.acceptor.advance(epoch.config)
    this.held.nextSlot()
  }

  /** The member whose device this is. Throws NOT_A_MEMBER. */
  requireMember(endpointId: Uint8Array): EpochMember {
    const member = this.current.memberByEndpoint(endpointId)
    if (member === undefined) throw this.notAMember()
    return member
  }

  /** Lets members of retained past epochs through too: they may learn that they were removed. Throws NOT_A_MEMBER. */
  requirePastMember(endpointId: Uint8Array): void {
    if (!this.#epochs.some((epoch) => epoch.memberByEndpoint(endpointId) !== undefined)) throw this.notAMember()
  }

  /** Whether the document still, or again, is this server's to serve; else it keeps what it has for reading. */
  get isServed(): boolean {
    return this.current.lists(this.parts.identity.id)
  }

  /** Throws STALE_EPOCH: who asks has not learned that the document went to other servers. */
  requireServed(): void {
    if (!this.isServed)
      throw this.problem('STALE_EPOCH', 'this server was removed from the document and keeps the past only')
  }

  notAMember(): HeddleError {
    const message = 'this device is no member of the document at the epoch this server knows'
    return this.problem('NOT_A_MEMBER', message)
  }

  /** An error about this document, with the slot this server is in. */
  problem(code: ErrorName, message: string): HeddleError {
    return new HeddleError(code, message, { info: { group: this.group, slot: this.current.number } })
  }

  /** Hands a batch to the writer. A failure stops the server and reaches whoever waits for `written`. */
  write(batch: Batch, onDurable?: () => void): void {
    this.#lastWrite = this.parts.writer.write(batch, onDurable)
    this.#lastWrite.catch(() => {
      // `Writer.failed` has it.
    })
  }

  /** Resolves when everything written so far is durable: then what is true now may be told. */
  get written(): Promise<void> {
    return this.#lastWrite
  }

  /** Envelopes became durable: `records` are their senders' new heads. */
  publish(envelopes: readonly StoredEnvelope[], records: readonly SenderRecord[]): void {
    for (const envelope of envelopes) {
      this.recent.push(envelope)
      this.durable.position = envelope.position
    }
    const members = records.map((record) => {
      const key = toHex(record.head.member)
      this.durable.senders.set(key, record)
      return key
    })
    for (const subscription of this.subscriptions) {
      for (const member of members) subscription.headChanged(member)
      subscription.wake()
    }
  }

  /** The signed receipt of a sender's durable head; undefined when nothing of it is stored. */
  receipt(member: Uint8Array): Signed | undefined {
    const key = toHex(member)
    const record = this.durable.senders.get(key)
    if (record === undefined) return undefined
    const { head, position } = record
    const known = this.#receipts.get(key)
    if (known?.position === position) return known.receipt
    const { group, parts } = this
    const statement = Receipt.encode({ group, server: parts.identity.id, head, position })
    const receipt = signStatement(parts, SIGNATURE_LABELS.Receipt, statement)
    this.#receipts.set(key, { position, receipt })
    return receipt
  }

  /** Durable envelopes after a position, as many as fit into a page. */
  async readLog(after: bigint, itemsMax: number): Promise<readonly StoredEnvelope[]> {
    const { pageBytesMax } = this.parts.limits
    const recent = this.recent.after(after, itemsMax, pageBytesMax)
    return recent ?? this.store.readLog(after, this.durable.position, itemsMax, pageBytesMax)
  }

  /** Durable decided slots from this one on, as many as fit into a page. */
  async readDecided(from: bigint): Promise<readonly DecidedSlot[]> {
    const { decidedPerPageMax, pageBytesMax } = this.parts.limits
    return this.store.readDecided(from, this.durable.slot, decidedPerPageMax, pageBytesMax)
  }

  /** Whether nobody would notice that it is not in memory. */
  get idle(): boolean {
    return this.subscriptions.size === 0 && this.waiters.size === 0
  }

  subscriptionsOf(member: Uint8Array): readonly Subscription[] {
    return [...this.subscriptions].filter((subscription) => equalBytes(subscription.member, member))
  }
}
