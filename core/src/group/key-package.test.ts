import { signKeyPackage } from 'ts-mls/keyPackage.js'
import { expect, test } from 'vitest'
import {
  generateKeyPackage,
  loadKeyPackage,
  MemberGroup,
  type OwnKeyPackage,
  PublicGroup,
  readKeyPackage,
  saveKeyPackage
} from './index.js'
import { encodeKeyPackage } from './mls/index.js'
import { lyingKeyPackage } from './testing/forge.js'
import { createMember, EDITOR, NOW_MS, testDeps } from './testing/world.js'

const deps = testDeps(80)
const device = { endpointId: deps.crypto.randomBytes(32), crdtTypes: ['yjs/1', 'loro/1'] }
const options = { crypto: deps.crypto, device, nowMs: NOW_MS }
const reader = { crypto: deps.crypto, nowMs: NOW_MS }

test('a key package tells whose it is and what the device can', async () => {
  const own = await generateKeyPackage(options)
  const info = await readKeyPackage(own.message, reader)
  expect(info).toEqual({
    ref: own.ref,
    signaturePublicKey: deps.crypto.publicKeyOf(own.signatureKey),
    device,
    suite: 1
  })
  expect((await generateKeyPackage({ ...options, suite: 3 })).keyPackage.cipherSuite).toMatch(/CHACHA20POLY1305/)
})

test('a key package that was saved joins a group', async () => {
  const own = await generateKeyPackage(options)
  const loaded = loadKeyPackage(saveKeyPackage(own))
  expect(loaded).toEqual(own)
  const admin = await createMember(81)
  const { welcome, tree } = await admin.commit({ adds: [{ keyPackage: own.message }] })
  if (welcome === undefined) throw new Error('no Welcome')
  const joined = await MemberGroup.join({ welcome, tree, keyPackage: loaded }, deps)
  expect(joined.me.role).toBe(EDITOR)
  expect(joined.epochAuthenticator).toEqual(admin.group.epochAuthenticator)
  const other = await generateKeyPackage(options)
  await expect(MemberGroup.join({ welcome, tree, keyPackage: other }, deps)).rejects.toThrow(
    expect.objectContaining({ code: 'NOT_FOUND' })
  )
  const mixedUp: OwnKeyPackage = { ...loaded, secrets: other.secrets }
  await expect(MemberGroup.join({ welcome, tree, keyPackage: mixedUp }, deps)).rejects.toThrow(
    expect.objectContaining({ code: 'UNDECRYPTABLE' })
  )
})

test('a saved key package that is damaged is told as such', async () => {
  const saved = saveKeyPackage(await generateKeyPackage(options))
  for (let length = 0; length < saved.length; length += 11)
    expect(() => loadKeyPackage(saved.subarray(0, length))).toThrow(
      expect.objectContaining({ code: 'STORAGE_CORRUPT' })
    )
})

test('a key package out of its lifetime, or not signed by its key, is refused', async () => {
  const own = await generateKeyPackage({ ...options, lifetimeMs: 60_000 })
  await readKeyPackage(own.message, { ...reader, nowMs: NOW_MS + 59_000 })
  for (const nowMs of [NOW_MS + 61_000, NOW_MS - 2 * 86_400_000])
    await expect(readKeyPackage(own.message, { ...reader, nowMs })).rejects.toThrow(/lifetime/)
  const { mls } = deps.crypto.suite(1)
  const stranger = await signKeyPackage(own.keyPackage, deps.crypto.randomBytes(32), mls.signature)
  await expect(readKeyPackage(encodeKeyPackage(stranger), reader)).rejects.toThrow(
    expect.objectContaining({ code: 'BAD_SIGNATURE' })
  )
})

test('a key package under another name than its key is refused, and so is a group with such a member', async () => {
  const own = await generateKeyPackage(options)
  const credential = { credentialType: 'basic', identity: new Uint8Array(32) } as const
  const { keyPackage, message } = await lyingKeyPackage(own, { credential }, deps)
  await expect(readKeyPackage(message, reader)).rejects.toThrow(/credential/)
  const admin = await createMember(82)
  await expect(admin.group.buildCommit({ adds: [{ keyPackage: message }] })).rejects.toThrow(/credential/)
  const { document, servers } = admin.group.public
  const group = await MemberGroup.create(
    {
      groupId: new Uint8Array(16),
      keyPackage: { ...own, keyPackage, message },
      document,
      servers: servers.servers,
      faultBound: 0,
      defaultRole: EDITOR
    },
    deps
  )
  await expect(PublicGroup.fromGroupInfo(await group.groupInfo(), deps)).rejects.toThrow(/credential/)
})

test('a device that breaks a limit gets no key package', async () => {
  const tooMany = { ...device, crdtTypes: Array.from({ length: 9 }, (_, i) => `type-${i}`) }
  await expect(generateKeyPackage({ ...options, device: tooMany })).rejects.toThrow(
    expect.objectContaining({ code: 'MALFORMED' })
  )
})
