/**
 * Branches (SPEC GROUP-040 ff., JOIN-010 ff.): an admin's device begins a new document out of this one and asks the members
 * along; their devices answer with a key package and wait for the Welcome. This file is both sides of that. What has to
 * survive a crash is in the turns of the old document. Called by the document.
 */
import { emptyBytes, equalBytes, fromHex, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import {
  type BegunGroup,
  loadKeyPackage,
  MemberGroup,
  memberIdOf,
  type OwnKeyPackage,
  readKeyPackage,
  saveKeyPackage
} from '../group/index.js'
import type { Clock } from '../plugin/index.js'
import {
  type Branch,
  Create,
  DocumentRecord,
  type Follow,
  FollowRecord,
  IntentRecord,
  PendingCommitRecord,
  Role
} from '../wire/index.js'
import type { BranchOptions, Document } from './api.js'
import { awaitWelcome, isOtherTree, putJoined, type Welcomed } from './join.js'
import { signedValue } from './pending.js'
import { asHeddleError, type Room, report } from './room.js'
import { serverList } from './servers.js'
import { DocumentStore, type Turn } from './store.js'

const answerMsDefault = 10_000
const answerMsMax = 600_000
/** By how much the clocks of members may be apart: who hears of a branch later than that need not answer any more. */
const clockSkewMs = 3_600_000
/** After that long a Welcome has not come because this device was not waited for. */
const followMsMax = 7 * 86_400_000
/** How long `Document.branch` waits for the servers to decide the first commit. */
const decideTimeoutMs = 20_000
/** Branches a device waits for at a time, per document. */
const followsMax = 16

export interface BranchingHooks {
  say(
    control: { readonly $case: 'branch'; readonly value: Branch } | { readonly $case: 'follow'; readonly value: Follow }
  ): void
  /** Whether a quorum of the document's servers is connected. */
  isOnline(): boolean
}

/** A branch that is being asked for: by member id, hexadecimal, what was answered, or undefined as long as nothing was. */
interface Asked {
  readonly branch: Branch
  readonly answers: Map<string, Uint8Array | undefined>
  readonly resolve: (document: Document) => void
  readonly reject: (error: HeddleError) => void
  readonly timer: Disposable
  isDue: boolean
}

/** A branch that this device comes along to. */
interface Followed {
  readonly record: FollowRecord
  readonly stop: AbortController
  readonly expiry: Disposable
  /** Servers that gave another tree than the branch's. */
  readonly liars: Set<string>
  waiting: Promise<void>
  welcomed: Welcomed | undefined
}

interface Heard {
  readonly branch: Branch
  readonly by: Uint8Array
  readonly role: Role
}

export class Branching {
  readonly #room: Room
  readonly #hooks: BranchingHooks
  /** By group id of the branch, hexadecimal. */
  readonly #asked = new Map<string, Asked>()
  readonly #followed = new Map<string, Followed>()
  #heard: Heard[] = []
  #disposed = false
  #answered: { readonly member: Uint8Array; readonly follow: Follow }[] = []

  constructor(room: Room, stored: readonly FollowRecord[], hooks: BranchingHooks) {
    this.#room = room
    this.#hooks = hooks
    for (const record of stored) this.#follow(record)
  }

  /** Begins a branch; resolves when it is stored and open. Throws what `Document.branch` throws. */
  async begin(options: BranchOptions, signal: AbortSignal | undefined): Promise<Document> {
    const { context } = this.#room
    this.#assertMay()
    const timeoutMs = options.timeoutMs ?? answerMsDefault
    if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > answerMsMax)
      throw new HeddleError('CONFIG_INVALID', `\`timeoutMs\` is 1 to ${answerMsMax}, not ${timeoutMs}`)
    const branch: Branch = {
      group: context.random(16),
      ...this.#serversOf(options),
      members: options.members === undefined ? [] : this.#membersOf(options.members),
      answerByMs: BigInt(Math.floor(context.clock.now() + timeoutMs))
    }
    return await new Promise<Document>((resolve, reject) => {
      const key = toHex(branch.group)
      const onAbort = () =>
        this.#giveUp(key, new HeddleError('ABORTED', 'branching was aborted before the new document was made'))
      const timer = context.clock.setTimer(timeoutMs, () => this.#due(key))
      this.#asked.set(key, {
        branch,
        answers: new Map(this.#othersOf(branch).map((id) => [toHex(id), undefined])),
        resolve,
        reject: (error) => {
          signal?.removeEventListener('abort', onAbort)
          reject(error)
        },
        timer: {
          [Symbol.dispose]: () => {
            timer[Symbol.dispose]()
            signal?.removeEventListener('abort', onAbort)
          }
        },
        isDue: false
      })
      signal?.addEventListener('abort', onAbort)
      if (signal?.aborted) return onAbort()
      if (this.#othersOf(branch).length > 0) this.#hooks.say({ $case: 'branch', value: branch })
      this.#room.wake()
    })
  }

  /** A member's device announces a branch. Called within a turn, before `step`. */
  heard(by: Uint8Array, branch: Branch, role: Role): void {
    this.#heard.push({ by, branch, role })
  }

  /** A member's device comes along. Called within a turn, before `step`. */
  answered(member: Uint8Array, follow: Follow): void {
    this.#answered.push({ member, follow })
  }

  /** Takes effect, durably. Call it after local edits were taken. */
  async step(turn: Turn): Promise<void> {
    for (const { member, follow } of this.#answered.splice(0)) await this.#takeAnswer(member, follow)
    for (const [key, asked] of [...this.#asked]) if (this.#isComplete(asked)) await this.#create(turn, key, asked)
    for (const heard of this.#heard.splice(0)) await this.#takeUp(turn, heard)
    for (const [key, followed] of [...this.#followed]) await this.#join(turn, key, followed)
  }

  /** Nothing goes on here. What is stored goes on when the document is opened again. */
  giveUp(error: HeddleError): void {
    for (const key of [...this.#asked.keys()]) this.#giveUp(key, error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    const all = [...this.#followed.values()]
    this.#followed.clear()
    for (const { stop, expiry } of all) {
      stop.abort()
      expiry[Symbol.dispose]()
    }
    await Promise.all(all.map(({ waiting }) => waiting))
  }

  #assertMay(): void {
    const { group, alarms, id } = this.#room
    if (group.me.role !== Role.ROLE_ADMIN)
      throw new HeddleError('FORBIDDEN', `only an admin begins a branch of document ${id}; ask one`)
    if (alarms.isStanding)
      throw new HeddleError('FORK', 'a member is in another epoch than this device: remove it before you branch')
  }

  #serversOf({ servers, faultBound }: BranchOptions): Pick<Branch, 'servers' | 'faultBound'> {
    const present = this.#room.group.public.servers
    const list = servers === undefined ? present.servers : serverList(servers)
    const bound = faultBound ?? (servers === undefined ? present.faultBound : 0)
    if (bound > 0 && list.length < 3 * bound + 1) {
      const message = `tolerating ${bound} lying servers takes ${3 * bound + 1} servers or more, not ${list.length}`
      throw new HeddleError('CONFIG_INVALID', message)
    }
    return { servers: list, faultBound: bound }
  }

  #membersOf(ids: readonly string[]): Uint8Array[] {
    const { group, id: document } = this.#room
    const members = new Map([[toHex(group.memberId), group.memberId]])
    for (const id of ids) {
      const entry = group.public.member(fromHex(id) ?? emptyBytes)
      if (entry === undefined) throw new HeddleError('NOT_FOUND', `"${id}" is no member of document ${document}`)
      members.set(id, entry.memberId)
    }
    return [...members.values()]
  }

  #othersOf({ members }: Branch): Uint8Array[] {
    const { group } = this.#room
    const everyone = group.public.roster.map(({ memberId }) => memberId)
    return (members.length > 0 ? members : everyone).filter((id) => !equalBytes(id, group.memberId))
  }

  #due(key: string): void {
    const asked = this.#asked.get(key)
    if (asked === undefined) return
    asked.isDue = true
    this.#room.wake()
  }

  #giveUp(key: string, error: HeddleError): void {
    const asked = this.#asked.get(key)
    this.#asked.delete(key)
    asked?.timer[Symbol.dispose]()
    asked?.reject(error)
  }

  #isComplete({ isDue, answers }: Asked): boolean {
    const { group } = this.#room
    const isMember = (id: string) => group.public.member(fromHex(id) ?? emptyBytes) !== undefined
    return isDue || [...answers].every(([id, answer]) => answer !== undefined || !isMember(id))
  }

  /** What a member answers to a branch that nobody here has asked for is of no use. */
  async #takeAnswer(member: Uint8Array, { group: branch, keyPackage }: Follow): Promise<void> {
    const asked = this.#asked.get(toHex(branch))
    const id = toHex(member)
    if (asked === undefined || !asked.answers.has(id)) return
    const { crypto, context, group } = this.#room
    try {
      const { signaturePublicKey, suite } = await readKeyPackage(keyPackage, { crypto, nowMs: context.clock.now() })
      const known = group.public.member(member)
      if (
        known === undefined ||
        !equalBytes(known.signaturePublicKey, signaturePublicKey) ||
        suite !== group.public.suite.id
      )
        throw new HeddleError('INVALID', 'the key package is not under its key in this document')
      asked.answers.set(id, keyPackage)
    } catch (cause) {
      const { code, message } = asHeddleError(cause, 'reading a key package')
      const what = `member ${id} cannot come along to a branch: ${message}`
      report(this.#room, new HeddleError(code, what, { cause, info: { member: id } }))
    }
  }

  /** The new document, as a whole and with the turn: group, first commit and content. From here on it goes on by itself. */
  async #create(turn: Turn, key: string, asked: Asked): Promise<void> {
    const { group, context, store, groupId, replica, branches, id } = this.#room
    const { branch, answers } = asked
    try {
      this.#assertMay()
      if (!this.#hooks.isOnline())
        throw new HeddleError('NO_QUORUM', `too few servers of document ${id} answer: nobody could come along`)
      // Who was removed since, or does not count as having answered, is not of it.
      const members = [...answers].flatMap(([member, answer]) =>
        answer !== undefined && group.public.member(fromHex(member) ?? emptyBytes) !== undefined ? [answer] : []
      )
      const keyPackage = await group.successorKeyPackage()
      const { document } = group.public
      const { servers, faultBound } = branch
      const start = { keyPackage, members, groupId: branch.group, document, servers, faultBound }
      const begun = await group.branch(start)
      const genesis = Create.encode({ groupInfo: await begun.group.groupInfo(), decided: undefined })
      const content = replica.copy()
      const target = new DocumentStore(store.storage, branch.group)
      putBegun(turn, target, begun, {
        crdtType: document.crdtType,
        joinedEpoch: 0n,
        removed: false,
        leaving: false,
        owesContent: false,
        rolledBack: false,
        epochSinceMs: BigInt(Math.floor(context.clock.now())),
        branchOf: groupId
      })
      turn.put(target.key('genesis'), genesis)
      turn.put(target.key('snapshot'), content)
    } catch (cause) {
      return this.#giveUp(key, asHeddleError(cause, 'branching'))
    }
    this.#asked.delete(key)
    asked.timer[Symbol.dispose]()
    turn.after(() => {
      branches
        .open(branch.group)
        .then(asked.resolve, (cause: unknown) => asked.reject(asHeddleError(cause, 'branching')))
    })
    context.log('info', 'branch.begun', { document: id, branch: key })
  }

  /** An admin begins a branch: this device comes along, its private keys durable before the answer leaves. */
  async #takeUp(turn: Turn, { branch, by, role }: Heard): Promise<void> {
    const { group, store, context, branches, leaving } = this.#room
    const key = toHex(branch.group)
    const nowMs = context.clock.now()
    if (role !== Role.ROLE_ADMIN) {
      const message = `member ${toHex(by)} announces a branch and is no admin: this device does not come along`
      return report(this.#room, new HeddleError('FORBIDDEN', message))
    }
    if (leaving || nowMs > Number(branch.answerByMs) + clockSkewMs) return
    const isAsked = branch.members.length === 0 || branch.members.some((id) => equalBytes(id, group.memberId))
    if (!isAsked || this.#followed.has(key)) return
    // Nobody is to be led into a document it has by other means.
    if ((await new DocumentStore(store.storage, branch.group).document()) !== undefined) return
    if (!branches.follows)
      return turn.after(() => this.#room.emit({ type: 'branch', documentId: key, by: toHex(by), joined: false }))
    const ids = new Set(branch.servers.map(({ id }) => toHex(id)))
    if (ids.size < branch.servers.length || (branch.faultBound > 0 && ids.size < 3 * branch.faultBound + 1))
      return report(this.#room, new HeddleError('CONFIG_INVALID', `branch ${key} has servers no document can have`))
    if (this.#followed.size >= followsMax)
      return report(this.#room, new HeddleError('LIMIT_EXCEEDED', 'too many branches of the document at a time'))
    const own = await group.successorKeyPackage()
    const record: FollowRecord = {
      branch,
      by,
      keyPackage: saveKeyPackage(own),
      sinceMs: BigInt(Math.floor(nowMs))
    }
    turn.put(store.key('follow', branch.group), FollowRecord.encode(record))
    turn.after(() => this.#follow(record))
  }

  /** Answers, once more after a restart in time, and waits for the Welcome. */
  #follow(record: FollowRecord): void {
    if (this.#disposed) return
    const { branch, sinceMs } = record
    const { context } = this.#room
    const own = loadKeyPackage(record.keyPackage)
    const nowMs = context.clock.now()
    if (nowMs <= Number(branch.answerByMs) + clockSkewMs)
      this.#hooks.say({ $case: 'follow', value: { group: branch.group, keyPackage: own.message } })
    const stop = new AbortController()
    const leftMs = Math.min(followMsMax, Math.max(0, Number(sinceMs) + followMsMax - nowMs))
    const expiry = context.clock.setTimer(leftMs, () => {
      stop.abort()
      this.#room.wake()
    })
    const followed = { record, stop, expiry, liars: new Set<string>(), waiting: Promise.resolve(), welcomed: undefined }
    this.#followed.set(toHex(branch.group), followed)
    this.#await(followed, own)
  }

  #await(followed: Followed, { ref }: OwnKeyPackage): void {
    const { context, pool, crypto } = this.#room
    const { record, stop, liars } = followed
    const wanted = { ...record.branch, ref, request: undefined, liars }
    followed.welcomed = undefined
    followed.waiting = awaitWelcome(wanted, { pool, crypto, context }, stop.signal).then(
      (welcomed) => {
        followed.welcomed = welcomed
        this.#room.wake()
      },
      (error: unknown) => {
        const { code, message } = asHeddleError(error, 'waiting for a Welcome')
        context.log('debug', 'branch.waiting-ended', { branch: toHex(record.branch.group), code, message })
      }
    )
  }

  #forget(turn: Turn, key: string, { record, stop, expiry }: Followed): void {
    turn.del(this.#room.store.key('follow', record.branch.group))
    this.#followed.delete(key)
    expiry[Symbol.dispose]()
    stop.abort()
  }

  /** Enters the branch. A device that is behind in this document has its key only when it has caught up. */
  async #join(turn: Turn, key: string, followed: Followed): Promise<void> {
    const { record, stop, welcomed } = followed
    if (welcomed === undefined) {
      if (stop.signal.aborted) this.#forget(turn, key, followed)
      return
    }
    const { context, store, branches, groupId } = this.#room
    const own = loadKeyPackage(record.keyPackage)
    let group: MemberGroup
    try {
      group = await this.#enter(welcomed, own, record)
      const on = { storage: store.storage, context, crdtTypes: branches.crdtTypes }
      putJoined(turn, group, welcomed, record.branch.group, on, { branchOf: groupId })
    } catch (cause) {
      if (HeddleError.is(cause, 'NOT_FOUND') && !stop.signal.aborted) return
      if (isOtherTree(cause) && followed.liars.add(toHex(welcomed.server)).size < record.branch.servers.length)
        return this.#await(followed, own)
      const { code, message } = asHeddleError(cause, 'joining a branch')
      report(this.#room, new HeddleError(code, `branch ${key} cannot be joined: ${message}`, { cause }))
      return this.#forget(turn, key, followed)
    }
    this.#forget(turn, key, followed)
    context.log('info', 'branch.joined', { document: this.#room.id, branch: key, epoch: group.epoch })
    const by = toHex(record.by)
    turn.after(() => {
      // Its links are free for the document once nobody waits on them for the Welcome.
      followed.waiting
        .then(() => branches.open(record.branch.group))
        .then(
          () => this.#room.emit({ type: 'branch', documentId: key, by, joined: true }),
          (error: unknown) => report(this.#room, asHeddleError(error, 'opening a branch'))
        )
    })
  }

  /** Only an admin of this document makes the branch, and nobody becomes one by it (SPEC JOIN-012). Throws INVALID, NOT_FOUND. */
  async #enter(
    { welcome, tree }: Welcomed,
    keyPackage: OwnKeyPackage,
    { by, branch }: FollowRecord
  ): Promise<MemberGroup> {
    const { crypto, context, group: predecessor } = this.#room
    const deps = { crypto, now: () => context.clock.now() }
    const group = await MemberGroup.join({ welcome, tree, keyPackage, predecessor }, deps)
    const oldIds = group.public.roster
      .filter(({ role }) => role === Role.ROLE_ADMIN)
      .map(({ signaturePublicKey }) => memberIdOf(crypto, predecessor.public.groupId, signaturePublicKey))
    if (!oldIds.some((id) => equalBytes(id, by)))
      throw new HeddleError('INVALID', `member ${toHex(by)}, who announced it, is no admin of ${toHex(branch.group)}`)
    // In one of the epochs that are kept: the branch may have begun in any of them.
    if (!oldIds.every((id) => predecessor.wasMember(id, ({ role }) => role === Role.ROLE_ADMIN)))
      throw new HeddleError('INVALID', 'somebody is an admin of the branch who is none of the document')
    if (group.public.document.crdtType !== predecessor.public.document.crdtType)
      throw new HeddleError('INVALID', 'the branch is of another CRDT than the document')
    return group
  }
}

/** Resolves when the first commit of a branch is decided. Throws NO_QUORUM, INVALID, ABORTED; the branch goes on all the same. */
export async function firstDecided(document: Document, clock: Clock, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: HeddleError) => {
      timer[Symbol.dispose]()
      subscription[Symbol.dispose]()
      signal.removeEventListener('abort', onAbort)
      if (error === undefined) resolve()
      else reject(error)
    }
    const { id } = document
    const onAbort = () => settle(new HeddleError('ABORTED', `waiting was aborted; document ${id} itself goes on`))
    const message = `too few servers have taken document ${id} so far; it stays on this device and goes on when they answer`
    const timer = clock.setTimer(decideTimeoutMs, () => settle(new HeddleError('NO_QUORUM', message)))
    const check = () => {
      const { epoch, pendingChanges } = document.status()
      if (epoch > 0n) settle()
      else if (pendingChanges === 0)
        settle(
          new HeddleError('INVALID', `the servers refuse the first commit of document ${id}; invite the members to it`)
        )
    }
    const subscription = document.subscribe(check)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    else check()
  })
}

/** The first commit stands as this device's own that is built and not decided: opening the document proposes it. */
function putBegun(turn: Turn, store: DocumentStore, { group, first }: BegunGroup, record: DocumentRecord): void {
  const value = signedValue(group, first)
  const change = { $case: 'rotate', value: { sinceEpoch: 0n, automatic: false } } as const
  const pending = PendingCommitRecord.encode({ slot: 0n, value, next: first.pending, intents: [0n], rejoin: false })
  turn.put(store.key('document'), DocumentRecord.encode(record))
  turn.put(store.key('intent', 0n), IntentRecord.encode({ change }))
  turn.putSecret(store.key('pending', 0n), pending)
  store.putGroup(turn, group.takeDirtyRecords())
}
