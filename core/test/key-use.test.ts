/**
 * SPEC GROUP-010: a device that is killed at any of its commits, before it takes effect or after, and goes on afterwards,
 * never lets two messages leave that are encrypted with one key. The generation of every message is read out of it with
 * the keys the device has stored.
 */
import { memoryStorage } from '@heddle/storage-memory'
import { expect, it } from 'vitest'
import { fromHex, toHex } from '../src/bytes.js'
import { createCrypto } from '../src/crypto/index.js'
import { TlsReader, TlsWriter } from '../src/group/mls/index.js'
import { expandWithLabel, label } from '../src/group/mls/kdf.js'
import { readRecords, type StoredRecord } from '../src/group/persistence.js'
import type { Device, Document } from '../src/index.js'
import { type ParsedEnvelope, parseEnvelope } from '../src/sync/index.js'
import { type Crash, textOf, World } from './world.js'

const crypto = createCrypto((length) => new Uint8Array(length))
const suite = crypto.suite(1)

/** Every envelope that a device has uploaded, once. */
function watch(world: World): Map<string, ParsedEnvelope> {
  const seen = new Map<string, ParsedEnvelope>()
  for (const name of ['server-1', 'server-2', 'server-3'])
    world.tap.liars.set(name, (frame) => {
      if (frame.body?.$case === 'upload')
        for (const bytes of frame.body.value.envelopes) {
          const envelope = parseEnvelope(bytes.slice())
          seen.set(toHex(envelope.hash), envelope)
        }
      return [frame]
    })
  return seen
}

/** The sender data secrets a device has stored, by epoch. */
async function senderDataSecrets(world: World, name: string): Promise<Map<bigint, Uint8Array>> {
  const { plugin, options } = memoryStorage({ shared: world.disk(name) })
  const storage = await plugin.create(options, world.contextOf(`reader of ${name}`))
  const records: StoredRecord[] = []
  // 'd', group id, 'g', the key within the group room.
  for await (const page of storage.scan({ gte: Uint8Array.of(0x64), lt: Uint8Array.of(0x65) }))
    for (const { key, value } of page) if (key[17] === 0x67) records.push({ key: key.slice(18), value })
  const secrets = new Map<bigint, Uint8Array>()
  for (const [epoch, { saved }] of readRecords(records).epochs)
    if (saved !== undefined) secrets.set(epoch, saved.senderDataSecret)
  return secrets
}

/** Which key a message is encrypted with: epoch, leaf and generation. */
function keyOf({ header, senderData, ciphertext }: ParsedEnvelope, secrets: ReadonlyMap<bigint, Uint8Array>): string {
  const secret = secrets.get(header.epoch)
  if (secret === undefined) throw new Error(`no keys of epoch ${header.epoch}`)
  const sample = ciphertext.subarray(0, 32)
  const key = expandWithLabel(crypto, secret, label('key'), sample, suite.keyBytes)
  const nonce = expandWithLabel(crypto, secret, label('nonce'), sample, suite.nonceBytes)
  const aad = new TlsWriter(32).vector(header.group).uint64(header.epoch).uint8(1).finish()
  const reader = new TlsReader(suite.open(key, nonce, aad, senderData))
  return `epoch ${header.epoch}, leaf ${reader.uint32()}, generation ${reader.uint32()}`
}

interface Run {
  readonly commits: number
  readonly messages: number
}

async function run(plan?: { readonly nth: number; readonly when: Crash['when'] }): Promise<Run> {
  const world = await World.create({ seed: 51, commitMs: 15 })
  const seen = watch(world)
  const ada = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
  let bob: Document = await world.settle((await world.openDevice('bob')).join(await world.settle(ada.invite())))
  const before = world.commits('bob')
  const crash = plan && world.crashAt('bob', plan.nth, plan.when)
  let over = false
  const act = async () => {
    for (const word of ['one', 'two']) {
      textOf(bob).insert(0, `${word} `)
      await bob.settled('sent')
    }
    await bob.rotate()
    textOf(bob).insert(0, 'three ')
    await bob.settled('safe')
  }
  // Where the process dies, what it was about to do fails.
  const acting = act().then(
    () => {
      over = true
    },
    () => {
      over = true
    }
  )
  await world.until(() => over || crash?.happened === true)
  // What follows the act, like progress and receipts, is part of it.
  if (crash?.happened !== true) await world.pass(500)
  if (crash?.happened === true) {
    await world.pass(plan?.when === 'after' ? 8_000 : 10)
    const device: Device = await world.settle(world.openDevice('bob'))
    bob = await world.settle(device.open(ada.id))
  } else await acting
  const commits = world.commits('bob') - before
  for (const word of ['four', 'five']) {
    textOf(bob).insert(0, `${word} `)
    await world.settle(bob.settled('safe'))
  }
  await world.until(() => textOf(ada).toString() === textOf(bob).toString())
  await world.settle(world.stop('ada'))
  const secrets = await senderDataSecrets(world, 'ada')
  const used = new Map<string, string>()
  const member = fromHex(bob.memberId)
  let messages = 0
  for (const envelope of seen.values()) {
    if (toHex(envelope.header.member) !== toHex(member ?? new Uint8Array(0))) continue
    messages++
    const key = keyOf(envelope, secrets)
    expect(used.get(key), `${key} was used for two messages`).toBeUndefined()
    used.set(key, toHex(envelope.hash))
  }
  await world.dispose()
  return { commits, messages }
}

it('GROUP-010: a device that dies at any commit uses no key for two messages', async () => {
  const { commits, messages } = await run()
  expect(commits).toBeGreaterThan(5)
  expect(messages).toBeGreaterThanOrEqual(4)
  for (let nth = 1; nth <= commits; nth++) {
    for (const when of ['before', 'after'] as const) {
      const { messages: sent } = await run({ nth, when })
      expect(sent, `killed ${when} commit ${nth}`).toBeGreaterThanOrEqual(2)
    }
  }
}, 180_000)
