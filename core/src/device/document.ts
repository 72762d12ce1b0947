/**
 * An open document (SPEC DEVICE). Everything that happens to it, local edits, messages, decisions, happens in turns: one
 * turn takes in what has come, seals what may leave, and makes all of it durable in one batch; only then it is told to
 * others. The parts of the room share one `Room` and are driven from here.
 */
import { emptyBytes, equalBytes, fromHex, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { RosterEntry } from '../group/index.js'
import { quorum, slotConfigOf } from '../paxos/index.js'
import { Standings } from '../sync/index.js'
import { type Head, Role, type RoleSetProposal } from '../wire/index.js'
import type {
  BranchOptions,
  Document,
  DocumentEvent,
  DocumentPolicy,
  DocumentStatus,
  InviteOptions,
  LeaveOptions,
  Member,
  RoleName
} from './api.js'
import { Branching, firstDecided } from './branching.js'
import { Chains } from './chains.js'
import { Changes, removedError } from './changes.js'
import { Expiry } from './expiry.js'
import { Following } from './following.js'
import { HoldBack } from './hold-back.js'
import { Verification } from './identity.js'
import { Incoming } from './incoming.js'
import type { Intent } from './intents.js'
import { Invites } from './invites.js'
import { Leaving, leavingError } from './leaving.js'
import { parseTicket } from './links.js'
import type { Control } from './opening.js'
import { Outbox } from './outbox.js'
import { Outgoing } from './outgoing.js'
import { policyOf, policyWith } from './policy.js'
import { Recovery } from './recovery.js'
import { Repair } from './repair.js'
import { asHeddleError, headOf, type Room } from './room.js'
import { Rotation } from './rotation.js'
import { checkFingerprint, type FingerprintCheck, formatFingerprint, safetyNumber } from './safety.js'
import { reach, serverOf, serverToAdd, serverToRemove } from './servers.js'
import { Silenced } from './silenced.js'
import { StateDuty } from './state-duty.js'
import { Turn } from './store.js'
import { suiteOf } from './suites.js'

const inviteMsDefault = 24 * 60 * 60 * 1000

const roleNames: Readonly<Record<number, RoleName>> = {
  [Role.ROLE_ADMIN]: 'admin',
  [Role.ROLE_EDITOR]: 'editor',
  [Role.ROLE_READER]: 'reader'
}

const roleOf = (name: RoleName): Role =>
  name === 'admin' ? Role.ROLE_ADMIN : name === 'editor' ? Role.ROLE_EDITOR : Role.ROLE_READER

/** What the device hands over when it opens a document: the room without what the document itself supplies. */
export type RoomStart = Omit<Room, 'signal' | 'wake' | 'emit' | 'followed'>

export class OpenDocument implements Document {
  readonly #room: Room
  readonly #silenced: Silenced
  readonly #incoming: Incoming
  readonly #outbox: Outbox
  readonly #stateDuty: StateDuty
  readonly #outgoing: Outgoing
  readonly #following: Following
  readonly #repair: Repair
  readonly #changes: Changes
  readonly #invites: Invites
  readonly #leaving: Leaving
  readonly #branching: Branching
  readonly #rotation: Rotation
  readonly #recovery: Recovery
  readonly #listeners = new Set<(event: DocumentEvent) => void>()
  readonly #abort = new AbortController()
  readonly #localChanges: Disposable
  readonly #onDisposed: () => void
  #awake = false
  #turns: Promise<void> = Promise.resolve()
  #failure: HeddleError | undefined
  /** How far the logs of the servers have been seen. */
  readonly #positions = new Map<string, bigint>()
  readonly #holdBack: HoldBack
  readonly #expiry: Expiry
  readonly #verification: Verification

  private constructor(start: RoomStart, stored: Stored, onDisposed: () => void) {
    this.#onDisposed = onDisposed
    const room: Room = {
      ...start,
      followed: undefined,
      signal: this.#abort.signal,
      wake: () => this.#wake(),
      emit: (event) => this.#emit(event)
    }
    this.#room = room
    room.alarms.entered(room.group)
    this.#verification = new Verification(room, room.verifyMember, (id) => this.#verified(id))
    this.#expiry = new Expiry(room, () => this.#following.isLevel)
    this.#holdBack = new HoldBack(room, {
      isLevel: () => this.#following.isLevel,
      applied: () => this.#incoming.applied,
      nextEpoch: () => this.#incoming.nextEpoch
    })
    this.#repair = new Repair(room, stored, {
      ask: (value) => this.#outgoing.queueControl({ $case: 'repairRequest', value }),
      answer: (due) => this.#outgoing.queueAnswer(due),
      frozen: (member) => this.#incoming.freeze(member),
      passedOver: (member) => this.#silenced.passedOver(member),
      misses: (member) => this.#silenced.isBehind(member) || chains.isBefore(member),
      overdue: (member) => this.#incoming.overdue(member)
    })
    this.#recovery = new Recovery(room, {
      say: (value) => this.#outgoing.queueControl({ $case: 'poisonReport', value }),
      links: () => this.#following.readyLinks,
      kick: () => this.#changes.kick()
    })
    const chains = new Chains(room, this.#repair, stored.applied)
    const standings = new Standings(stored.standings, stored.names)
    this.#silenced = new Silenced(room, chains, this.#repair, standings)
    const mayBeLate = stored.stateDuty !== undefined
    const { repair, silenced } = { repair: this.#repair, silenced: this.#silenced }
    this.#incoming = new Incoming(
      room,
      { chains, silenced, repair, mayBeLate },
      {
        blame: (server, error) => this.#following.blame(server, error),
        control: (control, head, role) => this.#control(control, head, role)
      }
    )
    const receipted = new Map([...stored.servers].map(([id, { receiptedSeq }]) => [id, receiptedSeq]))
    this.#outbox = new Outbox(
      room,
      silenced,
      { own: stored.own, receipted },
      {
        durable: () => this.#following.upload(),
        safe: () => {
          this.#changes.kick()
          this.#leaving.check()
        },
        receipted: () => this.#outgoing.receipted()
      }
    )
    this.#stateDuty = new StateDuty(room, this.#incoming, this.#outbox, stored.stateDuty)
    const { outbox, stateDuty } = { outbox: this.#outbox, stateDuty: this.#stateDuty }
    this.#outgoing = new Outgoing(room, { outbox, stateDuty, silenced }, stored.unsealed)
    this.#following = new Following(room, this.#incoming, () => this.#outbox, stored.servers, {
      decided: (slots, link) => {
        this.#changes.learn(slots, link.id)
        if (slots.every(({ slot }) => slot > headOf(room).epoch)) this.#background(this.#following.slots.catchUp(link))
      },
      caughtUp: async (slots, link) => {
        this.#changes.learn(slots, link.id)
        await this.#turns
      },
      vote: (news) => news.value.vote && this.#changes.onVote(news.value.vote),
      mailbox: ({ value: { mailbox, items } }) => {
        this.#invites.arrived(mailbox, items)
        this.#recovery.arrived(mailbox, items)
      },
      rolledBack: (error) => this.#fail(error),
      ready: (link) => {
        this.#background(this.#invites.openMailboxes(link))
        this.#recovery.ready(link)
        this.#changes.kick()
        this.#rotation.resume()
      }
    })
    this.#changes = new Changes(room, stored.intents, stored.pending, stored.decided, {
      links: () => this.#following.links,
      behind: (link, slot) => link.channel && this.#background(this.#following.slots.teach(link.channel, slot)),
      catchUp: (link) => this.#background(this.#following.slots.catchUp(link)),
      serversChanged: (before, present) => this.#outbox.serversChanged(before, present),
      stuck: (poison) => this.#recovery.begin(poison),
      followed: (turn) => {
        this.#recovery.moved()
        turn.after(() => this.#background(this.#following.follow(headOf(room).servers.servers)))
      },
      cameBack: (skipped) => {
        for (const { slot, by, cuts } of skipped) this.#incoming.silence(slot, by, cuts)
        this.#recovery.ended()
      },
      cannotComeBack: (error) => this.#recovery.impossible(error),
      rejoinBasis: () => this.#recovery.basis,
      owesState: () => this.#stateDuty.isOpen,
      admitted: (mailbox) => this.#background(this.#invites.close(mailbox, this.#following.links)),
      advanced: (turn, owesState) => {
        if (owesState) this.#stateDuty.owe(turn, room.group.epoch)
        const { change, epoch } = room.group.public
        room.alarms.entered(room.group)
        if (change !== undefined) this.#incoming.silence(epoch - 1n, change.committer.memberId, change.cuts)
        this.#incoming.retry()
        this.#recovery.advanced()
        this.#leaving.advanced(turn)
        turn.after(() => {
          this.#rotation.restart()
          this.#background(this.#following.follow(room.group.public.servers.servers))
          this.#following.retryRefused()
          this.#verification.update()
        })
      }
    })
    this.#invites = new Invites(room, stored.invites, {
      add: (turn, value) => this.#changes.add(turn, { $case: 'add', value }),
      verify: (joiner) => this.#verification.ofJoiner(joiner),
      refused: (mailbox) => this.#background(this.#invites.close(mailbox, this.#following.links))
    })
    this.#leaving = new Leaving(room, this.#changes, this.#outgoing)
    this.#branching = new Branching(room, stored.follows, {
      say: (control) => this.#outgoing.queueControl(control),
      isOnline: () => this.#following.readyLinks.length >= quorum(slotConfigOf(room.group.public))
    })
    this.#rotation = new Rotation(room, {
      isDecidable: () => this.#changes.isDecidable,
      rotate: () => this.#rotateByItself()
    })
    this.#localChanges = room.replica.doc.onLocalChange(() => {
      if (!this.#outgoing.isHolding) this.#wake()
    })
  }

  /** Reads what is stored beside the group and the CRDT, and begins to follow the servers. */
  static async open(start: RoomStart, onDisposed: () => void): Promise<OpenDocument> {
    const document = new OpenDocument(start, await readStored(start), onDisposed)
    if (!start.removed) await document.#following.follow(start.group.public.servers.servers)
    if (!start.removed) document.#rotation.restart()
    document.#verification.update()
    document.#wake()
    return document
  }

  get id(): string {
    return this.#room.id
  }

  get crdtType(): string {
    return this.#room.group.public.document.crdtType
  }

  get native(): unknown {
    return this.#room.replica.doc.native
  }

  get memberId(): string {
    return toHex(this.#room.group.memberId)
  }

  /** Bytes of the envelopes this device has sealed since the document was opened. */
  get sealedBytes(): number {
    return this.#outbox.sealedBytes
  }

  toJSON(): unknown {
    return this.#room.replica.doc.toJSON()
  }

  members(): readonly Member[] {
    return this.#room.group.public.roster.map((entry) => this.#described(entry))
  }

  safetyNumber(memberId: string): string {
    const { group, groupId } = this.#room
    const { signaturePublicKey } = this.#entryOf(memberId)
    if (equalBytes(signaturePublicKey, group.me.signaturePublicKey)) {
      throw new HeddleError('INVALID', 'a device has no safety number with itself; name another member')
    }
    return safetyNumber(groupId, group.me.signaturePublicKey, signaturePublicKey)
  }

  fingerprint(memberId: string = this.memberId): string {
    return formatFingerprint(this.#room.groupId, this.#entryOf(memberId).signaturePublicKey)
  }

  checkFingerprint(scanned: string, memberId?: string): FingerprintCheck {
    const keyOf = (id: string) => this.#room.group.public.member(fromHex(id) ?? emptyBytes)?.signaturePublicKey
    return checkFingerprint(scanned, { documentId: this.id, memberId, keyOf })
  }

  async verifyMembers(): Promise<void> {
    this.#assertUsable()
    await this.#verification.again()
  }

  status(): DocumentStatus {
    const { group, removed } = this.#room
    const ready = this.#following.readyLinks.length
    const enough = ready >= quorum(slotConfigOf(group.public))
    return {
      epoch: group.epoch,
      role: removed ? 'removed' : (roleNames[group.me.role] ?? 'reader'),
      connection: removed ? 'removed' : enough ? 'online' : ready > 0 ? 'degraded' : 'offline',
      servers: this.#following.statuses,
      unsent: this.#outgoing.unsealedCount,
      unsafe: Number(this.#outbox.ownSeq - this.#outbox.safeSeq),
      sent: Number(this.#outbox.ownSeq),
      applied: this.#incoming.applied,
      waiting: this.#incoming.waiting,
      lacking: this.#repair.lacking,
      forked: this.#repair.forked.filter((id) => group.public.roster.some(({ memberId }) => toHex(memberId) === id)),
      divergent: this.#room.alarms.members,
      stuck: this.#room.removed ? undefined : this.#recovery.status,
      pendingChanges: this.#changes.pendingCount,
      blocked: this.#changes.blocked,
      policy: this.policy(),
      leaving: this.#room.leaving && !removed,
      suite: suiteOf(group.public.suite.id),
      ...(this.#room.branchOf === undefined ? {} : { branchOf: toHex(this.#room.branchOf) })
    }
  }

  async invite(options: InviteOptions = {}): Promise<string> {
    this.#assertUsable()
    return await this.#invites.make(roleOf(options.role ?? 'editor'), options.expiresInMs ?? inviteMsDefault)
  }

  async remove(memberId: string, signal?: AbortSignal): Promise<void> {
    const member = this.#member(memberId)
    if (equalBytes(member, this.#room.group.memberId)) {
      throw new HeddleError('INVALID', 'a device cannot remove itself; ask another admin')
    }
    await this.#change({ $case: 'remove', value: { member } }, signal)
  }

  async setRole(memberId: string, role: RoleName, signal?: AbortSignal): Promise<void> {
    const value: RoleSetProposal = { member: this.#member(memberId), role: roleOf(role) }
    await this.#change({ $case: 'setRole', value }, signal)
  }

  async rotate(signal?: AbortSignal): Promise<void> {
    await this.#change({ $case: 'rotate', value: { sinceEpoch: this.#room.group.epoch, automatic: false } }, signal)
  }

  async addServer(ticket: string, signal?: AbortSignal): Promise<void> {
    this.#assertMayChange()
    const server = serverToAdd(ticket, this.#room)
    await reach(server, this.#room.pool, this.#either(signal))
    await this.#change({ $case: 'serverAdd', value: { server } }, signal)
  }

  async removeServer(serverId: string, signal?: AbortSignal): Promise<void> {
    const id = serverToRemove(serverId, this.#room)
    await this.#change({ $case: 'serverRemove', value: { id } }, signal)
  }

  async replaceServer(serverId: string, ticket: string, signal?: AbortSignal): Promise<void> {
    this.#assertMayChange()
    const { id } = serverOf(serverId, this.#room)
    const server = parseTicket(ticket)
    if (!equalBytes(server.id, id)) {
      serverToAdd(ticket, this.#room, 'instead')
      await reach(server, this.#room.pool, this.#either(signal))
    }
    await this.#change({ $case: 'serverReplace', value: { id, server } }, signal)
  }

  policy(): DocumentPolicy {
    return policyOf(this.#room.group.public.document.policy)
  }

  async setPolicy(changes: Partial<DocumentPolicy>, signal?: AbortSignal): Promise<void> {
    const policy = policyWith(this.#room.group.public.document.policy, changes)
    await this.#change({ $case: 'setPolicy', value: { policy } }, signal)
  }

  async leave({ until = 'removed' }: LeaveOptions = {}, signal?: AbortSignal): Promise<void> {
    this.#assertUsable()
    await this.#orAborted(this.#leaving.leave(until), signal)
  }

  async branch(options: BranchOptions = {}, signal?: AbortSignal): Promise<Document> {
    this.#assertUsable()
    if (this.#room.leaving) throw leavingError()
    const document = await this.#branching.begin(options, signal)
    await firstDecided(document, this.#room.context.clock, this.#either(signal))
    return document
  }

  async settled(level: 'stored' | 'sent' | 'safe', signal?: AbortSignal): Promise<void> {
    this.#assertUsable(level === 'stored')
    if (this.#room.leaving && this.#room.replica.peek() !== undefined) throw leavingError()
    await this.#orAborted(this.#outgoing.settled(level), signal)
  }

  subscribe(callback: (event: DocumentEvent) => void): Disposable {
    const listener = (event: DocumentEvent) => callback(event)
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#abort.signal.aborted) return
    // One last turn, so that edits made before this call are stored.
    if (this.#failure === undefined) this.#background(this.#outgoing.settled('stored'))
    await this.#turns
    this.#abort.abort(new HeddleError('DISPOSED', `document ${this.id} is closed`))
    this.#localChanges[Symbol.dispose]()
    this.#stopTimers()
    this.#leaving.giveUp(new HeddleError('ABORTED', 'the document was closed; the leaving goes on when it is opened'))
    this.#changes.dispose(
      new HeddleError('ABORTED', 'the document was closed; the change stays pending and goes on when it is opened')
    )
    this.#invites.giveUp(new HeddleError('DISPOSED', `document ${this.id} is closed`))
    this.#branching.giveUp(new HeddleError('DISPOSED', `document ${this.id} is closed`))
    await this.#branching[Symbol.asyncDispose]()
    await this.#following.stop()
    await this.#turns
    await this.#room.replica.doc[Symbol.asyncDispose]()
    this.#onDisposed()
  }

  /** Turns run one after another; whatever happens while one runs leads to one more. */
  #wake(): void {
    if (this.#awake || this.#failure !== undefined || this.#abort.signal.aborted) return
    this.#awake = true
    this.#turns = this.#turns.then(async () => {
      this.#awake = false
      try {
        await this.#turn()
      } catch (error) {
        this.#fail(asHeddleError(error, 'a turn of the document'))
      }
    })
  }

  async #turn(): Promise<void> {
    const { store, replica } = this.#room
    const turn = new Turn()
    await this.#recovery.step()
    await this.#changes.step(turn, this.#holdBack.epochMax)
    this.#holdBack.watch(this.#changes.holdsBack)
    const { positions, missing, tainted } = await this.#incoming.step(turn)
    this.#room.alarms.step(turn, store)
    if (tainted !== undefined) {
      this.#silenced.write(turn)
      store.putGroup(turn, this.#room.group.takeDirtyRecords())
      await turn.commit(store.storage)
      throw tainted
    }
    await this.#invites.step(turn, this.#following.links)
    // What is sealed in an epoch long past, nobody can open.
    const online = this.#following.readyLinks.length > 0 && !this.#changes.holdsBack
    this.#repair.step(turn, online)
    await this.#outgoing.step(turn, online)
    this.#expiry.step()
    this.#leaving.step(turn)
    await this.#branching.step(turn)
    this.#silenced.write(turn)
    const { group, removed } = this.#room
    store.putGroup(turn, group.takeDirtyRecords())
    for (const [server, position] of positions) this.#positions.set(server, position)
    this.#following.noteProgress(turn, this.#incoming.waiting === 0 ? this.#positions : new Map())
    replica.compact(turn)
    await turn.commit(store.storage)
    if (removed) {
      this.#recovery[Symbol.dispose]()
      this.#rotation[Symbol.dispose]()
      this.#outgoing.giveUpSending(removedError())
      this.#branching.giveUp(removedError())
      await this.#following.stop()
      return
    }
    for (const member of missing) this.#following.gaps.fill(member)
    if (!this.#changes.holdsBack) this.#background(this.#following.slots.catchUpFurther(this.#following.readyLinks))
    else if (this.#holdBack.epochMax > group.epoch) this.#wake()
    if (this.#incoming.sawFutureEpoch) {
      this.#incoming.sawFutureEpoch = false
      for (const link of this.#following.readyLinks) this.#background(this.#following.slots.catchUp(link))
    }
  }

  /** What a member's device says beside content. */
  #control(control: Control, head: Head, role: Role): void {
    if (control.$case === 'repairRequest') this.#repair.onRequest(head.member, head, control.value)
    if (control.$case === 'poisonReport') this.#recovery.heard(head.member, control.value)
    if (control.$case === 'leave') this.#leaving.heard(head.member)
    if (control.$case === 'branch') this.#branching.heard(head.member, control.value, role)
    if (control.$case === 'follow') this.#branching.answered(head.member, control.value)
  }

  #stopTimers(): void {
    this.#outgoing.dispose()
    for (const part of [this.#holdBack, this.#expiry, this.#repair, this.#recovery, this.#rotation])
      part[Symbol.dispose]()
  }

  /** The storage or the CRDT failed: going on could lose or repeat something, so nothing goes on. */
  #fail(error: HeddleError): void {
    this.#failure = error
    this.#stopTimers()
    this.#leaving.giveUp(error)
    this.#outgoing.giveUp(error)
    this.#invites.giveUp(error)
    this.#branching.giveUp(error)
    this.#background(this.#branching[Symbol.asyncDispose]())
    this.#changes.dispose(error)
    this.#emit({ type: 'problem', error })
    this.#background(this.#following.stop())
  }

  #described({ memberId, role, device: { endpointId, identity } }: RosterEntry): Member {
    return {
      id: toHex(memberId),
      role: roleNames[role] ?? 'reader',
      deviceId: toHex(endpointId),
      isSelf: equalBytes(memberId, this.#room.group.memberId),
      ...(identity === undefined ? {} : { identity: identity.slice() }),
      ...this.#verification.of(memberId)
    }
  }

  /** The app's word on a member is in. */
  #verified(memberId: Uint8Array): void {
    const entry = this.#room.group.public.member(memberId)
    if (entry !== undefined) this.#emit({ type: 'verification', member: this.#described(entry) })
  }

  #emit(event: DocumentEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        // The app's mistake: it must not end the turn that tells of the event.
        this.#room.context.log('error', 'document.listener-failed', { document: this.id, event: event.type, error })
      }
    }
  }

  /** What is done beside the turns; its failure shows in the state of the links and is tried again from there. */
  #background(task: Promise<unknown>): void {
    task.catch((cause: unknown) => {
      const { code, message } = asHeddleError(cause, 'a background task')
      this.#room.context.log('debug', 'document.background', { document: this.id, code, message })
    })
  }

  async #change(intent: Intent, signal: AbortSignal | undefined): Promise<void> {
    this.#assertMayChange(intent.$case !== 'rotate')
    await this.#orAborted(this.#changes.request(intent), signal)
  }

  #assertMayChange(asAdmin = true): void {
    this.#assertUsable()
    if (this.#room.leaving) throw leavingError()
    if (!asAdmin || this.#room.group.me.role === Role.ROLE_ADMIN) return
    throw new HeddleError('FORBIDDEN', 'only an admin changes members, roles, servers and the policy; ask one')
  }

  /** It is time for new keys; another device may be of the same mind, and one commit is enough. */
  #rotateByItself(): void {
    const value = { sinceEpoch: this.#room.group.epoch, automatic: true }
    this.#background(this.#changes.request({ $case: 'rotate', value }))
  }

  #member(memberId: string): Uint8Array {
    return this.#entryOf(memberId).memberId
  }

  #entryOf(memberId: string): RosterEntry {
    const entry = this.#room.group.public.member(fromHex(memberId) ?? emptyBytes)
    if (entry !== undefined) return entry
    throw new HeddleError('NOT_FOUND', `"${memberId}" is no member of document ${this.id}`)
  }

  #assertUsable(evenWhenRemoved = false): void {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#abort.signal.aborted) throw new HeddleError('DISPOSED', `document ${this.id} is closed`)
    if (this.#room.removed && !evenWhenRemoved) throw removedError()
  }

  #either(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#abort.signal : AbortSignal.any([signal, this.#abort.signal])
  }

  /** The task's result, unless the caller or the document gives up waiting first. */
  async #orAborted<T>(task: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const either = this.#either(signal)
    return await new Promise<T>((resolve, reject) => {
      const onAbort = () => {
        const { reason } = either
        reject(
          HeddleError.is(reason) ? reason : new HeddleError('ABORTED', 'waiting was aborted; the change itself goes on')
        )
      }
      if (either.aborted) onAbort()
      either.addEventListener('abort', onAbort, { once: true })
      task.then(resolve, reject).finally(() => either.removeEventListener('abort', onAbort))
    })
  }
}

type Stored = Awaited<ReturnType<typeof readStored>>

async function readStored({ store, group }: RoomStart) {
  const [applied, standings, names, lacks, forks, servers, pending, decided, intents, invites, follows, stateDuty] =
    await Promise.all([
      store.applied(),
      store.standings(),
      store.names(),
      store.lacks(),
      store.forks(),
      store.servers(),
      store.pending(),
      store.decided(group.epoch),
      store.intents(),
      store.invites(),
      store.follows(),
      store.stateDuty()
    ])
  const [unsealed, own] = await Promise.all([store.entries('unsealed'), store.entries('own')])
  return {
    applied,
    standings,
    names,
    lacks,
    forks,
    servers,
    pending,
    decided,
    intents,
    invites,
    follows,
    stateDuty,
    unsealed,
    own
  }
}
