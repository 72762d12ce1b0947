/** What a document keeps of each server it follows, and what it does with what they say. Called by `following.ts`. */
import type { HeddleError } from '../errors.js'
import type { DeviceChannel, News } from '../net/index.js'
import type { DecidedSlot, SubscribeMode } from '../wire/index.js'
import type { Announced } from './announced.js'
import type { ServerLink } from './links.js'
import type { UploadTarget } from './uploading.js'

/** What one server is to this document. */
export interface Followed extends UploadTarget {
  /** Everything up to this position of its log is applied here. */
  position: bigint
  channel: DeviceChannel | undefined
  mode: SubscribeMode
  /** It was asked to stream, and neither refused nor was lost since. */
  streaming: boolean
  uploading: boolean
  /** When it last said it was behind. */
  behindAtMs: number
  readonly announced: Announced
  /** All it had when it was subscribed to is applied here. */
  isRead: boolean
  /** It is none of the document's servers any more, and read on for what only it may have. */
  former: { applied: number; timer: Disposable } | undefined
  retry: Disposable | undefined
  /** What storage has of it. */
  stored: { readonly position: bigint; readonly receiptedSeq: bigint }
}

/** What the rest of the document does with what servers say. */
export interface FollowingEvents {
  /** Slots a server tells of, to be checked and applied. */
  decided(slots: readonly DecidedSlot[], link: ServerLink): void
  /** Slots a server was asked for, from the present one on. Resolves when what can be applied of them is. */
  caughtUp(slots: readonly DecidedSlot[], link: ServerLink): Promise<void>
  vote(news: Extract<News, { $case: 'vote' }>, link: ServerLink): void
  mailbox(news: Extract<News, { $case: 'mailboxItems' }>, link: ServerLink): void
  /** A server holds messages this device has signed and knows nothing of: nothing may be sealed any more. */
  rolledBack(error: HeddleError): void
  /** A server took the subscription. */
  ready(link: ServerLink): void
}
