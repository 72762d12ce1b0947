/**
 * A device (SPEC DEVICE): its identity, its links to servers and its documents. The only file of the room that creates
 * and opens documents; what goes on inside one is in `document.ts`.
 */
import { concatBytes, toHex, utf8 } from '../bytes.js'
import { type CryptoProvider, createCrypto, type SuiteId } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import { generateKeyPackage, MemberGroup, memberIdOf, type OwnKeyPackage } from '../group/index.js'
import { quorum, slotConfigOf } from '../paxos/index.js'
import type { CrdtBackend, EndpointIdentity } from '../plugin/index.js'
import { StateVector } from '../sync/index.js'
import { Create, DocumentRecord, type Invite, Role } from '../wire/index.js'
import { Alarms } from './alarms.js'
import type { CreateOptions, Device, DeviceOptions, Document } from './api.js'
import { OpenDocument } from './document.js'
import { claimedIdentity } from './identity.js'
import { parseInvite } from './invites.js'
import { join } from './join.js'
import { LinkPool } from './links.js'
import { policyDefault } from './policy.js'
import { Replica } from './replica.js'
import type { BranchHost } from './room.js'
import { serverList } from './servers.js'
import { DocumentStore, deviceStore, parseDocumentId, Turn, takeOwnership } from './store.js'
import { invitedSuite, suiteIdOf } from './suites.js'

const createTimeoutMs = 20_000
/** After this long, servers that could not be reached at all are not waited for any more. */
const reachTimeoutMs = 4_000

/** Opens the device of a storage; the first time, its identity is made. Throws STORAGE_CORRUPT, CONFIG_INVALID. */
export async function openDevice(options: DeviceOptions): Promise<Device> {
  if (options.crdts.length === 0)
    throw new HeddleError('CONFIG_INVALID', 'a device needs a CRDT backend: give one in `crdts`')
  const crypto = createCrypto(options.context.random)
  const storage = await takeOwnership(options.storage, options.context.random(16))
  const identity = await loadIdentity({ ...options, storage }, crypto)
  return new OpenedDevice({ ...options, storage }, identity, crypto)
}

async function loadIdentity({ storage, context }: DeviceOptions, crypto: CryptoProvider): Promise<EndpointIdentity> {
  const stored = await deviceStore.identity(storage)
  const secretKey = stored?.secretKey ?? context.random(32)
  if (stored === undefined) await deviceStore.createIdentity(storage, { secretKey })
  return { secretKey, publicKey: crypto.publicKeyOf(secretKey) }
}

class OpenedDevice implements Device {
  readonly id: string
  readonly #options: DeviceOptions
  readonly #identity: EndpointIdentity
  readonly #crypto: CryptoProvider
  readonly #pool: LinkPool
  readonly #open = new Map<string, Promise<OpenDocument>>()
  /** Documents whose invite is being followed. */
  readonly #joining = new Set<string>()
  readonly #stop = new AbortController()
  readonly #branches: BranchHost

  constructor(options: DeviceOptions, identity: EndpointIdentity, crypto: CryptoProvider) {
    this.#options = options
    this.#identity = identity
    this.#crypto = crypto
    this.id = toHex(identity.publicKey)
    this.#branches = {
      follows: options.followBranches ?? true,
      crdtTypes: this.#crdtTypes,
      open: (groupId) => this.#openOnce(groupId)
    }
    this.#pool = new LinkPool({ context: options.context, identity, transports: options.transports })
  }

  async create(options: CreateOptions, signal?: AbortSignal): Promise<Document> {
    this.#assertUsable()
    const { storage, context } = this.#options
    const backend = this.#backend(options.crdt)
    const groupId = context.random(16)
    const group = await MemberGroup.create(
      {
        groupId,
        keyPackage: await this.#keyPackage(groupId, suiteIdOf(options.suite)),
        document: {
          crdtType: backend.typeId,
          protocolVersion: 1,
          policy: policyDefault
        },
        servers: serverList(options.servers),
        faultBound: options.faultBound ?? 0,
        defaultRole: options.defaultRole === 'reader' ? Role.ROLE_READER : Role.ROLE_EDITOR
      },
      this.#deps
    )
    const store = new DocumentStore(storage, groupId)
    const turn = new Turn()
    turn.put(
      store.key('document'),
      DocumentRecord.encode({
        crdtType: backend.typeId,
        joinedEpoch: 0n,
        removed: false,
        leaving: false,
        owesContent: false,
        rolledBack: false,
        epochSinceMs: BigInt(Math.floor(context.clock.now())),
        branchOf: undefined
      })
    )
    turn.put(store.key('genesis'), Create.encode({ groupInfo: await group.groupInfo(), decided: undefined }))
    store.putGroup(turn, group.takeDirtyRecords())
    await turn.commit(storage)
    const document = await this.#openOnce(groupId)
    try {
      await this.#atQuorum(document, quorum(slotConfigOf(group.public)), signal)
    } catch (error) {
      // A document that nobody was told of is none; a server that took it alone will never hear of it again.
      await storage.commit({ delRange: [store.everything()] })
      throw error
    }
    return document
  }

  async join(link: string, signal?: AbortSignal): Promise<Document> {
    this.#assertUsable()
    const invite = parseInvite(link)
    const id = toHex(invite.group)
    if (this.#joining.has(id)) {
      throw new HeddleError('INVALID', `this device is already joining document ${id}; wait for that or abort it`)
    }
    this.#joining.add(id)
    try {
      await this.#join(invite, signal)
    } finally {
      this.#joining.delete(id)
    }
    return await this.#openOnce(invite.group)
  }

  async #join(invite: Invite, signal: AbortSignal | undefined): Promise<void> {
    const store = new DocumentStore(this.#options.storage, invite.group)
    const known = await store.document()
    const isOver = known !== undefined && (known.removed || known.rolledBack || (await store.alarms()).length > 0)
    if (isOver) await (await this.#open.get(toHex(invite.group)))?.[Symbol.asyncDispose]()
    if (known === undefined || isOver) {
      if (!this.#crdtTypes.includes(invite.crdtType)) {
        const message = `the document needs the CRDT backend ${invite.crdtType}; this device has ${this.#crdtTypes.join(', ')}`
        throw new HeddleError('CAPABILITY_MISSING', message)
      }
      const suite = invitedSuite(invite)
      const { storage, context } = this.#options
      const on = {
        storage,
        context,
        pool: this.#pool,
        crypto: this.#crypto,
        crdtTypes: this.#crdtTypes,
        keyPackage: () => this.#keyPackage(invite.group, suite)
      }
      await join(invite, on, signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]))
    }
  }

  async open(documentId: string): Promise<Document> {
    this.#assertUsable()
    return await this.#openOnce(parseDocumentId(documentId))
  }

  async documents(): Promise<readonly string[]> {
    return (await deviceStore.documents(this.#options.storage)).map(toHex)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort(new HeddleError('DISPOSED', 'the device is closed'))
    const documents = await Promise.allSettled(this.#open.values())
    await Promise.all(
      documents.map((opened) => (opened.status === 'fulfilled' ? opened.value[Symbol.asyncDispose]() : undefined))
    )
    await this.#pool.close()
  }

  get #deps() {
    return { crypto: this.#crypto, now: () => this.#options.context.clock.now() }
  }

  get #crdtTypes(): readonly string[] {
    return this.#options.crdts.map(({ typeId }) => typeId)
  }

  async #keyPackage(groupId: Uint8Array, suite: SuiteId): Promise<OwnKeyPackage> {
    const signatureKey = this.#crypto.randomBytes(32)
    const signaturePublicKey = this.#crypto.publicKeyOf(signatureKey)
    const identity = await claimedIdentity(this.#options.claimIdentity, {
      documentId: toHex(groupId),
      memberId: toHex(memberIdOf(this.#crypto, groupId, signaturePublicKey)),
      signaturePublicKey,
      deviceId: this.id
    })
    const device = { endpointId: this.#identity.publicKey, crdtTypes: this.#crdtTypes, identity }
    const nowMs = this.#options.context.clock.now()
    return generateKeyPackage({ crypto: this.#crypto, device, nowMs, signatureKey, suite })
  }

  #backend(typeId: string | undefined): CrdtBackend {
    const backend = this.#options.crdts.find((one) => typeId === undefined || one.typeId === typeId)
    if (backend !== undefined) return backend
    const message = `this device has no CRDT backend "${typeId}"; it has ${this.#crdtTypes.join(', ')}`
    throw new HeddleError('CAPABILITY_MISSING', message)
  }

  async #openOnce(groupId: Uint8Array): Promise<OpenDocument> {
    // What led here may have taken a while.
    this.#assertUsable()
    const id = toHex(groupId)
    const open = this.#open.get(id)
    if (open !== undefined) return await open
    const opening = this.#openStored(groupId)
    this.#open.set(id, opening)
    opening.catch(() => this.#open.delete(id))
    return await opening
  }

  async #openStored(groupId: Uint8Array): Promise<OpenDocument> {
    const { storage, context } = this.#options
    const id = toHex(groupId)
    const store = new DocumentStore(storage, groupId)
    const record = await store.document()
    if (record === undefined) throw new HeddleError('NOT_FOUND', `this device has no document ${id}`)
    const group = MemberGroup.load(await store.entries('group'), this.#deps)
    const applied = await store.applied()
    const heads = applied.map(({ head }) => head)
    const untold = applied.filter(({ head, toldSeq }) => head.seq > toldSeq).map(({ head }) => head.member)
    return await OpenDocument.open(
      {
        id,
        groupId,
        joinedEpoch: record.joinedEpoch,
        removed: record.removed,
        leaving: record.leaving,
        owesContent: record.owesContent,
        rolledBack: record.rolledBack,
        epochSinceMs: Number(record.epochSinceMs),
        context,
        crypto: this.#crypto,
        pool: this.#pool,
        store,
        // Fresh for every session: two sessions of one device must never write as the same actor.
        replica: await Replica.open(
          store,
          this.#backend(record.crdtType),
          this.#crypto.sha256(concatBytes(utf8('heddle/1 actor\0'), groupId, context.random(16))).slice(0, 16)
        ),
        vector: new StateVector(heads, untold),
        alarms: new Alarms(await store.alarms()),
        verifyMember: this.#options.verifyMember,
        branchOf: record.branchOf,
        branches: this.#branches,
        group
      },
      () => this.#open.delete(id)
    )
  }

  /** Resolves when so many servers hold the document. */
  async #atQuorum(document: OpenDocument, needed: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#options.context
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: HeddleError) => {
        for (const timer of timers) timer[Symbol.dispose]()
        subscription[Symbol.dispose]()
        signal?.removeEventListener('abort', onAbort)
        if (error === undefined) resolve()
        else document[Symbol.asyncDispose]().then(() => reject(error), reject)
      }
      const onAbort = () => settle(new HeddleError('ABORTED', 'creating the document was aborted'))
      const giveUp = () => settle(noQuorum(document, needed))
      const isHopeless = () => {
        const { servers } = document.status()
        return servers.filter(({ state }) => state === 'connected' || state === 'connecting').length < needed
      }
      const timers = [
        clock.setTimer(createTimeoutMs, giveUp),
        clock.setTimer(reachTimeoutMs, () => {
          if (isHopeless()) giveUp()
        })
      ]
      const check = () => {
        if (document.status().connection === 'online') settle()
      }
      const subscription = document.subscribe(check)
      signal?.addEventListener('abort', onAbort)
      if (signal?.aborted) onAbort()
      else check()
    })
  }

  #assertUsable(): void {
    if (this.#stop.signal.aborted) throw new HeddleError('DISPOSED', 'the device is closed')
  }
}

/** Says of each server why it does not answer. */
function noQuorum(document: Document, needed: number): HeddleError {
  const { servers } = document.status()
  const states = servers.map(
    ({ address, state, lastError }) => `${address} is ${state}${lastError ? `: ${lastError.message}` : ''}`
  )
  return new HeddleError(
    'NO_QUORUM',
    `${needed} of ${servers.length} servers have to take the document: check that they run, and their tickets. ${states.join('; ')}`
  )
}
