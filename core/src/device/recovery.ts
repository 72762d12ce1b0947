/**
 * Coming back after a decided commit that this device could not process (SPEC GROUP-011, DEV-040 to DEV-044), and helping
 * others to: who is stuck says so in its last epoch, whose keys the others still have, and names a mailbox; members leave
 * there what it needs beside the decided commits. The commit itself is `changes.ts`' work. Called by the document.
 */
import { toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { groupInfoWith, PublicGroup, rejoinKeyIn } from '../group/index.js'
import { type PoisonReport, RejoinKey, WireError } from '../wire/index.js'
import type { StuckStatus } from './api.js'
import type { Poison } from './changes.js'
import type { ServerLink } from './links.js'
import { asHeddleError, closedError, headOf, isClosed, isRefusal, type Room, report } from './room.js'

/** How long an answer waits: when another's is used first, it is of no use any more. */
const answerMsMin = 300
const answerMsMax = 3_000
const answersMax = 64
const attemptsMax = 5
/** How long further answers are waited for, which may contradict the first. */
const agreeMs = 3_000
/** Pause after an epoch has begun: the members have to learn of it before they are asked. */
const askAgainMs = 500
const retryMs = 10_000
const retryMsMax = 3_600_000
/** After so many requests without an answer, over two and a half minutes, the app is told that nobody can help. */
const unansweredMax = 5
const mailboxMs = 2 * retryMsMax

export interface RecoveryHooks {
  /** Says it to the members, in this device's last epoch. */
  say(value: PoisonReport): void
  /** Servers that are there. */
  links(): readonly ServerLink[]
  /** A commit to come back by can be built now. */
  kick(): void
}

/** A key to the present epoch, and which members say that it is one. */
interface Claim {
  readonly groupInfo: Uint8Array
  readonly signers: Set<number>
}

interface Session {
  readonly poison: Poison
  readonly mailbox: Uint8Array
  /** Requests since the epoch last changed. */
  asked: number
  /** It was time to ask while no server was there. */
  isDue: boolean
  /** Answers for the present epoch by key, hexadecimal. */
  readonly claims: Map<string, Claim>
  basis: Uint8Array | undefined
  /** Why it does not come back by itself. */
  hopeless: HeddleError | undefined
  /** Servers of which the app was told that they refuse the mailbox. */
  readonly refusedBy: Set<string>
}

interface OpenAnswer {
  readonly slot: bigint
  mailbox: Uint8Array
  attempts: number
  timer: Disposable
}

export class Recovery {
  readonly #room: Room
  readonly #hooks: RecoveryHooks
  #session: Session | undefined
  #arrived: Uint8Array[] = []
  #askTimer: Disposable | undefined
  #agreeTimer: Disposable | undefined
  #isDecided = false
  /** By member that is stuck. */
  readonly #answers = new Map<string, OpenAnswer>()
  #disposed = false

  constructor(room: Room, hooks: RecoveryHooks) {
    this.#room = room
    this.#hooks = hooks
  }

  get status(): StuckStatus | undefined {
    const session = this.#session
    if (session === undefined) return undefined
    const { poison, hopeless, basis, asked } = session
    const { slot, by } = poison
    const what = `this device cannot apply the commit of slot ${slot}, by member ${by ?? 'unknown'}`
    if (isClosed(this.#room))
      return { slot, by, recovery: 'impossible', message: `${what}, and ${closedError().message}` }
    if (hopeless !== undefined) {
      const message = `${what}, and cannot come back by itself (${hopeless.message}): have an admin remove it and invite it again`
      return { slot, by, recovery: 'impossible', message }
    }
    if (basis !== undefined) return { slot, by, recovery: 'resyncing', message: `${what}; it is coming back` }
    if (asked <= unansweredMax) return { slot, by, recovery: 'asking', message: `${what}; it asks those who could` }
    const cure = 'have an admin remove it and invite it again; when nobody can go on, branch into a new document'
    return { slot, by, recovery: 'impossible', message: `${what}, and nobody who could has answered so far: ${cure}` }
  }

  /** GroupInfo to come back by into the epoch that is followed. */
  get basis(): Uint8Array | undefined {
    return this.#session?.hopeless === undefined ? this.#session?.basis : undefined
  }

  /** This device cannot process a decided commit that others could. */
  begin(poison: Poison): void {
    const mailbox = this.#room.context.random(16)
    this.#session = {
      poison,
      mailbox,
      asked: 0,
      isDue: false,
      claims: new Map(),
      basis: undefined,
      hopeless: undefined,
      refusedBy: new Set()
    }
    if (isClosed(this.#room)) this.impossible(closedError())
    else this.#askIn(0)
  }

  /** The epoch that is followed has ended: what was answered is of no use any more. */
  moved(): void {
    const session = this.#session
    if (session === undefined) return
    session.basis = undefined
    session.claims.clear()
    session.asked = 0
    this.#agreeTimer?.[Symbol.dispose]()
    this.#agreeTimer = undefined
    if (isClosed(this.#room)) return this.impossible(closedError())
    // Not all that are stuck at once, and later than the decision is everywhere.
    if (session.hopeless === undefined) this.#askIn(askAgainMs * (1 + this.#room.pool.random()))
  }

  /** The engine or the servers refuse: it takes an admin. */
  impossible(error: HeddleError): void {
    const session = this.#session
    if (session === undefined) return
    session.basis = undefined
    session.hopeless = error
    this.#clearTimers()
    const info = { slot: session.poison.slot }
    report(this.#room, new HeddleError(error.code, this.status?.message ?? error.message, { cause: error, info }))
  }

  /** This device is back. */
  ended(): void {
    const session = this.#session
    this.#session = undefined
    this.#clearTimers()
    if (session !== undefined) for (const link of this.#hooks.links()) this.#mailbox(link, session.mailbox, false)
  }

  /** A server is there. */
  ready(link: ServerLink): void {
    const session = this.#session
    if (session === undefined || session.hopeless !== undefined) return
    this.#mailbox(link, session.mailbox, true)
    if ((session.asked === 0 || session.isDue) && session.basis === undefined) this.#askIn(0)
  }

  /** What lies in a mailbox; it need not be this one. */
  arrived(mailbox: Uint8Array, items: readonly Uint8Array[]): void {
    if (this.#session === undefined || toHex(mailbox) !== toHex(this.#session.mailbox)) return
    this.#arrived.push(...items)
    this.#room.wake()
  }

  /** Looks at the answers that have come. */
  async step(): Promise<void> {
    const items = this.#arrived
    this.#arrived = []
    let refused = 0
    for (const item of items) if (!(await this.#take(item))) refused++
    // A mailbox has little room: what is of no use must not keep out what is.
    const session = this.#session
    if (refused > 0 && session !== undefined && session.basis === undefined)
      for (const link of this.#hooks.links()) this.#emptyMailbox(link, session.mailbox)
    if (this.#isDecided) this.#decide()
  }

  /** Another member is stuck. */
  heard(member: Uint8Array, { slot, mailbox, valueHash }: PoisonReport): void {
    const key = toHex(member)
    this.#room.context.log('warn', 'poison.reported', { member: key, slot, valueHash: toHex(valueHash) })
    const open = this.#answers.get(key)
    if (open !== undefined) {
      open.mailbox = mailbox
      open.attempts = 0
    } else if (this.#answers.size < answersMax) {
      this.#answers.set(key, { slot, mailbox, attempts: 0, timer: this.#answerTimer(member, key) })
    }
  }

  /** The group is at a new epoch: who came back needs no answer any more. */
  advanced(): void {
    const { change } = this.#room.group.public
    if (change?.rejoined === true) this.#dropAnswer(toHex(change.committer.memberId))
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#clearTimers()
    for (const key of [...this.#answers.keys()]) this.#dropAnswer(key)
  }

  #askIn(delayMs: number): void {
    this.#askTimer?.[Symbol.dispose]()
    this.#askTimer = undefined
    if (!this.#disposed) this.#askTimer = this.#room.context.clock.setTimer(delayMs, () => this.#ask())
  }

  #ask(): void {
    const session = this.#session
    if (session === undefined || session.hopeless !== undefined || session.basis !== undefined) return
    const links = this.#hooks.links()
    session.isDue = links.length === 0
    if (session.isDue) return
    const { poison, mailbox } = session
    for (const link of links) this.#emptyMailbox(link, mailbox)
    this.#hooks.say({ slot: poison.slot, valueHash: poison.valueHash, mailbox })
    session.asked++
    if (session.asked === unansweredMax + 1) {
      const message = this.status?.message ?? 'nobody answers'
      report(this.#room, new HeddleError('INVALID', message, { info: { slot: poison.slot } }))
    }
    this.#askIn(Math.min(retryMs * 2 ** (session.asked - 1), retryMsMax))
  }

  /** False for one that is of no use. */
  async #take(item: Uint8Array): Promise<boolean> {
    const session = this.#session
    const { group, crypto } = this.#room
    if (session === undefined || session.basis !== undefined) return true
    const head = headOf(this.#room)
    try {
      const { epoch, signer, externalPub, signature } = RejoinKey.decode(item)
      if (epoch !== head.epoch) return false
      const member = head.memberAtLeaf(signer)?.memberId
      const by = member === undefined ? undefined : toHex(member)
      if (by === undefined || by === toHex(group.memberId)) return false
      // Who made the commit could make another one of this device.
      if (by === session.poison.by) return false
      const groupInfo = groupInfoWith(head, { signer, externalPub, signature })
      await PublicGroup.fromGroupInfo(groupInfo, { crypto })
      rejoinKeyIn(groupInfo, head)
      const key = toHex(externalPub)
      // A member has one word.
      for (const [other, { signers }] of session.claims)
        if (other !== key && signers.delete(signer) && signers.size === 0) session.claims.delete(other)
      const claim = session.claims.get(key) ?? { groupInfo, signers: new Set() }
      session.claims.set(key, claim)
      claim.signers.add(signer)
      this.#await(session)
      return true
    } catch (cause) {
      const known = cause instanceof WireError ? new HeddleError('MALFORMED', cause.message, { cause }) : cause
      const { code, message } = asHeddleError(known, 'a key to come back by')
      report(this.#room, new HeddleError(code, `a key to come back by is refused: ${message}`, { cause }))
      return false
    }
  }

  /** One member's word is enough when no other can give it or nobody does for a while, two are at once. */
  #await(session: Session): void {
    const { group } = this.#room
    const own = toHex(group.memberId)
    const others = headOf(this.#room).roster.filter(
      ({ memberId }) => toHex(memberId) !== own && toHex(memberId) !== session.poison.by
    )
    const agreed = [...session.claims.values()].some(({ signers }) => signers.size >= Math.min(2, others.length))
    if (agreed) this.#isDecided = true
    else
      this.#agreeTimer ??= this.#room.context.clock.setTimer(agreeMs, () => {
        this.#agreeTimer = undefined
        this.#isDecided = true
        this.#room.wake()
      })
  }

  /**
   * Takes the key that most vouch for. By a wrong one, this device would make a commit that nobody else can process: where
   * it is one word against another, none is taken.
   */
  #decide(): void {
    this.#isDecided = false
    const session = this.#session
    if (session === undefined || session.basis !== undefined) return
    const [best, ...others] = [...session.claims.values()].sort((a, b) => b.signers.size - a.signers.size)
    if (best === undefined) return
    if (others.length > 0) {
      const signers = [best, ...others].map((one) => `leaf ${[...one.signers].join(' and ')}`).join('; ')
      report(this.#room, new HeddleError('FORK', `members give different keys of one epoch, so some lie: ${signers}`))
      if (others[0]?.signers.size === best.signers.size) return
    }
    session.basis = best.groupInfo
    this.#clearTimers()
    this.#hooks.kick()
  }

  #answerTimer(member: Uint8Array, key: string): Disposable {
    const delayMs = answerMsMin + this.#room.pool.random() * (answerMsMax - answerMsMin)
    return this.#room.context.clock.setTimer(delayMs, () => {
      this.#answer(member, key).catch((error: unknown) => {
        const { code, message } = asHeddleError(error, 'answering who is stuck')
        this.#room.context.log('debug', 'poison.answer-failed', { member: key, code, message })
        this.#answerLater(member, key)
      })
    })
  }

  /** The mailbox may not be there yet, or be full of what is of no use; the epoch may just be ending. */
  #answerLater(member: Uint8Array, key: string): void {
    const open = this.#answers.get(key)
    if (open === undefined || this.#disposed) return
    if (++open.attempts >= attemptsMax) this.#dropAnswer(key)
    else open.timer = this.#answerTimer(member, key)
  }

  async #answer(member: Uint8Array, key: string): Promise<void> {
    const open = this.#answers.get(key)
    const { group, groupId, followed, removed } = this.#room
    if (open === undefined) return
    if (removed || group.public.member(member) === undefined) return this.#dropAnswer(key)
    // This device may have to apply that commit yet, or cannot either.
    if (followed !== undefined || group.epoch <= open.slot) return this.#answerLater(member, key)
    const parts = rejoinKeyIn(await group.groupInfo({ externalPub: true }), group.public)
    const item = RejoinKey.encode({ epoch: group.epoch, ...parts })
    const body = { $case: 'mailboxPut', value: { group: groupId, mailbox: open.mailbox, item } } as const
    const puts = this.#hooks.links().flatMap(({ channel }) => channel?.request(body) ?? [])
    await Promise.any(puts)
    this.#dropAnswer(key)
  }

  #dropAnswer(key: string): void {
    this.#answers.get(key)?.timer[Symbol.dispose]()
    this.#answers.delete(key)
  }

  #emptyMailbox(link: ServerLink, mailbox: Uint8Array): void {
    this.#mailbox(link, mailbox, false)
    this.#mailbox(link, mailbox, true)
  }

  /** Requests of one channel are carried out in order. */
  #mailbox({ channel, id }: ServerLink, mailbox: Uint8Array, open: boolean): void {
    const { groupId: group, context } = this.#room
    const expiresAtMs = BigInt(Math.floor(context.clock.now() + mailboxMs))
    const request = open
      ? channel?.request({ $case: 'mailboxOpen', value: { group, mailbox, expiresAtMs } })
      : channel?.request({ $case: 'mailboxClose', value: { group, mailbox } })
    request?.catch((cause: unknown) => {
      const error = asHeddleError(cause, 'a mailbox to come back by')
      const { code, message } = error
      context.log('debug', 'mailbox.failed', { server: id, code, message })
      const refusedBy = this.#session?.refusedBy
      if (!isRefusal(error) || refusedBy === undefined || refusedBy.has(id)) return
      refusedBy.add(id)
      const what = `server ${id.slice(0, 8)} refuses the mailbox in which this device would be told how to come back`
      report(this.#room, new HeddleError(code, `${what}: ${message}`, { cause: error }))
    })
  }

  #clearTimers(): void {
    this.#askTimer?.[Symbol.dispose]()
    this.#agreeTimer?.[Symbol.dispose]()
    this.#askTimer = undefined
    this.#agreeTimer = undefined
  }
}
