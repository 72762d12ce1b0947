/**
 * Changes of the group (SPEC GROUP, PAXOS): what was asked for is kept as an intent, durably, until a decided commit
 * carries it out or makes it pointless. Commits are built when the slot is known to be free, made durable before they are
 * proposed, and applied by the hash of their value, whoever proposed it.
 */
import { equalBytes, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { RosterEntry } from '../group/index.js'
import { inspectDecided, quorum, signedInput, valueHash } from '../paxos/index.js'
import {
  DecidedSlot,
  DocumentRecord,
  IntentRecord,
  PendingCommitRecord,
  Role,
  SIGNATURE_LABELS,
  Value,
  ValueContent
} from '../wire/index.js'
import { commitPlan, type Intent, subjectOf, worthOf } from './intents.js'
import type { ServerLink } from './links.js'
import { asHeddleError, type Room, report, slotConfig } from './room.js'
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
  /** Whether this device has added somebody who may not have the state yet. */
  owesState(): boolean
  /** A joiner's mailbox is of no use any more. */
  admitted(mailbox: Uint8Array): void
  /** A server claims a slot this device cannot reach by what it was sent. */
  catchUp(link: ServerLink): void
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
  #pending: PendingCommitRecord | undefined
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
  /** Intents that go into the next commit together; fewer after a commit of several could not be built. */
  #intentsMax = intentsPerCommit
  #disposed = false

  constructor(
    room: Room,
    intents: Map<bigint, IntentRecord>,
    pending: PendingCommitRecord | undefined,
    hooks: ChangesHooks
  ) {
    this.#room = room
    this.#intents = intents
    this.#pending = pending
    this.#hooks = hooks
    this.#nextIntent = ([...intents.keys()].at(-1) ?? -1n) + 1n
    this.#run = this.#newRun()
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

  /** An intent that nobody waits for, durable with the turn. */
  add(turn: Turn, intent: Intent): bigint {
    const key = this.#nextIntent++
    this.#intents.set(key, { change: intent })
    turn.put(this.#room.store.key('intent', key), IntentRecord.encode({ change: intent }))
    turn.after(() => this.kick())
    return key
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
    if (this.#intents.size > 0 && !this.#run.proposing && this.#quorumConnected) {
      this.#run.start('own')
    }
  }

  /** `epochMax`: what lies beyond is entered later, since messages of old epochs are still to come. */
  async step(turn: Turn, epochMax: bigint): Promise<void> {
    for (const { intent, waiter } of this.#requested.splice(0)) this.#waiters.set(this.add(turn, intent), waiter)
    await this.#applyTold(turn, epochMax)
    if (this.#wasRefused) this.#dropRefused(turn)
    if (this.#needsValue) await this.#build(turn)
  }

  /** Nothing goes on: who waits hears why. What is stored goes on when the document is opened again. */
  dispose(reason: HeddleError): void {
    this.#disposed = true
    this.#run[Symbol.dispose]()
    for (const { reject } of this.#waiters.values()) reject(reason)
    for (const { waiter } of this.#requested.splice(0)) waiter.reject(reason)
    this.#waiters.clear()
  }

  async #applyTold(turn: Turn, epochMax: bigint): Promise<void> {
    const room = this.#room
    for (let epoch = -1n; epoch !== room.group.epoch && !room.removed; ) {
      epoch = room.group.epoch
      this.holdsBack = false
      for (const told of this.#told.values()) {
        const slot = told.find((one) => one.slot === epoch)
        if (slot === undefined || room.group.epoch !== epoch || room.removed) continue
        if (epoch < epochMax) await this.#apply(turn, slot)
        else this.holdsBack = true
      }
    }
    for (const [teller, told] of this.#told) {
      // What was not applied although its turn had come is wrong, or cannot be applied.
      const first = this.holdsBack ? room.group.epoch : room.group.epoch + 1n
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
    const run: SlotRun = new SlotRun(this.#room, slotConfig(this.#room.group), {
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

  /** Builds this device's commit for the free slot, or takes up the one it had built before a restart. */
  async #build(turn: Turn): Promise<void> {
    this.#needsValue = false
    const { group, store } = this.#room
    const run = this.#run
    if (this.#pending?.slot === group.epoch) {
      const { value } = this.#pending
      turn.after(() => run.supply(value))
      return
    }
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
      const built = await group.buildCommit(plan)
      const content = ValueContent.encode({ commit: built.commit, welcome: built.welcome ?? new Uint8Array(0) })
      const signature = group.sign(signedInput(SIGNATURE_LABELS.ValueContent, content))
      const value = Value.encode({ content, signature })
      const keys = intents.map(([key]) => key)
      const pending = { slot: group.epoch, value, next: built.pending, intents: keys }
      turn.put(store.key('pending'), PendingCommitRecord.encode(pending))
      this.#pending = pending
      turn.after(() => run.supply(value))
    } catch (cause) {
      if (intents.length > 1) {
        // One of them makes no valid commit: each by itself shows which.
        this.#intentsMax = 1
        return await this.#build(turn)
      }
      const error = asHeddleError(cause, 'building a commit')
      report(this.#room, error)
      for (const [key] of intents) this.#finish(turn, key, error)
      this.#intentsMax = intentsPerCommit
      this.#restart()
      turn.after(() => this.kick())
    }
  }

  /** The intents for the next commit; those that became pointless or impossible are settled. */
  async #takeDoable(turn: Turn): Promise<[bigint, Intent][]> {
    const out: [bigint, Intent][] = []
    const subjects = new Set<string>()
    for (const [key, { change }] of this.#intents) {
      if (out.length === this.#intentsMax) break
      if (change === undefined) continue
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
    const { group, store, crypto } = this.#room
    const inspected = inspectDecided(slotConfig(group), decided)
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
    const before = group.public.roster
    const own = this.#pending !== undefined && equalBytes(valueHash(this.#pending.value), inspected.item.valueHash)
    try {
      if (own && this.#pending !== undefined) this.#room.group = await group.adopt(this.#pending.next)
      else {
        const processed = await group.processCommit(ValueContent.decode(Value.decode(decided.value).content).commit)
        if (processed.removed) return this.#removed(turn)
        this.#room.group = processed.group
      }
    } catch (cause) {
      if (this.#stuckAt === decided.slot) return
      this.#stuckAt = decided.slot
      const { code, message } = asHeddleError(cause, 'applying a commit')
      report(
        this.#room,
        new HeddleError(code, `the decided commit of slot ${decided.slot} cannot be applied: ${message}`, { cause })
      )
      return
    }
    turn.put(store.key('decided', decided.slot), DecidedSlot.encode(decided))
    if (decided.slot >= decidedKept) turn.del(store.key('decided', decided.slot - decidedKept))
    this.#advanced(turn, own, this.#inheritsDuty(before))
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

  #advanced(turn: Turn, own: boolean, inheritsDuty: boolean): void {
    const { group, store } = this.#room
    const pending = this.#pending
    const carriedOut = own ? (pending?.intents ?? []) : []
    const added = carriedOut.some((key) => this.#intents.get(key)?.change?.$case === 'add')
    for (const key of carriedOut) this.#finish(turn, key, undefined)
    if (pending !== undefined) turn.del(store.key('pending'))
    this.#pending = undefined
    this.#intentsMax = intentsPerCommit
    this.#restart()
    this.#hooks.advanced(turn, added || inheritsDuty)
    const { epoch } = group
    turn.after(() => {
      this.#room.emit({ type: 'epoch', epoch })
      this.kick()
    })
  }

  #removed(turn: Turn): void {
    const { store, joinedEpoch, group } = this.#room
    this.#room.removed = true
    const { crdtType } = group.public.document
    turn.put(
      store.key('document'),
      DocumentRecord.encode({ crdtType, joinedEpoch, removed: true, leaving: false, epochSinceMs: 0n })
    )
    turn.del(store.key('pending'))
    this.#pending = undefined
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

  #dropRefused(turn: Turn): void {
    this.#wasRefused = false
    const pending = this.#pending
    this.#pending = undefined
    turn.del(this.#room.store.key('pending'))
    turn.after(() => this.kick())
    const error = new HeddleError('INVALID', 'the servers refuse the change as breaking a rule of the document')
    for (const key of pending?.intents ?? []) this.#finish(turn, key, error)
    this.#restart()
  }

  /** Settles an intent, durably; who waits for it hears then. */
  #finish(turn: Turn, key: bigint, error: HeddleError | undefined, why?: 'removed'): void {
    const intent = this.#intents.get(key)
    const waiter = this.#waiters.get(key)
    this.#intents.delete(key)
    this.#waiters.delete(key)
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
