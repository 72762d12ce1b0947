/**
 * A member that lies: it holds keys and a role, so what it says is signed and opens. It must not be able to break others'
 * documents for good, to take away what honest members write, or to keep anybody from going on (SPEC DEV-004).
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as Y from 'yjs'
import { equalBytes, fromHex } from '../src/bytes.js'
import { createCrypto } from '../src/crypto/index.js'
import { Invites, joinMac, mailboxOf, parseInvite } from '../src/device/invites.js'
import { MemberGroup } from '../src/group/index.js'
import type { Document, ErrorName } from '../src/index.js'
import { digest, parseEnvelope } from '../src/sync/index.js'
import { Envelope, EnvelopeHeader, EnvelopeKind, JoinRequest, Payload, StatePayload } from '../src/wire/index.js'
import { textOf, World } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const read = (document: Document): string => textOf(document).toString()
const idOf = (document: Document): Uint8Array => fromHex(document.memberId) ?? new Uint8Array(0)

const problemsOf = (document: Document): ErrorName[] => {
  const codes: ErrorName[] = []
  document.subscribe((event) => event.type === 'problem' && codes.push(event.error.code))
  return codes
}

/** Rewrites what a member seals, before it is encrypted. */
function tamper(document: Document, change: (plaintext: Uint8Array, kind: EnvelopeKind) => Uint8Array): void {
  const { encrypt } = MemberGroup.prototype
  const id = idOf(document)
  vi.spyOn(MemberGroup.prototype, 'encrypt').mockImplementation(function (this: MemberGroup, plaintext, aad) {
    const isIts = equalBytes(this.memberId, id)
    return encrypt.call(this, isIts ? change(plaintext, EnvelopeHeader.decode(aad).kind) : plaintext, aad)
  })
}

/** A yjs update that decodes and breaks when it is put in: a struct whose parent is itself. */
function breaking(): Uint8Array {
  const encoder = new Y.UpdateEncoderV1()
  for (const number of [1, 1]) encoder.writeLen(number)
  encoder.writeClient(77)
  encoder.writeLen(0)
  encoder.writeInfo(4)
  encoder.writeParentInfo(false)
  encoder.writeLeftID(Y.createID(77, 0))
  encoder.writeString('x')
  encoder.writeLen(0)
  return encoder.toUint8Array()
}

async function party(seed: number, role: 'admin' | 'editor' = 'editor') {
  const world = await World.create({ seed })
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const join = async (name: string, as: 'admin' | 'editor') => {
    const device = await world.openDevice(name)
    return await world.settle(device.join(await world.settle(doc.invite({ role: as }))))
  }
  const mallory = await join('mallory', role)
  const bob = await join('bob', 'editor')
  write(doc, 'start')
  await world.until(() => read(mallory) === 'start ' && read(bob) === 'start ')
  return { world, ada, doc, mallory, bob }
}

describe('a member whose update breaks the CRDT', () => {
  it('costs others one reopening: the message is left out, all else is kept, and the admin removes it', async () => {
    const { world, ada, doc, mallory, bob } = await party(901)
    const problems = problemsOf(doc)
    tamper(mallory, (plaintext, kind) =>
      kind === EnvelopeKind.ENVELOPE_KIND_UPDATE
        ? Payload.encode({ ...Payload.decode(plaintext), updates: [breaking()] })
        : plaintext
    )
    world.cut('ada')
    write(bob, 'bob')
    await world.settle(bob.settled('safe'))
    write(doc, 'mine')
    await world.settle(doc.settled('stored'))
    write(mallory, 'evil')
    await world.settle(mallory.settled('safe'))
    world.heal('ada')
    await world.until(() => problems.includes('CRDT_TAINTED'))
    await world.settle(doc[Symbol.asyncDispose]())
    const reopened = await world.settle(ada.open(doc.id))
    await world.until(() => read(reopened).includes('bob'))
    expect(read(reopened)).toContain('mine')
    await world.settle(reopened.remove(mallory.memberId))
    write(reopened, 'after')
    await world.settle(reopened.settled('safe'))
    expect(reopened.members()).toHaveLength(2)
    await world.settle(bob[Symbol.asyncDispose]())
    await world.dispose()
  })
})

describe('an admin that lies about heads', () => {
  it('takes nothing away of what others write', async () => {
    const { world, doc, mallory, bob } = await party(902, 'admin')
    write(bob, 'b0')
    await world.until(() => read(doc).includes('b0') && read(mallory).includes('b0'))
    const claimed = 10n ** 12n
    tamper(mallory, (plaintext, kind) => {
      if (kind !== EnvelopeKind.ENVELOPE_KIND_STATE) return plaintext
      const { heads, state } = StatePayload.decode(plaintext)
      return StatePayload.encode({ heads: heads.map((head) => ({ ...head, seq: claimed })), state })
    })
    const joining = (await world.openDevice('dora')).join(await world.settle(mallory.invite()))
    const dora = await world.settle(joining)
    await world.settle(mallory.settled('safe'))
    await world.pass(2_000)
    write(bob, 'b1')
    write(doc, 'a1')
    await world.until(() => [doc, bob].every((one) => read(one).includes('b1') && read(one).includes('a1')))
    // Who has only the lie to go by finds out by what was sealed in a later epoch.
    await world.settle(doc.rotate())
    write(bob, 'b2')
    write(doc, 'a2')
    await world.until(() => ['a1', 'a2', 'b0', 'b1', 'b2'].every((word) => read(dora).includes(word)), 120_000)
    await world.until(() => dora.status().lacking === 0, 120_000)
    expect(dora.status()).toMatchObject({ waiting: 0, forked: [] })
    await world.dispose()
  })

  it('shows nobody to have forked, and cuts nobody off', async () => {
    const { world, doc, mallory, bob } = await party(907, 'admin')
    const join = async (name: string, by: Document) =>
      world.settle((await world.openDevice(name)).join(await world.settle(by.invite())))
    const carol = await join('carol', doc)
    await world.until(() => read(carol) === 'start ')
    tamper(mallory, (plaintext, kind) => {
      if (kind !== EnvelopeKind.ENVELOPE_KIND_STATE) return plaintext
      const payload = StatePayload.decode(plaintext)
      const invented = { member: idOf(carol), seq: 1n, hash: new Uint8Array(32).fill(5) }
      return StatePayload.encode({ ...payload, heads: [...payload.heads, invented] })
    })
    const dora = await join('dora', mallory)
    await world.settle(mallory.settled('safe'))
    await world.pass(2_000)
    write(carol, 'c1')
    const all = [doc, bob, carol, dora]
    await world.until(() => all.every((one) => read(one).includes('c1')), 120_000)
    write(carol, 'c2')
    await world.until(() => all.every((one) => read(one).includes('c2') && one.status().lacking === 0), 120_000)
    for (const one of all) expect(one.status().forked).toEqual([])
    await world.dispose()
  })

  it('does not fill the heads of others, who go on adding members', async () => {
    const { world, mallory, bob, doc } = await party(908, 'admin')
    await world.settle(doc.setRole(bob.memberId, 'admin'))
    tamper(mallory, (plaintext, kind) => {
      if (kind !== EnvelopeKind.ENVELOPE_KIND_STATE) return plaintext
      const invented = () => ({ member: world.random.bytes(16), seq: 1n, hash: new Uint8Array(32) })
      return StatePayload.encode({ ...StatePayload.decode(plaintext), heads: Array.from({ length: 6_000 }, invented) })
    })
    const problems = problemsOf(bob)
    for (const name of ['dora', 'eve']) {
      await world.settle((await world.openDevice(name)).join(await world.settle(mallory.invite())))
      await world.settle(mallory.settled('safe'))
      await world.pass(2_000)
    }
    const finn = await world.settle((await world.openDevice('finn')).join(await world.settle(bob.invite())))
    write(bob, 'to all')
    await world.until(() => read(finn).includes('to all') && read(finn).includes('start'))
    expect(problems).toEqual([])
    await world.dispose()
  })
})

describe('a member that forks its chain', () => {
  it.each([903, 911, 921, 931, 941, 951])('is reported once, and holds nobody back (seed %i)', async (seed) => {
    const { world, doc, mallory, bob } = await party(seed)
    const problems = problemsOf(doc)
    const id = idOf(mallory)
    let sign: ((signed: Uint8Array) => Uint8Array) | undefined
    const { encrypt } = MemberGroup.prototype
    vi.spyOn(MemberGroup.prototype, 'encrypt').mockImplementation(function (this: MemberGroup, plaintext, aad) {
      if (equalBytes(this.memberId, id)) sign = (signed) => this.sign(signed)
      return encrypt.call(this, plaintext, aad)
    })
    // Server 1 gets another envelope than the two others.
    world.tap.liars.set('server-1', (frame, direction, device) => {
      const { body } = frame
      if (device !== 'mallory' || direction === 'to-device' || body?.$case !== 'upload') return [frame]
      const envelopes = body.value.envelopes.map((bytes) => {
        const { headerBytes, senderData, ciphertext, header } = parseEnvelope(bytes)
        const other = ciphertext.map((byte) => byte ^ 1)
        const { signed } = digest(headerBytes, senderData, other)
        if (sign === undefined || !equalBytes(header.member, id)) return bytes
        return Envelope.encode({ header: headerBytes, senderData, ciphertext: other, signature: sign(signed) })
      })
      return [{ request: frame.request, body: { $case: 'upload', value: { ...body.value, envelopes } } }]
    })
    // Ada gets what server 1 has, Bob what the others have.
    world.cut('bob')
    for (const server of ['server-2', 'server-3']) await world.kill(server)
    const { applied } = doc.status()
    write(mallory, 'fork')
    await world.until(() => doc.status().applied > applied)
    for (const server of ['server-2', 'server-3']) await world.startServer(server)
    await world.settle(mallory.settled('safe'))
    write(mallory, 'more')
    await world.settle(mallory.settled('safe'))
    await world.pass(5_000)
    world.heal('bob')
    await world.until(() => problems.includes('SEQUENCE_CONFLICT'))
    world.cut('ada')
    for (let i = 0; i < 12; i++) {
      write(bob, `b${i}.`)
      await world.settle(bob.rotate())
    }
    world.heal('ada')
    await world.until(() => doc.status().epoch === bob.status().epoch && read(doc).includes('b11.'), 60_000)
    for (let i = 0; i < 12; i++) expect(read(doc)).toContain(`b${i}.`)
    write(doc, 'sealed')
    await world.until(() => read(bob).includes('sealed'))
    await world.settle(doc.remove(mallory.memberId))
    expect(problems.filter((code) => code === 'SEQUENCE_CONFLICT').length).toBe(1)
    world.tap.liars.clear()
    await world.dispose()
  })
})

describe('a removed member whose join request another admin has kept', () => {
  it.each([0, 12])('does not come back by it, %i epochs later', async (epochs) => {
    const { world, doc, bob } = await party(904 + epochs)
    await world.settle(doc.setRole(bob.memberId, 'admin'))
    await world.until(() => bob.status().role === 'admin')
    const [links, requests] = [[] as string[], [] as Uint8Array[]]
    for (const one of [bob, doc]) links.push(await world.settle(one.invite()))
    const [bobs, adas] = links.map(parseInvite)
    if (bobs === undefined || adas === undefined) throw new Error('there are two links')
    const provider = createCrypto((length) => world.random.bytes(length))
    const { arrived, step } = Invites.prototype
    const seen = new Set<Invites>()
    vi.spyOn(Invites.prototype, 'step').mockImplementation(function (this: Invites, turn, servers) {
      seen.add(this)
      return step.call(this, turn, servers)
    })
    vi.spyOn(Invites.prototype, 'arrived').mockImplementation(function (this: Invites, mailbox, items) {
      if (equalBytes(mailbox, mailboxOf(provider, adas.secret))) requests.push(...items)
      return arrived.call(this, mailbox, items)
    })
    write(bob, 'seen')
    await world.pass(1_000)
    world.cut('bob')
    await world.pass(1_000)
    const rita = await world.settle((await world.openDevice('rita')).join(links[1] ?? ''))
    const { keyPackage } = JoinRequest.decode(requests[0] ?? new Uint8Array(0))
    // Both links were given to one, who leaves one key package in both mailboxes.
    const again = JoinRequest.encode({ keyPackage, mac: joinMac(provider, bobs, keyPackage) })
    for (const one of seen) arrived.call(one, mailboxOf(provider, bobs.secret), [again])
    await world.until(() => bob.status().pendingChanges === 1)
    await world.settle(doc.remove(rita.memberId))
    for (let i = 0; i < epochs; i++) await world.settle(doc.rotate())
    world.heal('bob')
    await world.until(() => bob.status().pendingChanges === 0)
    await world.until(() => bob.status().epoch === doc.status().epoch)
    await world.pass(10_000)
    for (const one of [doc, bob]) expect(one.members().map(({ id }) => id)).not.toContain(rita.memberId)
    await world.dispose()
  })
})
