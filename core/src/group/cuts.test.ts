/** Cut and PolicySet proposals: who must be cut, who must not, and who may set the policy (SPEC GROUP-005, SYNC-020). */
import type { Proposal } from 'ts-mls/proposal.js'
import { describe, expect, test } from 'vitest'
import { toHex, utf8 } from '../bytes.js'
import {
  CutProposal,
  type Head,
  MLS_PROPOSALS,
  type Policy,
  PolicySetProposal,
  type Role,
  RoleSetProposal
} from '../wire/index.js'
import { writeGroupExtensions } from './extensions.js'
import type { CommitPlan } from './index.js'
import { edited, expectRefused, forge } from './testing/forge.js'
import {
  ADMIN,
  createWorld,
  decide,
  EDITOR,
  expectAgreement,
  keyPackageFor,
  type Member,
  READER,
  testDeps,
  type World
} from './testing/world.js'

async function world(seed: number): Promise<World & { admin: Member; editor: Member; reader: Member; second: Member }> {
  const made = await createWorld(seed, [EDITOR, READER, ADMIN])
  const [admin, editor, reader, second] = made.members
  if (admin === undefined || editor === undefined || reader === undefined || second === undefined)
    throw new Error('four members expected')
  return Object.assign(made, { admin, editor, reader, second })
}

const hash = new Uint8Array(32).fill(9)
const headOf = (member: Uint8Array): Head => ({ member, seq: 7n, hash })
const cut = ({ group }: Member): Proposal => ({
  proposalType: MLS_PROPOSALS.cut.type,
  proposalData: CutProposal.encode(headOf(group.memberId))
})
const remove = ({ group }: Member): Proposal => ({ proposalType: 'remove', remove: { removed: group.me.leafIndex } })
const setRole = ({ group }: Member, role: Role): Proposal => ({
  proposalType: MLS_PROPOSALS.roleSet.type,
  proposalData: RoleSetProposal.encode({ member: group.memberId, role })
})
const setPolicy = (policy: Policy): Proposal => ({
  proposalType: MLS_PROPOSALS.policySet.type,
  proposalData: PolicySetProposal.encode({ policy })
})
const setExtensions = ({ group }: Member, change: Partial<Parameters<typeof writeGroupExtensions>[0]>): Proposal => ({
  proposalType: 'group_context_extensions',
  groupContextExtensions: { extensions: writeGroupExtensions({ ...group.public, ...change }) }
})
const withRole = ({ group }: Member, of: Member, role: Role) => {
  const { roles, defaultRole } = group.public.roles
  const others = roles.filter(({ member }) => toHex(member) !== toHex(of.group.memberId))
  const entry = { member: of.group.memberId, role }
  const sorted = [...others, entry].sort((a, b) => (toHex(a.member) < toHex(b.member) ? -1 : 1))
  return { roles: { roles: sorted, defaultRole } }
}
const without = ({ group }: Member, gone: Member) => {
  const { roles, defaultRole } = group.public.roles
  return { roles: { roles: roles.filter(({ member }) => toHex(member) !== toHex(gone.group.memberId)), defaultRole } }
}

describe('a commit says how much its sender has', () => {
  test.each([
    ['of an editor it removes', (w) => ({ removes: [w.editor.group.memberId] }), (w) => [w.editor]],
    ['of an admin it removes', (w) => ({ removes: [w.second.group.memberId] }), (w) => [w.second]],
    ['not of a reader it removes', (w) => ({ removes: [w.reader.group.memberId] }), () => []],
    [
      'of an editor it makes a reader',
      (w) => ({ roles: [{ memberId: w.editor.group.memberId, role: READER }] }),
      (w) => [w.editor]
    ],
    [
      'of an admin it makes a reader',
      (w) => ({ roles: [{ memberId: w.second.group.memberId, role: READER }] }),
      (w) => [w.second]
    ],
    [
      'not of an admin it makes an editor, nor of who gets the right to write',
      (w) => ({
        roles: [
          { memberId: w.second.group.memberId, role: EDITOR },
          { memberId: w.reader.group.memberId, role: EDITOR }
        ]
      }),
      () => []
    ],
    [
      'of all of them at once',
      (w) => ({
        removes: [w.editor.group.memberId, w.reader.group.memberId],
        roles: [{ memberId: w.second.group.memberId, role: READER }]
      }),
      (w) => [w.editor, w.second]
    ],
    [
      'of nobody when it changes the servers only',
      (w) => ({ servers: [{ kind: 'remove', id: w.observer.servers.servers[0]?.id ?? hash }] }),
      () => []
    ]
  ] as readonly (readonly [
    string,
    (w: Awaited<ReturnType<typeof world>>) => CommitPlan,
    (w: Awaited<ReturnType<typeof world>>) => Member[]
  ])[])('%s', async (_name, plan, cutOf) => {
    const w = await world(970)
    const expected = cutOf(w).map(({ group }) => toHex(group.memberId))
    await decide(w, w.admin, { ...plan(w), headOf })
    const cuts = w.observer.change?.cuts ?? []
    expect(cuts.map(({ member }) => toHex(member)).sort()).toEqual(expected.sort())
    for (const one of cuts) expect(one).toMatchObject({ seq: 7n, hash })
    for (const { group } of w.members.slice(1)) expect(group.public.change?.cuts).toEqual(cuts)
  })

  test('with zeros when it has applied nothing', async () => {
    const w = await world(971)
    const member = w.editor.group.memberId
    await decide(w, w.admin, { removes: [member] })
    expect(w.observer.change?.cuts).toEqual([{ member, seq: 0n, hash: new Uint8Array(32) }])
  })

  test('and is refused when a cut is missing, of somebody else, or twice', async () => {
    const w = await world(972)
    const { admin, editor, reader, second } = w
    const demoted = [setRole(editor, READER), setExtensions(admin, withRole(admin, editor, READER))]
    const right = [cut(editor), ...demoted]
    await w.observer.processCommit(await forge(admin, right)) // so that what follows fails for its cuts alone
    const cases: readonly (readonly Proposal[])[] = [
      demoted,
      [cut(second), ...demoted],
      [cut(editor), cut(reader), ...demoted],
      [cut(editor), cut(editor), ...demoted],
      [remove(editor)],
      [remove(editor), cut(editor), cut(admin)],
      [remove(reader), cut(reader), setExtensions(admin, without(admin, reader))],
      [remove(second), setExtensions(admin, without(admin, second))],
      // Nobody loses anything.
      [cut(editor)],
      [cut(admin)],
      [cut(reader)]
    ]
    for (const proposals of cases)
      await expectRefused(w, admin, await forge(admin, proposals), 'INVALID', /lose the right to write/)
    const malformed: Proposal = { proposalType: MLS_PROPOSALS.cut.type, proposalData: new Uint8Array([0xff]) }
    await expectRefused(w, admin, await forge(admin, [malformed]), 'MALFORMED')
    expectAgreement(w)
  })

  test('of nobody whose leaf is filled again by the commit that removes it under the same key', async () => {
    const w = await world(973)
    const { admin, editor } = w
    const keyPackage = await editor.group.successorKeyPackage()
    const plan = { removes: [editor.group.memberId], adds: [{ keyPackage: keyPackage.message }] }
    const { commit } = await admin.group.buildCommit(plan)
    expect((await w.observer.processCommit(commit)).change?.cuts).toEqual([])
  })
})

describe('the policy', () => {
  const policy: Policy = { retainedEpochs: 3, retainedDays: 2, removalMode: 2, rotationHours: 24 }

  test('is set by an admin, for everyone, and nothing else of the document with it', async () => {
    const w = await world(980)
    const before = w.observer.document
    await decide(w, w.second, { policy })
    expect(w.observer.document).toEqual({ ...before, policy })
    for (const { group } of w.members) expect(group.public.document.policy).toEqual(policy)
  })

  test('is set together with other changes in one commit', async () => {
    const w = await world(981)
    const joiner = await keyPackageFor(testDeps(9_810))
    await decide(w, w.admin, { policy, removes: [w.reader.group.memberId], adds: [{ keyPackage: joiner.message }] })
    expect(w.observer.document.policy).toEqual(policy)
  })

  test('is not set by editors and readers, however they put it', async () => {
    const w = await world(982)
    for (const by of [w.editor, w.reader]) {
      await expect(by.group.buildCommit({ policy })).rejects.toThrow(expect.objectContaining({ code: 'FORBIDDEN' }))
      const document = { ...w.observer.document, policy }
      for (const proposals of [
        [setPolicy(policy), setExtensions(by, { document })],
        [setPolicy(policy)],
        [setExtensions(by, { document })]
      ])
        await expectRefused(w, by, await forge(by, proposals), 'FORBIDDEN')
    }
  })

  test('is set once in a commit, to what the commit carries, and within its limits', async () => {
    const w = await world(983)
    const { admin } = w
    const document = { ...w.observer.document, policy }
    const other = { ...policy, retainedDays: 3 }
    const cases: readonly (readonly [RegExp, readonly Proposal[]])[] = [
      [/set twice/, [setPolicy(policy), setPolicy(policy), setExtensions(admin, { document })]],
      [/set twice/, [setPolicy(policy), setPolicy(other), setExtensions(admin, { document })]],
      [/without carrying/, [setPolicy(policy)]],
      [/not what its proposals/, [setPolicy(other), setExtensions(admin, { document })]],
      [
        /not what its proposals/,
        [setPolicy(policy), setExtensions(admin, { document: { ...document, crdtType: 'loro/1' } })]
      ],
      [/do not change/, [setExtensions(admin, { document })]],
      [/do not change/, [setPolicy(w.observer.document.policy), setExtensions(admin, {})]]
    ]
    for (const [reason, proposals] of cases)
      await expectRefused(w, admin, await forge(admin, proposals), 'INVALID', reason)
    const malformed: Proposal = { proposalType: MLS_PROPOSALS.policySet.type, proposalData: utf8('no policy') }
    await expectRefused(w, admin, await forge(admin, [malformed]), 'MALFORMED')
    await expect(admin.group.buildCommit({ policy: { ...policy, retainedEpochs: 65 } })).rejects.toThrow(
      expect.objectContaining({ code: 'MALFORMED' })
    )
    // The proposal alone, set to what the policy is already, changes nothing and needs nothing.
    const same = await edited(admin, ({ path }) => ({
      path,
      proposals: [{ proposalOrRefType: 'proposal', proposal: setPolicy(w.observer.document.policy) }]
    }))
    await w.observer.processCommit(same)
  })

  test('of retention counts from the commit that sets it', async () => {
    const w = await world(984)
    const message = await w.editor.group.encrypt(utf8('old'), utf8(''))
    const epoch = w.editor.group.epoch
    await decide(w, w.admin)
    await decide(w, w.admin)
    expect(w.reader.group.publicAt(epoch)).toBeDefined()
    await decide(w, w.admin, { policy: { ...policy, retainedEpochs: 1 } })
    expect(w.reader.group.publicAt(epoch)).toBeUndefined()
    await expect(w.reader.group.decrypt({ ...message, epoch, aad: utf8('') })).rejects.toThrow(
      expect.objectContaining({ code: 'UNDECRYPTABLE' })
    )
  })
})
