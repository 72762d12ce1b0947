import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Envelope, EnvelopeHeader, EnvelopeKind, Role } from '../wire/index.js'
import { codeOf, isSettled, problemOf, receiptOf, settled } from './testing/expect.js'
import { type ServerHost, type TestDevice, World } from './testing/world.js'

let world: World
let host: ServerHost
let admin: TestDevice
beforeEach(async () => {
  world = await World.start(1)
  host = world.hosts[0] as ServerHost
  admin = await world.device()
  await admin.create([host])
})
afterEach(() => world[Symbol.asyncDispose]())

const counts = () => host.server.stats().counts

describe('an upload', () => {
  it('is stored in order and receipted with the last of it', async () => {
    const receipt = receiptOf(await admin.upload(host, await admin.seal(), await admin.seal(), await admin.seal()))
    expect(receipt).toMatchObject({ position: 3n, server: host.server.id, head: { seq: 3n, hash: admin.previous } })
  })

  it('may overtake nothing that was sent before on the same connection', async () => {
    const envelopes: Uint8Array[] = []
    for (let i = 0; i < 50; i++) envelopes.push(await admin.seal())
    const receipts = await Promise.all(envelopes.map((envelope) => admin.upload(host, envelope)))
    expect(receiptOf(receipts.at(-1) ?? []).head.seq).toBe(50n)
    expect(counts()).toMatchObject({ envelopeStored: 50, envelopeRefused: 0 })
  })

  it('that was stored before is receipted again and stored no second time', async () => {
    const envelopes = [await admin.seal(), await admin.seal(), await admin.seal()]
    await admin.upload(host, ...envelopes)
    const before = await host.content()
    for (const again of [envelopes.slice(2), envelopes.slice(0, 1), envelopes])
      expect(receiptOf(await admin.upload(host, ...again))).toMatchObject({ position: 3n, head: { seq: 3n } })
    expect(await host.content()).toBe(before)
    expect(counts().envelopeStored).toBe(3)
  })

  it('may hold an envelope twice, and a known part before the new one', async () => {
    const [first, second] = [await admin.seal(), await admin.seal()] as const
    await admin.upload(host, first)
    expect(receiptOf(await admin.upload(host, first, second, second, first))).toMatchObject({ position: 2n })
  })

  it('with a gap is refused, and taken once the gap is filled', async () => {
    const [first, second] = [await admin.seal(), await admin.seal()] as const
    const problem = await problemOf(admin.upload(host, second))
    expect(problem).toMatchObject({ code: 'SEQUENCE_GAP', info: { slot: 0n } })
    expect(receiptOf(await admin.upload(host, first, second)).head.seq).toBe(2n)
  })

  it('whose later part is refused leaves its valid part stored', async () => {
    const good = await admin.seal()
    const [, beyond] = [await admin.seal(), await admin.seal()]
    expect(receiptOf(await admin.upload(host, good, beyond)).head.seq).toBe(1n)
  })

  it('that contradicts the chain is refused and reported, at the head, below it and by its predecessor', async () => {
    const forkedFirst = await admin.sealAside({}, 'fork of the first')
    await admin.upload(host, await admin.seal())
    const forkedSecond = await admin.sealAside({}, 'fork of the second')
    await admin.upload(host, await admin.seal())
    const wrongPredecessor = await admin.sealAside({ previous: new Uint8Array(32) })
    const before = await host.content()
    expect(await codeOf(admin.upload(host, forkedFirst))).toBe('SEQUENCE_CONFLICT')
    expect(await codeOf(admin.upload(host, forkedSecond))).toBe('SEQUENCE_CONFLICT')
    expect(await codeOf(admin.upload(host, wrongPredecessor))).toBe('SEQUENCE_CONFLICT')
    expect(await host.content()).toBe(before)
    expect(counts().conflict).toBe(3)
  })

  it("is no evidence of a conflict when its signature is not the sender's", async () => {
    const forged = damagedSignature(await admin.sealAside())
    await admin.upload(host, await admin.seal())
    expect(await codeOf(admin.upload(host, forged))).toBe('BAD_SIGNATURE')
    expect(counts().conflict).toBe(0)
  })

  it('with a wrong signature, another document, an epoch to come or another context is refused', async () => {
    const before = await host.content()
    expect(await codeOf(admin.upload(host, damagedSignature(await admin.sealAside())))).toBe('BAD_SIGNATURE')
    expect(await codeOf(admin.upload(host, await admin.sealAside({ group: new Uint8Array(16) })))).toBe('INVALID')
    const behind = await problemOf(admin.upload(host, await admin.sealAside({ epoch: 1n })))
    expect(behind).toMatchObject({ code: 'BEHIND', info: { slot: 0n, group: admin.groupId } })
    expect(await codeOf(admin.upload(host, await admin.sealAside({ ctxTag: new Uint8Array(16) })))).toBe('FORK')
    expect(await codeOf(admin.upload(host, await admin.sealAside({ member: new Uint8Array(16).fill(9) })))).toBe(
      'NOT_A_MEMBER'
    )
    expect(await host.content()).toBe(before)
  })

  it('that does not decode ends the connection and stores nothing of itself', async () => {
    const before = await host.content()
    const good = await admin.seal()
    expect(await codeOf(admin.upload(host, good, Uint8Array.of(1, 2)))).toBe('MALFORMED')
    const { channel } = await admin.to(host)
    expect((await channel.closed).code).toBe('MALFORMED')
    expect(await host.content()).toBe(before)
  })

  it('may bring what another member sent, and is told how far the server has it', async () => {
    const editor = await admin.add([host])
    const [own, others] = [await admin.seal(), await editor.seal()] as const
    const receipts = await admin.upload(host, own, others)
    expect(receipts.map((receipt) => receiptOf([receipt]).head)).toMatchObject([
      { member: admin.memberId, seq: 1n },
      { member: editor.memberId, seq: 1n }
    ])
    expect((await editor.subscribe(host)).heads).toContainEqual(receiptOf(receipts.slice(1)).head)
  })

  it("stores the one sender's envelopes whatever is wrong with the other's", async () => {
    const editor = await admin.add([host])
    const [own, others] = [await admin.seal(), damagedSignature(await editor.seal())] as const
    expect(receiptOf(await admin.upload(host, others, own)).head.member).toEqual(admin.memberId)
  })
})

describe('a role', () => {
  it('that may not write is refused, then and now', async () => {
    const reader = await admin.add([host], Role.ROLE_READER)
    expect(await codeOf(reader.upload(host, await reader.sealAside()))).toBe('FORBIDDEN')

    const early = await reader.sealAside()
    const raised = await admin.commit([host], { roles: [{ memberId: reader.memberId, role: Role.ROLE_EDITOR }] })
    expect(await codeOf(reader.upload(host, early))).toBe('FORBIDDEN')
    await reader.follow(raised)
    await reader.upload(host, await reader.seal())

    const late = await reader.seal()
    const lowered = await admin.commit([host], { roles: [{ memberId: reader.memberId, role: Role.ROLE_READER }] })
    await reader.upload(host, late)
    await reader.follow(lowered)
    expect(await codeOf(reader.upload(host, await reader.sealAside()))).toBe('FORBIDDEN')
  })

  it('that may not write allows control messages, not too many an hour', async () => {
    const reader = await admin.add([host], Role.ROLE_READER)
    const control = { kind: EnvelopeKind.ENVELOPE_KIND_CONTROL }
    for (let i = 0; i < 120; i++) await reader.upload(host, await reader.seal(control))
    const refused = await problemOf(reader.upload(host, await reader.sealAside(control)))
    expect(refused.code).toBe('LIMIT_EXCEEDED')
    expect(Number(refused.info.retryAfterMs)).toBeGreaterThan(10_000)
    for (let i = 0; i < 121; i++) await admin.upload(host, await admin.seal(control))
  })

  it("below admin may not upload the document's state", async () => {
    const editor = await admin.add([host])
    for (const kind of [EnvelopeKind.ENVELOPE_KIND_STATE, EnvelopeKind.ENVELOPE_KIND_STATE_UPDATE]) {
      expect(await codeOf(editor.upload(host, await editor.sealAside({ kind })))).toBe('FORBIDDEN')
      await admin.upload(host, await admin.seal({ kind }))
    }
  })
})

describe('an envelope of a past epoch', () => {
  it('is taken from who may write now, also when the epoch is not retained any more', async () => {
    const editor = await admin.add([host])
    const [late, veryLate, forged] = [await editor.seal(), await editor.seal(), await editor.seal()] as const
    await admin.commit([host])
    await admin.commit([host])
    await editor.upload(host, late)
    await admin.commit([host])
    expect(receiptOf(await editor.upload(host, veryLate)).head.seq).toBe(2n)
    // What was stored is known, whatever its epoch.
    expect(receiptOf(await editor.upload(host, late)).head.seq).toBe(2n)
    // The signature is checked all the same.
    const damaged = forged.slice()
    damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1
    expect(await codeOf(editor.upload(host, damaged))).toBe('BAD_SIGNATURE')
    await admin.commit([host], { roles: [{ memberId: editor.memberId, role: Role.ROLE_READER }] })
    expect(await codeOf(editor.upload(host, forged))).toBe('FORBIDDEN')
  })

  it('is refused when its sender has been removed since', async () => {
    const editor = await admin.add([host])
    const late = await editor.seal()
    await admin.commit([host], { removes: [editor.memberId] })
    expect(await codeOf(admin.upload(host, late))).toBe('NOT_A_MEMBER')
  })
})

describe('an overloaded server', () => {
  it('refuses uploads until storage has caught up', async () => {
    await world[Symbol.asyncDispose]()
    world = await World.start(1, { limits: { writeQueueBytesMax: 1_000 } })
    host = world.hosts[0] as ServerHost
    const device = await world.device()
    await device.create([host])
    let open = () => {}
    host.onCommit = () =>
      new Promise<void>((resolve) => {
        open = resolve
      })
    const first = device.upload(host, await device.seal({}, 'x'.repeat(2_000)))
    await settled()
    const next = await device.seal()
    const second = device.upload(host, next)
    expect(await isSettled(second)).toBe(false)
    host.onCommit = undefined
    open()
    await first
    expect(await problemOf(second)).toMatchObject({ code: 'OVERLOADED', info: { retryAfterMs: 1_000 } })
    await device.upload(host, next)
  })

  it('takes large uploads one after the other', async () => {
    await world[Symbol.asyncDispose]()
    world = await World.start(1, { limits: { inFlightBytesMax: 200_000 } })
    host = world.hosts[0] as ServerHost
    const device = await world.device()
    await device.create([host])
    const envelopes: Uint8Array[] = []
    for (let i = 0; i < 8; i++) envelopes.push(await device.seal({}, 'y'.repeat(150_000)))
    const receipts = await Promise.all(envelopes.map((envelope) => device.upload(host, envelope)))
    expect(receiptOf(receipts.at(-1) ?? []).position).toBe(8n)
  })
})

function damagedSignature(bytes: Uint8Array): Uint8Array {
  const { signature, ...rest } = Envelope.decode(bytes)
  const damaged = signature.slice()
  damaged[5] = (damaged[5] ?? 0) ^ 1
  // The header stays readable: it is the signature alone that is wrong.
  EnvelopeHeader.decode(rest.header)
  return Envelope.encode({ ...rest, signature: damaged })
}
