/**
 * Members that try to have messages count which nobody honest had: those of a member who lost the right to write, who
 * still has the keys of the time before (SPEC SYNC-021).
 */
import { MemoryDisk, memoryStorage } from '@heddle/storage-memory'
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as Y from 'yjs'
import { equalBytes, fromHex } from '../src/bytes.js'
import { createCrypto } from '../src/crypto/index.js'
import { DocumentStore } from '../src/device/store.js'
import { MemberGroup } from '../src/group/index.js'
import type { Document, RoleName } from '../src/index.js'
import { digest, parseEnvelope } from '../src/sync/index.js'
import {
  ControlPayload,
  Envelope,
  EnvelopeHeader,
  EnvelopeKind,
  type Frame,
  type Head,
  Payload
} from '../src/wire/index.js'
import { textOf, World } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

const servers = ['server-1', 'server-2', 'server-3']
const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const read = (document: Document): string => textOf(document).toString()
const bytesOf = (id: string): Uint8Array => fromHex(id) ?? new Uint8Array(0)

async function party(seed: number, extra: Readonly<Record<string, RoleName>> = {}) {
  const world = await World.create({ seed })
  const doc = await world.settle((await world.openDevice('ada')).create({ servers: world.tickets }))
  const join = async (name: string, role: RoleName) =>
    world.settle((await world.openDevice(name)).join(await world.settle(doc.invite({ role }))))
  const mallory = await join('mallory', 'editor')
  const bob = await join('bob', 'editor')
  const others: Document[] = []
  for (const [name, role] of Object.entries(extra)) others.push(await join(name, role))
  write(doc, 'start')
  await world.until(() => [mallory, bob, ...others].every((one) => read(one) === 'start '))
  return { world, doc, mallory, bob, others }
}

/** What a member keeps that never forgets: its group in the present epoch, and its head. */
async function keptOf(world: World, name: string, document: Document) {
  const disk = new MemoryDisk()
  const lt = new Uint8Array(64).fill(255)
  for (let gte = new Uint8Array(0); ; ) {
    const page = world.disk(name).page({ gte, lt })
    const last = page.at(-1)
    if (last === undefined) break
    disk.apply({ put: page })
    gte = new Uint8Array([...last.key, 0])
  }
  const { plugin, options } = memoryStorage({ shared: disk })
  const store = new DocumentStore(
    await plugin.create(options, world.contextOf(`copy of ${name}`)),
    bytesOf(document.id)
  )
  const crypto = createCrypto((length) => world.random.bytes(length))
  const group = MemberGroup.load(await store.entries('group'), { crypto, now: () => world.clock.now() })
  const applied = await store.applied()
  const head = applied.find(({ head: one }) => equalBytes(one.member, bytesOf(document.memberId)))?.head
  return { group, head, store }
}

/** An envelope under an old epoch's keys. */
async function sealedLate(group: MemberGroup, after: Pick<Head, 'seq' | 'hash'>, word: string): Promise<Uint8Array> {
  const evil = new Y.Doc()
  evil.getText('text').insert(0, `${word} `)
  const header = EnvelopeHeader.encode({
    group: group.public.groupId,
    epoch: group.epoch,
    ctxTag: group.public.ctxTag,
    member: group.memberId,
    seq: after.seq + 1n,
    previous: after.hash,
    kind: EnvelopeKind.ENVELOPE_KIND_UPDATE
  })
  const payload = Payload.encode({ deps: [], updates: [Y.encodeStateAsUpdate(evil)], repair: undefined })
  const { senderData, ciphertext } = await group.encrypt(payload, header)
  const { signed } = digest(header, senderData, ciphertext)
  return Envelope.encode({ header, senderData, ciphertext, signature: group.sign(signed) })
}

/** Adds these heads to what a member says it has applied; `on` can be switched off. */
function naming(document: Document, heads: readonly Head[], except?: MemberGroup): { on: boolean } {
  const { encrypt } = MemberGroup.prototype
  const id = bytesOf(document.memberId)
  const state = { on: true }
  vi.spyOn(MemberGroup.prototype, 'encrypt').mockImplementation(function (this: MemberGroup, plaintext, aad) {
    const { kind } = EnvelopeHeader.decode(aad)
    if (!state.on || this === except || !equalBytes(this.memberId, id)) return encrypt.call(this, plaintext, aad)
    if (kind === EnvelopeKind.ENVELOPE_KIND_CONTROL) {
      const said = ControlPayload.decode(plaintext)
      return encrypt.call(this, ControlPayload.encode({ ...said, deps: [...said.deps, ...heads] }), aad)
    }
    if (kind !== EnvelopeKind.ENVELOPE_KIND_UPDATE) return encrypt.call(this, plaintext, aad)
    const said = Payload.decode(plaintext)
    return encrypt.call(this, Payload.encode({ ...said, deps: [...said.deps, ...heads] }), aad)
  })
  return state
}

const farAhead = (document: Document): Head => ({
  member: bytesOf(document.memberId),
  seq: 10n ** 9n,
  hash: new Uint8Array(32).fill(1)
})

describe('SYNC-021: who lost the right to write', () => {
  it('does not write on by naming itself, through honest servers', async () => {
    const { world, doc, mallory, bob } = await party(961)
    const { group } = await keptOf(world, 'mallory', mallory)
    await world.settle(doc.setRole(mallory.memberId, 'reader'))
    await world.until(() => [mallory, bob].every((one) => one.status().epoch === doc.status().epoch))
    naming(mallory, [farAhead(mallory)], group)
    let crafted = 0
    for (const server of servers)
      world.tap.liars.set(server, async (frame: Frame, direction, device) => {
        const { body } = frame
        if (device !== 'mallory' || direction !== 'to-server' || body?.$case !== 'upload') return [frame]
        const envelopes: Uint8Array[] = []
        for (const bytes of body.value.envelopes) {
          const { header, hash } = parseEnvelope(bytes)
          envelopes.push(bytes)
          if (header.kind !== EnvelopeKind.ENVELOPE_KIND_CONTROL) continue
          envelopes.push(await sealedLate(group, { seq: header.seq, hash }, 'EVIL'))
          crafted++
        }
        return [{ request: frame.request, body: { $case: 'upload', value: { ...body.value, envelopes } } }]
      })
    // Its own device finds that it is not alone.
    await world.settle(mallory.leave({ until: 'requested' }).catch(() => undefined))
    await world.pass(20_000)
    expect(crafted).toBeGreaterThan(0)
    write(bob, 'on')
    await world.until(() => read(doc) === 'on start ' && read(bob) === 'on start ')
    await world.pass(60_000)
    expect([doc, bob].map(read)).toEqual(['on start ', 'on start '])
    world.tap.liars.clear()
    await world.dispose()
  })

  it.each(['itself', 'an accomplice, who is removed as well'])(
    'does not write on because %s named it before, with the help of a server',
    async (by) => {
      const { world, doc, mallory, bob, others } = await party(962, { carl: 'editor' })
      const carl = others[0] as Document
      const accomplice = by === 'itself' ? mallory : carl
      const lie = naming(accomplice, [farAhead(mallory)])
      write(accomplice, 'bait')
      await world.until(() => [doc, bob].every((one) => read(one).includes('bait')))
      lie.on = false
      await world.settle(Promise.all([mallory, carl].map((one) => one.settled('safe'))))
      write(mallory, 'last')
      await world.until(() => [doc, bob].every((one) => read(one).includes('last')))
      await world.settle(mallory.settled('safe'))
      const { group, head } = await keptOf(world, 'mallory', mallory)
      if (head === undefined) throw new Error('Mallory has written nothing')
      for (const gone of [mallory, carl]) await world.settle(doc.remove(gone.memberId))
      await world.until(() => bob.status().epoch === doc.status().epoch)
      const late = await sealedLate(group, head, 'EVIL')
      let delivered = 0
      world.tap.liars.set('server-1', (frame, direction) => {
        const { body } = frame
        if (direction === 'to-server' || (body?.$case !== 'deliver' && body?.$case !== 'fetched')) return [frame]
        delivered++
        const value = { ...body.value, envelopes: [...body.value.envelopes, late] }
        return [{ request: frame.request, body: { ...body, value } as NonNullable<Frame['body']> }]
      })
      for (const far of ['server-2', 'server-3']) for (const name of ['ada', 'bob']) world.cutBetween(name, far)
      for (let i = 0; i < 4; i++) {
        write(i % 2 === 0 ? doc : bob, `w${i}`)
        await world.pass(3_000)
      }
      expect(delivered).toBeGreaterThan(0)
      for (const far of ['server-2', 'server-3']) for (const name of ['ada', 'bob']) world.healBetween(name, far)
      world.tap.liars.clear()
      await world.until(() => read(doc) === read(bob) && read(doc).includes('w3'))
      await world.pass(60_000)
      expect([doc, bob].filter((one) => read(one).includes('EVIL'))).toEqual([])
      await world.dispose()
    }
  )

  it('keeps the disks of others small, whoever it names', async () => {
    const { world, doc, bob, others } = await party(963, { rita: 'reader' })
    const rita = others[0] as Document
    const strangers = Array.from({ length: 1_000 }, () => ({ ...farAhead(rita), member: world.random.bytes(16) }))
    naming(rita, strangers)
    await world.settle(rita.leave({ until: 'requested' }))
    await world.until(() => doc.members().length === 3)
    const { store } = await keptOf(world, 'bob', bob)
    expect((await store.names()).length + (await store.standings()).length).toBeLessThan(4)
    await world.dispose()
  })
})
