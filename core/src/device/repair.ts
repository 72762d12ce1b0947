/**
 * Content that messages did not bring (SPEC SYNC-025 to SYNC-028): a member signed two chains and servers hold one each, a
 * key is gone, a removed member's message is nowhere to be had. The device says what it has and asks the members; who has
 * more answers with the difference the CRDT computes. What one honest member has applied, all of them get.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { mayWrite } from '../group/index.js'
import { convictedBy, samePosition } from '../sync/index.js'
import {
  type ForkEvidence,
  ForkRecord,
  type Head,
  LackRecord,
  type RepairAnswer,
  type RepairHead,
  type RepairRequest
} from '../wire/index.js'
import { type Room, report } from './room.js'
import type { Turn } from './store.js'

/** How soon it is asked: others with the same question may be first. */
const askMsMax = 2_000
const answerMsMax = 3_000
const retryMs = 10_000
const retryMsMax = 3_600_000
const attemptsMax = 8
/** What servers hold is asked of them first. */
const behindMs = 10_000
const headsMax = 64
const positionsMax = 256
/** One member's word that it has answered could be a lie that silences all others. */
const answerersMin = 2
/** Positions asked for by others that are remembered. */
const heardMax = 4_096
const answersMax = 64
/** A member is answered again after this, and each time after twice as long; after an hour without it begins anew. */
const answerAgainMs = 5_000
const hourMs = 3_600_000
/** A longer state vector is left out: the answer is then everything. */
const versionBytesMax = 900_000

/** An answer that is due: the difference is computed when it is sealed. */
export interface DueAnswer {
  readonly version: Uint8Array
  readonly answer: RepairAnswer
}

interface Lack {
  position: RepairHead
  attempts: number
  dueMs: number
  /** Requests that ask for it, by the hash of their envelope: this device's, and those of others in the same place. */
  readonly requests: Map<string, OpenRequest>
  /** Another asked first, and this device waited for what that brings. */
  isLeft: boolean
}

interface OpenRequest {
  /** Who asks, hexadecimal. */
  readonly by: string
  /** Everybody who can answers it. */
  readonly isRepeated: boolean
  readonly answeredBy: Set<string>
}

interface OpenAnswer {
  readonly due: DueAnswer
  readonly isRepeated: boolean
  /** By position: others who have answered with it, and not the one who asks. */
  readonly covered: Map<string, Set<string>>
  readonly timer: Disposable
}

export interface StoredRepair {
  readonly lacks: readonly LackRecord[]
  readonly forks: readonly ForkRecord[]
}

export interface RepairHooks {
  /** `sealed` is called with the request's envelope once it has one. */
  ask(request: RepairRequest, sealed: (head: Head) => void): void
  answer(due: DueAnswer): void
  /** Nothing more of this member is taken. */
  frozen(member: Uint8Array): void
  /** Where the chain of a member stood before content that was passed over, if any was. */
  passedOver(member: Uint8Array): RepairHead | undefined
  /** Whether what was behind still is: nothing has brought it. */
  misses(member: Uint8Array): boolean
  /** It has been so for long enough; the members are asked. */
  overdue(member: Uint8Array): void
}

export class Repair {
  readonly #room: Room
  readonly #hooks: RepairHooks
  readonly #lacks = new Map<string, Lack>()
  readonly #forks = new Map<string, ForkRecord>()
  /** Members of whom more is to be had than is here, until their messages have come. */
  readonly #behind = new Map<string, { readonly member: Uint8Array; readonly sinceMs: number }>()
  readonly #dirtyLacks = new Map<string, Uint8Array>()
  readonly #dirtyForks = new Set<string>()
  readonly #answers = new Map<string, OpenAnswer>()
  /** By member: when it was answered last, and how often within the hour before. */
  readonly #answered = new Map<string, { readonly atMs: number; readonly times: number }>()
  /** Who has asked from which position, the oldest first: whether a request is a repeated one is not its sender's to say. */
  readonly #heard = new Set<string>()
  /** Positions in forked chains that somebody was seen to stand at, this device included. */
  readonly #positions = new Set<string>()
  #timer: Disposable | undefined
  #disposed = false

  constructor(room: Room, { lacks, forks }: StoredRepair, hooks: RepairHooks) {
    this.#room = room
    this.#hooks = hooks
    for (const fork of forks) this.#forks.set(toHex(fork.member), fork)
    for (const { position } of lacks) this.#lacks.set(toHex(position.member), this.#newLack(position))
  }

  /** Members of whom this device is known to lack content. */
  get lacking(): number {
    return this.#lacks.size
  }

  /** Members shown to have signed two chains. */
  get forked(): readonly string[] {
    return [...this.#forks.keys()]
  }

  isForked(member: string): boolean {
    return this.#forks.has(member)
  }

  /**
   * The member signed two chains: nothing more of it is taken here, and the members even out what they took.
   * `evidence`: undefined when this device saw it but cannot prove it to others.
   */
  convict(member: Uint8Array, evidence: ForkEvidence | undefined): void {
    const key = toHex(member)
    if (this.#forks.has(key)) return
    this.#forks.set(key, { member: member.slice(), evidence })
    this.#dirtyForks.add(key)
    this.#lack(this.#position(member))
    this.#hooks.frozen(member)
    report(
      this.#room,
      new HeddleError('SEQUENCE_CONFLICT', `member ${key} signed two chains; an admin should remove it`)
    )
  }

  /** The chain of a member moves on from here without content that cannot be opened or was passed over. */
  lacks(position: RepairHead): void {
    this.#lack(position)
  }

  /** More of a member is to be had than this device has: the servers, or a state, may bring it first. */
  isBehind(member: Uint8Array): void {
    const key = toHex(member)
    if (this.#behind.has(key)) return
    this.#behind.set(key, { member, sinceMs: this.#room.context.clock.now() })
    this.#schedule()
  }

  /** Another member lacks something. */
  onRequest(sender: Uint8Array, head: Head, request: RepairRequest): void {
    this.#convictBy(request.forks)
    const mine: Head[] = []
    const by = toHex(sender)
    const isKnown = request.heads.map((theirs) => this.#isKnown(by, theirs))
    const isRepeated = request.attempt > 1 && isKnown.every(Boolean)
    for (const theirs of request.heads) {
      const position = this.#position(theirs.member)
      const key = toHex(theirs.member)
      if (this.isForked(key) && !samePosition(position, theirs) && this.#isNews(theirs)) this.#lack(position)
      const isAhead = position.seq > theirs.seq
      const isElsewhere = !samePosition(position, theirs) && (position.seq === theirs.seq || this.isForked(key))
      if (position.seq > 0n && (isAhead || isElsewhere)) mine.push(position)
      // The answers reach this device as well.
      const lack = this.#lacks.get(key)
      if (lack === undefined || !samePosition(lack.position, theirs)) continue
      this.#noteRequest(lack, head, { by, isRepeated })
      if (lack.attempts > 0 || lack.isLeft) continue
      lack.isLeft = true
      lack.dueMs = this.#room.context.clock.now() + retryMs
    }
    if (mine.length === 0 || this.#answers.size >= answersMax || !this.#mayAnswer(by)) return
    const id = toHex(head.hash)
    const { context, pool } = this.#room
    const timer = context.clock.setTimer(answerMsMax * pool.random(), () => this.#answer(id))
    const due = { version: request.version.slice(), answer: { request: head, heads: mine } }
    this.#answers.set(id, { due, isRepeated, covered: new Map(), timer })
    context.log('debug', 'repair.asked', { document: this.#room.id, by })
  }

  /** A message of `sender` says that it holds what another, or this device, asked for. */
  onAnswer(sender: Uint8Array, { request, heads }: RepairAnswer): void {
    // Nobody answers itself.
    if (equalBytes(sender, request.member)) return
    const id = toHex(request.hash)
    const by = toHex(sender)
    const open = this.#answers.get(id)
    for (const head of heads) {
      if (open !== undefined) noteIn(open.covered, positionKey(head), by)
      const key = toHex(head.member)
      const lack = this.#lacks.get(key)
      const asked = lack?.requests.get(id)
      if (lack === undefined || asked === undefined || samePosition(head, lack.position)) continue
      asked.answeredBy.add(by)
      if (!this.#isServed(lack)) continue
      // Answers on other positions of a fork come by themselves.
      this.#lacks.delete(key)
      this.#dirtyLacks.set(key, head.member)
    }
  }

  /** Asks for what is due, if somebody is there to hear it (`online`), and makes what changed durable with the turn. */
  step(turn: Turn, online: boolean): void {
    const nowMs = this.#room.context.clock.now()
    for (const [key, { member, sinceMs }] of this.#behind) {
      if (!this.#hooks.misses(member)) this.#behind.delete(key)
      else if (nowMs - sinceMs >= behindMs) {
        this.#behind.delete(key)
        this.#lack(this.#position(member))
        this.#hooks.overdue(member)
      }
    }
    const due = [...this.#lacks].filter(([, { dueMs }]) => dueMs <= nowMs).slice(0, headsMax)
    if (due.length > 0 && online) this.#ask(due)
    this.#write(turn)
    if (online) this.#schedule()
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#timer?.[Symbol.dispose]()
    for (const { timer } of this.#answers.values()) timer[Symbol.dispose]()
    this.#answers.clear()
  }

  #ask(due: readonly (readonly [string, Lack])[]): void {
    const { replica } = this.#room
    const forks = due.flatMap(([key]) => this.#forks.get(key)?.evidence ?? []).slice(0, 8)
    const attempt = Math.max(...due.map(([, { attempts }]) => attempts)) + 1
    const heads = due.map(([, { position }]) => position).sort((a, b) => (toHex(a.member) < toHex(b.member) ? -1 : 1))
    const version = replica.doc.version()
    const isShort = version.length <= versionBytesMax
    const by = toHex(this.#room.group.memberId)
    const asks = due.map(([, lack]) => ({ lack, by, isRepeated: lack.attempts > 0 }))
    this.#hooks.ask({ version: isShort ? version : new Uint8Array(0), heads, attempt, forks }, (head) => {
      for (const { lack, ...request } of asks) this.#noteRequest(lack, head, request)
    })
    for (const [key, lack] of due) this.#asked(key, lack)
  }

  #noteRequest(lack: Lack, { hash }: Head, request: Omit<OpenRequest, 'answeredBy'>): void {
    if (lack.requests.size < positionsMax) lack.requests.set(toHex(hash), { ...request, answeredBy: new Set() })
  }

  /**
   * What this device asked was answered; or what two others in the same place asked, since one of them may have asked from
   * where there is nothing to be answered.
   */
  #isServed({ requests }: Lack): boolean {
    const { memberId, public: group } = this.#room.group
    const others = group.roster.filter((one) => mayWrite(one.role) && !equalBytes(one.memberId, memberId)).length
    const enough = Math.min(answerersMin, others)
    const served = [...requests.values()].filter(
      ({ isRepeated, answeredBy }) => answeredBy.size >= (isRepeated ? 1 : enough)
    )
    const askers = new Set(served.map(({ by }) => by))
    return askers.has(toHex(memberId)) || askers.size >= answerersMin
  }

  /** Whether this member has asked from there before. From now on it has. */
  #isKnown(by: string, position: RepairHead): boolean {
    const key = `${by} ${positionKey(position)}`
    const isKnown = this.#heard.delete(key)
    this.#heard.add(key)
    const [oldest] = this.#heard
    if (this.#heard.size > heardMax && oldest !== undefined) this.#heard.delete(oldest)
    return isKnown
  }

  /** It was asked for: later, again. */
  #asked(key: string, lack: Lack): void {
    lack.attempts++
    lack.dueMs = this.#room.context.clock.now() + Math.min(retryMs * 2 ** (lack.attempts - 1), retryMsMax)
    this.#dirtyLacks.set(key, lack.position.member)
    // Of a fork, all the others may stand where this device stands.
    if (lack.attempts < (this.isForked(key) ? 3 : attemptsMax)) return
    if (this.isForked(key)) this.#lacks.delete(key)
    else lack.dueMs = Number.POSITIVE_INFINITY
  }

  /** An answer may be as large as the document: who asks all the time is answered less and less often. */
  #mayAnswer(sender: string): boolean {
    const nowMs = this.#room.context.clock.now()
    const last = this.#answered.get(sender)
    if (last === undefined || nowMs - last.atMs >= hourMs) {
      this.#answered.set(sender, { atMs: nowMs, times: 1 })
      return true
    }
    if (nowMs - last.atMs < answerAgainMs * 2 ** (last.times - 1)) return false
    this.#answered.set(sender, { atMs: nowMs, times: Math.min(last.times + 1, 10) })
    return true
  }

  #answer(id: string): void {
    const open = this.#answers.get(id)
    if (open === undefined) return
    this.#answers.delete(id)
    // Servers take no content of a reader.
    if (!mayWrite(this.#room.group.me.role)) return
    const { isRepeated, covered, due } = open
    const isSaid = (head: Head) => (covered.get(positionKey(head))?.size ?? 0) >= answerersMin
    if (!isRepeated && due.answer.heads.every(isSaid)) return
    this.#hooks.answer(due)
    this.#room.wake()
  }

  #convictBy(forks: readonly ForkEvidence[]): void {
    const { crypto, groupId, group } = this.#room
    for (const evidence of forks) {
      const member = convictedBy(evidence, groupId, (id, epoch, signed, signature) => {
        const key = group.signatureKeyOf(id, epoch)
        return key !== undefined && crypto.verify(key, signed, signature)
      })
      if (member !== undefined) this.convict(member, evidence)
    }
  }

  #lack(position: RepairHead): void {
    const key = toHex(position.member)
    const lack = this.#lacks.get(key)
    if (this.isForked(key)) this.#isNews(position)
    if (lack === undefined) this.#lacks.set(key, this.#newLack(position))
    else if (position.seq < lack.position.seq) lack.position = position
    this.#dirtyLacks.set(key, position.member)
    this.#schedule()
  }

  #newLack(position: RepairHead): Lack {
    const { context, pool } = this.#room
    const dueMs = context.clock.now() + askMsMax * pool.random()
    return { position, attempts: 0, dueMs, requests: new Map(), isLeft: false }
  }

  /** Where this device stands in a member's chain: before what it lacks, or has passed over. */
  #position(member: Uint8Array): RepairHead {
    const lack = this.#lacks.get(toHex(member))?.position
    return lack ?? this.#hooks.passedOver(member) ?? this.#room.vector.position(member)
  }

  #isNews(position: RepairHead): boolean {
    const key = positionKey(position)
    if (this.#positions.has(key) || this.#positions.size >= positionsMax) return false
    this.#positions.add(key)
    return true
  }

  #write(turn: Turn): void {
    const { store } = this.#room
    for (const [key, member] of this.#dirtyLacks) {
      const lack = this.#lacks.get(key)
      if (lack === undefined) turn.del(store.key('lack', member))
      else turn.put(store.key('lack', member), LackRecord.encode({ position: lack.position, attempts: lack.attempts }))
    }
    this.#dirtyLacks.clear()
    for (const key of this.#dirtyForks) {
      const fork = this.#forks.get(key)
      if (fork !== undefined) turn.put(store.key('fork', fork.member), ForkRecord.encode(fork))
    }
    this.#dirtyForks.clear()
  }

  #schedule(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    const due = [...this.#lacks.values()].map(({ dueMs }) => dueMs)
    for (const { sinceMs } of this.#behind.values()) due.push(sinceMs + behindMs)
    const next = Math.min(...due)
    if (this.#disposed || !Number.isFinite(next)) return
    const delayMs = Math.max(0, next - this.#room.context.clock.now())
    this.#timer = this.#room.context.clock.setTimer(delayMs, () => this.#room.wake())
  }
}

function positionKey({ member, seq, hash }: RepairHead): string {
  return `${toHex(member)} ${seq} ${toHex(hash)}`
}

function noteIn(sets: Map<string, Set<string>>, key: string, item: string): void {
  const set = sets.get(key) ?? new Set()
  sets.set(key, set.add(item))
}
