import { type LeafNode, type LeafNodeTBSCommit, signLeafNodeCommit } from 'ts-mls/leafNode.js'
import type { Proposal } from 'ts-mls/proposal.js'
import { describe, expect, test } from 'vitest'
import { emptyBytes, toHex, utf8 } from '../bytes.js'
import type { Role } from '../wire/index.js'
import { deviceExtension, leafRules } from './extensions.js'
import type { BuiltCommit, PublicGroup, RejoinBasis } from './index.js'
import {
  buildExternalEpoch,
  decodeGroupInfoMessage,
  decodePublicMessage,
  encodeGroupInfoMessage,
  encodePublicMessage,
  externalKeyIn,
  leafAt
} from './mls/index.js'
import { editedExternal, expectRefused, secretsOf } from './testing/forge.js'
import {
  ADMIN,
  addMembers,
  createMember,
  createWorld,
  decide,
  EDITOR,
  expectAgreement,
  keyPackageFor,
  type Member,
  READER,
  seeded,
  testDeps,
  type World
} from './testing/world.js'

interface Lost {
  readonly world: World
  readonly admin: Member
  /** A member that has not followed the last two commits. */
  readonly lost: Member
  readonly others: readonly Member[]
}

async function lostMember(seed: number, role: Role = EDITOR): Promise<Lost> {
  const world = await createWorld(seed, [EDITOR, role, EDITOR])
  const [admin, , lost] = world.members
  if (admin === undefined || lost === undefined) throw new Error('four members expected')
  world.members.splice(world.members.indexOf(lost), 1)
  await decide(world, admin)
  await decide(world, world.members[1] ?? admin)
  return { world, admin, lost, others: world.members.slice() }
}

const basisOf = async ({ group }: Member) => ({
  groupInfo: await group.groupInfo({ externalPub: true }),
  ctx: group.public.ctx,
  retainedEpochs: group.public.document.policy.retainedEpochs
})

async function adoptBy({ world, lost }: Pick<Lost, 'world' | 'lost'>, { commit, pending }: BuiltCommit): Promise<void> {
  world.observer = await world.observer.processCommit(commit)
  for (const member of world.members) expect(await member.process(commit)).toBe(true)
  lost.group = await lost.group.adopt(pending)
  lost.store()
  world.members.push(lost)
}

async function expectReads(sender: Member, receivers: readonly Member[]): Promise<void> {
  const sealed = await sender.group.encrypt(utf8('text'), emptyBytes)
  for (const receiver of receivers)
    if (receiver !== sender) {
      const opened = await receiver.group.decrypt({ ...sealed, epoch: sender.group.epoch, aad: emptyBytes })
      expect(toHex(opened.memberId)).toBe(toHex(sender.group.memberId))
    }
}

/** An external commit with any proposals, signed with any key, that is right in everything else. */
async function externalCommit(
  { world, admin, lost }: Lost,
  proposals: readonly Proposal[],
  options: { readonly signatureKey?: Uint8Array; readonly lie?: Partial<LeafNode> } = {}
): Promise<Uint8Array> {
  const { crypto } = lost.deps
  const { state, suite } = world.observer
  const externalKey = externalKeyIn(decodeGroupInfoMessage((await basisOf(admin)).groupInfo), suite)
  const truth = leafAt(state.tree.nodes, lost.group.me.leafIndex)
  if (truth === undefined) throw new Error('no leaf')
  const leaf = { ...truth, ...options.lie } as LeafNode
  const own = secretsOf(lost)
  const from = { state, externalKey, leaf, resumption: own.memberState.resumption }
  const rules = { suite, leafRules: () => {}, psks: () => own.memberState.secrets.resumptionPsk }
  const built = await buildExternalEpoch(from, proposals, options.signatureKey ?? own.signatureKey, rules, crypto)
  return encodePublicMessage(built.message)
}

const removal = ({ group }: Member): Proposal => ({ proposalType: 'remove', remove: { removed: group.me.leafIndex } })
const resumption = ({ group }: Member, change: object = {}): Proposal => ({
  proposalType: 'psk',
  psk: {
    preSharedKeyId: {
      psktype: 'resumption',
      usage: 'application',
      pskGroupId: group.public.groupId,
      pskEpoch: group.epoch,
      pskNonce: new Uint8Array(32),
      ...change
    }
  }
})

describe('a member that lost the group’s secrets', () => {
  test.each([EDITOR, READER])('comes back by an external commit, role %i and member id kept', async (role) => {
    const lost = await lostMember(901 + role, role)
    // The keys it takes are stored, with everyone.
    for (const member of [...lost.others, lost.lost]) member.restart()
    const before = { memberId: lost.lost.group.memberId, roster: lost.world.observer.roster.length }
    const built = await lost.lost.group.resync(await basisOf(lost.admin))
    expect(toHex(lost.world.observer.committerOf(built.commit).memberId)).toBe(toHex(before.memberId))
    await adoptBy(lost, built)
    expectAgreement(lost.world)
    const { change, roster } = lost.world.observer
    expect(change).toMatchObject({ rejoined: true, added: [], removed: [], roleChanged: [], cuts: [] })
    expect(change?.committer.memberId).toEqual(before.memberId)
    expect(roster).toHaveLength(before.roster)
    expect(lost.lost.group.memberId).toEqual(before.memberId)
    expect(lost.lost.group.me.role).toBe(role)
    await expectReads(lost.lost, lost.world.members)
    await expectReads(lost.admin, lost.world.members)
    // And goes on as any member, after a restart too.
    lost.lost.restart()
    await decide(lost.world, lost.lost)
    await decide(lost.world, lost.admin)
    await expectReads(lost.lost, lost.world.members)
  })

  test('comes back twice, and can still open what was sent in its last epoch before', async () => {
    const lost = await lostMember(905)
    const { world } = lost
    const last = lost.lost.group.epoch
    await adoptBy(lost, await lost.lost.group.resync(await basisOf(lost.admin)))
    expect(lost.lost.group.publicAt(last)?.epoch).toBe(last)
    world.members.splice(world.members.indexOf(lost.lost), 1)
    await decide(world, lost.admin)
    await adoptBy(lost, await lost.lost.group.resync(await basisOf(lost.admin)))
    expectAgreement(world)
  })

  test('is not brought back by its pending state once another commit was decided', async () => {
    const lost = await lostMember(906)
    const built = await lost.lost.group.resync(await basisOf(lost.admin))
    await decide(lost.world, lost.admin)
    await expect(lost.world.observer.processCommit(built.commit)).rejects.toThrow(
      expect.objectContaining({ code: 'STALE_EPOCH' })
    )
    const again = await lost.lost.group.resync(await basisOf(lost.admin))
    await adoptBy(lost, again)
    expectAgreement(lost.world)
    await expect(lost.lost.group.adopt(built.pending)).rejects.toThrow(expect.objectContaining({ code: 'STALE_EPOCH' }))
    for (let length = 1; length < built.pending.length; length += 997)
      await expect(lost.lost.group.adopt(built.pending.subarray(0, length))).rejects.toThrow(
        expect.objectContaining({ code: 'STORAGE_CORRUPT' })
      )
  })

  test('is told its own commit from another’s, also when it has caught up meanwhile', async () => {
    const world = await createWorld(907, [EDITOR, EDITOR])
    const [admin, editor, lost] = world.members
    if (admin === undefined || editor === undefined || lost === undefined) throw new Error('three members expected')
    world.members.splice(world.members.indexOf(lost), 1)
    const missed = [await decide(world, admin), await decide(world, editor)]
    const built = await lost.group.resync(await basisOf(admin))
    await expect(lost.group.processCommit(built.commit)).rejects.toThrow(expect.objectContaining({ code: 'BEHIND' }))
    for (const { commit } of missed) expect(await lost.process(commit)).toBe(true)
    await expect(lost.group.processCommit(built.commit)).rejects.toMatchObject({ info: { ownCommit: true } })
    await adoptBy({ world, lost }, built)
    expectAgreement(world)
  })

  test('starts only from the epoch that is vouched for, of its own group, and later than its own', async () => {
    const lost = await lostMember(908)
    const { groupInfo, ...vouched } = await basisOf(lost.admin)
    const { group } = lost.lost
    const expectCode = async (code: string, basis: RejoinBasis) =>
      expect(await group.resync(basis).catch((error: unknown) => error)).toMatchObject({ code })
    await expectCode('FORK', { ...vouched, groupInfo, ctx: group.public.ctx })
    await expectCode('INVALID', { ...vouched, groupInfo: await lost.admin.group.groupInfo() })
    await expectCode('INVALID', await basisOf(await createMember(9080)))
    const another = await lostMember(9081)
    await expectCode('INVALID', await basisOf(another.admin))
    await expectCode('STALE_EPOCH', await basisOf(lost.lost))
    const forged = decodeGroupInfoMessage(groupInfo)
    const extensions = forged.extensions.map((extension) =>
      extension.extensionType === 'external_pub'
        ? { ...extension, extensionData: new Uint8Array(33).fill(32) }
        : extension
    )
    await expectCode('BAD_SIGNATURE', { ...vouched, groupInfo: encodeGroupInfoMessage({ ...forged, extensions }) })
    await decide(lost.world, lost.admin, { removes: [group.memberId] })
    await expectCode('REMOVED', await basisOf(lost.admin))
    expect(lost.lost.store()).toEqual([])
  })

  test('is told to be added again when somebody joined since, or its last epoch is too long ago', async () => {
    const lost = await lostMember(909)
    await addMembers(lost.world, lost.admin, 9_090, [EDITOR])
    const obsolete = expect.objectContaining({ code: 'INTENT_OBSOLETE' })
    await expect(lost.lost.group.resync(await basisOf(lost.admin))).rejects.toThrow(obsolete)
    const old = await lostMember(910)
    for (let i = 0; i < 7; i++) await decide(old.world, old.admin)
    await expect(old.lost.group.resync(await basisOf(old.admin))).rejects.toThrow(obsolete)
  })

  test('goes by the least number of epochs that members have kept since, not by the policy of now', async () => {
    const world = await createWorld(911, [EDITOR, EDITOR, EDITOR])
    const [admin, other, lost] = world.members
    if (admin === undefined || other === undefined || lost === undefined) throw new Error('four members expected')
    const { policy } = world.observer.document
    await decide(world, admin, { policy: { ...policy, retainedEpochs: 3 } })
    world.members.splice(world.members.indexOf(lost), 1)
    await decide(world, other)
    await decide(world, admin, { policy: { ...policy, retainedEpochs: 8 } })
    await decide(world, admin)
    const obsolete = expect.objectContaining({ code: 'INTENT_OBSOLETE' })
    const basis = await basisOf(admin)
    expect(basis.retainedEpochs).toBe(8)
    await expect(lost.group.resync({ ...basis, retainedEpochs: 2 })).rejects.toThrow(obsolete)
    const built = await lost.group.resync(basis)
    await decide(world, admin)
    // The members have let go of it by the policy of its own epoch; the servers could not tell.
    await expect(lost.group.resync(await basisOf(admin))).rejects.toThrow(obsolete)
    expect(built.next.epoch).toBe(lost.group.epoch + 4n)
  })
})

describe('an external commit', () => {
  test('of the one shape is accepted, made by hand too', async () => {
    const lost = await lostMember(920)
    const commit = await externalCommit(lost, [removal(lost.lost), resumption(lost.lost)])
    await lost.world.observer.processCommit(commit)
    for (const { group } of lost.others) expect(await group.processCommit(commit)).toMatchObject({ removed: false })
  })

  test('of any other shape is refused', async () => {
    const lost = await lostMember(921)
    const { world, admin } = lost
    const [first, second] = [lost.others[1], lost.others[2]]
    if (first === undefined || second === undefined) throw new Error('three others expected')
    const own = removal(lost.lost)
    const psk = resumption(lost.lost)
    const added = await keyPackageFor(testDeps(9_210))
    const external: Proposal = {
      proposalType: 'psk',
      psk: { preSharedKeyId: { psktype: 'external', pskId: utf8('id'), pskNonce: new Uint8Array(32) } }
    }
    const shapes: readonly (readonly [RegExp, readonly Proposal[]])[] = [
      [/only to come back/, [own]],
      [/only to come back/, [psk, own]],
      [/only to come back/, [own, psk, resumption(lost.lost, { pskNonce: new Uint8Array(32).fill(1) })]],
      [/signature key occurs twice/, [removal(first), psk]],
      [/with an external pre-shared key/, [own, external]],
      [/no member at leaf/, [{ proposalType: 'remove', remove: { removed: 4_000_000 } }, psk]],
      [/another group/, [own, resumption(lost.lost, { pskGroupId: new Uint8Array(16) })]],
      [/do not keep/, [own, resumption(lost.lost, { pskEpoch: 1_000n })]],
      [/nonce/, [own, resumption(lost.lost, { pskNonce: new Uint8Array(31) })]],
      [/only from its first commit/, [own, resumption(lost.lost, { usage: 'branch' })]],
      [/only from its first commit/, [own, resumption(lost.lost, { usage: 'reinit' })]]
    ]
    for (const [reason, proposals] of shapes) {
      const commit = await externalCommit(lost, proposals).catch((error: unknown) => error)
      // What our own engine already refuses to build is refused for the same reason.
      if (commit instanceof Uint8Array) await expectRefused(world, lost.lost, commit, 'INVALID', reason)
      else expect(String(commit)).toMatch(reason)
    }
    const byHand: readonly (readonly [RegExp, (proposals: readonly Proposal[]) => readonly Proposal[]])[] = [
      [/without ExternalInit/, (proposals) => proposals.slice(1)],
      [/Two ExternalInit/, (proposals) => [...proposals, ...proposals.slice(0, 1)]],
      [/removes several/, (proposals) => [...proposals, removal(admin)]],
      [
        /other proposals than/,
        (proposals) => [...proposals, { proposalType: 'add', add: { keyPackage: added.keyPackage } }]
      ],
      [/ReInit with other/, (proposals) => [...proposals, reinit(world.observer)]],
      [/other proposals than/, (proposals) => [...proposals, { proposalType: 0xf796, proposalData: emptyBytes }]],
      [
        /other proposals than/,
        (proposals) => [
          ...proposals,
          {
            proposalType: 'group_context_extensions',
            groupContextExtensions: { extensions: world.observer.state.context.extensions }
          }
        ]
      ]
    ]
    for (const [reason, change] of byHand) {
      const honest = decodePublicMessage(await externalCommit(lost, [own, psk]))
      await expectRefused(
        world,
        lost.lost,
        await editedExternal(lost.lost, honest, world.observer.state.context, change),
        'INVALID',
        reason
      )
    }
  })

  test('under the encryption key of the old leaf is refused', async () => {
    const lost = await lostMember(926)
    const { world } = lost
    const honest = decodePublicMessage(await externalCommit(lost, [removal(lost.lost), resumption(lost.lost)]))
    const { context, tree } = world.observer.state
    const { leafIndex } = lost.lost.group.me
    const old = leafAt(tree.nodes, leafIndex)?.hpkePublicKey ?? emptyBytes
    const commit = await editedExternal(
      lost.lost,
      honest,
      context,
      (proposals) => proposals,
      async (path) => {
        const place = { groupId: context.groupId, leafIndex, hpkePublicKey: old }
        const tbs = { ...path.leafNode, ...place, leafNodeSource: 'commit' } as LeafNodeTBSCommit
        const { signature } = world.observer.suite.mls
        return { ...path, leafNode: await signLeafNodeCommit(tbs, secretsOf(lost.lost).signatureKey, signature) }
      }
    )
    await expectRefused(world, lost.lost, commit, 'INVALID', /keeps the encryption key of the old leaf/)
  })

  test('of an outsider, or of one member for another, is refused', async () => {
    const lost = await lostMember(922)
    const { world, admin } = lost
    const { crypto } = lost.lost.deps
    const outsider = crypto.randomBytes(32)
    const signaturePublicKey = crypto.publicKeyOf(outsider)
    const proposals = [removal(lost.lost), resumption(lost.lost)]
    // The leaf is the victim's, the signature is not.
    const stranger = await externalCommit(lost, proposals, { signatureKey: outsider })
    await expectRefused(world, lost.lost, stranger, 'BAD_SIGNATURE')
    // Somebody takes a member's place under a name of its own.
    const credential = { credentialType: 'basic', identity: signaturePublicKey } as const
    for (const victim of [lost.lost, admin]) {
      const lie = { signaturePublicKey, credential }
      const usurper = await externalCommit(lost, [removal(victim), resumption(lost.lost)], {
        signatureKey: outsider,
        lie: victim === admin ? { ...lie, extensions: leafExtensions(admin) } : lie
      })
      await expectRefused(world, lost.lost, usurper, 'INVALID', /signature key|endpoint/)
    }
    // The member itself, as another device.
    const endpointId = crypto.randomBytes(32)
    const extensions = [deviceExtension({ endpointId, crdtTypes: ['yjs/1'] })]
    const moved = await externalCommit(lost, proposals, { lie: { extensions } })
    await expectRefused(world, lost.lost, moved, 'INVALID', /has not the signature key, credential and device/)
  })

  test('of who has the signature key but never had the group’s secrets is seen through by members', async () => {
    const lost = await lostMember(923)
    const own = secretsOf(lost.lost)
    const { state, suite } = lost.world.observer
    const externalKey = externalKeyIn(decodeGroupInfoMessage((await basisOf(lost.admin)).groupInfo), suite)
    const leaf = leafAt(state.tree.nodes, lost.lost.group.me.leafIndex)
    if (leaf === undefined) throw new Error('no leaf')
    const rules = { suite, leafRules, psks: () => new Uint8Array(32) } // a guess
    const built = await buildExternalEpoch(
      { state, externalKey, leaf, resumption: new Map() },
      [removal(lost.lost), resumption(lost.lost)],
      own.signatureKey,
      rules,
      lost.lost.deps.crypto
    )
    const commit = encodePublicMessage(built.message)
    await lost.world.observer.processCommit(commit) // it cannot tell
    for (const { group } of lost.others)
      await expect(group.processCommit(commit)).rejects.toMatchObject({ info: { poison: 'confirmation_tag' } })
  })

  test('whose key nobody below the policy’s age has kept is refused by everyone', async () => {
    const lost = await lostMember(924)
    for (let i = 0; i < 7; i++) await decide(lost.world, lost.admin)
    const commit = await externalCommit(lost, [removal(lost.lost), resumption(lost.lost)])
    await expectRefused(lost.world, lost.lost, commit, 'INVALID', /do not keep/)
  })

  test('does not reach a member that came after the epoch of its key, which says so', async () => {
    const lost = await lostMember(925)
    const [newcomer] = await addMembers(lost.world, lost.admin, 9_250, [EDITOR])
    const commit = await externalCommit(lost, [removal(lost.lost), resumption(lost.lost)])
    await expect(newcomer?.group.processCommit(commit)).rejects.toMatchObject({
      code: 'INVALID',
      info: { poison: 'psk' }
    })
    expect(newcomer?.store()).toEqual([])
  })
})

function leafExtensions({ group }: Member): LeafNode['extensions'] {
  return leafAt(group.public.state.tree.nodes, group.me.leafIndex)?.extensions ?? []
}

function reinit({ groupId, state }: PublicGroup): Proposal {
  const { cipherSuite, extensions } = state.context
  return { proposalType: 'reinit', reinit: { groupId, version: 'mls10', cipherSuite, extensions } }
}

describe.each([931, 932, 933])('a random walk from seed %i', (seed) => {
  test('brings members back from whatever they missed, into whatever leaf', { timeout: 60_000 }, async () => {
    const random = seeded(seed)
    const world = await createWorld(seed, [ADMIN, EDITOR, READER, EDITOR, EDITOR, EDITOR])
    const any = (): Member => {
      const member = world.members[random.below(world.members.length)]
      if (member === undefined) throw new Error('nobody is left')
      return member
    }
    const leaves = new Set<string>()
    for (let round = 0; round < 8; round++) {
      const lost = any()
      const memberId = toHex(lost.group.memberId)
      world.members.splice(world.members.indexOf(lost), 1)
      for (let missed = 1 + random.below(3); missed > 0; missed--) {
        const admin = world.members.find(({ group }) => group.me.role === ADMIN)
        const editors = world.members.filter(({ group }) => group.me.role === EDITOR)
        const gone = editors.at(-1)
        // Once in a while somebody goes, so that there are free leaves in the tree.
        if (admin !== undefined && gone !== undefined && editors.length > 2 && random.below(3) === 0)
          await decide(world, admin, { removes: [gone.group.memberId] })
        else await decide(world, any())
      }
      if (random.below(2) === 0) lost.restart()
      const from = lost.group.me.leafIndex
      const built = await lost.group.resync(await basisOf(any()))
      await adoptBy({ world, lost }, built)
      leaves.add(`${from} to ${lost.group.me.leafIndex}`)
      expect(toHex(lost.group.memberId)).toBe(memberId)
      expectAgreement(world)
      await expectReads(any(), world.members)
      await expectReads(lost, world.members)
      await decide(world, any())
    }
    expect(leaves.size).toBeGreaterThan(2)
  })
})
