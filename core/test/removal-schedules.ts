/**
 * Random schedules of a removal: five devices with the real sync code (incoming, outgoing, repair, standings, replica) on
 * servers that deliver in any order, refuse the removed member from some time on, and one of which keeps things from
 * some devices; the removed member and another may lie about how far it got. Cryptography and the CRDT are stand-ins, so that thousands of schedules run in a minute.
 */
import { compareBytes, toHex, utf8 } from '../src/bytes.js'
import { Alarms } from '../src/device/alarms.js'
import { Chains } from '../src/device/chains.js'
import { Incoming } from '../src/device/incoming.js'
import { Outbox } from '../src/device/outbox.js'
import { Outgoing } from '../src/device/outgoing.js'
import { Repair } from '../src/device/repair.js'
import { Replica } from '../src/device/replica.js'
import type { Room } from '../src/device/room.js'
import { Silenced } from '../src/device/silenced.js'
import { StateDuty } from '../src/device/state-duty.js'
import { DocumentStore, Turn } from '../src/device/store.js'
import type { Batch, Context, CrdtBackend, CrdtDoc, CrdtInit, Entry, ScanRange, Storage } from '../src/index.js'
import { type ParsedEnvelope, parseEnvelope, Standings, StateVector } from '../src/sync/index.js'
import {
  type AppliedRecord,
  type Codec,
  ControlPayload,
  type CutProposal,
  EnvelopeHeader,
  EnvelopeKind,
  type ForkRecord,
  type Head,
  type LackRecord,
  type NamedRecord,
  Payload,
  Receipt,
  type RemovalMode,
  Role,
  type StandingRecord
} from '../src/wire/index.js'
import { type SeededRandom, seededRandom } from './random.js'

const names = ['A', 'B', 'C', 'D', 'R'] as const
type Name = (typeof names)[number]
const remaining: readonly Name[] = ['A', 'B', 'C', 'D']
const groupId = new Uint8Array(16).fill(7)
const idOf = (name: Name): Uint8Array => new Uint8Array(16).fill(name.charCodeAt(0))
const nameOf = (member: Uint8Array): Name => String.fromCharCode(member[0] ?? 0) as Name
const serverIds = [0, 1, 2].map((id) => new Uint8Array(32).fill(id))
const text = new TextDecoder()

/** What became of one schedule. */
export interface Outcome {
  /** Content of each remaining device's document at the end, sorted. */
  readonly documents: ReadonlyMap<Name, readonly string[]>
  /** Edits that some remaining device once showed and that some remaining document lacks at the end. */
  readonly retracted: readonly string[]
  /** Edits of the removed member, and how many of them are in the documents. */
  readonly written: number
  readonly kept: number
  /** Members' edits that wait for one that never comes. */
  readonly broken: number
}

export interface ScheduleOptions {
  readonly mode: RemovalMode
  /** Some devices are killed at some time. */
  readonly restarts: boolean
  /** R and D name heads of R in their messages that there never were; D is in no outcome then. */
  readonly lies: boolean
}

/** Runs one schedule to its end. */
export async function runSchedule(seed: number, { mode, restarts, lies }: ScheduleOptions): Promise<Outcome> {
  const random = seededRandom(seed)
  const clock = new Scheduler()
  const servers = [0, 1, 2].map((id) => new TestServer(id, random))
  const devices = new Map<Name, TestDevice>()
  for (const name of names) {
    const device = new TestDevice(name, { clock, random, servers, devices, mode, lies })
    devices.set(name, device)
    await device.open()
  }
  const device = (name: Name): TestDevice => devices.get(name) as TestDevice
  for (const name of names)
    for (let edits = 1 + random.below(5); edits > 0; edits--)
      clock.at(random.below(300), () => device(name).edit(`${name}${edits}`))
  clock.at(150 + random.below(100), () => {
    const head = device('A').vector.get(idOf('R'))
    const cut = { member: idOf('R'), seq: head?.seq ?? 0n, hash: head?.hash ?? new Uint8Array(32) }
    for (const server of servers)
      clock.at(clock.nowMs + random.below(300), () => {
        server.refuses = true
      })
    for (const name of names)
      clock.at(clock.nowMs + (name === 'A' ? 0 : 5 + random.below(400)), () => device(name).install(cut))
  })
  if (restarts)
    for (const name of remaining) if (random.below(2) === 0) clock.at(random.below(900), () => device(name).restart())
  // After an hour everything that was tried again has been.
  await clock.runUntil(3_700_000)
  const honest = remaining.filter((name) => !lies || name !== 'D')
  const documents = new Map(honest.map((name) => [name, device(name).doc.content()]))
  const shown = new Set(honest.flatMap((name) => [...device(name).everShown]))
  const retracted = [...shown].filter((id) => [...documents.values()].some((content) => !content.includes(id)))
  for (const name of names) device(name).dispose()
  return {
    documents,
    retracted,
    written: [...device('R').doc.content()].filter((id) => id.startsWith('R')).length,
    kept: (documents.get('A') ?? []).filter((id) => id.startsWith('R')).length,
    broken: honest.reduce((sum, name) => sum + device(name).doc.pending, 0)
  }
}

/** A virtual clock whose callbacks may be asynchronous and run one after another. */
class Scheduler {
  nowMs = 0
  #tasks: { readonly atMs: number; readonly run: () => unknown }[] = []
  #stopped = false

  at(atMs: number, run: () => unknown): Disposable {
    const task = { atMs, run }
    const later = this.#tasks.findLastIndex((one) => one.atMs <= atMs) + 1
    this.#tasks.splice(later, 0, task)
    return {
      [Symbol.dispose]: () => {
        this.#tasks = this.#tasks.filter((one) => one !== task)
      }
    }
  }

  async runUntil(endMs: number): Promise<void> {
    while (!this.#stopped) {
      const task = this.#tasks[0]
      if (task === undefined || task.atMs > endMs) return
      this.#tasks.shift()
      this.nowMs = task.atMs
      await task.run()
    }
  }
}

/** Stores what it is given in order, and shows it to whom it likes. */
class TestServer {
  refuses = false
  readonly chains = new Map<Name, ParsedEnvelope[]>()
  /** Devices it never shows the removed member's messages. */
  readonly #hides: ReadonlySet<Name>

  constructor(id: number, random: SeededRandom) {
    this.#hides = new Set(id === 2 ? names.filter(() => random.below(2) === 0) : [])
  }

  store(envelope: ParsedEnvelope): boolean {
    const sender = nameOf(envelope.header.member)
    if (this.refuses && sender === 'R') return false
    const chain = this.chains.get(sender) ?? []
    this.chains.set(sender, chain)
    if (BigInt(chain.length) + 1n !== envelope.header.seq) return BigInt(chain.length) >= envelope.header.seq
    chain.push(envelope)
    return true
  }

  shows(to: Name, sender: Name): readonly ParsedEnvelope[] {
    return sender === 'R' && this.#hides.has(to) ? [] : (this.chains.get(sender) ?? [])
  }
}

/** A device over several processes: what one has committed, the next finds. */
class TestDevice {
  readonly #name: Name
  readonly #world: ScheduleWorld
  readonly #storage = new MapStorage()
  readonly everShown = new Set<string>()
  #process: DeviceProcess | undefined

  constructor(name: Name, world: ScheduleWorld) {
    this.#name = name
    this.#world = world
  }

  /** How far the process that runs, or ran last, has the group. */
  epoch = 0n
  #cut: CutProposal | undefined

  get doc(): SetDoc {
    return (this.#process as DeviceProcess).doc
  }

  get vector(): StateVector {
    return (this.#process as DeviceProcess).room.vector
  }

  async open(): Promise<void> {
    const process = await DeviceProcess.open(this.#name, this.#world, this.#storage, this)
    this.#process = process
    if (this.#cut !== undefined && this.epoch === 0n) this.install(this.#cut)
    if (this.#name !== 'R' || this.#cut === undefined) process.catchUp()
  }

  /** The process is gone from one moment to the next, and there again some time later. */
  async restart(): Promise<void> {
    this.#process?.kill()
    await this.open()
  }

  edit(id: string): void {
    this.#process?.edit(id)
  }

  install(cut: CutProposal): void {
    this.#cut = cut
    this.#process?.install(cut)
  }

  receive(envelope: ParsedEnvelope, server: number): void {
    this.#process?.receive(envelope, server)
  }

  dispose(): void {
    this.#process?.kill()
  }
}

interface ScheduleWorld {
  readonly clock: Scheduler
  readonly random: SeededRandom
  readonly servers: readonly TestServer[]
  readonly devices: ReadonlyMap<Name, TestDevice>
  readonly mode: RemovalMode
  readonly lies: boolean
}

class DeviceProcess {
  readonly #name: Name
  readonly #clock: Scheduler
  readonly #random: SeededRandom
  readonly #servers: readonly TestServer[]
  readonly #devices: ReadonlyMap<Name, TestDevice>
  readonly #device: TestDevice
  readonly #mode: RemovalMode
  readonly #lie: (() => Head) | undefined
  readonly room: Room
  readonly doc: SetDoc
  readonly #silenced: Silenced
  readonly #incoming: Incoming
  readonly #outbox: Outbox
  readonly #outgoing: Outgoing
  readonly #repair: Repair
  #group: TestGroup
  #awake = false
  #uploaded = 0n
  #killed = false

  static async open(name: Name, world: ScheduleWorld, storage: Storage, device: TestDevice): Promise<DeviceProcess> {
    const store = new DocumentStore(storage, groupId)
    const doc = new SetDoc()
    const backend = {
      open: async ({ updates = [] }: CrdtInit) => {
        doc.apply(updates)
        return doc
      }
    } as unknown as CrdtBackend
    const replica = await Replica.open(store, backend, new Uint8Array(16))
    const applied = await store.applied()
    const stored = {
      applied,
      standings: await store.standings(),
      names: await store.names(),
      lacks: await store.lacks(),
      forks: await store.forks(),
      own: await store.entries('own'),
      unsealed: await store.entries('unsealed')
    }
    const untold = applied.filter(({ head, toldSeq }) => toldSeq < head.seq).map(({ head }) => head.member)
    const vector = new StateVector(
      applied.map(({ head }) => head),
      untold
    )
    return new DeviceProcess(name, world, device, { store, doc, replica, vector, stored })
  }

  private constructor(
    name: Name,
    world: ScheduleWorld,
    device: TestDevice,
    { store, doc, replica, vector, stored }: Loaded
  ) {
    const { clock } = world
    this.#name = name
    this.#clock = clock
    this.#random = world.random
    this.#servers = world.servers
    this.#devices = world.devices
    this.#device = device
    this.#mode = world.mode
    this.doc = doc
    this.#lie = world.lies && (name === 'R' || name === 'D') ? () => inventedHead(world.random) : undefined
    this.#group = new TestGroup(name, device.epoch, world.mode, this.#lie)
    this.room = {
      id: name,
      groupId,
      joinedEpoch: 0n,
      context: {
        clock: {
          now: () => clock.nowMs,
          setTimer: (delayMs: number, run: () => void) =>
            clock.at(clock.nowMs + delayMs, () => {
              if (!this.#killed) run()
            })
        },
        log: () => {}
      } as unknown as Context,
      crypto: { verify: () => true },
      alarms: new Alarms([]),
      pool: { random: () => world.random.next() },
      store,
      replica,
      vector,
      group: this.#group,
      removed: false,
      signal: new AbortController().signal,
      wake: () => this.#wake(),
      emit: () => {}
    } as unknown as Room
    const standings = new Standings(stored.standings, stored.names)
    this.#repair = new Repair(this.room, stored, {
      ask: (value, sealed) => this.#outgoing.queueControl({ $case: 'repairRequest', value }, sealed),
      answer: (due) => this.#outgoing.queueAnswer(due),
      frozen: (member) => this.#incoming.freeze(member),
      passedOver: (member) => this.#silenced.passedOver(member),
      misses: (member) => this.#silenced.isBehind(member) || chains.isBefore(member),
      overdue: (member) => this.#incoming.overdue(member)
    })
    const chains = new Chains(this.room, this.#repair, stored.applied)
    this.#silenced = new Silenced(this.room, chains, this.#repair, standings)
    const start = { chains, silenced: this.#silenced, repair: this.#repair, mayBeLate: false }
    this.#incoming = new Incoming(this.room, start, {
      blame: (_server, error) => {
        throw error
      },
      control: (control, head) => {
        if (control.$case === 'repairRequest') this.#repair.onRequest(head.member, head, control.value)
      }
    })
    this.#outbox = new Outbox(
      this.room,
      this.#silenced,
      { own: stored.own, receipted: new Map() },
      {
        durable: () => this.#upload(),
        safe: () => {},
        receipted: () => this.#outgoing.receipted()
      }
    )
    const stateDuty = new StateDuty(this.room, this.#incoming, this.#outbox, undefined)
    const parts = { outbox: this.#outbox, stateDuty, silenced: this.#silenced }
    this.#outgoing = new Outgoing(this.room, parts, stored.unsealed)
  }

  /** A process that has just begun asks for what it lacks, and says again what it cannot know to be stored. */
  catchUp(): void {
    for (const name of names) if (name !== this.#name) this.#fetch(name, 6)
    this.#upload()
    this.#wake()
  }

  kill(): void {
    this.#killed = true
    this.#repair[Symbol.dispose]()
    this.#outgoing.dispose()
  }

  edit(id: string): void {
    if (this.room.removed) return
    this.doc.add(id)
    this.#wake()
  }

  /** The decided commit that removes R. */
  install(cut: CutProposal): void {
    if (this.#name === 'R') {
      this.room.removed = true
      return
    }
    this.#group = new TestGroup(this.#name, 1n, this.#mode, this.#lie)
    Object.assign(this.room, { group: this.#group })
    this.#incoming.silence(0n, idOf('A'), [cut])
    this.#incoming.retry()
    this.#wake()
  }

  receive(envelope: ParsedEnvelope, server: number): void {
    if (!this.room.removed) void this.#incoming.add({ server: String(server), envelopes: [envelope.bytes] })
  }

  #wake(): void {
    if (this.#awake) return
    this.#awake = true
    this.#clock.at(this.#clock.nowMs, async () => {
      this.#awake = false
      if (!this.#killed) await this.#turn()
    })
  }

  async #turn(): Promise<void> {
    const turn = new Turn()
    const { epoch } = this.#group
    const { missing, tainted } = await this.#incoming.step(turn)
    if (tainted === undefined) {
      this.#repair.step(turn, true)
      await this.#outgoing.step(turn, true)
    }
    this.#silenced.write(turn)
    await turn.commit(this.room.store.storage)
    this.#device.epoch = epoch
    // What was taken back shows only in a document that is opened anew.
    if (tainted !== undefined) return await this.#device.restart()
    for (const id of this.doc.content()) if (!this.doc.isUnstored(id)) this.#device.everShown.add(id)
    for (const member of missing) this.#fetch(nameOf(member), 3)
  }

  /** Asks the servers for what follows of a sender, a few times. */
  #fetch(sender: Name, tries: number): void {
    if (tries === 0 || this.#killed) return
    this.#clock.at(this.#clock.nowMs + 20 + this.#random.below(400), () => {
      const server = this.#random.below(3)
      const fromSeq = this.room.vector.seqOf(idOf(sender))
      for (const envelope of (this.#servers[server] as TestServer).shows(this.#name, sender))
        if (envelope.header.seq > fromSeq) this.receive(envelope, server)
      this.#fetch(sender, tries - 1)
    })
  }

  /** Every server gets the new envelopes some time, and then everybody else does from it, or learns that it has them. */
  #upload(): void {
    const fresh = this.#outbox.envelopesAfter(this.#uploaded, 1 << 20).map(parseEnvelope)
    this.#uploaded = this.#outbox.durableSeq
    for (const [id, server] of this.#servers.entries()) {
      const atMs = this.#clock.nowMs + 1 + this.#random.below(this.#random.below(3) === 0 ? 400 : 40)
      for (const envelope of fresh) this.#clock.at(atMs, () => this.#deliver(envelope, server, id))
    }
  }

  #takeReceipt({ header: { member, seq }, hash }: ParsedEnvelope, id: number): void {
    const server = serverIds[id] as Uint8Array
    const statement = Receipt.encode({ group: groupId, server, head: { member, seq, hash }, position: 1n })
    this.#outbox.takeReceipt(server, { statement, signature: new Uint8Array(64) })
  }

  #deliver(envelope: ParsedEnvelope, server: TestServer, id: number): void {
    if (!server.store(envelope)) {
      if (this.#name !== 'R' || !server.refuses)
        this.#clock.at(this.#clock.nowMs + 50, () => this.#deliver(envelope, server, id))
      return
    }
    this.#takeReceipt(envelope, id)
    for (const [name, device] of this.#devices) {
      if (name === this.#name || !server.shows(name, this.#name).includes(envelope)) continue
      this.#clock.at(this.#clock.nowMs + 5 + this.#random.below(400), () => device.receive(envelope, id))
    }
  }
}

/** Of R's, near where its chain is or far ahead. */
function inventedHead(random: SeededRandom): Head {
  const seq = random.below(3) === 0 ? 10n ** 9n : 1n + BigInt(random.below(7))
  return { member: idOf('R'), seq, hash: new Uint8Array(32).fill(random.below(256)) }
}

function withLie(payload: Uint8Array, kind: EnvelopeKind, lie: Head): Uint8Array {
  const codec: Codec<{ deps: readonly Head[] }> = kind === EnvelopeKind.ENVELOPE_KIND_CONTROL ? ControlPayload : Payload
  const said = codec.decode(payload)
  return codec.encode({ ...said, deps: [...said.deps, lie] })
}

/** The group's part: everybody is known, epoch 1 is without R; what is sealed is not encrypted. */
class TestGroup {
  readonly memberId: Uint8Array
  readonly epoch: bigint
  readonly me = { role: Role.ROLE_EDITOR }
  readonly public
  readonly #members: readonly Name[]
  readonly #lie: (() => Head) | undefined

  /** `lie`: a head that it names in each of its messages. */
  constructor(name: Name, epoch: bigint, removalMode: RemovalMode, lie?: () => Head) {
    this.#lie = lie
    this.memberId = idOf(name)
    this.epoch = epoch
    this.public = {
      ctx: new Uint8Array(32),
      groupId,
      epoch,
      servers: { servers: serverIds.map((id) => ({ id, addresses: [] })), faultBound: 0 },
      document: { policy: { retainedEpochs: 8, retainedDays: 14, removalMode, rotationHours: 0 } },
      member: (id: Uint8Array) => (this.#members.includes(nameOf(id)) ? { signaturePublicKey: id } : undefined)
    }
    this.#members = epoch === 0n ? names : remaining
  }

  publicAt(): undefined {}

  wasMember(member: Uint8Array): boolean {
    return names.includes(nameOf(member))
  }

  signatureKeyOf(member: Uint8Array): Uint8Array {
    return member
  }

  sign(): Uint8Array {
    return new Uint8Array(64)
  }

  async encrypt(honest: Uint8Array, aad: Uint8Array): Promise<{ senderData: Uint8Array; ciphertext: Uint8Array }> {
    const payload = this.#lie === undefined ? honest : withLie(honest, EnvelopeHeader.decode(aad).kind, this.#lie())
    const ciphertext = new Uint8Array(Math.max(16, payload.length + 1))
    ciphertext[0] = Math.max(0, 15 - payload.length)
    ciphertext.set(payload, 1)
    return { senderData: new Uint8Array(16), ciphertext }
  }

  async decrypt({ aad, ciphertext }: { readonly aad: Uint8Array; readonly ciphertext: Uint8Array }) {
    const { member } = EnvelopeHeader.decode(aad)
    const plaintext = ciphertext.slice(1, ciphertext.length - (ciphertext[0] ?? 0))
    return { plaintext, memberId: member, role: Role.ROLE_EDITOR }
  }
}

interface Edit {
  readonly id: string
  /** Edits its author saw: it shows only where they do. */
  readonly after: readonly string[]
}

/** A CRDT whose content is the set of edits that have all they were made after. */
class SetDoc implements CrdtDoc {
  readonly native = undefined
  readonly #known = new Map<string, Edit>()
  readonly #shown = new Set<string>()
  #local: Edit[] = []
  #onChange: (() => void) | undefined

  get pending(): number {
    return this.#known.size - this.#shown.size
  }

  add(id: string): void {
    const edit = { id, after: [...this.#shown] }
    this.#local.push(edit)
    this.#take([edit])
    this.#onChange?.()
  }

  /** Whether an edit of this device is not stored yet: it may be lost when the process is killed. */
  isUnstored(id: string): boolean {
    return this.#local.some((edit) => edit.id === id)
  }

  content(): string[] {
    return [...this.#shown].sort()
  }

  apply(updates: readonly Uint8Array[]) {
    for (const update of updates) this.#take(JSON.parse(text.decode(update)))
    return { applied: updates.length, pending: this.pending }
  }

  flush() {
    if (this.#local.length === 0) return undefined
    const count = this.#local.length
    return {
      bytes: utf8(JSON.stringify(this.#local)),
      confirm: () => {
        this.#local = this.#local.slice(count)
      }
    }
  }

  version(): Uint8Array {
    return utf8(JSON.stringify([...this.#shown]))
  }

  diff(since: Uint8Array): Uint8Array {
    const has = new Set<string>(JSON.parse(text.decode(since)))
    return utf8(JSON.stringify([...this.#known.values()].filter(({ id }) => !has.has(id))))
  }

  snapshot(): Uint8Array {
    return this.diff(utf8('[]'))
  }

  onLocalChange(callback: () => void): Disposable {
    this.#onChange = callback
    return { [Symbol.dispose]: () => {} }
  }

  toJSON(): unknown {
    return this.content()
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #take(edits: readonly Edit[]): void {
    for (const edit of edits) this.#known.set(edit.id, edit)
    for (let size = -1; size !== this.#shown.size; ) {
      size = this.#shown.size
      for (const { id, after } of this.#known.values())
        if (after.every((one) => this.#shown.has(one))) this.#shown.add(id)
    }
  }
}

/** Storage of a device that outlives its processes. */
class MapStorage implements Storage {
  readonly #values = new Map<string, Entry>()

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#values.get(toHex(key))?.value
  }

  async *scan({ gte, lt }: ScanRange): AsyncGenerator<readonly Entry[]> {
    const entries = [...this.#values.values()].filter(
      ({ key }) => compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0
    )
    yield entries.sort((a, b) => compareBytes(a.key, b.key))
  }

  async commit({ delRange = [], del = [], put = [] }: Batch): Promise<void> {
    for (const { gte, lt } of delRange)
      for (const [id, { key }] of this.#values)
        if (compareBytes(key, gte) >= 0 && compareBytes(key, lt) < 0) this.#values.delete(id)
    for (const key of del) this.#values.delete(toHex(key))
    for (const { key, value } of put) this.#values.set(toHex(key), { key: key.slice(), value: value.slice() })
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

interface Loaded {
  readonly store: DocumentStore
  readonly doc: SetDoc
  readonly replica: Replica
  readonly vector: StateVector
  readonly stored: {
    readonly applied: readonly AppliedRecord[]
    readonly standings: readonly StandingRecord[]
    readonly names: readonly NamedRecord[]
    readonly lacks: readonly LackRecord[]
    readonly forks: readonly ForkRecord[]
    readonly own: readonly Entry[]
    readonly unsealed: readonly Entry[]
  }
}
