/** What `micro` measures with: members of real groups without a device around them, and a server without a disk. */
import { memoryStorage } from '@heddle/storage-memory'
import { createMemoryNetwork, memoryTransport } from '@heddle/transport-memory'
import {
  type Context,
  type CryptoProvider,
  compareBytes,
  createCrypto,
  disposeAll,
  startServer,
  systemContext
} from 'heddle'
import type { CoreRooms, DeviceChannel, MemberGroup } from './core-rooms.js'

export interface Tools {
  readonly rooms: CoreRooms
  readonly context: Context
  readonly crypto: CryptoProvider
}

export function toolsOf(rooms: CoreRooms): Tools {
  const context = systemContext()
  return { rooms, context, crypto: createCrypto(context.random) }
}

/** A member who seals: its group and its chain. */
export class Sender {
  readonly group: MemberGroup
  readonly #rooms: CoreRooms
  #seq = 0n
  #previous: Uint8Array

  constructor(group: MemberGroup, { rooms }: Tools) {
    this.group = group
    this.#rooms = rooms
    this.#previous = rooms.sync.chainStart(group.public.groupId, group.memberId)
  }

  /** One envelope with one update, as a device seals it. */
  async seal(update: Uint8Array): Promise<Uint8Array> {
    const { sync, wire } = this.#rooms
    const { group } = this
    const header = wire.EnvelopeHeader.encode({
      group: group.public.groupId,
      epoch: group.epoch,
      ctxTag: group.public.ctx.subarray(0, 16),
      member: group.memberId,
      seq: ++this.#seq,
      previous: this.#previous,
      kind: wire.EnvelopeKind.ENVELOPE_KIND_UPDATE
    })
    const payload = wire.Payload.encode({ deps: [], updates: [update], repair: undefined })
    const { senderData, ciphertext } = await group.encrypt(payload, header)
    const { signed, hash } = sync.digest(header, senderData, ciphertext)
    this.#previous = hash
    return wire.Envelope.encode({ header, senderData, ciphertext, signature: group.sign(signed) })
  }
}

/** A group of one; the servers it names need not exist. */
export async function newGroup(tools: Tools, serverIds: readonly Uint8Array[]): Promise<MemberGroup> {
  const { rooms, context } = tools
  return await rooms.group.MemberGroup.create(
    {
      groupId: context.random(16),
      keyPackage: await newKeyPackage(tools, tools.crypto.publicKeyOf(founderSeed)),
      document: {
        crdtType: 'yjs/1',
        protocolVersion: 1,
        policy: { retainedEpochs: 8, retainedDays: 14, removalMode: 1, rotationHours: 0 }
      },
      servers: serverIds.toSorted(compareBytes).map((id) => ({ id, addresses: ['mem://server'] })),
      faultBound: 0,
      defaultRole: rooms.wire.Role.ROLE_EDITOR
    },
    groupDeps(tools)
  )
}

/** A group of two: who writes, and who reads. */
export async function newPair(tools: Tools): Promise<{ readonly writer: MemberGroup; readonly reader: MemberGroup }> {
  const founder = await newGroup(tools, [tools.context.random(32)])
  const keyPackage = await newKeyPackage(tools, tools.context.random(32))
  const { welcome, pending, next } = await founder.buildCommit({ adds: [{ keyPackage: keyPackage.message }] })
  if (welcome === undefined) throw new Error('adding a member made no Welcome')
  const writer = await founder.adopt(pending)
  const joining = { welcome, tree: next.ratchetTree(), keyPackage }
  const reader = await tools.rooms.group.MemberGroup.join(joining, groupDeps(tools))
  return { writer, reader }
}

const groupDeps = ({ context, crypto }: Tools) => ({ crypto, now: () => context.clock.now() })

function newKeyPackage({ rooms, context, crypto }: Tools, endpointId: Uint8Array) {
  const device = { endpointId, crdtTypes: ['yjs/1'] }
  return rooms.group.generateKeyPackage({ crypto, device, nowMs: context.clock.now() })
}

/** Secret key of the device that founds every group here; it guards nothing. */
const founderSeed = new Uint8Array(32).fill(1)

/** A server on memory storage and a memory network, with a connection to it. */
export class MemoryServer implements AsyncDisposable {
  readonly id: Uint8Array
  readonly #channel: DeviceChannel
  readonly #opened: readonly AsyncDisposable[]

  private constructor(id: Uint8Array, channel: DeviceChannel, opened: readonly AsyncDisposable[]) {
    this.id = id
    this.#channel = channel
    this.#opened = opened
  }

  static async start({ rooms, context, crypto }: Tools): Promise<MemoryServer> {
    const opened: AsyncDisposable[] = []
    try {
      const network = createMemoryNetwork({ clock: context.clock })
      const transport = await memoryTransport.create({ network, host: 'bench' }, context)
      opened.push(transport)
      const storage = await memoryStorage.create({}, context)
      opened.push(storage)
      const listen = ['mem://server']
      const server = await startServer({ storage, transports: [transport], listen, context, crypto })
      opened.push(server)
      const identity = { secretKey: founderSeed, publicKey: crypto.publicKeyOf(founderSeed) }
      const { alpn, openChannel } = rooms.net
      const { signal } = context
      const connection = await transport.dial('mem://server', { identity, alpn, expectPeer: server.id, signal })
      const channel = await openChannel(connection, { context, agent: 'bench', onNews: () => undefined })
      opened.push(channel)
      return new MemoryServer(server.id, channel, opened)
    } catch (cause) {
      await disposeAll(opened)
      throw cause
    }
  }

  async create(group: MemberGroup): Promise<void> {
    await this.#channel.request({ $case: 'create', value: { groupInfo: await group.groupInfo(), decided: undefined } })
  }

  /** Uploads so many at once and waits for their receipt before the next ones. */
  async upload(group: Uint8Array, envelopes: readonly Uint8Array[], atOnce: number): Promise<void> {
    for (let i = 0; i < envelopes.length; i += atOnce) {
      const value = { group, envelopes: envelopes.slice(i, i + atOnce) }
      await this.#channel.request({ $case: 'upload', value })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await disposeAll(this.#opened)
  }
}
