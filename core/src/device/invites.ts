/**
 * Invites (SPEC JOIN): a link that carries a one-time secret. Who has it leaves a key package in a mailbox on the servers,
 * authenticated under the secret; the device that made the invite adds that key package by a commit. This file is the
 * inviter's side and the format of links; `join.ts` is the joiner's.
 */
import { concatBytes, emptyBytes, equalBytes, fromBase64Url, fromHex, toBase64Url, toHex, utf8 } from '../bytes.js'
import { type CryptoProvider, SUITE_DEFAULT } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import { type KeyPackageInfo, memberIdOf, type RosterEntry, readKeyPackage } from '../group/index.js'
import { quorum, slotConfigOf } from '../paxos/index.js'
import { type AddIntent, Invite, InviteRecord, JoinRequest, Role, WireError } from '../wire/index.js'
import type { MemberVerdict } from './identity.js'
import type { ServerLink } from './links.js'
import { asHeddleError, isRefusal, type Room, report, wasMember } from './room.js'
import type { Turn } from './store.js'

const linkPrefix = 'heddle:'
/** Servers keep a mailbox for a day more (SPEC SRV-060): clocks differ. */
const expiresInMsMax = 30 * 24 * 60 * 60 * 1000
/** How long an invite waits for a server to take its mailbox before the link is handed out without. */
const mailboxWaitMs = 3_000
const joinLabel = utf8('heddle/1 join\0')
const mailboxLabel = utf8('heddle/1 mailbox\0')

export const formatInvite = (invite: Invite): string => `${linkPrefix}${toBase64Url(Invite.encode(invite))}`

/** Throws INVITE_INVALID. */
export function parseInvite(link: string): Invite {
  const bytes = link.startsWith(linkPrefix) ? fromBase64Url(link.slice(linkPrefix.length)) : undefined
  try {
    if (bytes !== undefined) return Invite.decode(bytes)
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
  }
  throw new HeddleError('INVITE_INVALID', 'this is not a whole invite link; copy all of it, from "heddle:" on')
}

/** Names the mailbox without giving the secret away. */
export const mailboxOf = (crypto: CryptoProvider, secret: Uint8Array): Uint8Array =>
  crypto.sha256(concatBytes(mailboxLabel, secret)).slice(0, 16)

export function joinMac(crypto: CryptoProvider, invite: Invite, keyPackage: Uint8Array): Uint8Array {
  return crypto.hmacSha256(invite.secret, concatBytes(joinLabel, invite.group, keyPackage))
}

export interface InvitesHooks {
  /** Somebody has followed an invite and is to be added. */
  add(turn: Turn, intent: AddIntent): void
  /** What the app says of who asks to join, before it is added; undefined when it has no say. */
  verify(joiner: JoinerClaim): Promise<MemberVerdict['verdict']> | undefined
  /** Nobody will be added through this mailbox. */
  refused(mailbox: Uint8Array): void
}

export class Invites {
  readonly #room: Room
  readonly #invites: Map<string, InviteRecord>
  readonly #hooks: InvitesHooks
  #arrived: { readonly mailbox: Uint8Array; readonly items: readonly Uint8Array[] }[] = []
  /** Invites that are not durable yet, those that are and wait for a mailbox, and those that no server would take. */
  #made: Made[] = []
  #announced: Made[] = []
  #withdrawn: string[] = []
  #revoked: { readonly id: string; readonly resolve: () => void; readonly reject: (error: HeddleError) => void }[] = []
  /** By mailbox: servers of which the app was told that they refuse it. */
  readonly #toldOf = new Map<string, Set<string>>()
  readonly #timers = new Set<Disposable>()
  /** By key package, hexadecimal: what the app says of who asks to join, or that it is being asked. */
  readonly #verdicts = new Map<string, 'asked' | MemberVerdict['verdict']>()

  constructor(room: Room, invites: Map<string, InviteRecord>, hooks: InvitesHooks) {
    this.#room = room
    this.#invites = invites
    this.#hooks = hooks
  }

  /**
   * Makes an invite, durably. Who follows it is added while this device is open. Throws FORBIDDEN, CONFIG_INVALID, and
   * what the servers say when so many refuse its mailbox that nobody could follow it, LIMIT_EXCEEDED most likely.
   */
  async make(role: Role, expiresInMs: number): Promise<string> {
    const { group, context, crypto, groupId } = this.#room
    if (!(expiresInMs >= 1 && expiresInMs <= expiresInMsMax))
      throw new HeddleError(
        'CONFIG_INVALID',
        `an invite is good for 30 days at most and 1 ms at least; expiresInMs is ${expiresInMs}`
      )
    if (group.me.role !== Role.ROLE_ADMIN) throw new HeddleError('FORBIDDEN', 'only an admin invites; ask one')
    const { servers, faultBound } = group.public.servers
    const invite: Invite = {
      group: groupId,
      secret: context.random(32),
      servers,
      faultBound,
      role,
      crdtType: group.public.document.crdtType,
      expiresAtMs: BigInt(Math.floor(context.clock.now() + expiresInMs)),
      suite: group.public.suite.id === SUITE_DEFAULT ? undefined : group.public.suite.id
    }
    const key = toHex(mailboxOf(crypto, invite.secret))
    this.#invites.set(key, { invite, usedBy: new Uint8Array(0), revoked: false })
    await new Promise<void>((resolve, reject) => {
      this.#made.push({ key, resolve, reject, asked: 0, refusals: new Map() })
      this.#room.wake()
    })
    return formatInvite(invite)
  }

  /** Invites of this device that can still be followed. */
  get open(): readonly OpenInvite[] {
    return [...this.#invites].flatMap(([id, { invite, usedBy, revoked }]) =>
      usedBy.length > 0 || revoked || this.#isExpired(invite)
        ? []
        : [{ id, role: invite.role, expiresAtMs: Number(invite.expiresAtMs) }]
    )
  }

  /**
   * Nobody is added by this invite, named by its id or link, any more. Resolves when that is durable; servers that are there
   * close its mailbox then. Throws NOT_FOUND when this device has no such invite, INVITE_USED when it was followed already.
   */
  async revoke(idOrLink: string): Promise<void> {
    const id = idOrLink.startsWith(linkPrefix)
      ? toHex(mailboxOf(this.#room.crypto, parseInvite(idOrLink).secret))
      : idOrLink
    const record = this.#invites.get(id)
    if (record === undefined)
      throw new HeddleError('NOT_FOUND', `this device has made no invite ${id}, or it has expired`)
    if (record.usedBy.length > 0)
      throw new HeddleError('INVITE_USED', 'the invite was followed already; remove the member that joined by it')
    this.#invites.set(id, { ...record, revoked: true })
    await new Promise<void>((resolve, reject) => {
      this.#revoked.push({ id, resolve, reject })
      this.#room.wake()
    })
  }

  /** Nothing goes on: who waits for a link hears why. */
  giveUp(error: HeddleError): void {
    for (const timer of this.#timers) timer[Symbol.dispose]()
    this.#timers.clear()
    for (const { reject } of [...this.#made.splice(0), ...this.#announced.splice(0), ...this.#revoked.splice(0)])
      reject(error)
  }

  /** A server is there: it opens the mailboxes of the invites that are still good. Never rejects. */
  async openMailboxes(link: ServerLink): Promise<void> {
    await Promise.all([...this.#invites.keys()].map((key) => this.#openMailbox(link, key)))
  }

  arrived(mailbox: Uint8Array, items: readonly Uint8Array[]): void {
    this.#arrived.push({ mailbox, items })
    this.#room.wake()
  }

  /** Makes new invites durable and turns join requests into intents. */
  async step(turn: Turn, links: readonly ServerLink[]): Promise<void> {
    this.#forgetExpired(turn)
    for (const key of this.#withdrawn.splice(0)) this.#forget(turn, key)
    for (const { id, resolve } of this.#revoked.splice(0)) {
      this.#put(turn, id)
      turn.after(() => {
        resolve()
        this.#hooks.refused(fromHex(id) ?? emptyBytes)
      })
    }
    for (const made of this.#made.splice(0)) {
      this.#put(turn, made.key)
      turn.after(() => this.#announce(made, links))
    }
    for (const { mailbox, items } of this.#arrived.splice(0)) {
      for (const item of items) await this.#takeRequest(turn, mailbox, item)
    }
  }

  /** The joiner is in: its mailbox is closed everywhere. One that is away drops it when it expires. */
  async close(mailbox: Uint8Array, links: readonly ServerLink[]): Promise<void> {
    const body = { $case: 'mailboxClose', value: { group: this.#room.groupId, mailbox } } as const
    await Promise.all(links.map(({ channel }) => channel?.request(body)))
  }

  /**
   * The link is handed out once a server has the mailbox, so that who is quick finds it, and offline after a moment. One
   * that a quorum refuses and no server has would lead nowhere.
   */
  #announce(made: Made, links: readonly ServerLink[]): void {
    this.#announced.push(made)
    const timer = this.#room.context.clock.setTimer(mailboxWaitMs, () => {
      this.#timers.delete(timer)
      if (this.#isRefused(made)) this.#withdraw(made)
      else this.#handOut(made.key)
    })
    this.#timers.add(timer)
    for (const link of links) void this.#openMailbox(link, made.key)
  }

  #handOut(key: string): void {
    for (const { resolve, refusals } of this.#takeAnnounced(key)) {
      for (const [server, error] of refusals) this.#tell(server, key, error)
      resolve()
    }
  }

  #takeAnnounced(key: string): readonly Made[] {
    const taken = this.#announced.filter((made) => made.key === key)
    this.#announced = this.#announced.filter((made) => made.key !== key)
    return taken
  }

  #isRefused({ refusals }: Made): boolean {
    return refusals.size >= quorum(slotConfigOf(this.#room.group.public))
  }

  /** Nobody has seen the link. */
  #withdraw({ key, refusals }: Made): void {
    const [cause] = refusals.values()
    const why = cause?.message ?? 'no reason was given'
    const message = `${refusals.size} servers refuse the mailbox of the invite, nobody could follow it: ${why}`
    const error = new HeddleError(cause?.code ?? 'INTERNAL', message, { cause })
    for (const { reject } of this.#takeAnnounced(key)) reject(error)
    this.#withdrawn.push(key)
    this.#room.wake()
  }

  /** Who follows an expired invite is refused with or without a record of it. */
  #forgetExpired(turn: Turn): void {
    for (const [key, { invite }] of this.#invites) if (this.#isExpired(invite)) this.#forget(turn, key)
  }

  #forget(turn: Turn, key: string): void {
    const record = this.#invites.get(key)
    if (record === undefined) return
    this.#invites.delete(key)
    this.#toldOf.delete(key)
    turn.del(this.#room.store.key('invite', mailboxOf(this.#room.crypto, record.invite.secret)))
  }

  #isExpired(invite: Invite): boolean {
    return invite.expiresAtMs <= BigInt(Math.floor(this.#room.context.clock.now()))
  }

  #put(turn: Turn, key: string): void {
    const record = this.#invites.get(key)
    if (record === undefined) return
    const mailbox = mailboxOf(this.#room.crypto, record.invite.secret)
    turn.put(this.#room.store.key('invite', mailbox), InviteRecord.encode(record))
  }

  /** Never rejects. */
  async #openMailbox({ id, channel }: ServerLink, key: string): Promise<void> {
    const record = this.#invites.get(key)
    if (channel === undefined || record === undefined) return
    const { usedBy, invite, revoked } = record
    if (usedBy.length > 0 || this.#isExpired(invite)) return
    if (revoked) return void this.#hooks.refused(mailboxOf(this.#room.crypto, invite.secret))
    const made = this.#announced.find((one) => one.key === key)
    if (made !== undefined) made.asked++
    const { groupId: group, crypto } = this.#room
    try {
      const value = { group, mailbox: mailboxOf(crypto, invite.secret), expiresAtMs: invite.expiresAtMs }
      await channel.request({ $case: 'mailboxOpen', value })
      this.#toldOf.get(key)?.delete(id)
      this.#handOut(key)
    } catch (error) {
      this.#openFailed(id, key, asHeddleError(error, 'opening a mailbox'))
    }
    if (made === undefined) return
    made.asked--
    // Another server may be about to take it.
    if (made.asked === 0 && this.#announced.includes(made) && this.#isRefused(made)) this.#withdraw(made)
  }

  #openFailed(server: string, key: string, error: HeddleError): void {
    const { code, message } = error
    this.#room.context.log('debug', 'mailbox.open.failed', { server, code, message })
    if (!isRefusal(error)) return
    const made = this.#announced.find((one) => one.key === key)
    if (made === undefined) this.#tell(server, key, error)
    else made.refusals.set(server, error)
  }

  /** Who has the link may be on the way to this server; said once, until it takes the mailbox. */
  #tell(server: string, key: string, error: HeddleError): void {
    const told = this.#toldOf.get(key) ?? new Set()
    if (told.has(server)) return
    this.#toldOf.set(key, told.add(server))
    const message = `server ${server.slice(0, 8)} refuses the mailbox of an invite, which nobody can follow through it: ${error.message}`
    report(this.#room, new HeddleError(error.code, message, { cause: error }))
  }

  #wasMember({ signaturePublicKey }: KeyPackageInfo): boolean {
    const { crypto, groupId } = this.#room
    return wasMember(this.#room, memberIdOf(crypto, groupId, signaturePublicKey))
  }

  /** Beside the turn: the app may have to ask somebody. When it has answered, the request is looked at again. */
  #verdictOn({ ref, signaturePublicKey, device }: KeyPackageInfo, mailbox: Uint8Array, item: Uint8Array) {
    const { crypto, groupId } = this.#room
    const key = toHex(ref)
    const known = this.#verdicts.get(key)
    if (known !== undefined) return known
    const memberId = memberIdOf(crypto, groupId, signaturePublicKey)
    const answer = this.#hooks.verify({ memberId, signaturePublicKey, device })
    if (answer === undefined) return 'unverified'
    this.#verdicts.set(key, 'asked')
    void answer.then((verdict) => {
      this.#verdicts.set(key, verdict)
      this.arrived(mailbox, [item])
    })
    return 'asked'
  }

  async #takeRequest(turn: Turn, mailbox: Uint8Array, item: Uint8Array): Promise<void> {
    const key = toHex(mailbox)
    const record = this.#invites.get(key)
    if (record === undefined) return
    try {
      const { crypto, context } = this.#room
      const { keyPackage, mac } = JoinRequest.decode(item)
      if (!equalBytes(crypto.sha256(mac), crypto.sha256(joinMac(crypto, record.invite, keyPackage)))) {
        throw new HeddleError('INVITE_INVALID', 'a join request was made without the secret of the invite')
      }
      const info = await readKeyPackage(keyPackage, { crypto, nowMs: context.clock.now() })
      const { ref } = info
      if (record.revoked) throw new HeddleError('INVITE_USED', 'a device followed a revoked invite')
      // The same request comes from every server it was left with.
      if (equalBytes(record.usedBy, ref)) return
      if (record.usedBy.length > 0) throw new HeddleError('INVITE_USED', 'a second device followed a used invite')
      if (this.#isExpired(record.invite)) throw new HeddleError('INVITE_EXPIRED', 'a device followed an expired invite')
      if (info.suite !== this.#room.group.public.suite.id)
        throw new HeddleError('INVITE_INVALID', 'a join request brings a key of another cipher suite')
      if (this.#wasMember(info)) throw new HeddleError('INVITE_USED', 'a join request brings the key of a member')
      const verdict = this.#verdictOn(info, mailbox, item)
      if (verdict === 'asked') return
      this.#invites.set(key, { ...record, usedBy: ref })
      this.#put(turn, key)
      if (verdict !== 'rejected') return this.#hooks.add(turn, { keyPackage, role: record.invite.role, mailbox })
      turn.after(() => this.#hooks.refused(mailbox))
      const deviceId = toHex(info.device.endpointId)
      const message = `who followed an invite, device ${deviceId}, was rejected by this app and is not added`
      throw new HeddleError('IDENTITY_REJECTED', message, { info: { deviceId } })
    } catch (error) {
      const known = error instanceof WireError ? new HeddleError('MALFORMED', 'a join request does not decode') : error
      report(this.#room, asHeddleError(known, 'a join request'))
    }
  }
}

/** An invite that can still be followed. */
export interface OpenInvite {
  /** 32 hexadecimal digits: names it, and lets nobody in. */
  readonly id: string
  readonly role: Role
  readonly expiresAtMs: number
}

/** Who asks to join. */
export type JoinerClaim = Pick<RosterEntry, 'memberId' | 'signaturePublicKey' | 'device'>

/** Who waits for an invite's link. */
interface Made {
  readonly key: string
  readonly resolve: () => void
  readonly reject: (error: HeddleError) => void
  /** Servers that were asked to take its mailbox and have not answered. */
  asked: number
  /** What servers said that refuse it, by id. */
  readonly refusals: Map<string, HeddleError>
}
