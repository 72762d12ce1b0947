/**
 * What bounds a server (SPEC SRV): sizes of its buffers, and token buckets for what costs it work without membership.
 * Limits of single frames and fields are the wire room's.
 */
import type { Clock } from '../plugin/index.js'

export interface ServerLimits {
  readonly connectionsMax: number
  readonly connectionsPerPeerMax: number
  readonly subscriptionsPerConnectionMax: number
  /** Bytes and number of requests of one connection that are not answered yet; beyond them its frames are not read. */
  readonly inFlightBytesMax: number
  readonly inFlightRequestsMax: number
  /** Bytes that wait for storage, over all documents; beyond them uploads are refused with OVERLOADED. */
  readonly writeQueueBytesMax: number
  /** Idle documents kept in memory. */
  readonly documentsInMemoryMax: number
  /** Latest envelopes of a document kept in memory for its readers. */
  readonly tailBytesMax: number
  /** Envelopes of one Deliver or Fetched, and slots of one Decided, unless a single one is larger. */
  readonly pageBytesMax: number
  readonly decidedPerPageMax: number
  /** Members that have ever sent something; Subscribed has room for so many heads. */
  readonly sendersPerDocumentMax: number
  /** Mailboxes of a document: of its admins, of all its other members, of one of these. */
  readonly mailboxesOfAdminsMax: number
  readonly mailboxesOfOthersMax: number
  readonly mailboxesPerMemberMax: number
  readonly mailboxItemsMax: number
  /** How far ahead a mailbox may expire. */
  readonly mailboxMsMax: number
  /** Key packages whose Welcome is waited for, in a document and of these on one connection. */
  readonly welcomeWaitersPerDocumentMax: number
  readonly welcomeWaitersPerConnectionMax: number
  /**
   * Documents one endpoint key may bring at once, and then in an hour, valid or not; a repeated Create is not counted.
   */
  readonly createsPerPeerPerHour: number
  /** Control messages a member without the right to write may send at once, and then in an hour. */
  readonly controlsPerReaderPerHour: number
  /** Heads go to one subscriber at most this often. */
  readonly headsIntervalMs: number
  /** Requests of one connection that need no membership (MailboxPut, WelcomeRequest, Decided, Create). */
  readonly openRequestsPerSecond: number
  readonly openRequestsBurst: number
  /** Prepare and Accept of one connection. */
  readonly proposalsPerSecond: number
  readonly proposalsBurst: number
}

export const defaultLimits: ServerLimits = {
  connectionsMax: 10_000,
  connectionsPerPeerMax: 16,
  subscriptionsPerConnectionMax: 1_024,
  inFlightBytesMax: 32 * 1024 * 1024,
  inFlightRequestsMax: 256,
  writeQueueBytesMax: 256 * 1024 * 1024,
  documentsInMemoryMax: 1_000,
  tailBytesMax: 1024 * 1024,
  pageBytesMax: 256 * 1024,
  decidedPerPageMax: 64,
  sendersPerDocumentMax: 4_000,
  mailboxesOfAdminsMax: 64,
  mailboxesOfOthersMax: 64,
  mailboxesPerMemberMax: 4,
  mailboxItemsMax: 4,
  mailboxMsMax: 31 * 24 * 60 * 60 * 1000,
  welcomeWaitersPerDocumentMax: 256,
  welcomeWaitersPerConnectionMax: 8,
  createsPerPeerPerHour: 100,
  controlsPerReaderPerHour: 120,
  headsIntervalMs: 25,
  openRequestsPerSecond: 10,
  openRequestsBurst: 100,
  proposalsPerSecond: 50,
  proposalsBurst: 200
}

/** Refills with time; a request takes one token. */
export class TokenBucket {
  readonly #clock: Clock
  readonly #perSecond: number
  readonly #burst: number
  #tokens: number
  #atMs: number

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock
    this.#perSecond = perSecond
    this.#burst = burst
    this.#tokens = burst
    this.#atMs = clock.now()
  }

  /** 0 when a token was there and is taken, else the milliseconds until there is one. */
  take(): number {
    const nowMs = this.#clock.now()
    const gained = (Math.max(0, nowMs - this.#atMs) * this.#perSecond) / 1000
    this.#tokens = Math.min(this.#burst, this.#tokens + gained)
    this.#atMs = nowMs
    if (this.#tokens < 1) return Math.ceil(((1 - this.#tokens) * 1000) / this.#perSecond)
    this.#tokens--
    return 0
  }
}
