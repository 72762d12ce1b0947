import { getHpkePublicKey } from 'ts-mls/ratchetTree.js'
import { describe, expect, test } from 'vitest'
import { toHex, utf8 } from '../bytes.js'
import { LIMITS } from '../wire/index.js'
import { MemberGroup, memberIdOf, PublicGroup } from './index.js'
import { enterEpoch } from './mls/index.js'
import { secretsOf } from './testing/forge.js'
import {
  ADMIN,
  addMembers,
  createWorld,
  decide,
  EDITOR,
  expectAgreement,
  keyPackageFor,
  Member,
  READER,
  seeded,
  testDeps,
  type World
} from './testing/world.js'

const HEADER = utf8('header')

async function expectReads(sender: Member, receivers: readonly Member[], text: string): Promise<void> {
  const sealed = await sender.group.encrypt(utf8(text), HEADER)
  sender.store()
  for (const receiver of receivers) {
    if (receiver === sender) continue
    const opened = await receiver.group.decrypt({ ...sealed, epoch: sender.group.epoch, aad: HEADER })
    receiver.store()
    expect(opened.plaintext).toEqual(utf8(text))
    expect(toHex(opened.memberId)).toBe(toHex(sender.group.memberId))
    expect(opened.role).toBe(sender.group.me.role)
  }
}

/** A member has its leaf's private key and those of nodes above it, each fits the tree, and none of a blank node is left. */
async function expectKeysFit(member: Member): Promise<void> {
  const { memberState, state } = secretsOf(member)
  const { hpke } = member.group.public.suite.mls
  expect(memberState.privateKeys.has(2 * memberState.leafIndex)).toBe(true)
  for (const [at, privateKey] of memberState.privateKeys) {
    const node = state.tree.nodes[at]
    expect(node, `the node ${at} of a private key`).toBeDefined()
    if (node === undefined) continue
    const sealed = await hpke.seal(await hpke.importPublicKey(getHpkePublicKey(node)), utf8('x'), HEADER)
    expect(await hpke.open(await hpke.importPrivateKey(privateKey), sealed.enc, sealed.ct, HEADER)).toEqual(utf8('x'))
  }
}

function at(world: World, index: number): Member {
  const member = world.members[index]
  if (member === undefined) throw new Error(`no member ${index}`)
  return member
}

describe('a group', () => {
  test('is the same for members and observer through adds, removes, roles and rotations', async () => {
    const world = await createWorld(1, [EDITOR, READER, ADMIN])
    const [a, b, c, d] = [at(world, 0), at(world, 1), at(world, 2), at(world, 3)]
    expect(world.observer.change?.added.map(({ role }) => role)).toEqual([EDITOR, READER, ADMIN])
    await decide(world, b)
    expect(toHex(world.observer.change?.committer.memberId ?? utf8(''))).toBe(toHex(b.group.memberId))
    await decide(world, c)
    const removal = await decide(world, d, {
      removes: [b.group.memberId],
      roles: [{ memberId: c.group.memberId, role: EDITOR }]
    })
    expect(world.members).toEqual([a, c, d])
    expect(world.observer.change?.removed.map(({ memberId }) => memberId)).toEqual([b.group.memberId])
    expect(removal.welcome).toBeUndefined()
    await expectReads(c, world.members, 'hello')
  })

  test('finds members by id, endpoint and leaf', async () => {
    const world = await createWorld(2, [EDITOR, EDITOR])
    const { observer } = world
    for (const entry of observer.roster) {
      expect(observer.member(entry.memberId)).toBe(entry)
      expect(observer.memberOfEndpoint(entry.device.endpointId)).toBe(entry)
      expect(observer.memberAtLeaf(entry.leafIndex)).toBe(entry)
      const { crypto } = at(world, 0).deps
      expect(entry.memberId).toEqual(memberIdOf(crypto, observer.groupId, entry.signaturePublicKey))
    }
    expect(observer.member(new Uint8Array(16))).toBeUndefined()
    expect(observer.memberAtLeaf(2 ** 40)).toBeUndefined()
  })

  test('names the committer of a commit before it is processed', async () => {
    const world = await createWorld(3, [EDITOR])
    const { commit } = await at(world, 1).group.buildCommit()
    expect(world.observer.committerOf(commit).memberId).toEqual(at(world, 1).group.memberId)
  })

  test('keeps a member id across key rotations, and gives a leaf that is used again to another member', async () => {
    const world = await createWorld(4, [EDITOR, EDITOR])
    const [a, b] = [at(world, 0), at(world, 1)]
    const before = b.group.memberId
    await decide(world, b)
    expect(b.group.memberId).toEqual(before)
    const { leafIndex } = b.group.me
    // Removed and refilled in one commit.
    const deps = testDeps(4_000)
    const keyPackage = await keyPackageFor(deps)
    const plan = { removes: [before], adds: [{ keyPackage: keyPackage.message }] }
    const { welcome = utf8(''), tree } = await decide(world, a, plan)
    const joined = await MemberGroup.join({ welcome, tree, keyPackage }, deps)
    expect(joined.me.leafIndex).toBe(leafIndex)
    expect(joined.memberId).not.toEqual(before)
    expect(world.members).toHaveLength(2)
  })

  test('tells every epoch and branch apart', async () => {
    const world = await createWorld(5, [ADMIN])
    const [a, b] = [at(world, 0), at(world, 1)]
    const one = await world.observer.processCommit((await a.group.buildCommit()).commit)
    const other = await world.observer.processCommit((await b.group.buildCommit()).commit)
    expect(one.epoch).toBe(other.epoch)
    expect(new Set([world.observer, one, other].map(({ ctx }) => toHex(ctx))).size).toBe(3)
    expect(one.ctx).toHaveLength(32)
    expect(one.ctxTag).toEqual(one.ctx.subarray(0, 16))
  })

  test('drops the losing commit of a race and goes on with the winner', async () => {
    const world = await createWorld(6, [ADMIN, EDITOR])
    const [a, b, c] = [at(world, 0), at(world, 1), at(world, 2)]
    const losing = await a.group.buildCommit({ removes: [c.group.memberId] })
    const early = await a.group.encrypt(utf8('while pending'), HEADER)
    const epoch = a.group.epoch
    await decide(world, b)
    await expect(a.group.adopt(losing.pending)).rejects.toThrow(expect.objectContaining({ code: 'STALE_EPOCH' }))
    await expect(world.observer.processCommit(losing.commit)).rejects.toThrow(
      expect.objectContaining({ code: 'STALE_EPOCH' })
    )
    for (const receiver of [b, c])
      expect((await receiver.group.decrypt({ ...early, epoch, aad: HEADER })).plaintext).toEqual(utf8('while pending'))
    await expectReads(a, world.members, 'after the race')
    await decide(world, a, { removes: [c.group.memberId] })
  })

  test('says when a commit is for an epoch to come', async () => {
    const world = await createWorld(7, [ADMIN])
    const behind = world.observer
    const [a, b] = [at(world, 0), at(world, 1)]
    await decide(world, a)
    const { commit } = await b.group.buildCommit()
    await expect(behind.processCommit(commit)).rejects.toThrow(expect.objectContaining({ code: 'BEHIND' }))
  })

  test('refuses its own commit as another one’s', async () => {
    const world = await createWorld(8, [ADMIN])
    const a = at(world, 0)
    const { commit, pending } = await a.group.buildCommit()
    await expect(a.group.processCommit(commit)).rejects.toThrow(expect.objectContaining({ info: { ownCommit: true } }))
    expect((await a.group.adopt(pending)).epoch).toBe(2n)
  })

  test('does not let an object of a past epoch do anything', async () => {
    const world = await createWorld(9, [ADMIN])
    const old = at(world, 0).group
    await decide(world, at(world, 1))
    const used: readonly (() => Promise<unknown>)[] = [
      () => old.encrypt(utf8('x'), HEADER),
      () => old.buildCommit(),
      () => old.exportSecret('label', HEADER, 32)
    ]
    for (const use of used) await expect(use()).rejects.toThrow(expect.objectContaining({ code: 'DISPOSED' }))
  })

  test('shuts a removed member out of the next epoch', async () => {
    const world = await createWorld(30, [EDITOR, EDITOR, EDITOR])
    const [a, b, removed] = [at(world, 0), at(world, 1), at(world, 2)]
    const secret = secretsOf(removed)
    const before = world.observer
    const { commit } = await decide(world, a, { removes: [removed.group.memberId] })
    expect(world.members).not.toContain(removed)
    // What was sent before can still be read, by everyone.
    const sealed = await b.group.encrypt(utf8('secret'), HEADER)
    await expect(removed.group.decrypt({ ...sealed, epoch: b.group.epoch, aad: HEADER })).rejects.toThrow(
      expect.objectContaining({ code: 'BEHIND' })
    )
    // Even when it does not honour its removal it finds no secret in the commit.
    const { staged } = await before.stage(commit)
    await expect(enterEpoch(secret.memberState, staged, before.suite)).rejects.toThrow(
      expect.objectContaining({ info: { poison: 'path' } })
    )
  })

  test('exports equal secrets to all members, others for others', async () => {
    const world = await createWorld(31, [EDITOR])
    const [a, b] = [at(world, 0), at(world, 1)]
    const secret = await a.group.exportSecret('presence', HEADER, 40)
    expect(secret).toHaveLength(40)
    expect(await b.group.exportSecret('presence', HEADER, 40)).toEqual(secret)
    expect(await b.group.exportSecret('presence', utf8('other'), 40)).not.toEqual(secret)
    expect(await b.group.exportSecret('other', HEADER, 40)).not.toEqual(secret)
    await decide(world, b)
    expect(await b.group.exportSecret('presence', HEADER, 40)).not.toEqual(secret)
  })

  test('signs with the leaf key that the roster shows', async () => {
    const world = await createWorld(32, [EDITOR])
    const b = at(world, 1)
    const entry = world.observer.member(b.group.memberId)
    const signature = b.group.sign(utf8('label and statement'))
    const { crypto } = b.deps
    expect(crypto.verify(entry?.signaturePublicKey ?? utf8(''), utf8('label and statement'), signature)).toBe(true)
  })

  test('is the same for an observer that comes later', async () => {
    const world = await createWorld(33, [EDITOR, EDITOR])
    await decide(world, at(world, 2))
    const { deps, group } = at(world, 1)
    const late = await PublicGroup.fromGroupInfo(await group.groupInfo(), deps)
    expect(late.ctx).toEqual(world.observer.ctx)
    const loaded = PublicGroup.load(world.observer.save(), deps)
    expect(loaded.ctx).toEqual(world.observer.ctx)
    const { commit } = await decide(world, at(world, 0))
    for (const observer of [late, loaded])
      expect((await observer.processCommit(commit)).ctx).toEqual(world.observer.ctx)
    expect(() => PublicGroup.load(world.observer.save().slice(0, -1), deps)).toThrow(
      expect.objectContaining({ code: 'STORAGE_CORRUPT' })
    )
  })

  test('takes a thousand members, as many at once as one commit and its Welcome carry', {
    timeout: 120_000
  }, async () => {
    const world = await createWorld(35, [])
    const admin = at(world, 0)
    const { deps } = admin
    const packages = await Promise.all(Array.from({ length: 1_000 }, (_, i) => keyPackageFor(testDeps(35_000 + i))))
    const adds = packages.map(({ message }) => ({ keyPackage: message }))
    await expect(admin.group.buildCommit({ adds: adds.slice(0, 600) })).rejects.toThrow(/too large/)
    await decide(world, admin, { adds: adds.slice(0, 330) })
    await decide(world, admin, { adds: adds.slice(330, 660) })
    await decide(world, admin, { adds: adds.slice(660, 999) })
    // One by one, as most come: neither the commit nor the Welcome has the tree.
    const keyPackage = packages.at(-1)
    if (keyPackage === undefined) throw new Error('no key package')
    const { commit, welcome, tree } = await decide(world, admin, { adds: adds.slice(999) })
    if (welcome === undefined) throw new Error('no Welcome')
    expect(welcome.length).toBeLessThan(16_384)
    expect(commit.length).toBeLessThan(LIMITS.ValueContent.commit.bytesMax / 2)
    expect(tree.length).toBeGreaterThan(262_144)
    const joined = new Member(await MemberGroup.join({ welcome, tree, keyPackage }, deps), deps)
    world.members.push(joined)
    expectAgreement(world)
    expect(world.observer.roster).toHaveLength(1_001)
    // It can move to other servers, and is stored whole.
    const groupInfo = await joined.group.groupInfo()
    expect(groupInfo.length).toBeLessThan(LIMITS.Create.groupInfo.bytesMax / 8)
    expect((await PublicGroup.fromGroupInfo(groupInfo, deps)).ctx).toEqual(world.observer.ctx)
    expect(PublicGroup.load(world.observer.save(), deps).ctx).toEqual(world.observer.ctx)
    await decide(world, joined)
  })

  test('gives the same bytes from the same seed', async () => {
    const run = async (): Promise<string> => {
      const world = await createWorld(34, [EDITOR])
      const { commit } = await decide(world, at(world, 1))
      const { ciphertext, senderData } = await at(world, 0).group.encrypt(utf8('text'), HEADER)
      return [commit, ciphertext, senderData].map(toHex).join()
    }
    expect(await run()).toBe(await run())
  })
})

describe.each([101, 102, 103])('a random walk from seed %i', (seed) => {
  test('keeps members and observer equal, and every message readable', { timeout: 60_000 }, async () => {
    const random = seeded(seed)
    const world = await createWorld(seed, [ADMIN, EDITOR])
    const member = (): Member => at(world, random.below(world.members.length))
    const admins = (): Member[] => world.members.filter(({ group }) => group.me.role === ADMIN)
    const admin = (): Member => admins()[random.below(admins().length)] ?? at(world, 0)
    for (let step = 0; step < 45; step++) {
      const by = admin()
      const other = member()
      switch (random.below(8)) {
        case 0:
          if (world.members.length < 12) {
            const roles = Array.from(
              { length: 1 + random.below(3) },
              () => [ADMIN, EDITOR, READER][random.below(3)] ?? READER
            )
            await addMembers(world, by, seed * 100 + step, roles)
          }
          break
        case 1: {
          const gone = world.members.filter((one) => one !== by && random.below(3) === 0)
          await decide(world, by, { removes: gone.map(({ group }) => group.memberId) })
          break
        }
        case 2:
          if (other !== by) {
            const role = [ADMIN, EDITOR, READER][random.below(3)] ?? READER
            await decide(world, by, { roles: [{ memberId: other.group.memberId, role }] })
          }
          break
        case 3: {
          const losing = await by.group.buildCommit()
          await decide(world, other)
          if (other !== by) await expect(by.group.adopt(losing.pending)).rejects.toThrow(/another branch/)
          break
        }
        case 4:
          for (const one of world.members) if (random.below(2) === 0) one.restart()
          break
        default:
          await decide(world, other)
      }
      await expectReads(member(), world.members, `step ${step}`)
      await expectReads(member(), world.members, `step ${step} again`)
      await expectKeysFit(member())
    }
    expectAgreement(world)
    expect(world.observer.epoch).toBeGreaterThan(20n)
  })
})
