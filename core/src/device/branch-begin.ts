/**
 * Beginning a branch (SPEC GROUP-040 to GROUP-043): an admin's device asks the members along, waits for their key packages
 * and makes the new document, which is stored in the turn of the old one. The members' side is in `branch-follow.ts`. Called
 * by the document.
 */
import { emptyBytes, equalBytes, fromHex, toHex } from '../bytes.js'
import { HeddleError } from '../errors.js'
import { type BegunGroup, readKeyPackage } from '../group/index.js'
import type { Clock } from '../plugin/index.js'
import {
  type Branch,
  Create,
  DocumentRecord,
  type Follow,
  IntentRecord,
  PendingCommitRecord,
  Role
} from '../wire/index.js'
import type { BranchOptions, Document } from './api.js'
import { signedValue } from './pending.js'
import { asHeddleError, type Room, report } from './room.js'
import { serverList } from './servers.js'
import { DocumentStore, type Turn } from './store.js'

const answerMsDefault = 10_000
const answerMsMax = 600_000
/** How long `Document.branch` waits for the servers to decide the first commit. */
const decideTimeoutMs = 20_000

export interface BranchBeginningHooks {
  say(control: { readonly $case: 'branch'; readonly value: Branch }): void
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

export class BranchBeginning {
  readonly #room: Room
  readonly #hooks: BranchBeginningHooks
  /** By group id of the branch, hexadecimal. */
  readonly #asked = new Map<string, Asked>()
  #answered: { readonly member: Uint8Array; readonly follow: Follow }[] = []

  constructor(room: Room, hooks: BranchBeginningHooks) {
    this.#room = room
    this.#hooks = hooks
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

  /** A member's device comes along. Called within a turn, before `step`. */
  answered(member: Uint8Array, follow: Follow): void {
    this.#answered.push({ member, follow })
  }

  /** Takes effect, durably. Call it after local edits were taken. */
  async step(turn: Turn): Promise<void> {
    for (const { member, follow } of this.#answered.splice(0)) await this.#takeAnswer(member, follow)
    for (const [key, asked] of [...this.#asked]) if (this.#isComplete(asked)) await this.#create(turn, key, asked)
  }

  /** Nothing goes on here. A branch that is made goes on by itself. */
  giveUp(error: HeddleError): void {
    for (const key of [...this.#asked.keys()]) this.#giveUp(key, error)
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
