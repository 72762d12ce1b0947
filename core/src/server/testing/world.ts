/**
 * What the server's tests play with: servers on memory storage and a memory network, and devices that are real members of
 * real groups but have no logic of their own, so that a test can make them do what no honest device would.
 */
import { MemoryDisk, memoryStorage, type OnCommit } from '@heddle/storage-memory'
import { createMemoryNetwork, memoryTransport } from '@heddle/transport-memory'
import { toHex } from '../../bytes.js'
import { type CryptoProvider, createCrypto } from '../../crypto/index.js'
import { type CommitPlan, generateKeyPackage, MemberGroup, type OwnKeyPackage } from '../../group/index.js'
import { alpn, type DeviceChannel, type News, openChannel } from '../../net/index.js'
import { parsePromise, proofHash, signedInput, valueHash } from '../../paxos/index.js'
import { type Context, type EndpointIdentity, type Storage, systemContext, type Transport } from '../../plugin/index.js'
import { chainStart, digest } from '../../sync/index.js'
import {
  Accept,
  type BackedPromise,
  type Ballot,
  type DecidedSlot,
  Envelope,
  EnvelopeHeader,
  EnvelopeKind,
  Prepare,
  Role,
  SIGNATURE_LABELS,
  type Signed,
  SubscribeMode,
  Value,
  ValueContent
} from '../../wire/index.js'
import type { Server, ServerOptions } from '../index.js'
import { startServer } from '../index.js'

type MemoryNetwork = ReturnType<typeof createMemoryNetwork>

export class World implements AsyncDisposable {
  readonly context: Context
  readonly crypto: CryptoProvider
  /** Delivers at once unless a test sets a latency. */
  readonly network: MemoryNetwork
  readonly transport: Transport
  readonly hosts: ServerHost[] = []
  readonly devices: TestDevice[] = []

  private constructor(context: Context, network: MemoryNetwork, transport: Transport) {
    this.context = context
    this.crypto = createCrypto(context.random)
    this.network = network
    this.transport = transport
  }

  static async start(servers: number, options: Partial<ServerOptions> = {}, context = systemContext()): Promise<World> {
    const network = createMemoryNetwork({ clock: context.clock })
    const transport = await memoryTransport.create({ network, host: 'world' }, context)
    const world = new World(context, network, transport)
    for (let i = 0; i < servers; i++) {
      const host = new ServerHost(world, `mem://server-${i}`, options)
      await host.start()
      world.hosts.push(host)
    }
    return world
  }

  async device(): Promise<TestDevice> {
    const device = await TestDevice.make(this)
    this.devices.push(device)
    return device
  }

  get servers(): readonly Server[] {
    return this.hosts.map(({ server }) => server)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts) await host.stop()
    await this.transport[Symbol.asyncDispose]()
  }
}

/** A server that can be stopped, killed and started again on its disk. */
export class ServerHost {
  readonly disk = new MemoryDisk()
  readonly address: string
  /** Delays or fails commits of the storage opened last. */
  onCommit: OnCommit | undefined
  readonly #world: World
  readonly #options: Partial<ServerOptions>
  #storage: Storage | undefined
  #server: Server | undefined

  constructor(world: World, address: string, options: Partial<ServerOptions>) {
    this.#world = world
    this.address = address
    this.#options = options
  }

  get server(): Server {
    if (this.#server === undefined) throw new Error('the server is not started')
    return this.#server
  }

  async start(): Promise<void> {
    const { context, crypto, transport } = this.#world
    const onCommit: OnCommit = (batch) => this.onCommit?.(batch)
    this.#storage = await memoryStorage.create({ shared: this.disk, onCommit }, context)
    this.#server = await startServer({
      storage: this.#storage,
      transports: [transport],
      listen: [this.address],
      context,
      crypto,
      ...this.#options
    })
  }

  async stop(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
    await this.#storage?.[Symbol.asyncDispose]()
  }

  /** As if the process had died: nothing is closed, and the storage it holds is dead. */
  async kill(): Promise<void> {
    const dead = this.#server
    this.#server = undefined
    this.#storage = undefined
    // Its disk is taken away first, so that stopping cannot store anything.
    await memoryStorage.create({ shared: this.disk }, this.#world.context)
    await dead?.[Symbol.asyncDispose]()
  }

  /** Overwrites the saved groups of a document; the server has to be stopped. */
  async damage(group: Uint8Array): Promise<void> {
    const storage = await memoryStorage.create({ shared: this.disk }, this.#world.context)
    const gte = Uint8Array.of(16, ...group, 2)
    const lt = Uint8Array.of(16, ...group, 3)
    for await (const page of storage.scan({ gte, lt }))
      await storage.commit({ put: page.map(({ key }) => ({ key, value: Uint8Array.of(1, 2, 3) })) })
    await storage[Symbol.asyncDispose]()
  }

  /** Everything stored, but for the owner's token: equal when nothing was changed. */
  async content(): Promise<string> {
    const storage = this.#storage
    if (storage === undefined) throw new Error('the server is not started')
    const lines: string[] = []
    for await (const page of storage.scan({ gte: new Uint8Array(0), lt: Uint8Array.of(255) }))
      for (const { key, value } of page) if (key[0] !== 2) lines.push(`${toHex(key)} ${toHex(value)}`)
    return lines.join('\n')
  }
}

/** A device's end of one connection. */
export interface Link {
  readonly channel: DeviceChannel
  readonly news: News[]
  /** Resolves with the first news that fits, past or to come. */
  until<N extends News>(fits: (news: News) => news is N): Promise<N>
  until(fits: (news: News) => boolean): Promise<News>
}

export class TestDevice {
  readonly world: World
  readonly endpoint: EndpointIdentity
  readonly keyPackage: OwnKeyPackage
  group!: MemberGroup
  /** Own chain. */
  seq = 0n
  previous: Uint8Array | undefined
  readonly links = new Map<string, Link>()
  #incarnation = 1n

  private constructor(world: World, endpoint: EndpointIdentity, keyPackage: OwnKeyPackage) {
    this.world = world
    this.endpoint = endpoint
    this.keyPackage = keyPackage
  }

  static async make(world: World): Promise<TestDevice> {
    const { crypto, context } = world
    const secretKey = crypto.randomBytes(32)
    const endpoint = { publicKey: crypto.publicKeyOf(secretKey), secretKey }
    const device = { endpointId: endpoint.publicKey, crdtTypes: ['test/1'] }
    const keyPackage = await generateKeyPackage({ crypto, device, nowMs: context.clock.now() })
    return new TestDevice(world, endpoint, keyPackage)
  }

  get deps() {
    return { crypto: this.world.crypto, now: () => this.world.context.clock.now() }
  }
  get groupId(): Uint8Array {
    return this.group.public.groupId
  }
  get memberId(): Uint8Array {
    return this.group.memberId
  }

  // ── Connections ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** The link to a server, connected when there is none. */
  async to(host: ServerHost): Promise<Link> {
    const known = this.links.get(host.address)
    if (known !== undefined) return known
    const link = await this.connect(host)
    this.links.set(host.address, link)
    return link
  }

  async connect(host: ServerHost, onNews?: (news: News) => void | Promise<void>): Promise<Link> {
    const { context, transport } = this.world
    const connection = await transport.dial(host.address, { identity: this.endpoint, alpn, signal: context.signal })
    const news: News[] = []
    let woken = () => {}
    let wake = new Promise<void>((resolve) => {
      woken = resolve
    })
    const channel = await openChannel(connection, {
      context,
      agent: 'test',
      onNews: (item) => {
        news.push(item)
        woken()
        wake = new Promise<void>((resolve) => {
          woken = resolve
        })
        return onNews?.(item)
      }
    })
    const until = async (fits: (news: News) => boolean): Promise<News> => {
      for (let seen = 0; ; ) {
        while (seen < news.length) {
          const item = news[seen++] as News
          if (fits(item)) return item
        }
        await wake
      }
    }
    return { channel, news, until: until as Link['until'] }
  }

  /** Forgets its connections, as when servers were restarted. */
  disconnect(): void {
    this.links.clear()
  }

  async subscribe(host: ServerHost, mode: SubscribeMode = SubscribeMode.SUBSCRIBE_MODE_FULL, afterPosition = 0n) {
    const { channel } = await this.to(host)
    const value = { group: this.groupId, mode, afterPosition }
    return (await channel.request({ $case: 'subscribe', value })).value
  }

  // ── Documents ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes a group of its own, known to the servers given. */
  async found(hosts: readonly ServerHost[], groupId = this.world.crypto.randomBytes(16)): Promise<void> {
    const servers = hosts.map(({ server, address }) => ({ id: server.id, addresses: [address] }))
    servers.sort((a, b) => (toHex(a.id) < toHex(b.id) ? -1 : 1))
    const policy = { retainedEpochs: 2, retainedDays: 30, removalMode: 1, rotationHours: 0 } as const
    const document = { crdtType: 'test/1', protocolVersion: 1, policy }
    const start = { groupId, keyPackage: this.keyPackage, document, servers, faultBound: 0 }
    this.group = await MemberGroup.create({ ...start, defaultRole: Role.ROLE_EDITOR }, this.deps)
  }

  async create(hosts: readonly ServerHost[]): Promise<void> {
    await this.found(hosts)
    for (const host of hosts) await this.createOn(host)
  }

  async createOn(host: ServerHost): Promise<void> {
    const { channel } = await this.to(host)
    await channel.request({ $case: 'create', value: { groupInfo: await this.group.groupInfo(), decided: undefined } })
  }

  // ── Envelopes ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The next envelope of its chain, with whatever a test wants wrong in it. */
  async seal(changes: Partial<EnvelopeHeader> = {}, text = 'edit'): Promise<Uint8Array> {
    const header = {
      group: this.groupId,
      epoch: this.group.epoch,
      ctxTag: this.group.public.ctxTag,
      member: this.memberId,
      seq: this.seq + 1n,
      previous: this.previous ?? chainStart(this.groupId, this.memberId),
      kind: EnvelopeKind.ENVELOPE_KIND_UPDATE,
      ...changes
    }
    const headerBytes = EnvelopeHeader.encode(header)
    const sealed = await this.group.encrypt(new TextEncoder().encode(text), headerBytes)
    const { senderData, ciphertext } = sealed
    const { signed, hash } = digest(headerBytes, senderData, ciphertext)
    this.seq = header.seq
    this.previous = hash
    return Envelope.encode({ header: headerBytes, senderData, ciphertext, signature: this.group.sign(signed) })
  }

  /** Seals and does not move its own chain. */
  async sealAside(changes: Partial<EnvelopeHeader> = {}, text = 'aside'): Promise<Uint8Array> {
    const { seq, previous } = this
    const envelope = await this.seal(changes, text)
    this.seq = seq
    this.previous = previous
    return envelope
  }

  async upload(host: ServerHost, ...envelopes: readonly Uint8Array[]) {
    const { channel } = await this.to(host)
    const answer = await channel.request({ $case: 'upload', value: { group: this.groupId, envelopes } })
    return answer.value.receipts
  }

  // ── Paxos ────────────────────────────────────────────────────────────────────────────────────────────────────────

  ballot(round: bigint): Ballot {
    return { round, leaf: this.group.me.leafIndex, incarnation: this.#incarnation }
  }

  #sign(label: string, statement: Uint8Array): Signed {
    return { statement, signature: this.group.sign(signedInput(label, statement)) }
  }

  #binding() {
    const { groupId: group, epoch: slot, ctx } = this.group.public
    return { group, slot, ctx }
  }

  prepareRequest(round: bigint): { readonly prepare: Signed } {
    const statement = Prepare.encode({ ...this.#binding(), ballot: this.ballot(round) })
    return { prepare: this.#sign(SIGNATURE_LABELS.Prepare, statement) }
  }

  async prepare(host: ServerHost, round: bigint) {
    const { channel } = await this.to(host)
    return channel.request({ $case: 'prepare', value: this.prepareRequest(round) })
  }

  acceptRequest(round: bigint, value: Uint8Array, proof: readonly BackedPromise[]) {
    const statements = proof.map(({ promise }) => parsePromise(promise))
    const accept = {
      ...this.#binding(),
      ballot: this.ballot(round),
      valueHash: valueHash(value),
      proofHash: proofHash(statements)
    }
    return { accept: this.#sign(SIGNATURE_LABELS.Accept, Accept.encode(accept)), value, proof }
  }

  async accept(host: ServerHost, round: bigint, value: Uint8Array, proof: readonly BackedPromise[]) {
    const { channel } = await this.to(host)
    return channel.request({ $case: 'accept', value: this.acceptRequest(round, value, proof) })
  }

  /** A value that commits to this plan, and what adopts it. */
  async value(plan: CommitPlan = {}): Promise<{ readonly value: Uint8Array; readonly pending: Uint8Array }> {
    const { commit, welcome, pending } = await this.group.buildCommit(plan)
    const content = ValueContent.encode({ commit, welcome: welcome ?? new Uint8Array(0) })
    const signature = this.group.sign(signedInput(SIGNATURE_LABELS.ValueContent, content))
    return { value: Value.encode({ content, signature }), pending }
  }

  /** Phase 1 with these servers, all of which have to promise. */
  async promises(hosts: readonly ServerHost[], round: bigint): Promise<readonly BackedPromise[]> {
    const proof: BackedPromise[] = []
    for (const host of hosts) {
      const answer = await this.prepare(host, round)
      if (answer.$case !== 'promise') throw new Error(`the answer to Prepare is ${answer.$case}`)
      proof.push({ promise: answer.value.promise, accept: answer.value.accept })
    }
    return proof
  }

  /** Both phases with these servers; the slot is decided, but nobody has been told. */
  async propose(hosts: readonly ServerHost[], value: Uint8Array, round = 1n): Promise<DecidedSlot> {
    const proof = await this.promises(hosts, round)
    const votes: Signed[] = []
    for (const host of hosts) {
      const answer = await this.accept(host, round, value, proof)
      if (answer.$case !== 'vote') throw new Error(`the answer to Accept is ${answer.$case}`)
      votes.push(answer.value.vote)
    }
    return { slot: this.group.epoch, value, certificate: { votes } }
  }

  /** Decides a commit with a quorum and enters its epoch; servers are told separately. */
  async decide(hosts: readonly ServerHost[], plan: CommitPlan = {}, round = 1n): Promise<DecidedSlot> {
    const { value, pending } = await this.value(plan)
    const decided = await this.propose(hosts, value, round)
    this.group = await this.group.adopt(pending)
    return decided
  }

  async tell(host: ServerHost, ...slots: readonly DecidedSlot[]): Promise<void> {
    const { channel } = await this.to(host)
    await channel.request({ $case: 'decided', value: { group: this.groupId, slots } })
  }

  /** Decides with all of them and tells all of them. */
  async commit(hosts: readonly ServerHost[], plan: CommitPlan = {}): Promise<DecidedSlot> {
    const decided = await this.decide(hosts, plan)
    for (const host of hosts) await this.tell(host, decided)
    return decided
  }

  /** Enters the epoch of somebody else's commit. */
  async follow(decided: DecidedSlot): Promise<void> {
    const { commit } = ValueContent.decode(Value.decode(decided.value).content)
    const processed = await this.group.processCommit(commit)
    if (!processed.removed) this.group = processed.group
  }

  /** `tree`: of the epoch that the slot began. */
  async join(decided: DecidedSlot, tree: Uint8Array): Promise<void> {
    const { welcome } = ValueContent.decode(Value.decode(decided.value).content)
    this.group = await MemberGroup.join({ welcome, tree, keyPackage: this.keyPackage }, this.deps)
  }

  /** Adds a new device and tells the servers; it is in the group afterwards. */
  async add(hosts: readonly ServerHost[], role?: Role): Promise<TestDevice> {
    const joiner = await this.world.device()
    const keyPackage = joiner.keyPackage.message
    const decided = await this.commit(hosts, { adds: [role === undefined ? { keyPackage } : { keyPackage, role }] })
    await joiner.join(decided, this.group.public.ratchetTree())
    return joiner
  }
}
