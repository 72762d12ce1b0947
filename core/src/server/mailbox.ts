/**
 * Mailboxes (SPEC SRV): where a joiner leaves its key package for the member that invited it. A member opens one under the
 * id of its invite; whoever knows the id may put a few items; the owner gets them pushed and closes it.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { MailboxClose, MailboxOpen, MailboxPut, MailboxRecord } from '../wire/index.js'
import type { Document } from './document.js'
import { done, type Reply } from './parts.js'

export interface Mailbox {
  readonly id: Uint8Array
  readonly record: MailboxRecord
}

/** Runs under the document's mutex, as the other operations do. */
export function openMailbox(document: Document, request: MailboxOpen, peer: Uint8Array): Reply {
  const { id: owner } = document.requireMember(peer)
  document.requireServed()
  const { mailbox: id, expiresAtMs } = request
  const { clock } = document.parts.context
  if (expiresAtMs <= BigInt(clock.now())) throw document.problem('INVALID', 'the mailbox would have expired already')
  forgetExpired(document)
  const known = document.mailboxes.get(toHex(id))
  if (known !== undefined && !equalBytes(known.record.owner, owner))
    throw document.problem('FORBIDDEN', 'another member has opened a mailbox with this id')
  const max = document.parts.limits.mailboxesPerDocumentMax
  if (known === undefined && document.mailboxes.size >= max)
    throw document.problem('LIMIT_EXCEEDED', `a document has at most ${max} mailboxes on this server; close one`)
  keep(document, id, { owner, expiresAtMs, items: known?.record.items ?? [] })
  return done
}

export function putIntoMailbox(document: Document, request: MailboxPut): Reply {
  forgetExpired(document)
  const { mailbox: id } = request
  const known = document.mailboxes.get(toHex(id))
  if (known === undefined) throw document.problem('NOT_FOUND', 'there is no mailbox with this id, or it has expired')
  const { items, owner } = known.record
  if (items.some((item) => equalBytes(item, request.item))) return done
  const max = document.parts.limits.mailboxItemsMax
  if (items.length >= max) throw document.problem('LIMIT_EXCEEDED', `a mailbox holds at most ${max} items`)
  keep(document, id, { ...known.record, items: [...items, request.item.slice()] }, () => {
    for (const subscription of document.subscriptionsOf(owner)) subscription.mailboxesChanged()
  })
  return done
}

/** Its owner or an admin may; one that is not there is closed. */
export function closeMailbox(document: Document, request: MailboxClose, peer: Uint8Array): Reply {
  const member = document.requireMember(peer)
  const { mailbox: id } = request
  const known = document.mailboxes.get(toHex(id))
  if (known === undefined) return done
  if (!equalBytes(known.record.owner, member.id) && !member.isAdmin)
    throw document.problem('FORBIDDEN', 'only its owner or an admin may close a mailbox')
  drop(document, [known])
  return done
}

/** The member's mailboxes that hold something. */
export function ownMailboxes(
  document: Document,
  member: Uint8Array
): { id: Uint8Array; items: readonly Uint8Array[] }[] {
  const nowMs = BigInt(document.parts.context.clock.now())
  return [...document.mailboxes.values()].flatMap(({ id, record: { owner, items, expiresAtMs } }) =>
    items.length > 0 && expiresAtMs > nowMs && equalBytes(owner, member) ? { id, items } : []
  )
}

/** Members that were removed have no mailboxes, and a removed server has none. */
export function dropOrphanedMailboxes(document: Document): void {
  const { current, isServed } = document
  drop(
    document,
    [...document.mailboxes.values()].filter(({ record }) => !isServed || current.memberById(record.owner) === undefined)
  )
}

function forgetExpired(document: Document): void {
  const nowMs = BigInt(document.parts.context.clock.now())
  drop(
    document,
    [...document.mailboxes.values()].filter(({ record }) => record.expiresAtMs <= nowMs)
  )
}

function keep(document: Document, id: Uint8Array, record: MailboxRecord, onDurable?: () => void): void {
  document.mailboxes.set(toHex(id), { id, record })
  document.write({ put: [document.store.mailbox(id, record)] }, onDurable)
}

function drop(document: Document, mailboxes: readonly Mailbox[]): void {
  if (mailboxes.length === 0) return
  for (const { id } of mailboxes) document.mailboxes.delete(toHex(id))
  document.write({ del: mailboxes.map(({ id }) => document.store.mailboxKey(id)) })
}
