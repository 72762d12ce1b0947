import type { Proposal, Reinit } from 'ts-mls/proposal.js'
import { describe, expect, test } from 'vitest'
import { emptyBytes, toHex, utf8 } from '../bytes.js'
import { SUITE_POST_QUANTUM, suiteName } from '../crypto/index.js'
import { type GroupExtensions, leafRules, readGroupExtensions, writeGroupExtensions } from './extensions.js'
import { type BegunGroup, MemberGroup, type OwnKeyPackage, PublicGroup } from './index.js'
import {
  buildEpoch,
  createWelcome,
  decodePublicMessage,
  encodeTree,
  encodeWelcome,
  isSuccession,
  type SuccessionPsk
} from './mls/index.js'
import { checkSuccession } from './successor.js'
import { edited, expectRefused, forge, secretsOf } from './testing/forge.js'
import {
  ADMIN,
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

async function world(seed: number): Promise<World & { admin: Member; editor: Member; reader: Member }> {
  const made = await createWorld(seed, [EDITOR, READER, ADMIN])
  const [admin, editor, reader] = made.members
  if (admin === undefined || editor === undefined || reader === undefined) throw new Error('four members expected')
  await decide(made, editor)
  return Object.assign(made, { admin, editor, reader })
}

const groupId = (seed: number): Uint8Array => seeded(seed).bytes(16)
const placeOf = ({ group }: Member) => {
  const { document, servers } = group.public
  return { document, servers: servers.servers, faultBound: servers.faultBound }
}

/** Everyone enters the group that was begun; whoever began it first. */
async function enter(
  by: Member,
  { group, first }: BegunGroup,
  others: readonly (readonly [Member, OwnKeyPackage])[]
): Promise<World> {
  const observer = await PublicGroup.fromGroupInfo(await group.groupInfo(), by.deps)
  const { welcome } = first
  if (welcome === undefined) throw new Error('no Welcome')
  const tree = first.next.ratchetTree()
  const founder = new Member(await group.adopt(first.pending), by.deps)
  const joined = await Promise.all(
    others.map(async ([member, keyPackage]) => {
      const joinedGroup = await MemberGroup.join({ welcome, tree, keyPackage, predecessor: member.group }, member.deps)
      return new Member(joinedGroup, member.deps)
    })
  )
  const made = { members: [founder, ...joined], observer: await observer.processCommit(first.commit) }
  expectAgreement(made)
  return made
}

async function expectCode(code: string, work: Promise<unknown>, reason = /./): Promise<void> {
  const error = await work.catch((cause: unknown) => cause)
  expect(error).toMatchObject({ code })
  expect(String(error)).toMatch(reason)
}

function proposalsIn(commit: Uint8Array): readonly Proposal[] {
  const { content } = decodePublicMessage(commit)
  if (content.contentType !== 'commit') throw new Error('not a commit')
  return content.commit.proposals.flatMap((item) => (item.proposalOrRefType === 'proposal' ? [item.proposal] : []))
}

/** The proof of succession that a first commit carries. */
function proofIn(commit: Uint8Array): Proposal {
  const proof = proposalsIn(commit).find(({ proposalType }) => proposalType === 'psk')
  if (proof === undefined) throw new Error('no pre-shared key in the commit')
  return proof
}

function successionIn(commit: Uint8Array): SuccessionPsk {
  const proof = proofIn(commit)
  if (proof.proposalType !== 'psk' || !isSuccession(proof.psk.preSharedKeyId)) throw new Error('no proof of succession')
  return proof.psk.preSharedKeyId
}

async function reinitBy({ group }: Member): Promise<Reinit> {
  const [proposal] = proposalsIn((await group.buildCommit({ reinit: { suite: 3 } })).commit)
  if (proposal?.proposalType !== 'reinit') throw new Error('no ReInit in the commit')
  return proposal.reinit
}

/** The first commit of a group, with any proposals and the key of the group before. */
async function firstCommit(
  founder: Member,
  proposals: readonly Proposal[],
  joiners: readonly OwnKeyPackage[],
  before: Member
): Promise<{ readonly welcome: Uint8Array; readonly tree: Uint8Array }> {
  const { state, signatureKey, memberState } = secretsOf(founder)
  const { suite } = founder.group.public
  const { resumptionPsk } = secretsOf(before).memberState.secrets
  const rules = { suite, leafRules, psks: () => resumptionPsk }
  const built = await buildEpoch(memberState, state, proposals, signatureKey, rules, founder.deps.crypto)
  const packages = joiners.map(({ keyPackage }) => keyPackage)
  const welcome = encodeWelcome(await createWelcome(built, packages, signatureKey, [], suite))
  return { welcome, tree: encodeTree(built.public.tree.nodes) }
}

describe('a branch', () => {
  test('is a group of some members, known by their keys, who keep their roles', async () => {
    const w = await world(930)
    const packages = await Promise.all([w.admin, w.editor, w.reader].map(({ group }) => group.successorKeyPackage()))
    const [own, editors, readers] = packages
    if (own === undefined || editors === undefined || readers === undefined) throw new Error('three expected')
    const begun = await w.admin.group.branch({
      groupId: groupId(930),
      keyPackage: own,
      members: [editors.message, readers.message],
      ...placeOf(w.admin)
    })
    const branch = await enter(w.admin, begun, [
      [w.editor, editors],
      [w.reader, readers]
    ])
    expect(branch.observer.roster.map(({ role }) => role)).toEqual([ADMIN, EDITOR, READER])
    expect(branch.observer.roster.map(({ signaturePublicKey }) => toHex(signaturePublicKey))).toEqual(
      [w.admin, w.editor, w.reader].map(({ group }) => toHex(group.me.signaturePublicKey))
    )
    for (const one of branch.members) await decide(branch, one)
    // The group it came from goes on.
    await decide(w, w.editor)
  })

  test('cannot be joined without the keys of the group before, or with those of another epoch', async () => {
    const w = await world(931)
    const own = await w.admin.group.successorKeyPackage()
    const editors = await w.editor.group.successorKeyPackage()
    const place = { groupId: groupId(931), keyPackage: own, members: [editors.message], ...placeOf(w.admin) }
    const { first } = await w.admin.group.branch(place)
    const { welcome } = first
    if (welcome === undefined) throw new Error('no Welcome')
    const tree = first.next.ratchetTree()
    const join = (predecessor?: MemberGroup) =>
      MemberGroup.join({ welcome, tree, keyPackage: editors, predecessor }, w.editor.deps)
    await expectCode('NOT_FOUND', join(), /has not the pre-shared key of epoch/)
    const other = await world(9310)
    await expectCode('NOT_FOUND', join(other.editor.group))
    // A device that is an epoch further still has the key, as long as the policy retains it.
    await decide(w, w.admin)
    expect((await join(w.editor.group)).epoch).toBe(1n)
    for (let i = 0; i < 8; i++) await decide(w, w.admin)
    await expectCode('NOT_FOUND', join(w.editor.group))
  })

  test('is refused by who joins when it has a stranger, or is no branch at all', async () => {
    const w = await world(932)
    const editors = await w.editor.group.successorKeyPackage()
    const own = await w.admin.group.successorKeyPackage()
    const place = { groupId: groupId(932), keyPackage: own, ...placeOf(w.admin) }
    const stranger = await keyPackageFor(testDeps(9_320))
    await expectCode('INVALID', w.admin.group.branch({ ...place, members: [stranger.message] }), /nobody in the group/)
    const foreign = await keyPackageFor(w.admin.deps)
    await expectCode('INVALID', w.admin.group.branch({ ...place, keyPackage: foreign, members: [] }), /nobody in/)
    await expectCode(
      'INVALID',
      w.admin.group.branch({ ...place, keyPackage: editors, members: [] }),
      /not of this device/
    )
    const otherSuite = await w.admin.group.successorKeyPackage({ suite: 3 })
    await expectCode('INVALID', w.admin.group.branch({ ...place, keyPackage: otherSuite, members: [] }), /cipher suite/)

    // A liar adds a stranger beside a member: whoever holds the key, the roster gives it away.
    const { group, first } = await w.admin.group.branch({ ...place, members: [editors.message] })
    const proof = proofIn(first.commit)
    const founder = new Member(group, w.admin.deps)
    const add = ({ keyPackage }: OwnKeyPackage): Proposal => ({ proposalType: 'add', add: { keyPackage } })
    const told = await firstCommit(founder, [add(editors), add(stranger), proof], [editors, stranger], w.admin)
    const joining = MemberGroup.join({ ...told, keyPackage: editors, predecessor: w.editor.group }, w.editor.deps)
    await expectCode('INVALID', joining, /not in the one before/)

    const plain = await group.buildCommit({ adds: [{ keyPackage: editors.message }] })
    const { welcome = emptyBytes, next } = plain
    const follows = { welcome, tree: next.ratchetTree(), keyPackage: editors, predecessor: w.editor.group }
    await expectCode('INVALID', MemberGroup.join(follows, w.editor.deps), /not of a group that follows/)
  })

  test('can follow another only with its first commit, and only one', async () => {
    const w = await world(933)
    const own = await w.admin.group.successorKeyPackage()
    const { first } = await w.admin.group.branch({
      groupId: groupId(933),
      keyPackage: own,
      members: [],
      ...placeOf(w.admin)
    })
    const proof = proofIn(first.commit)
    const late = await edited(w.admin, ({ path }) => ({
      path,
      proposals: [{ proposalOrRefType: 'proposal', proposal: proof }]
    }))
    await expectRefused(w, w.admin, late, 'INVALID', /only from its first commit/)
  })
})

describe('what a group says to follow is checked by who joins', () => {
  const other = new Uint8Array(16).fill(3)

  test('for a branch', async () => {
    const w = await world(934)
    const own = await w.admin.group.successorKeyPackage()
    const place = { groupId: groupId(934), keyPackage: own, members: [], ...placeOf(w.admin) }
    const { next, commit } = (await w.admin.group.branch(place)).first
    const psk = successionIn(commit)
    const before = w.observer
    const { context } = next.state
    checkSuccession(psk, context, next.members, before)
    const cases: readonly (readonly [RegExp, Partial<typeof context>, Partial<typeof psk>])[] = [
      [/only at its first commit/, { epoch: 2n }, {}],
      [/the same id/, { groupId: before.groupId }, {}],
      [/another group or epoch/, {}, { pskGroupId: other }],
      [/another group or epoch/, {}, { pskEpoch: psk.pskEpoch - 1n }],
      [/another version/, { version: 'mls20' as never }, {}],
      [/another cipher suite/, { cipherSuite: suiteName(3) }, {}],
      [/not closed by a ReInit/, {}, { usage: 'reinit' }]
    ]
    for (const [reason, contextChange, pskChange] of cases)
      expect(() =>
        checkSuccession({ ...psk, ...pskChange }, { ...context, ...contextChange }, next.members, before)
      ).toThrow(reason)
  })

  test('for a successor', async () => {
    const w = await world(935)
    const members = [w.admin.group.memberId, w.editor.group.memberId]
    await decide(w, w.admin, { reinit: { suite: 3, members } })
    const own = await w.admin.group.successorKeyPackage({ suite: 3 })
    const { next, commit } = (await w.admin.group.succeed({ keyPackage: own, members: [] })).first
    const psk = successionIn(commit)
    const before = w.observer
    const { context } = next.state
    checkSuccession(psk, context, next.members, before)
    for (const change of [
      { groupId: other },
      { cipherSuite: suiteName(1) },
      { extensions: context.extensions.slice(1) },
      { extensions: before.state.context.extensions }
    ])
      expect(() => checkSuccession(psk, { ...context, ...change }, next.members, before)).toThrow(/ReInit announced/)
  })
})

describe('a ReInit', () => {
  test('closes the group and leads everyone into its successor, under another cipher suite', async () => {
    const w = await world(940)
    await decide(w, w.admin, { reinit: { suite: SUITE_POST_QUANTUM } })
    expect(w.observer.reinit?.cipherSuite).toBe(String(SUITE_POST_QUANTUM))
    const { admin, members } = w
    // Nothing goes on in the old group, for anybody, after a restart either.
    for (const member of members) {
      member.restart()
      await expectCode('INVALID', member.group.encrypt(utf8('x'), emptyBytes), /closed by a ReInit/)
      await expectCode('INVALID', member.group.buildCommit(), /closed by a ReInit/)
    }
    expect(PublicGroup.load(w.observer.save(), admin.deps).reinit).toEqual(w.observer.reinit)

    const suite = SUITE_POST_QUANTUM
    const packages = new Map<Member, OwnKeyPackage>()
    for (const member of members) packages.set(member, await member.group.successorKeyPackage({ suite }))
    const own = packages.get(admin)
    if (own === undefined) throw new Error('no key package')
    const others = [...packages].filter(([member]) => member !== admin)
    const begun = await admin.group.succeed({ keyPackage: own, members: others.map(([, { message }]) => message) })
    const successor = await enter(admin, begun, others)
    expect(successor.observer.state.context.cipherSuite).toBe(String(suite))
    expect(toHex(successor.observer.groupId)).toBe(toHex(w.observer.reinit?.groupId ?? emptyBytes))
    const roleOf = (group: PublicGroup) =>
      group.roster.map(({ signaturePublicKey, role }) => `${toHex(signaturePublicKey)} ${role}`).sort()
    expect(roleOf(successor.observer)).toEqual(roleOf(w.observer))
    for (const member of successor.members) await decide(successor, member)
  })

  test('may leave members behind, whom an admin names', async () => {
    const w = await world(941)
    const members = [w.admin.group.memberId, w.editor.group.memberId]
    await decide(w, w.admin, { reinit: { suite: 3, members } })
    const own = await w.admin.group.successorKeyPackage({ suite: 3 })
    const editors = await w.editor.group.successorKeyPackage({ suite: 3 })
    const begun = await w.admin.group.succeed({ keyPackage: own, members: [editors.message] })
    const successor = await enter(w.admin, begun, [[w.editor, editors]])
    expect(successor.observer.roster.map(({ role }) => role)).toEqual([ADMIN, EDITOR])
  })

  test('is for admins, alone in its commit, and leads to the one successor with the state the group has', async () => {
    const w = await world(942)
    const { document, servers, roles } = w.observer
    const honest = await reinitBy(w.admin)
    const withState = (change: Partial<GroupExtensions>) =>
      writeGroupExtensions({ ...readGroupExtensions(honest.extensions), ...change })
    const propose = (change: Partial<Reinit>): Proposal => ({
      proposalType: 'reinit',
      reinit: { ...honest, ...change }
    })
    await expectCode('FORBIDDEN', w.editor.group.buildCommit({ reinit: { suite: 3 } }))
    await expectRefused(w, w.editor, await forge(w.editor, [propose({})]), 'FORBIDDEN')
    await expectCode(
      'INVALID',
      w.admin.group.buildCommit({ reinit: { suite: 3 }, removes: [w.editor.group.memberId] }),
      /ReInit with other/
    )
    const sameRoles = writeGroupExtensions({ document, servers: { ...servers, version: 0n }, roles })
    const fewer = { ...servers, version: 0n, servers: servers.servers.slice(1) }
    const readers = readGroupExtensions(honest.extensions).roles.roles.filter(({ role }) => role === READER)
    const cases: readonly (readonly [RegExp, Partial<Reinit>])[] = [
      [/another group than the successor/, { groupId: new Uint8Array(16) }],
      [/another group than the successor/, { groupId: w.observer.groupId }],
      [/is not supported/, { cipherSuite: 'MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448' }],
      [/has not the same in this group/, { extensions: sameRoles }],
      [/without an admin/, { extensions: withState({ roles: { ...roles, roles: readers } }) }],
      [/lacks extension|changes the document/, { extensions: [] }],
      [/changes the document/, { extensions: withState({ servers: fewer }) }],
      [/changes the document/, { extensions: withState({ document: { ...document, crdtType: 'loro/1' } }) }]
    ]
    for (const [reason, change] of cases)
      await expectRefused(w, w.admin, await forge(w.admin, [propose(change)]), 'INVALID', reason)
    const alone = await edited(w.admin, ({ path }) => ({
      path,
      proposals: [
        propose({}),
        { proposalType: 'remove', remove: { removed: w.editor.group.me.leafIndex } } as const
      ].map((proposal) => ({ proposalOrRefType: 'proposal', proposal }))
    }))
    await expectRefused(w, w.admin, alone, 'INVALID', /ReInit with other/)

    // A commit after the ReInit is refused by servers and devices.
    const { commit } = await w.admin.group.buildCommit({ reinit: { suite: 3 } })
    const next = await w.observer.processCommit(commit)
    const later = await w.members[3]?.group.buildCommit()
    await expectCode('INVALID', next.processCommit(later?.commit ?? emptyBytes), /closed by a ReInit/)
  })

  test('is succeeded by an admin only, and by nothing else than what it announced', async () => {
    const w = await world(943)
    const suite = 3
    const early = await w.admin.group.successorKeyPackage({ suite })
    await expectCode('INVALID', w.admin.group.succeed({ keyPackage: early, members: [] }), /was not closed/)
    await decide(w, w.admin, { reinit: { suite } })
    const own = await w.admin.group.successorKeyPackage({ suite })
    const editors = await w.editor.group.successorKeyPackage({ suite })
    await expectCode('FORBIDDEN', w.editor.group.succeed({ keyPackage: editors, members: [] }))
    await expectCode('INVALID', w.admin.group.succeed({ keyPackage: own, members: [] }), /gives a role are missing/)
    const wrongSuite = await w.admin.group.successorKeyPackage()
    await expectCode('INVALID', w.admin.group.succeed({ keyPackage: wrongSuite, members: [] }), /another cipher suite/)
    const branch = { groupId: groupId(943), keyPackage: wrongSuite, members: [], ...placeOf(w.admin) }
    await expectCode('INVALID', w.admin.group.branch(branch), /closed by a ReInit/)
  })
})
