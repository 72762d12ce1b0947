import { describe, expect, test } from 'vitest'
import { toHex, utf8 } from '../bytes.js'
import { MemberGroup, PublicGroup, type StoredRecord } from './index.js'
import {
  addMembers,
  createWorld,
  decide,
  EDITOR,
  expectAgreement,
  keyPackageFor,
  Member,
  testDeps,
  type World
} from './testing/world.js'

const AAD = utf8('header')

async function pair(seed: number): Promise<World & { a: Member; b: Member }> {
  const world = await createWorld(seed, [EDITOR, EDITOR])
  const [a, b] = world.members
  if (a === undefined || b === undefined) throw new Error('two members expected')
  return Object.assign(world, { a, b })
}

const bytesOf = (records: readonly { key: Uint8Array; value: Uint8Array | undefined }[]): number =>
  records.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0)

describe('the records of a group', () => {
  test('bring it back at every step', async () => {
    const w = await pair(60)
    const send = async (text: string) => {
      const sealed = await w.a.group.encrypt(utf8(text), AAD)
      w.a.store()
      return { ...sealed, epoch: w.a.group.epoch, aad: AAD }
    }
    const first = await send('first')
    const second = await send('second')
    for (const member of w.members) member.restart()
    const third = await send('third')
    expect((await w.b.group.decrypt(second)).plaintext).toEqual(utf8('second'))
    w.b.store()
    w.b.restart()
    await expect(w.b.group.decrypt(second)).rejects.toThrow(expect.objectContaining({ code: 'UNDECRYPTABLE' }))
    await decide(w, w.b)
    for (const member of w.members) member.restart()
    expectAgreement(w)
    expect((await w.b.group.decrypt(third)).plaintext).toEqual(utf8('third'))
    w.b.store()
    w.b.restart()
    expect((await w.b.group.decrypt(first)).plaintext).toEqual(utf8('first'))
    w.b.store()
    w.b.restart()
    for (const message of [first, second, third])
      await expect(w.b.group.decrypt(message)).rejects.toThrow(expect.objectContaining({ code: 'UNDECRYPTABLE' }))
    await decide(w, w.a)
    expectAgreement(w)
  })

  test('bring back a pending commit, which is adopted with the ratchets as they are by then', async () => {
    const w = await pair(61)
    const { pending, commit } = await w.a.group.buildCommit()
    const epoch = w.a.group.epoch
    const before = await w.a.group.encrypt(utf8('while pending'), AAD)
    const fromB = await w.b.group.encrypt(utf8('to a'), AAD)
    await w.a.group.decrypt({ ...fromB, epoch, aad: AAD })
    w.a.store()
    w.b.store()
    w.a.restart()
    w.a.group = await w.a.group.adopt(pending)
    w.a.store()
    for (const member of w.members) if (member !== w.a) await member.process(commit)
    w.observer = await w.observer.processCommit(commit)
    expectAgreement(w)
    w.a.restart()
    // The replay is refused although the commit was built before the message came.
    await expect(w.a.group.decrypt({ ...fromB, epoch, aad: AAD })).rejects.toThrow(
      expect.objectContaining({ code: 'UNDECRYPTABLE' })
    )
    expect((await w.b.group.decrypt({ ...before, epoch, aad: AAD })).plaintext).toEqual(utf8('while pending'))
    await decide(w, w.a)
  })

  test('tell a pending commit that is cut short or of another branch', async () => {
    const w = await pair(62)
    const { pending } = await w.a.group.buildCommit()
    for (let length = 0; length < pending.length; length += 7)
      await expect(w.a.group.adopt(pending.subarray(0, length))).rejects.toThrow(
        expect.objectContaining({ code: 'STORAGE_CORRUPT' })
      )
    const other = await createWorld(620, [EDITOR])
    const foreign = await other.members[0]?.group.buildCommit()
    await expect(w.a.group.adopt(foreign?.pending ?? AAD)).rejects.toThrow(
      expect.objectContaining({ code: 'STALE_EPOCH' })
    )
    expect((await w.a.group.adopt(pending)).epoch).toBe(2n)
  })

  test('cost bytes for a message, not the group', async () => {
    const w = await pair(63)
    await addMembers(
      w,
      w.a,
      6_300,
      Array.from({ length: 12 }, () => EDITOR)
    )
    await w.a.group.encrypt(utf8('first of the epoch'), AAD)
    w.a.store()
    const message = { ...(await w.a.group.encrypt(utf8('later'), AAD)), epoch: w.a.group.epoch, aad: AAD }
    const dirty = w.a.store()
    expect(dirty).toHaveLength(1)
    expect(bytesOf(dirty)).toBe(49)
    await w.b.group.decrypt(message)
    // The first message of a sender in an epoch: nodes of the secret tree, the ratchet, and one skipped key.
    expect(bytesOf(w.b.store())).toBeLessThan(500)
    for (let i = 0; i < 20; i++)
      await w.b.group.decrypt({ ...(await w.a.group.encrypt(utf8(`${i}`), AAD)), epoch: message.epoch, aad: AAD })
    // Twenty messages in a batch leave one record.
    expect(bytesOf(w.b.store())).toBe(49)
  })

  test('never let a generation be used twice after a crash, once what was sent was stored', async () => {
    const w = await pair(64)
    const generations = new Set<string>()
    for (let i = 0; i < 20; i++) {
      const { ciphertext, senderData } = await w.a.group.encrypt(utf8('same text'), AAD)
      if (i % 3 === 0) {
        w.a.restart() // killed before the records were stored: the message never left
        continue
      }
      w.a.store()
      const message = { senderData, ciphertext, epoch: w.a.group.epoch, aad: AAD }
      await w.b.group.decrypt(message)
      generations.add(toHex(ciphertext))
      if (i % 4 === 0) w.a.restart()
    }
    expect(generations.size).toBe(13)
  })

  test('hold no secret that was used up', async () => {
    const w = await pair(65)
    const valuesBefore = new Map(w.b.records)
    const sealed = await w.a.group.encrypt(utf8('x'), AAD)
    await w.b.group.decrypt({ ...sealed, epoch: w.a.group.epoch, aad: AAD })
    const dirty = w.b.store()
    const gone = dirty.filter(({ value }) => value === undefined)
    expect(gone.length).toBeGreaterThan(0)
    for (const { key } of gone) expect(valuesBefore.has(toHex(key))).toBe(true)
    // The state of the epoch before is overwritten with the new epoch's.
    const state = valuesBefore.get('01')?.value
    await decide(w, w.b)
    expect(w.b.records.get('01')?.value).not.toEqual(state)
  })

  test('hold a tree that is larger than a message could be', async () => {
    const deps = testDeps(67)
    const own = await keyPackageFor(deps)
    const leafNode = { ...own.keyPackage.leafNode, signature: new Uint8Array(300_000) }
    const { document, servers } = (await pair(68)).observer
    const group = await MemberGroup.create(
      {
        groupId: new Uint8Array(16),
        keyPackage: { ...own, keyPackage: { ...own.keyPackage, leafNode } },
        document,
        servers: servers.servers,
        faultBound: 0,
        defaultRole: EDITOR
      },
      deps
    )
    const member = new Member(group, deps)
    member.restart()
    expect(member.group.public.ctx).toEqual(group.public.ctx)
    expect(PublicGroup.load(group.public.save(), deps).ctx).toEqual(group.public.ctx)
  })

  test('that are damaged or incomplete are told as such', async () => {
    const w = await pair(66)
    await w.a.group.decrypt({
      ...(await w.b.group.encrypt(utf8('x'), AAD)),
      epoch: w.b.group.epoch,
      aad: AAD
    })
    await decide(w, w.b)
    const records = [...w.a.records.values()]
    const corrupt = expect.objectContaining({ code: 'STORAGE_CORRUPT' })
    const load = (stored: readonly StoredRecord[]) => () => MemberGroup.load(stored, w.a.deps)
    expect(load([])).toThrow(corrupt)
    for (const kind of [1, 2]) expect(load(records.filter(({ key }) => key[0] !== kind))).toThrow(corrupt)
    for (const record of records) {
      const others = records.filter((one) => one !== record)
      expect(load([...others, { ...record, value: new Uint8Array(0) }])).toThrow(corrupt)
      expect(load([...others, { ...record, value: new Uint8Array([...record.value, 0, 0]) }])).toThrow(corrupt)
    }
    expect(load([...records, { key: Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 0), value: AAD }])).toThrow(corrupt)
    expect(load(records)().epoch).toBe(w.a.group.epoch)
  })
})
