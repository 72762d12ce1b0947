/**
 * Coming along to a branch (SPEC GROUP-040, GROUP-041, JOIN-011, JOIN-012): a device hears of it from an admin, answers with a
 * key package, waits for the Welcome and stores the new document in a turn of the old one; that goes on across restarts. The
 * admin's side is in `branch-begin.ts`. Called by the document.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { loadKeyPackage, MemberGroup, memberIdOf, type OwnKeyPackage, saveKeyPackage } from '../group/index.js'
import { type Branch, type Follow, FollowRecord, Role } from '../wire/index.js'
import { awaitWelcome, isOtherTree, putJoined, type Welcomed } from './join.js'
import { asHeddleError, type Room, report } from './room.js'
import { DocumentStore, type Turn } from './store.js'

/** By how much the clocks of members may be apart: who hears of a branch later than that need not answer any more. */
const clockSkewMs = 3_600_000
/** After that long a Welcome has not come because this device was not waited for. */
const followMsMax = 7 * 86_400_000
/** Branches a device waits for at a time, per document. */
const followsMax = 16

export interface BranchFollowingHooks {
  say(control: { readonly $case: 'follow'; readonly value: Follow }): void
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

export class BranchFollowing implements AsyncDisposable {
  readonly #room: Room
  readonly #hooks: BranchFollowingHooks
  /** By group id of the branch, hexadecimal. */
  readonly #followed = new Map<string, Followed>()
  #heard: Heard[] = []
  #disposed = false

  constructor(room: Room, stored: readonly FollowRecord[], hooks: BranchFollowingHooks) {
    this.#room = room
    this.#hooks = hooks
    for (const record of stored) this.#follow(record)
  }

  /** A member's device announces a branch. Called within a turn, before `step`. */
  heard(by: Uint8Array, branch: Branch, role: Role): void {
    this.#heard.push({ by, branch, role })
  }

  /** Takes effect, durably. Call it after local edits were taken. */
  async step(turn: Turn): Promise<void> {
    for (const heard of this.#heard.splice(0)) await this.#takeUp(turn, heard)
    for (const [key, followed] of [...this.#followed]) await this.#join(turn, key, followed)
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
