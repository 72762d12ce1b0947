/**
 * A member that says one thing to some servers and another to the rest, each properly signed (SPEC SYNC-025 to SYNC-028).
 * Whatever an honest member took, all honest members get; the forking member is shown to everybody.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as Y from 'yjs'
import { equalBytes, fromHex, toHex } from '../src/bytes.js'
import { MemberGroup } from '../src/group/index.js'
import type { Document } from '../src/index.js'
import { digest, parseEnvelope } from '../src/sync/index.js'
import { Envelope, EnvelopeHeader, EnvelopeKind, Payload } from '../src/wire/index.js'
import { textOf, World } from './world.js'

afterEach(() => {
  vi.restoreAllMocks()
})

const write = (document: Document, word: string): void => textOf(document).insert(0, `${word} `)
const read = (document: Document): string => textOf(document).toString()
const wordsOf = (document: Document): string[] => read(document).trim().split(' ').sort()

async function party(seed: number, names: readonly string[]) {
  const world = await World.create({ seed })
  const ada = await world.openDevice('ada')
  const doc = await world.settle(ada.create({ servers: world.tickets }))
  const others: Document[] = []
  for (const name of names) {
    const device = await world.openDevice(name)
    const role = name === 'rita' ? 'reader' : 'editor'
    others.push(await world.settle(device.join(await world.settle(doc.invite({ role })))))
  }
  write(doc, 'start')
  await world.until(() => others.every((one) => read(one) === 'start '))
  return { world, ada, doc, others }
}

/** From now on the member's messages to server 1 hold other words, and form a chain of their own. */
function fork(world: World, mallory: Document): void {
  const { encrypt } = MemberGroup.prototype
  const id = fromHex(mallory.memberId) ?? new Uint8Array(0)
  const others = new Map<string, Uint8Array>()
  let previous: Uint8Array | undefined
  vi.spyOn(MemberGroup.prototype, 'encrypt').mockImplementation(async function (this: MemberGroup, plaintext, aad) {
    const sealed = await encrypt.call(this, plaintext, aad)
    const header = EnvelopeHeader.decode(aad)
    if (!equalBytes(this.memberId, id) || header.kind !== EnvelopeKind.ENVELOPE_KIND_UPDATE) return sealed
    const alternative = new Y.Doc()
    alternative.getText('text').insert(0, `other${header.seq} `)
    const otherHeader = EnvelopeHeader.encode({ ...header, previous: previous ?? header.previous })
    const payload = Payload.encode({ deps: [], updates: [Y.encodeStateAsUpdate(alternative)], repair: undefined })
    const { senderData, ciphertext } = await encrypt.call(this, payload, otherHeader)
    const { signed, hash } = digest(otherHeader, senderData, ciphertext)
    previous = hash
    const own = digest(aad, sealed.senderData, sealed.ciphertext)
    others.set(
      toHex(own.hash),
      Envelope.encode({ header: otherHeader, senderData, ciphertext, signature: this.sign(signed) })
    )
    return sealed
  })
  world.tap.liars.set('server-1', (frame, direction, device) => {
    const { body } = frame
    if (device !== 'mallory' || direction === 'to-device' || body?.$case !== 'upload') return [frame]
    const envelopes = body.value.envelopes.map((bytes) => others.get(toHex(parseEnvelope(bytes).hash)) ?? bytes)
    return [{ request: frame.request, body: { $case: 'upload', value: { ...body.value, envelopes } } }]
  })
}

const converged = (documents: readonly Document[], ...words: string[]) => {
  const [first, ...rest] = documents.map((one) => wordsOf(one).join(' '))
  return rest.every((one) => one === first) && words.every((word) => first?.split(' ').includes(word))
}

describe('a member that forks its chain', () => {
  it.each([911, 912, 913, 914, 915, 916])('leaves all others with what any of them took (seed %i)', async (seed) => {
    const { world, doc, others } = await party(seed, ['mallory', 'bob', 'carol', 'rita'])
    const [mallory, bob, carol, rita] = others as [Document, Document, Document, Document]
    fork(world, mallory)
    // Ada and Rita hear server 1, Bob and Carol the others.
    for (const name of ['ada', 'rita']) for (const far of ['server-2', 'server-3']) world.cutBetween(name, far)
    for (const name of ['bob', 'carol']) world.cutBetween(name, 'server-1')
    write(mallory, 'one')
    await world.settle(mallory.settled('safe'))
    await world.until(() => read(doc).includes('other') && read(bob).includes('one') && read(carol).includes('one'))
    write(bob, 'bob')
    write(mallory, 'two')
    await world.until(() => read(carol).includes('two') && read(carol).includes('bob'))
    for (const name of ['ada', 'rita']) for (const far of ['server-2', 'server-3']) world.healBetween(name, far)
    for (const name of ['bob', 'carol']) world.healBetween(name, 'server-1')
    write(doc, 'ada')
    await world.until(() => converged([doc, bob, carol, rita], 'one', 'bob', 'ada', 'start'), 300_000)
    expect(wordsOf(doc).some((word) => word.startsWith('other'))).toBe(true)
    for (const one of [doc, bob, carol, rita]) expect(one.status().forked).toEqual([mallory.memberId])
    // What it says from now on, nobody takes; what the others say, everybody.
    write(mallory, 'three')
    await world.settle(mallory.settled('sent'))
    write(carol, 'carol')
    await world.until(() => converged([doc, bob, carol, rita], 'carol'))
    expect(read(doc)).not.toContain('three')
    await world.settle(doc.remove(mallory.memberId))
    write(bob, 'after')
    await world.until(() => converged([doc, bob, carol, rita], 'after') && doc.status().lacking === 0, 600_000)
    for (const one of [doc, bob, carol, rita]) expect(one.status().forked).toEqual([])
    await world.dispose()
  })
})
