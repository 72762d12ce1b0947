/**
 * An open document (SPEC DEVICE). Everything that happens to it, local edits, messages, decisions, happens in turns: one
 * turn takes in what has come, seals what may leave, and makes all of it durable in one batch; only then it is told to
 * others. This file drives the parts (`parts.ts`) and is what the app calls; `device.ts` opens it.
 */
import { emptyBytes, equalBytes, fromHex, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { RosterEntry } from '../group/index.js'
import { Role, type RoleSetProposal } from '../wire/index.js'
import type {
  BranchOptions,
  Document,
  DocumentEvent,
  DocumentPolicy,
  DocumentStatus,
  InviteInfo,
  InviteOptions,
  LeaveOptions,
  Member,
  RoleName
} from './api.js'
import { firstDecided } from './branch-begin.js'
import { removedError } from './changes.js'
import type { Intent } from './intents.js'
import { leavingError } from './leaving.js'
import { assemble, type Parts } from './parts.js'
import { policyOf, policyWith } from './policy.js'
import { asHeddleError, closedError, isClosed, putDocument, type Room } from './room.js'
import { checkFingerprint, type FingerprintCheck, formatFingerprint, safetyNumber } from './safety.js'
import { reach, serverOf, serverOfTickets, serverToAdd, serverToRemove } from './servers.js'
import { Turn } from './store.js'
import { readStored, type Stored } from './stored.js'
import { memberOf, roleNameOf, roleOf, statusOf } from './view.js'

const inviteMsDefault = 24 * 60 * 60 * 1000

/** What the device hands over when it opens a document: the room without what the document itself supplies. */
export type RoomStart = Omit<Room, 'signal' | 'wake' | 'emit' | 'followed' | 'retainedSince'>

export class OpenDocument implements Document {
  readonly #room: Room
  readonly #parts: Parts
  readonly #listeners = new Set<(event: DocumentEvent) => void>()
  readonly #abort = new AbortController()
  readonly #localChanges: Disposable
  readonly #onDisposed: () => void
  #awake = false
  #turns: Promise<void> = Promise.resolve()
  #failure: HeddleError | undefined
  /** How far the logs of the servers have been seen. */
  readonly #positions = new Map<string, bigint>()

  private constructor(start: RoomStart, stored: Stored, onDisposed: () => void) {
    this.#onDisposed = onDisposed
    const room: Room = {
      ...start,
      followed: undefined,
      retainedSince: undefined,
      signal: this.#abort.signal,
      wake: () => this.#wake(),
      emit: (event) => this.#emit(event)
    }
    this.#room = room
    room.alarms.entered(room.group)
    this.#parts = assemble(room, stored, {
      background: (task) => this.#background(task),
      turned: () => this.#turns,
      rolledBack: (error) => this.#rolledBack(error),
      verified: (memberId) => this.#verified(memberId)
    })
    this.#localChanges = room.replica.doc.onLocalChange(() => {
      if (!this.#parts.outgoing.isHolding) this.#wake()
    })
  }

  /** Reads what is stored beside the group and the CRDT, and begins to follow the servers. */
  static async open(start: RoomStart, onDisposed: () => void): Promise<OpenDocument> {
    const document = new OpenDocument(start, await readStored(start), onDisposed)
    if (!start.removed) await document.#parts.following.follow(start.group.public.servers.servers)
    if (!start.removed) document.#parts.rotation.restart()
    document.#parts.verification.update()
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
    return this.#parts.outbox.sealedBytes
  }

  toJSON(): unknown {
    return this.#room.replica.doc.toJSON()
  }

  members(): readonly Member[] {
    return this.#room.group.public.roster.map((entry) => memberOf(entry, this.#parts))
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
    await this.#parts.verification.again()
  }

  status(): DocumentStatus {
    return statusOf(this.#parts)
  }

  async invite(options: InviteOptions = {}): Promise<string> {
    this.#assertOpen()
    return await this.#parts.invites.make(roleOf(options.role ?? 'editor'), options.expiresInMs ?? inviteMsDefault)
  }

  invites(): readonly InviteInfo[] {
    return this.#parts.invites.open.map(({ role, ...invite }) => ({ ...invite, role: roleNameOf(role) }))
  }

  async revokeInvite(invite: string): Promise<void> {
    this.#assertUsable()
    await this.#parts.invites.revoke(invite)
  }

  async remove(memberId: string, signal?: AbortSignal): Promise<void> {
    const member = this.#member(memberId)
    if (equalBytes(member, this.#room.group.memberId)) {
      throw new HeddleError('INVALID', 'a device cannot remove itself; ask another admin')
    }
    await this.#change({ $case: 'remove', value: { member, leaves: false } }, signal)
  }

  async setRole(memberId: string, role: RoleName, signal?: AbortSignal): Promise<void> {
    const value: RoleSetProposal = { member: this.#member(memberId), role: roleOf(role) }
    await this.#change({ $case: 'setRole', value }, signal)
  }

  async rotate(signal?: AbortSignal): Promise<void> {
    await this.#change({ $case: 'rotate', value: { sinceEpoch: this.#room.group.epoch, automatic: false } }, signal)
  }

  async addServer(tickets: string | readonly string[], signal?: AbortSignal): Promise<void> {
    this.#assertMayChange()
    const server = serverToAdd(tickets, this.#room)
    await reach(server, this.#room.pool, this.#either(signal))
    await this.#change({ $case: 'serverAdd', value: { server } }, signal)
  }

  async removeServer(serverId: string, signal?: AbortSignal): Promise<void> {
    const id = serverToRemove(serverId, this.#room)
    await this.#change({ $case: 'serverRemove', value: { id } }, signal)
  }

  async replaceServer(serverId: string, tickets: string | readonly string[], signal?: AbortSignal): Promise<void> {
    this.#assertMayChange()
    const { id } = serverOf(serverId, this.#room)
    const server = serverOfTickets(tickets)
    if (!equalBytes(server.id, id)) {
      serverToAdd(tickets, this.#room, 'instead')
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
    this.#assertOpen()
    await this.#orAborted(this.#parts.leaving.leave(until), signal)
  }

  async branch(options: BranchOptions = {}, signal?: AbortSignal): Promise<Document> {
    this.#assertOpen()
    if (this.#room.leaving) throw leavingError()
    const document = await this.#parts.branchBeginning.begin(options, signal)
    await firstDecided(document, this.#room.context.clock, this.#either(signal))
    return document
  }

  async settled(level: 'stored' | 'sent' | 'safe', signal?: AbortSignal): Promise<void> {
    this.#assertUsable(level === 'stored')
    if (this.#room.leaving && this.#room.replica.peek() !== undefined) throw leavingError()
    await this.#orAborted(this.#parts.outgoing.settled(level), signal)
  }

  subscribe(callback: (event: DocumentEvent) => void): Disposable {
    const listener = (event: DocumentEvent) => callback(event)
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#abort.signal.aborted) return
    const { outgoing, leaving, changes, invites, branchBeginning, branchFollowing, following } = this.#parts
    // One last turn, so that edits made before this call are stored.
    if (this.#failure === undefined) this.#background(outgoing.settled('stored'))
    await this.#turns
    this.#abort.abort(new HeddleError('DISPOSED', `document ${this.id} is closed`))
    this.#localChanges[Symbol.dispose]()
    this.#stopTimers()
    leaving.giveUp(new HeddleError('ABORTED', 'the document was closed; the leaving goes on when it is opened'))
    changes.dispose(
      new HeddleError('ABORTED', 'the document was closed; the change stays pending and goes on when it is opened')
    )
    invites.giveUp(new HeddleError('DISPOSED', `document ${this.id} is closed`))
    branchBeginning.giveUp(new HeddleError('DISPOSED', `document ${this.id} is closed`))
    await branchFollowing[Symbol.asyncDispose]()
    await following.stop()
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
    const {
      recovery,
      changes,
      holdBack,
      incoming,
      silenced,
      invites,
      following,
      repair,
      outgoing,
      expiry,
      leaving,
      branchBeginning,
      branchFollowing,
      rotation
    } = this.#parts
    const turn = new Turn()
    await recovery.step()
    await changes.step(turn, holdBack.epochMax)
    holdBack.watch(changes.holdsBack)
    const { positions, missing, tainted } = await incoming.step(turn)
    this.#room.alarms.step(turn, store)
    if (tainted !== undefined) {
      silenced.write(turn)
      store.putGroup(turn, this.#room.group.takeDirtyRecords())
      await turn.commit(store.storage)
      throw tainted
    }
    await invites.step(turn, following.readyLinks)
    // What is sealed in an epoch long past, nobody can open.
    const online = following.readyLinks.length > 0 && !changes.holdsBack && !isClosed(this.#room)
    repair.step(turn, online)
    await outgoing.step(turn, online)
    expiry.step()
    leaving.step(turn)
    await branchBeginning.step(turn)
    await branchFollowing.step(turn)
    silenced.write(turn)
    const { group, removed } = this.#room
    store.putGroup(turn, group.takeDirtyRecords())
    for (const [server, position] of positions) this.#positions.set(server, position)
    following.noteProgress(turn, incoming.waiting === 0 ? this.#positions : new Map())
    replica.compact(turn)
    await turn.commit(store.storage)
    if (removed) {
      recovery[Symbol.dispose]()
      rotation[Symbol.dispose]()
      outgoing.giveUpSending(removedError())
      branchBeginning.giveUp(removedError())
      await following.stop()
      return
    }
    for (const member of missing) following.gaps.fill(member)
    if (!changes.holdsBack) this.#background(following.slots.catchUpFurther(following.readyLinks))
    else if (holdBack.epochMax > group.epoch) this.#wake()
    if (incoming.sawFutureEpoch) {
      incoming.sawFutureEpoch = false
      for (const link of following.readyLinks) this.#background(following.slots.catchUp(link))
    }
  }

  #stopTimers(): void {
    const { outgoing, holdBack, expiry, repair, recovery, rotation } = this.#parts
    outgoing.dispose()
    for (const part of [holdBack, expiry, repair, recovery, rotation]) part[Symbol.dispose]()
  }

  /** Told to `Device.join` after a restart, too: only by joining again this device may go on. */
  #rolledBack(error: HeddleError): void {
    const turn = new Turn()
    this.#room.rolledBack = true
    putDocument(turn, this.#room)
    const stored = this.#turns.then(() => turn.commit(this.#room.store.storage))
    this.#background(stored)
    this.#turns = Promise.allSettled([stored]).then(() => undefined)
    this.#fail(error)
  }

  /** The storage or the CRDT failed: going on could lose or repeat something, so nothing goes on. */
  #fail(error: HeddleError): void {
    this.#failure = error
    const { leaving, outgoing, invites, branchBeginning, branchFollowing, changes, following } = this.#parts
    this.#stopTimers()
    leaving.giveUp(error)
    outgoing.giveUp(error)
    invites.giveUp(error)
    branchBeginning.giveUp(error)
    this.#background(branchFollowing[Symbol.asyncDispose]())
    changes.dispose(error)
    this.#emit({ type: 'problem', error })
    this.#background(following.stop())
  }

  /** The app's word on a member is in. */
  #verified(memberId: Uint8Array): void {
    const entry = this.#room.group.public.member(memberId)
    if (entry !== undefined) this.#emit({ type: 'verification', member: memberOf(entry, this.#parts) })
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
    await this.#orAborted(this.#parts.changes.request(intent), signal)
  }

  #assertMayChange(asAdmin = true): void {
    this.#assertOpen()
    if (this.#room.leaving) throw leavingError()
    if (!asAdmin || this.#room.group.me.role === Role.ROLE_ADMIN) return
    throw new HeddleError('FORBIDDEN', 'only an admin changes members, roles, servers and the policy; ask one')
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

  /** The group takes changes still. */
  #assertOpen(): void {
    this.#assertUsable()
    if (isClosed(this.#room)) throw closedError()
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
