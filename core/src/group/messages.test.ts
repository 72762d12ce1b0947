import { encode } from 'ts-mls/codec/tlsEncoder.js'
import { verifyFramedContentSignature } from 'ts-mls/framedContent.js'
import {
  decodePrivateMessageContent,
  decryptSenderData,
  privateContentAADEncoder,
  toAuthenticatedContent
} from 'ts-mls/privateMessage.js'
import { describe, expect, test } from 'vitest'
import { utf8 } from '../bytes.js'
import type { ErrorName } from '../errors.js'
import { type MessageToOpen, PADDING_BYTES } from './index.js'
import { encodeContext, type MessageEpoch, SecretTree, sealMessage } from './mls/index.js'
import { readRecords } from './persistence.js'
import { secretsOf } from './testing/forge.js'
import { createWorld, decide, EDITOR, type Member, READER, testCrypto, type World } from './testing/world.js'

const AAD = utf8('envelope header')

async function pair(seed: number): Promise<World & { a: Member; b: Member; c: Member }> {
  const world = await createWorld(seed, [EDITOR, READER])
  const [a, b, c] = world.members
  if (a === undefined || b === undefined || c === undefined) throw new Error('three members expected')
  return Object.assign(world, { a, b, c })
}

async function send(sender: Member, text: string): Promise<MessageToOpen> {
  const sealed = await sender.group.encrypt(utf8(text), AAD)
  return { ...sealed, epoch: sender.group.epoch, aad: AAD }
}

async function read(receiver: Member, message: MessageToOpen): Promise<string> {
  return new TextDecoder().decode((await receiver.group.decrypt(message)).plaintext)
}

async function expectUnread(receiver: Member, message: MessageToOpen, code: ErrorName): Promise<void> {
  await expect(receiver.group.decrypt(message)).rejects.toThrow(expect.objectContaining({ name: 'HeddleError', code }))
}

/** The epoch a member is in, as its records tell, to do with it what the member would not. */
function messageEpochOf({ group, records, deps }: Member): MessageEpoch {
  const { suite, groupId, epoch, state } = group.public
  const stored = readRecords(records.values()).epochs.get(epoch)
  if (stored?.saved === undefined) throw new Error('the current epoch is not stored')
  const { saved, nodes, ratchets } = stored
  const secretTree = new SecretTree(saved.leaves, nodes, ratchets, deps.crypto, suite)
  const { senderDataSecret } = saved
  return { groupId, epoch, context: encodeContext(state.context), senderDataSecret, secretTree }
}

describe('messages', () => {
  test('arrive in any order, late by several epochs, and each once', async () => {
    const w = await pair(50)
    const messages: MessageToOpen[] = []
    for (let i = 0; i < 5; i++) messages.push(await send(w.a, `L${i}`))
    for (const by of [w.c, w.b, w.c]) await decide(w, by)
    for (const [i, message] of [...messages.entries()].reverse()) expect(await read(w.b, message)).toBe(`L${i}`)
    for (const message of messages) await expectUnread(w.b, message, 'UNDECRYPTABLE')
    expect(await read(w.b, await send(w.a, 'now'))).toBe('now')
  })

  test('are told with sender, role and roster of their own epoch', async () => {
    const w = await pair(51)
    const { memberId, me } = w.c.group
    const before = await send(w.c, 'as reader')
    await decide(w, w.a, { roles: [{ memberId, role: EDITOR }] })
    const after = await send(w.c, 'as editor')
    expect((await w.b.group.decrypt(after)).role).toBe(EDITOR)
    expect(await w.b.group.decrypt(before)).toEqual({
      plaintext: utf8('as reader'),
      memberId,
      role: READER,
      leafIndex: me.leafIndex
    })
    await decide(w, w.a, { removes: [memberId] })
    expect(w.b.group.public.member(memberId)).toBeUndefined()
    expect(w.b.group.signatureKeyOf(memberId, 2n)).toEqual(me.signaturePublicKey)
    expect(w.b.group.memberAt(memberId, 1n)?.role).toBe(READER)
    expect(w.b.group.signatureKeyOf(memberId, 99n)).toBeUndefined()
  })

  test('do not open when anything was changed, and then nothing has changed', async () => {
    const w = await pair(52)
    const message = await send(w.a, 'genuine')
    const flip = (bytes: Uint8Array, i: number) => bytes.with(i, (bytes[i] ?? 0) ^ 1)
    const changed: MessageToOpen[] = [
      { ...message, aad: utf8('envelope headeR') },
      { ...message, senderData: message.senderData.subarray(1) },
      { ...message, senderData: new Uint8Array(0) },
      { ...message, ciphertext: new Uint8Array(0) },
      { ...message, ciphertext: message.ciphertext.subarray(0, -1) },
      ...Array.from(message.senderData, (_, i) => ({ ...message, senderData: flip(message.senderData, i) })),
      ...Array.from(message.ciphertext, (_, i) => ({ ...message, ciphertext: flip(message.ciphertext, i) }))
    ]
    w.b.store()
    for (const one of changed) await expectUnread(w.b, one, 'UNDECRYPTABLE')
    await expectUnread(w.b, { ...message, epoch: 0n }, 'UNDECRYPTABLE')
    await expectUnread(w.b, { ...message, epoch: 9n }, 'BEHIND')
    expect(w.b.store()).toEqual([])
    expect(await read(w.b, message)).toBe('genuine')
  })

  test('of this device itself do not open', async () => {
    const w = await pair(53)
    const own = await send(w.a, 'own')
    await expectUnread(w.a, own, 'UNDECRYPTABLE')
    // Nor when this device has forgotten that it sent them: that must not turn its own ratchet.
    w.a.restart()
    await expectUnread(w.a, own, 'UNDECRYPTABLE')
    expect(w.a.store()).toEqual([])
  })

  test('of members who forge another’s signature do not open', async () => {
    const w = await pair(54)
    // Everyone in the epoch has every ratchet: an insider can encrypt as anyone, but not sign.
    const crypto = testCrypto(54)
    const { suite, epoch } = w.c.group.public
    const messageEpoch = messageEpochOf(w.c)
    const sender = { leafIndex: w.a.group.me.leafIndex, signatureKey: crypto.randomBytes(32) }
    const forged = await sealMessage(utf8('forged'), AAD, sender, messageEpoch, crypto, suite)
    await expectUnread(w.b, { ...forged, epoch, aad: AAD }, 'BAD_SIGNATURE')
    // The forged message used a's generation 0; a's own message of that generation is still good.
    expect(await read(w.b, await send(w.a, 'genuine'))).toBe('genuine')
  })

  test('whose padding is not zero do not open', async () => {
    const w = await pair(59)
    const { signatureKey } = secretsOf(w.c)
    const { suite } = w.c.group.public
    const { groupId, epoch, context, senderDataSecret, secretTree } = messageEpochOf(w.c)
    // A covert channel of the sender: it seals what `sealMessage` gives, with one more byte.
    const seal = (key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array =>
      suite.seal(key, nonce, aad, plaintext.length > 12 ? plaintext.with(plaintext.length - 1, 1) : plaintext)
    const sender = { leafIndex: w.c.group.me.leafIndex, signatureKey }
    const target = { groupId, epoch, context, senderDataSecret, secretTree }
    const sealed = await sealMessage(utf8('text'), AAD, sender, target, w.c.deps.crypto, { ...suite, seal })
    await expectUnread(w.b, { ...sealed, epoch, aad: AAD }, 'MALFORMED')
  })

  test('opened twice at once open once', async () => {
    const w = await pair(55)
    await read(w.b, await send(w.a, 'before'))
    const message = await send(w.a, 'once')
    const results = await Promise.allSettled([w.b.group.decrypt(message), w.b.group.decrypt(message)])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  test('far ahead are opened, and so are those in between when they come', async () => {
    const w = await pair(56)
    const messages: MessageToOpen[] = []
    for (let i = 0; i < 200; i++) messages.push(await send(w.a, `${i}`))
    const [first, ...others] = messages
    const last = others.pop()
    if (first === undefined || last === undefined) throw new Error('200 messages expected')
    expect(await read(w.b, last)).toBe('199')
    for (const [i, message] of [...others.entries()].reverse()) expect(await read(w.b, message)).toBe(`${i + 1}`)
    expect(await read(w.b, first)).toBe('0')
  })

  test('of epochs beyond the policy are given up, by number and by time', async () => {
    const w = await pair(57)
    const message = await send(w.a, 'old')
    for (let i = 0; i < 8; i++) await decide(w, w.a)
    const other = await send(w.a, 'newer')
    expect(await read(w.b, message)).toBe('old')
    await decide(w, w.a)
    await expectUnread(w.c, message, 'UNDECRYPTABLE')
    expect(w.c.group.publicAt(1n)).toBeUndefined()
    expect([...w.c.records.keys()].filter((key) => key.slice(2, 18) === '0000000000000001')).toEqual([])
    const later = w.b.deps.now() + 31 * 86_400_000
    Object.assign(w.b.deps, { now: () => later })
    w.b.group.expireEpochs()
    w.b.store()
    await expectUnread(w.b, other, 'UNDECRYPTABLE')
    expect(await read(w.b, await send(w.a, 'current'))).toBe('current')
    expect(w.b.records.size).toBeLessThan(12)
  })

  test('are standard MLS PrivateMessages, padded', async () => {
    const w = await pair(58)
    const text = 'a standard message'
    const { epoch, senderData, ciphertext } = await send(w.a, text)
    expect(senderData).toHaveLength(28)
    expect((ciphertext.length - 16) % PADDING_BYTES).toBe(0)
    const { suite, state, groupId } = w.b.group.public
    const { mls } = suite
    const { senderDataSecret, secretTree } = messageEpochOf(w.b)
    const message = {
      groupId,
      epoch,
      contentType: 'application',
      authenticatedData: AAD,
      encryptedSenderData: senderData,
      ciphertext
    } as const
    const sender = await decryptSenderData(message, senderDataSecret, mls)
    expect(sender).toMatchObject({ leafIndex: w.a.group.me.leafIndex, generation: 0 })
    if (sender === undefined) throw new Error('no sender data')
    const { key, nonce } = secretTree.peek(sender.leafIndex, sender.generation).key
    const guarded = nonce.map((byte, i) => byte ^ (sender.reuseGuard[i] ?? 0))
    const padded = await mls.hpke.decryptAead(key, guarded, encode(privateContentAADEncoder)(message), ciphertext)
    const [content] = decodePrivateMessageContent('application')(padded, 0) ?? []
    if (content?.contentType !== 'application') throw new Error('no application data')
    expect(content.applicationData).toEqual(utf8(text))
    const authenticated = toAuthenticatedContent(content, message, sender.leafIndex)
    const { signaturePublicKey } = w.a.group.me
    expect(
      await verifyFramedContentSignature(
        signaturePublicKey,
        'mls_private_message',
        authenticated.content,
        authenticated.auth,
        state.context,
        mls.signature
      )
    ).toBe(true)
  })
})
