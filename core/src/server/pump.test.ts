import { memoryStorage } from '@heddle/storage-memory'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ServerChannel } from '../net/index.js'
import { Frame, SubscribeMode } from '../wire/index.js'
import { Document } from './document.js'
import { Epoch } from './epoch.js'
import { defaultLimits } from './limits.js'
import type { ServerParts } from './parts.js'
import { DocumentStore } from './store.js'
import { Subscription } from './subscription.js'
import { settled } from './testing/expect.js'
import { type TestDevice, World } from './testing/world.js'
import { ValueCache } from './value-check.js'
import { WelcomeWaiters } from './welcome.js'
import { Writer } from './writer.js'

let world: World
let device: TestDevice
beforeAll(async () => {
  world = await World.start(1)
  device = await world.device()
  await device.found(world.hosts)
})
afterAll(() => world[Symbol.asyncDispose]())

async function emptyDocument(): Promise<Document> {
  const { context, crypto } = world
  const storage = await memoryStorage.create({}, context)
  const secretKey = new Uint8Array(32)
  const parts: ServerParts = {
    context,
    crypto,
    storage,
    identity: { id: crypto.publicKeyOf(secretKey), secretKey },
    writer: new Writer(storage, { key: Uint8Array.of(2), value: Uint8Array.of(1) }),
    limits: defaultLimits,
    policy: {},
    count: () => {}
  }
  return new Document({
    parts,
    group: device.groupId,
    store: new DocumentStore(storage, device.groupId),
    beginning: { ctx: device.group.public.ctx, broughtIn: 0n },
    epochs: [new Epoch(device.group.public)],
    acceptor: undefined,
    senders: [],
    position: 0n,
    mailboxes: [],
    values: new ValueCache(),
    waiters: new WelcomeWaiters(1, 1)
  })
}

it('misses nothing that becomes durable while it looks, at whatever moment', async () => {
  const bytes = await device.seal()
  for (const mode of [SubscribeMode.SUBSCRIBE_MODE_FULL, SubscribeMode.SUBSCRIBE_MODE_HEADS])
    for (let moment = 0; moment < 25; moment++) {
      const document = await emptyDocument()
      const sent: Frame[] = []
      // All a pump knows of a channel is that sending takes a while.
      const channel = {
        end: undefined,
        send: async (request: bigint, body: Frame['body']) => {
          sent.push({ request, body })
        },
        sendEncoded: async (frame: Uint8Array) => {
          sent.push(Frame.decode(frame))
        }
      } as unknown as ServerChannel
      const subscription = new Subscription({ document, channel, mode, member: new Uint8Array(16), afterPosition: 0n })
      document.subscriptions.add(subscription)
      const running = subscription.run()
      for (let turn = 0; turn < moment; turn++) await Promise.resolve()
      const head = { member: device.memberId, seq: 1n, hash: new Uint8Array(32) }
      document.publish([{ position: 1n, member: device.memberId, bytes }], [{ head, position: 1n, begunEpoch: 0n }])
      await settled()
      const through = sent.map(({ body }) =>
        body?.$case === 'deliver' || body?.$case === 'heads' ? body.value.throughPosition : 0n
      )
      expect([mode, moment, through.at(-1)]).toEqual([mode, moment, 1n])
      subscription.end()
      await running
    }
})
