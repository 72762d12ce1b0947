/**
 * Changes of the group (SPEC GROUP, PAXOS): what was asked for is kept as an intent, durably, until a decided commit
 * carries it out or makes it pointless. Commits are built when the slot is known to be free, made durable before they are
 * proposed, and applied by the hash of their value, whoever proposed it.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { BuiltCommit, MemberGroup, PublicGroup, RosterEntry } from '../group/index.js'
import { inspectDecided, quorum, signedInput, slotConfigOf, valueHash } from '../paxos/index.js'
import {
  Create,
  type CutProposal,
  DecidedSlot,
  IntentRecord,
  LIMITS,
  type PendingCommitRecord,
  Role,
  type ServerEntry,
  Value,
  ValueContent,
  WireError
} from '../wire/index.js'
import { commitPlan, type Intent, subjectOf, worthOf } from './intents.js'
import type { ServerLink } from './links.js'
import { PendingCommits, signedValue } from './pending.js'
import { asHeddleError, closedError, headOf, isClosed, putDocument, type Room, report, retainedSince } from './room.js'
import { type SlotHooks, SlotRun } from './slot-run.js'
import type { Turn } from './store.js'

/** Decided slots kept to teach servers that were away. */
const decidedKept = 4_096n
const intentsPerCommit = 16
/** Slots kept of what one server told, while the ones before are applied. */
const toldMax = 512

export interface ChangesHooks extends Pick<SlotHooks, 'links' | 'behind'> {
  /** The group is at a new epoch. `owesState`: somebody came who is owed the state by this device. */
  advanced(turn: Turn, owesState: boolean): void
  /** The commit just applied changed the document's servers. */
  serversChanged(before: readonly ServerEntry[], present: readonly ServerEntry[]): void
  /** A decided commit that is good for all who see only what is public, and that this device cannot process. */
  stuck(poison: Poison): void
  /** Without its keys, the group is at a new epoch, or another one is needed to come back from. */
  followed(turn: Turn): void
  /** This device is back; `skipped`: the slots it has followed without keys. `advanced` comes after it. */
  cameBack(skipped: readonly SkippedSlot[]): void
  /** This device cannot come back by itself. */
  cannotComeBack(error: HeddleError): void
  /** A GroupInfo of the present epoch to come back by. */
  rejoinBasis(): Uint8Array | undefined
  /** Whether this device has added somebody who may not have the state yet. */
  owesState(): boolean
  /** A joiner's mailbox is of no use any more. */
  admitted(mailbox: Uint8Array): void
  /** A server claims a slot this device cannot reach by what it was sent. */
  catchUp(link: ServerLink): void
}

export interface Poison {
  readonly slot: bigint
  readonly valueHash: Uint8Array
  /** Id of the member that signed it; undefined when it does not say. */
  readonly by: string | undefined
}

export interface SkippedSlot {
  readonly slot: bigint
  /** Author of its commit. */
  readonly by: Uint8Array
  readonly cuts: readonly CutProposal[]
}

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: HeddleError) => void
}

export class Changes {
  readonly #room: Room
  readonly #hooks: ChangesHooks
  readonly #intents: Map<bigint, IntentRecord>
  readonly #waiters = new Map<bigint, Waiter>()
  readonly #pending: PendingCommits
  /** Intents that are left to others for a while. */
  readonly #delayed = new Map<bigint, Disposable>()
  /** Wishes of members to leave that could not be carried out; each epoch they are looked at again (SPEC GROUP-023). */
  readonly #putOff = new Set<bigint>()
  #run: SlotRun
  #nextIntent: bigint
  #requested: { readonly intent: Intent; readonly waiter: Waiter }[] = []
  /** Slots told of and not applied, from the present one on, by who told them. */
  readonly #told = new Map<string, DecidedSlot[]>()
  /** A slot that was told of waits until messages of old epochs have come. */
  holdsBack = false
  #needsValue = false
  #wasRefused = false
  #stuckAt: bigint | undefined
  /** Slots followed without keys since the last epoch of which this device has some. */
  #skipped: SkippedSlot[] = []
  /** Intents that go into the next commit together; fewer after a commit of several could not be built. */
  #intentsMax = intentsPerCommit
  #disposed = false

  /** `known`: slots decided from the present one on, when this device has followed them without keys. */
  constructor(
    room: Room,
    intents: Map<bigint, IntentRecord>,
    pending: Map<bigint, PendingCommitRecord>,
    known: readonly DecidedSlot[],
    hooks: ChangesHooks
  ) {
    this.#room = room
    this.#intents = intents
    this.#pending = new PendingCommits(room, pending)
    this.#hooks = hooks
    this.#nextIntent = ([...intents.keys()].at(-1) ?? -1n) + 1n
    this.#run = this.#newRun()
    if (known.length > 0) this.#told.set('this device', known.slice(0, toldMax))
  }

  /** Changes asked for and not decided. */
  get pendingCount(): number {
    return this.#intents.size + this.#requested.length
  }

  /** Something waits, and too few servers are connected to decide it. */
  get blocked(): boolean {
    return this.pendingCount > 0 && !this.#quorumConnected
  }

  /** Resolves when the change is decided. Throws what `Document.remove` and its like throw. */
  request(intent: Intent): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#requested.push({ intent, waiter: { resolve, reject } })
      this.#room.wake()
    })
  }

  /**
   * An intent that nobody waits for, durable with the turn. For `delayMs` it is left to others, who may have it too; a
   * restart ends that.
   */
  add(turn: Turn, intent: Intent, delayMs = 0): bigint {
    const key = this.#nextIntent++
    this.#intents.set(key, { change: intent })
    turn.put(this.#room.store.key('intent', key), IntentRecord.encode({ change: intent }))
    if (delayMs > 0) {
      const due = () => {
        this.#delayed.delete(key)
        this.kick()
      }
      this.#delayed.set(key, this.#room.context.clock.setTimer(delayMs, due))
    }
    turn.after(() => this.kick())
    return key
  }

  /** Whether an intent is kept for which this holds. */
  has(wanted: (intent: Intent) => boolean): boolean {
    return [...this.#intents.values()].some(({ change }) => change !== undefined && wanted(change))
  }

  /** A quorum of the present servers is connected. */
  get isDecidable(): boolean {
    return this.#quorumConnected
  }

  /** Decided slots from anywhere; those that follow the present epoch are applied in the next turn. */
  learn(slots: readonly DecidedSlot[], teller: string): void {
    const told = this.#told.get(teller) ?? []
    this.#told.set(teller, told)
    // What is beyond the bound is asked for again when these are applied.
    told.push(...slots.slice(0, toldMax - told.length))
    this.#room.wake()
  }

  onVote(news: Parameters<SlotRun['onVote']>[0]): void {
    this.#run.onVote(news)
  }

  /** Proposes when there is something to propose and a quorum to do it with. */
  kick(): void {
    if (this.#disposed || this.#room.removed || this.holdsBack) return
    // What was asked for is settled in the next turn.
    if (isClosed(this.#room)) return this.#intents.size > 0 ? this.#room.wake() : undefined
    if (this.#hasOwn && !this.#run.proposing && this.#quorumConnected) this.#run.start('own')
  }

  /** There is something to propose. A device without the keys of the present epoch proposes only to come back. */
  get #hasOwn(): boolean {
    const { followed } = this.#room
    if (followed === undefined) return this.#intents.size > this.#delayed.size + this.#putOff.size
    return this.#pending.open(followed.epoch) !== undefined || this.#hooks.rejoinBasis() !== undefined
  }

  /** `epochMax`: what lies beyond is entered later, since messages of old epochs are still to come. */
  async step(turn: Turn, epochMax: bigint): Promise<void> {
    for (const { intent, waiter } of this.#requested.splice(0)) this.#waiters.set(this.add(turn, intent), waiter)
    await this.#applyTold(turn, epochMax)
    if (this.#wasRefused) this.#refused(turn)
    if (isClosed(this.#room)) for (const key of [...this.#intents.keys()]) this.#finish(turn, key, closedError())
    else if (this.#needsValue) await this.#build(turn)
  }

  /** Nothing goes on: who waits hears why. What is stored goes on when the document is opened again. */
  dispose(reason: HeddleError): void {
    this.#disposed = true
    this.#run[Symbol.dispose]()
    for (const { reject } of this.#waiters.values()) reject(reason)
    for (const { waiter } of this.#requested.splice(0)) waiter.reject(reason)
    this.#waiters.clear()
    for (const timer of this.#delayed.values()) timer[Symbol.dispose]()
    this.#delayed.clear()
  }

  async #applyTold(turn: Turn, epochMax: bigint): Promise<void> {
    const room = this.#room
    for (let epoch = -1n; epoch !== headOf(room).epoch && !room.removed; ) {
      epoch = headOf(room).epoch
      this.holdsBack = false
      for (const told of this.#told.values()) {
        const slot = told.find((one) => one.slot === epoch)
        if (slot === undefined || headOf(room).epoch !== epoch || room.removed) continue
        if (epoch < epochMax || room.followed !== undefined) await this.#apply(turn, slot)
        else this.holdsBack = true
      }
    }
    for (const [teller, told] of this.#told) {
      // What was not applied although its turn had come is wrong, or cannot be applied.
      const first = this.holdsBack ? headOf(room).epoch : headOf(room).epoch + 1n
      const rest = told.filter(({ slot }) => slot >= first)
      if (rest.length === 0 || room.removed) this.#told.delete(teller)
      else this.#told.set(teller, rest)
    }
  }

  get #quorumConnected(): boolean {
    const connected = this.#hooks.links().filter(({ channel }) => channel !== undefined)
    return connected.length >= quorum(this.#run.config)
  }

  #newRun(): SlotRun {
    const run: SlotRun = new SlotRun(this.#room, slotConfigOf(headOf(this.#room)), {
      links: this.#hooks.links,
      behind: this.#hooks.behind,
      needValue: () => {
        this.#needsValue = true
        this.#room.wake()
      },
      decided: (decided) => {
        this.#tell(decided)
        this.learn([decided], 'this device')
      },
      learned: (slots, link) => {
        this.learn(slots, link.id)
        if (slots.every(({ slot }) => slot !== run.config.slot)) this.#hooks.catchUp(link)
      },
      refused: () => {
        this.#wasRefused = true
        this.#room.wake()
      }
    })
    return run
  }

  /** All servers learn the decision from who brought it about; one that is away is taught when it is back. */
  #tell(decided: DecidedSlot): void {
    const body = { $case: 'decided', value: { group: this.#room.groupId, slots: [decided] } } as const
    for (const { channel, id } of this.#hooks.links()) {
      channel?.request(body).catch((error: unknown) => {
        const { code, message } = asHeddleError(error, 'telling a decision')
        this.#room.context.log('debug', 'decided.failed', { server: id, code, message })
      })
    }
  }

  /** Builds this device's commit for the free slot, or takes up the one it had built before, in another run. */
  async #build(turn: Turn): Promise<void> {
    this.#needsValue = false
    const { group, followed } = this.#room
    const run = this.#run
    const open = this.#pending.open(headOf(this.#room).epoch)
    if (open !== undefined) {
      turn.after(() => run.supply(open.value))
      return
    }
    if (followed !== undefined) return await this.#buildRejoin(turn, followed)
    const intents = await this.#takeDoable(turn)
    if (intents.length === 0) {
      this.#restart()
      return
    }
    try {
      const plan = commitPlan(
        intents.map(([, intent]) => intent),
        this.#room
      )
      const keys = intents.map(([key]) => key)
      this.#supply(turn, await this.#ifRoom(() => group.buildCommit(plan)), { intents: keys, rejoin: false })
    } catch (cause) {
      const error = asHeddleError(cause, 'building a commit')
      if (intents.length > 1) {
        // Together they are too much for one commit; or one of them makes no valid one, and each by itself shows which.
        this.#intentsMax = error.code === 'LIMIT_EXCEEDED' ? Math.floor(intents.length / 2) : 1
        return await this.#build(turn)
      }
      report(this.#room, error)
      for (const [key] of intents) this.#finish(turn, key, error)
      this.#restart()
      turn.after(() => this.kick())
    }
  }

  /** The commit by which this device comes back into the epoch it has followed (SPEC GROUP-011, DEV-042). */
  async #buildRejoin(turn: Turn, { ctx }: PublicGroup): Promise<void> {
    const groupInfo = this.#hooks.rejoinBasis()
    if (groupInfo === undefined) return this.#restart()
    try {
      const retainedEpochs = retainedSince(this.#room)
      const built = await this.#ifRoom(() => this.#room.group.resync({ groupInfo, ctx, retainedEpochs }))
      this.#supply(turn, built, { intents: [], rejoin: true })
    } catch (cause) {
      this.#hooks.cannotComeBack(asHeddleError(cause, 'building the commit to come back by'))
      this.#restart()
    }
  }

  async #ifRoom(build: () => Promise<BuiltCommit>): Promise<BuiltCommit> {
    if (!this.#pending.isFull) return await build()
    throw new HeddleError('LIMIT_EXCEEDED', 'the servers have refused too many commits of this device in a row')
  }

  /** Signs what was built and proposes it once it is durable. */
  #supply(turn: Turn, built: BuiltCommit, why: Pick<PendingCommitRecord, 'intents' | 'rejoin'>): void {
    const run = this.#run
    const value = signedValue(this.#room.group, built)
    this.#pending.add(turn, { slot: headOf(this.#room).epoch, value, next: built.pending, ...why })
    turn.after(() => run.supply(value))
  }

  /** The intents for the next commit; those that became pointless or impossible are settled. */
  async #takeDoable(turn: Turn): Promise<[bigint, Intent][]> {
    const out: [bigint, Intent][] = []
    const subjects = new Set<string>()
    for (const [key, { change }] of this.#intents) {
      if (out.length === this.#intentsMax) break
      if (change === undefined || this.#delayed.has(key) || this.#putOff.has(key)) continue
      const state = await worthOf(change, this.#room)
      if (typeof state !== 'string' || state === 'done') {
        this.#finish(turn, key, state === 'done' ? undefined : state)
        continue
      }
      if (this.#wouldLeaveStateOwing(change)) continue
      // A commit changes a member once: what else is wanted of it is looked at again in the next slot.
      const subject = await subjectOf(change, this.#room)
      if (subject !== undefined && subjects.has(subject)) continue
      if (subject !== undefined) subjects.add(subject)
      out.push([key, change])
    }
    return out
  }

  /** Only an admin can give joiners the state: a device gives up that role when all it has added have it. */
  #wouldLeaveStateOwing(intent: Intent): boolean {
    const { group } = this.#room
    if (intent.$case !== 'setRole' || intent.value.role === Role.ROLE_ADMIN) return false
    if (!equalBytes(intent.value.member, group.memberId) || group.me.role !== Role.ROLE_ADMIN) return false
    return this.#hooks.owesState() || [...this.#intents.values()].some(({ change }) => change?.$case === 'add')
  }

  /** Applies the decision of the present slot: this device's own commit by its hash, any other by processing it. */
  async #apply(turn: Turn, decided: DecidedSlot): Promise<void> {
    const { group, store, crypto, followed } = this.#room
    const inspected = inspectDecided(slotConfigOf(headOf(this.#room)), decided)
    const verified =
      inspected.kind === 'verify' &&
      inspected.checks.every((check) =>
        crypto.verify(check.publicKey, signedInput(check.label, check.statement), check.signature)
      )
    if (!verified) {
      const reason = inspected.kind === 'bad' ? inspected.reason : 'a signature does not verify'
      report(this.#room, new HeddleError('BAD_SIGNATURE', `a certificate for slot ${decided.slot} is bad: ${reason}`))
      return
    }
    const own = this.#pending.ofHash(inspected.item.valueHash)
    if (own === undefined && followed !== undefined) {
      await this.#follow(turn, decided, followed)
      return
    }
    try {
      if (own !== undefined) this.#room.group = await group.adopt(own.next)
      else {
        const processed = await group.processCommit(commitOf(decided))
        if (processed.removed) return this.#removed(turn)
        this.#room.group = processed.group
      }
    } catch (cause) {
      return await this.#getStuck(turn, decided, cause)
    }
    if (followed !== undefined) this.#comeBack(group.public, followed)
    turn.put(store.key('decided', decided.slot), DecidedSlot.encode(decided))
    if (decided.slot >= decidedKept) turn.del(store.key('decided', decided.slot - decidedKept))
    await this.#keepBeginnings(turn, group, decided)
    await this.#advanced(turn, own, this.#inheritsDuty(group.public.roster))
  }

  /**
   * The decided commit cannot be processed. If that shows only to who has the keys, the group has gone on by it: this device
   * follows it without keys, to come back.
   */
  async #getStuck(turn: Turn, decided: DecidedSlot, cause: unknown): Promise<void> {
    const { slot } = decided
    const { group, followed } = this.#room
    if (this.#stuckAt === slot) return
    this.#stuckAt = slot
    const { code, message } = asHeddleError(cause, 'applying a commit')
    const member = authorOf(decided, headOf(this.#room))
    const what = `the decided commit of slot ${slot}, by member ${member ?? 'unknown'}, cannot be applied`
    const info = { slot, ...(member === undefined ? {} : { member }) }
    report(this.#room, new HeddleError(code, `${what}: ${message}`, { cause, info }))
    if (followed === undefined && (await this.#follow(turn, decided, group.public)))
      this.#hooks.stuck({ slot, valueHash: valueHash(decided.value), by: member })
  }

  /** Goes on to the epoch that a decided commit begins, without its keys. False when it cannot. */
  async #follow(turn: Turn, decided: DecidedSlot, from: PublicGroup): Promise<boolean> {
    const { group, store } = this.#room
    const { slot } = decided
    let next: PublicGroup
    try {
      next = await from.processCommit(commitOf(decided))
    } catch (cause) {
      if (this.#stuckAt !== slot) await this.#getStuck(turn, decided, cause)
      return false
    }
    turn.put(store.key('decided', slot), DecidedSlot.encode(decided))
    if (next.member(group.memberId) === undefined) {
      this.#removed(turn)
      return false
    }
    this.#room.followed = next
    this.#room.retainedSince = Math.min(retainedSince(this.#room), next.document.policy.retainedEpochs)
    if (next.change !== undefined) {
      const { committer, cuts } = next.change
      this.#skipped.push({ slot, by: committer.memberId, cuts })
    }
    this.#pending.clear(turn, slot)
    this.#restart()
    this.#hooks.followed(turn)
    turn.after(() => this.kick())
    return true
  }

  /** This device has entered the epoch that it had followed to, and the one after. */
  #comeBack(last: PublicGroup, followed: PublicGroup): void {
    const skipped = this.#skipped
    this.#skipped = []
    this.#stuckAt = undefined
    this.#room.followed = undefined
    this.#room.retainedSince = undefined
    this.#hooks.cameBack(skipped)
    if (last.servers.version !== followed.servers.version)
      this.#hooks.serversChanged(last.servers.servers, followed.servers.servers)
    this.#room.context.log('info', 'document.came-back', { document: this.#room.id, epoch: followed.epoch + 1n })
  }

  /**
   * Whoever was in the epoch before can bring the document to a server that came with this commit; it keeps what is needed
   * for that, since the server may be away and the keys of then gone when it comes.
   */
  async #keepBeginnings(turn: Turn, before: MemberGroup, decided: DecidedSlot): Promise<void> {
    const { store, group } = this.#room
    if (group.public.change?.serversChanged !== true) return
    const isIn = (servers: readonly ServerEntry[], id: Uint8Array) => servers.some((one) => equalBytes(one.id, id))
    const [old, present] = [before.public.servers.servers, group.public.servers.servers]
    this.#hooks.serversChanged(old, present)
    for (const { id } of old) if (!isIn(present, id)) turn.del(store.key('genesis', id))
    const added = present.filter(({ id }) => !isIn(old, id))
    if (added.length === 0) return
    const groupInfo = await before.groupInfo()
    if (groupInfo.length > LIMITS.Create.groupInfo.bytesMax) {
      const message = 'the group is too large for this device to bring the document to a new server'
      return report(this.#room, new HeddleError('LIMIT_EXCEEDED', message))
    }
    for (const { id } of added) turn.put(store.key('genesis', id), Create.encode({ groupInfo, decided }))
  }

  /**
   * Whether a member lost the admin's role in the commit just applied. It may have owed the state to somebody it had
   * added, which only an admin can give: every other admin stands in for it if anybody came in the retained epochs.
   */
  #inheritsDuty(before: readonly RosterEntry[]): boolean {
    const { group } = this.#room
    const isAdmin = (memberId: Uint8Array) => group.public.member(memberId)?.role === Role.ROLE_ADMIN
    if (group.me.role !== Role.ROLE_ADMIN) return false
    if (!before.some(({ role, memberId }) => role === Role.ROLE_ADMIN && !isAdmin(memberId))) return false
    const { retainedEpochs } = group.public.document.policy
    const oldest = group.publicAt(group.epoch - BigInt(retainedEpochs)) ?? group.publicAt(this.#room.joinedEpoch)
    return group.public.roster.some(({ memberId }) => oldest?.member(memberId) === undefined)
  }

  async #advanced(turn: Turn, own: PendingCommitRecord | undefined, inheritsDuty: boolean): Promise<void> {
    const { group, context } = this.#room
    const added = own !== undefined && (group.public.change?.added.length ?? 0) > 0
    for (const key of own?.intents ?? []) this.#finish(turn, key, undefined)
    for (const [key, { change }] of [...this.#intents]) {
      // Who is a member in this epoch may be removed in the next, and must not be added again by the same key package.
      if (!this.#delayed.has(key) && change?.$case !== 'add' && !isLeave(change)) continue
      const state = change === undefined ? 'done' : await worthOf(change, this.#room)
      if (state === 'open') this.#putOff.delete(key)
      else this.#finish(turn, key, state === 'done' ? undefined : state)
    }
    this.#pending.clear(turn, group.epoch)
    this.#intentsMax = Math.min(2 * this.#intentsMax, intentsPerCommit)
    this.#room.epochSinceMs = context.clock.now()
    putDocument(turn, this.#room)
    this.#restart()
    this.#hooks.advanced(turn, added || inheritsDuty)
    const { epoch } = group
    turn.after(() => {
      this.#room.emit({ type: 'epoch', epoch })
      this.kick()
    })
  }

  #removed(turn: Turn): void {
    this.#room.removed = true
    putDocument(turn, this.#room)
    this.#pending.clear(turn, headOf(this.#room).epoch)
    for (const key of [...this.#intents.keys()]) this.#finish(turn, key, undefined, 'removed')
    this.#restart()
    turn.after(() => this.#room.emit({ type: 'removed' }))
  }

  /** A new run for the present slot; what the old one still hears is lost on it. */
  #restart(): void {
    this.#run[Symbol.dispose]()
    this.#needsValue = false
    this.#run = this.#newRun()
    if (this.#disposed) this.#run[Symbol.dispose]()
  }

  #refused(turn: Turn): void {
    this.#wasRefused = false
    const intents = this.#pending.refuse(turn, headOf(this.#room).epoch)
    turn.after(() => this.kick())
    const error = new HeddleError('INVALID', 'the servers refuse the change as breaking a rule of the document')
    if (this.#room.followed !== undefined) this.#hooks.cannotComeBack(error)
    // One of several may be what is wrong: each is tried by itself.
    if (intents.length > 1) this.#intentsMax = 1
    else for (const key of intents) this.#finish(turn, key, error)
    this.#restart()
  }

  /** Settles an intent, durably; who waits for it hears then. */
  #finish(turn: Turn, key: bigint, error: HeddleError | undefined, why?: 'removed'): void {
    const intent = this.#intents.get(key)
    this.#delayed.get(key)?.[Symbol.dispose]()
    this.#delayed.delete(key)
    if (error !== undefined && isLeave(intent?.change) && !isClosed(this.#room)) {
      this.#putOff.add(key)
      return
    }
    const waiter = this.#waiters.get(key)
    this.#intents.delete(key)
    this.#waiters.delete(key)
    this.#putOff.delete(key)
    turn.del(this.#room.store.key('intent', key))
    const failure = why === 'removed' ? removedError() : error
    turn.after(() => {
      if (failure === undefined) waiter?.resolve()
      else waiter?.reject(failure)
      if (intent?.change?.$case === 'add' && intent.change.value.mailbox.length > 0) {
        this.#hooks.admitted(intent.change.value.mailbox)
      }
    })
  }
}

export const removedError = (): HeddleError =>
  new HeddleError('REMOVED', 'this device was removed from the document; what it holds stays on it')

/** A member wants to leave: that ends when it is gone. */
const isLeave = (intent: Intent | undefined): boolean => intent?.$case === 'remove' && intent.value.leaves

/** Who made a commit, which it has signed; undefined for bytes that are none. */
function authorOf(decided: DecidedSlot, group: PublicGroup): string | undefined {
  try {
    return toHex(group.committerOf(commitOf(decided)).memberId)
  } catch (error) {
    // Why it does not decode is what is being reported.
    if (HeddleError.is(error) || error instanceof WireError) return undefined
    throw error
  }
}

const commitOf = ({ value }: DecidedSlot): Uint8Array => ValueContent.decode(Value.decode(value).content).commit
