/**
 * Joining a document (SPEC JOIN): leaves a key package with the servers, waits for the Welcome that a decided commit
 * releases, checks the certificate, and stores the document. An interrupted join goes on with the same key package.
 */
import { equalBytes, toHex } from '../bytes.js'
import type { CryptoProvider } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import { loadKeyPackage, MemberGroup, type OwnKeyPackage, saveKeyPackage, welcomeRefs } from '../group/index.js'
import type { DeviceChannel, News } from '../net/index.js'
import { inspectDecided, parseVote, type SlotConfig, signedInput } from '../paxos/index.js'
import type { Context, Storage } from '../plugin/index.js'
import {
  type DecidedSlot,
  DocumentRecord,
  type Invite,
  JoinRecord,
  JoinRequest,
  ServerProgressRecord,
  Value,
  ValueContent,
  type WelcomeReply,
  WireError
} from '../wire/index.js'
import { joinMac, mailboxOf } from './invites.js'
import type { LinkPool, LinkUser, ServerLink } from './links.js'
import { asHeddleError } from './room.js'
import { DocumentStore, deviceStore, Turn } from './store.js'

/** How often a joiner looks for its invite on servers that do not know it, and for how long before it takes that for final. */
const askAgainMs = 2_000
/** How often it looks whether its request still lies where it was left: it may have been refused, or have expired. */
const lookAgainMs = 15_000
const refusedMsMax = 20_000
/** Without a mailbox there is nothing to lose: after a while the servers are asked less often. */
const soonMs = 60_000
const askSeldomMs = 60_000

export interface JoinContext {
  readonly storage: Storage
  readonly pool: LinkPool
  readonly crypto: CryptoProvider
  readonly context: Context
  readonly crdtTypes: readonly string[]
  /** A new key package of this device. */
  readonly keyPackage: () => Promise<OwnKeyPackage>
}

/** Joins and stores the document; the caller opens it. Throws INVITE_EXPIRED, INVITE_USED, INVITE_INVALID, ABORTED. */
export async function join(invite: Invite, on: JoinContext, signal: AbortSignal): Promise<void> {
  const key = deviceStore.joinKey(invite.group, mailboxOf(on.crypto, invite.secret))
  const record = await deviceStore.join(on.storage, key)
  if (record === undefined && isExpired(invite, on)) {
    throw new HeddleError('INVITE_EXPIRED', 'the invite has expired; ask for a new one')
  }
  const keyPackage = record === undefined ? await on.keyPackage() : loadKeyPackage(record.keyPackage)
  if (record === undefined) {
    // The private keys are durable before anybody sees the public ones.
    const value = JoinRecord.encode({ invite, keyPackage: saveKeyPackage(keyPackage) })
    await on.storage.commit({ put: [{ key, value }] })
  }
  const item = JoinRequest.encode({
    keyPackage: keyPackage.message,
    mac: joinMac(on.crypto, invite, keyPackage.message)
  })
  const request = { mailbox: mailboxOf(on.crypto, invite.secret), item }
  const wanted = { ...invite, ref: keyPackage.ref, request, liars: new Set<string>() }
  for (;;) {
    let welcomed: Welcomed
    try {
      welcomed = await awaitWelcome(wanted, on, signal)
    } catch (error) {
      // As long as the invite is good somebody may still add this key package; then its private keys are needed.
      if (HeddleError.is(error, 'INVITE_USED') && isExpired(invite, on)) await on.storage.commit({ del: [key] })
      throw error
    }
    try {
      return await store(invite, keyPackage, welcomed, on, key)
    } catch (error) {
      if (!isOtherTree(error)) throw error
      const server = toHex(welcomed.server)
      on.context.log('warn', 'welcome.bad', { server, message: 'the ratchet tree is not that of the group' })
      // When all say so, it is the Welcome that lies.
      if (wanted.liars.add(server).size >= invite.servers.length) throw error
    }
  }
}

/** The certificate does not cover the tree: another server may have the right one. */
export const isOtherTree = (error: unknown): boolean =>
  HeddleError.is(error, 'INVALID') && error.info.otherTree === true

const isExpired = ({ expiresAtMs }: Invite, { context }: JoinContext): boolean =>
  expiresAtMs <= BigInt(Math.floor(context.clock.now()))

/** A Welcome to wait for. */
export interface WelcomeWanted extends Pick<Invite, 'group' | 'servers' | 'faultBound'> {
  /** KeyPackageRef. */
  readonly ref: Uint8Array
  /** What to leave in a mailbox as long as there is none; undefined when the key package goes another way. */
  readonly request: { readonly mailbox: Uint8Array; readonly item: Uint8Array } | undefined
  /** Servers, hexadecimal, whose Welcomes have brought a wrong tree. */
  readonly liars: ReadonlySet<string>
}

/** Resolves once a server has a certified Welcome. Throws ABORTED; INVITE_USED when no server has the mailbox. */
export function awaitWelcome(
  wanted: WelcomeWanted,
  on: Pick<JoinContext, 'pool' | 'crypto' | 'context'>,
  signal: AbortSignal
): Promise<Welcomed> {
  return new Waiting(wanted, on).run(signal)
}

/** The joiner's use of the links: asks every server for the Welcome and leaves the key package where there is none yet. */
class Waiting implements LinkUser {
  readonly #wanted: WelcomeWanted
  readonly #on: Pick<JoinContext, 'pool' | 'crypto' | 'context'>
  readonly #sinceMs: number
  readonly #refusedBy = new Set<string>()
  readonly #timers = new Map<string, Disposable>()
  #refusedAtMs: number | undefined
  #settle: { resolve: (welcome: Welcomed) => void; reject: (error: HeddleError) => void } | undefined

  constructor(wanted: WelcomeWanted, on: Pick<JoinContext, 'pool' | 'crypto' | 'context'>) {
    this.#wanted = wanted
    this.#on = on
    this.#sinceMs = on.context.clock.now()
  }

  async run(signal: AbortSignal): Promise<Welcomed> {
    // News is routed by document, and nobody else is attached for this one before it is joined.
    const id = toHex(this.#wanted.group)
    const links = this.#wanted.servers.map((server) => this.#on.pool.link(server.id))
    const abort = () =>
      this.#settle?.reject(new HeddleError('ABORTED', 'joining was aborted; it can be taken up again'))
    try {
      return await new Promise<Welcomed>((resolve, reject) => {
        this.#settle = { resolve, reject }
        signal.addEventListener('abort', abort)
        if (signal.aborted) return abort()
        this.#wanted.servers.forEach((server, i) => {
          links[i]?.attach(id, this, server.addresses)
        })
      })
    } finally {
      signal.removeEventListener('abort', abort)
      for (const timer of this.#timers.values()) timer[Symbol.dispose]()
      this.#settle = undefined
      await Promise.all(links.map((link) => link.detach(id)))
    }
  }

  onUp(link: ServerLink): void {
    const { channel } = link
    if (channel === undefined) return
    this.#ask(link, channel).then(
      () => {
        this.#refusedBy.delete(link.id)
        this.#refusedAtMs = undefined
        this.#askAgain(link, lookAgainMs)
      },
      (error: unknown) => {
        const { code, message } = asHeddleError(error, 'joining')
        this.#on.context.log('debug', 'join.failed', { server: link.id, code, message })
        if (code === 'NOT_FOUND' || code === 'UNKNOWN_DOCUMENT') this.#refused(link)
        const isSoon = this.#on.context.clock.now() - this.#sinceMs < soonMs
        this.#askAgain(link, this.#wanted.request !== undefined || isSoon ? askAgainMs : askSeldomMs)
      }
    )
  }

  onDown(): void {}

  onNews(link: ServerLink, news: News): void {
    if (news.$case === 'welcomeReply') this.#welcomed(link, news.value)
  }

  async #ask(link: ServerLink, channel: DeviceChannel): Promise<void> {
    const { group, ref, request: left } = this.#wanted
    try {
      const request = { $case: 'welcomeRequest', value: { group, keyPackageRef: ref } } as const
      this.#welcomed(link, (await channel.request(request)).value)
    } catch (error) {
      if (left === undefined) throw error
      if (!HeddleError.is(error, 'NOT_FOUND') && !HeddleError.is(error, 'LIMIT_EXCEEDED')) throw error
      // Not decided yet: the server pushes the Welcome when it is. Until then the request has to lie there.
      await channel.request({ $case: 'mailboxPut', value: { group, ...left } })
    }
  }

  /** A server that does not know the invite may learn of it: its maker may have been offline, or the server behind. */
  #askAgain(link: ServerLink, delayMs: number): void {
    if (this.#settle === undefined) return
    this.#timers.get(link.id)?.[Symbol.dispose]()
    this.#timers.set(
      link.id,
      this.#on.context.clock.setTimer(delayMs, () => this.onUp(link))
    )
  }

  /** Without a mailbox on any server, and for a while, the invite is used up or revoked. */
  #refused(link: ServerLink): void {
    if (this.#wanted.request === undefined) return
    this.#refusedBy.add(link.id)
    if (this.#refusedBy.size < this.#wanted.servers.length) return
    const nowMs = this.#on.context.clock.now()
    this.#refusedAtMs ??= nowMs
    if (nowMs - this.#refusedAtMs < refusedMsMax) return
    const message = 'no server knows this invite: it was used or revoked, or its maker has not been online since'
    this.#settle?.reject(new HeddleError('INVITE_USED', message))
  }

  /** One server's word is checked like any other's; with a bad one the others are still waited for. */
  #welcomed(link: ServerLink, { group, decided, position, tree }: WelcomeReply): void {
    if (!equalBytes(group, this.#wanted.group) || decided === undefined || this.#wanted.liars.has(link.id)) return
    try {
      const { welcome } = certifiedValue(this.#wanted, decided, this.#on.crypto)
      if (!welcomeRefs(welcome).some((ref) => equalBytes(ref, this.#wanted.ref)))
        throw new HeddleError('INVALID', 'it is for others')
      this.#settle?.resolve({ welcome, tree, slot: decided.slot, server: link.publicKey, position })
    } catch (error) {
      const { code, message } = asHeddleError(error, 'checking a Welcome')
      this.#on.context.log('warn', 'welcome.bad', { server: link.id, code, message })
    }
  }
}

/** A certified Welcome, and where reading begins in the log of the server that had it. */
export interface Welcomed {
  readonly welcome: Uint8Array
  /** What that server says the ratchet tree is; the Welcome tells whether it is. */
  readonly tree: Uint8Array
  readonly slot: bigint
  readonly server: Uint8Array
  readonly position: bigint
}

/** Opens the Welcome and stores the document as a whole. Throws `isOtherTree`. */
async function store(
  invite: Invite,
  keyPackage: OwnKeyPackage,
  welcomed: Welcomed,
  on: JoinContext,
  joinKey: Uint8Array
): Promise<void> {
  const group = await MemberGroup.join(
    { welcome: welcomed.welcome, tree: welcomed.tree, keyPackage },
    { crypto: on.crypto, now: () => on.context.clock.now() }
  )
  const before = await new DocumentStore(on.storage, invite.group).document()
  const turn = new Turn()
  putJoined(turn, group, welcomed, invite.group, on, before && { ...before, owesContent: true })
  turn.del(joinKey)
  await turn.commit(on.storage)
}

/**
 * A document that was joined, as a whole; `before`: what stays of the record when this device had been in it, or how it began.
 * Throws INVITE_INVALID, CAPABILITY_MISSING.
 */
export function putJoined(
  turn: Turn,
  group: MemberGroup,
  { slot, server, position }: Welcomed,
  groupId: Uint8Array,
  on: Pick<JoinContext, 'storage' | 'context' | 'crdtTypes'>,
  before?: Partial<Pick<DocumentRecord, 'branchOf' | 'owesContent'>>
): void {
  const { document } = group.public
  if (!equalBytes(group.public.groupId, groupId) || group.epoch !== slot + 1n) {
    throw new HeddleError('INVITE_INVALID', 'the Welcome is for another document or epoch than its certificate')
  }
  if (!on.crdtTypes.includes(document.crdtType)) {
    throw new HeddleError('CAPABILITY_MISSING', `the document needs the CRDT backend ${document.crdtType}`)
  }
  const records = new DocumentStore(on.storage, groupId)
  records.leave(turn)
  turn.put(
    records.key('document'),
    DocumentRecord.encode({
      crdtType: document.crdtType,
      joinedEpoch: group.epoch,
      removed: false,
      leaving: false,
      owesContent: before?.owesContent === true,
      rolledBack: false,
      epochSinceMs: BigInt(Math.floor(on.context.clock.now())),
      branchOf: before?.branchOf
    })
  )
  turn.put(records.key('server', server), ServerProgressRecord.encode({ position, receiptedSeq: 0n }))
  records.putGroup(turn, group.takeDirtyRecords())
}

function certifiedValue(
  wanted: WelcomeWanted,
  decided: DecidedSlot,
  crypto: CryptoProvider
): ReturnType<typeof ValueContent.decode> {
  try {
    const [first] = decided.certificate.votes
    if (first === undefined) throw new HeddleError('BAD_SIGNATURE', 'the certificate has no votes')
    const config: SlotConfig = {
      group: wanted.group,
      slot: decided.slot,
      // The joiner cannot know the context before its own epoch; a quorum of the servers it was told of signed this one.
      ctx: parseVote(first).value.ctx,
      servers: wanted.servers.map(({ id }) => id),
      faultBound: wanted.faultBound,
      leafKey: () => undefined
    }
    const inspected = inspectDecided(config, decided)
    if (inspected.kind === 'bad') throw new HeddleError('BAD_SIGNATURE', inspected.reason)
    for (const { publicKey, label, statement, signature } of inspected.checks) {
      if (!crypto.verify(publicKey, signedInput(label, statement), signature)) {
        throw new HeddleError('BAD_SIGNATURE', 'a vote of the certificate does not verify')
      }
    }
    return ValueContent.decode(Value.decode(decided.value).content)
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new HeddleError('MALFORMED', `the decided commit does not decode: ${cause.message}`, { cause })
  }
}
