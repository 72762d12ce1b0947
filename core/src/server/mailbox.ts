/**
 * Mailboxes (SPEC SRV): where a joiner leaves its key package for the member that invited it. A member opens one under the
 * id of its invite; whoever knows the id may put a few items; the owner gets them pushed and closes it.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { MailboxClose, MailboxOpen, MailboxPut, MailboxRecord } from '../wire/index.js'
import type { Document } from './document.js'
import type { EpochMember } from './epoch.js'
import { done, type Reply } from './parts.js'

const dayMs = 24 * 60 * 60 * 1000

export interface Mailbox {
  readonly id: Uint8Array
  readonly record: MailboxRecord
}

/** Runs under the document's mutex, as the other operations do. */
export function openMailbox(document: Document, request: MailboxOpen, peer: Uint8Array): Reply {
  const owner = document.requireMember(peer)
  document.requireServed()
  const { mailbox: id, expiresAtMs } = request
  const { clock } = document.parts.context
  const { mailboxMsMax } = document.parts.limits
  const nowMs = Math.floor(clock.now())
  if (expiresAtMs <= BigInt(nowMs)) throw document.problem('INVALID', 'the mailbox would have expired already')
  if (Number(expiresAtMs) - nowMs > mailboxMsMax)
    throw document.problem('INVALID', `a mailbox is kept for at most ${Math.floor(mailboxMsMax / dayMs)} days`)
  forgetExpired(document)
  const known = document.mailboxes.get(toHex(id))
  if (known !== undefined && !equalBytes(known.record.owner, owner.id))
    throw document.problem('FORBIDDEN', 'another member has opened a mailbox with this id')
  if (known === undefined) makeRoom(document, owner)
  keep(document, id, { owner: owner.id, expiresAtMs, items: known?.record.items ?? [] })
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

/**
 * Members that were removed have no mailboxes, and a removed server has none. One that is no admin any more keeps as many
 * as such a member may have: with the rest it would take the room of others.
 */
export function dropOrphanedMailboxes(document: Document): void {
  const { current, isServed, parts } = document
  const kept = new Map<string, number>()
  const mayStay = ({ record }: Mailbox): boolean => {
    const owner = current.memberById(record.owner)
    if (owner === undefined || !isServed) return false
    if (owner.isAdmin) return true
    const key = toHex(owner.id)
    const count = (kept.get(key) ?? 0) + 1
    kept.set(key, count)
    return count <= parts.limits.mailboxesPerMemberMax
  }
  drop(
    document,
    [...document.mailboxes.values()].filter((mailbox) => !mayStay(mailbox))
  )
}

/**
 * Admins have room of their own, for invites: whatever the other members open, it takes none of it. One of these has room
 * for a few, of which its new one replaces the one that would expire first: it may have been restarted and have forgotten
 * that. Throws LIMIT_EXCEEDED.
 */
function makeRoom(document: Document, owner: EpochMember): void {
  const { current, mailboxes, parts } = document
  const { mailboxesOfAdminsMax, mailboxesOfOthersMax, mailboxesPerMemberMax } = parts.limits
  const alike = [...mailboxes.values()].filter(
    ({ record }) => current.memberById(record.owner)?.isAdmin === owner.isAdmin
  )
  const isFull = alike.length >= (owner.isAdmin ? mailboxesOfAdminsMax : mailboxesOfOthersMax)
  const own = alike.filter(({ record }) => equalBytes(record.owner, owner.id))
  if (!isFull && (owner.isAdmin || own.length < mailboxesPerMemberMax)) return
  // An admin's are invites that somebody may be about to follow.
  const [first] = owner.isAdmin ? [] : own.sort((a, b) => (a.record.expiresAtMs < b.record.expiresAtMs ? -1 : 1))
  if (first === undefined) {
    const whose = owner.isAdmin ? 'admins' : 'members that are no admins'
    const what = `the ${whose} have ${alike.length} mailboxes here, the most there can be until some are closed or expire`
    throw document.problem('LIMIT_EXCEEDED', what)
  }
  drop(document, [first])
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
