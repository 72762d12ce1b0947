/** What hostile members, former members and strangers can try: refused by observers and members alike. */
import { createContentCommitSignature } from 'ts-mls/framedContent.js'
import type { Proposal } from 'ts-mls/proposal.js'
import { describe, expect, test } from 'vitest'
import { concatBytes, utf8 } from '../bytes.js'
import { MLS_EXTENSIONS, MLS_PROPOSALS, RoleSetProposal } from '../wire/index.js'
import { writeGroupExtensions } from './extensions.js'
import { MemberGroup, type MessageToOpen, PublicGroup } from './index.js'
import { decodePublicMessage, encodePublicMessage } from './mls/index.js'
import { edited, expectRefused, forge, lyingKeyPackage, proposalMessage, secretsOf } from './testing/forge.js'
import {
  addMembers,
  createWorld,
  decide,
  EDITOR,
  keyPackageFor,
  type Member,
  READER,
  testDeps,
  type World
} from './testing/world.js'

const AAD = utf8('header')
/** A point of X25519 with which every Diffie-Hellman is zero. */
const LOW_ORDER = new Uint8Array(32)

async function world(seed: number): Promise<World & { admin: Member; editor: Member; reader: Member }> {
  const made = await createWorld(seed, [EDITOR, READER])
  const [admin, editor, reader] = made.members
  if (admin === undefined || editor === undefined || reader === undefined) throw new Error('three members expected')
  return Object.assign(made, { admin, editor, reader })
}

async function send({ group }: Member, text: string): Promise<MessageToOpen> {
  return { ...(await group.encrypt(utf8(text), AAD)), epoch: group.epoch, aad: AAD }
}

const setExtensions = (extensions: ReturnType<typeof writeGroupExtensions>): Proposal => ({
  proposalType: 'group_context_extensions',
  groupContextExtensions: { extensions }
})
const promote = ({ group }: Member): Proposal => ({
  proposalType: MLS_PROPOSALS.roleSet.type,
  proposalData: RoleSetProposal.encode({ member: group.memberId, role: EDITOR })
})

describe('a commit', () => {
  test('sent again is stale', async () => {
    const w = await world(990)
    const { commit } = await decide(w, w.editor)
    await expectRefused(w, w.editor, commit, 'STALE_EPOCH')
    await expect(w.editor.group.processCommit(commit)).rejects.toThrow(expect.objectContaining({ code: 'STALE_EPOCH' }))
    await decide(w, w.admin)
    await expectRefused(w, w.editor, commit, 'STALE_EPOCH')
  })

  test('that drops an extension the group uses, or brings one that members do not know, is refused', async () => {
    const w = await world(991)
    const extensions = writeGroupExtensions(w.observer)
    const unknown = { extensionType: 0xf7f0, extensionData: new Uint8Array(0) }
    const senders = { extensionType: 'external_senders', extensionData: new Uint8Array(0) } as const
    const cases = [
      ...extensions.map((_, i) => extensions.filter((__, j) => i !== j)),
      [...extensions, unknown],
      [unknown, ...extensions],
      [...extensions, senders],
      [...extensions].reverse(),
      []
    ]
    for (const changed of cases) {
      const commit = await edited(w.admin, ({ path }) => ({
        path,
        proposals: [promote(w.reader), setExtensions(changed)].map((proposal) => ({
          proposalOrRefType: 'proposal',
          proposal
        }))
      }))
      await expectRefused(w, w.admin, commit, 'INVALID')
    }
    expect(extensions.map(({ extensionType }) => extensionType)).toContain(MLS_EXTENSIONS.roles.type)
  })

  test('by which an admin adopts what an editor proposed is refused: proposals are part of the commit', async () => {
    const w = await world(992)
    const { message, reference } = await proposalMessage(w.editor, promote(w.reader))
    await expectRefused(w, w.editor, message, 'INVALID', /a proposal, not a commit/)
    const adopted = await edited(w.admin, ({ path }) => ({
      path,
      proposals: [{ proposalOrRefType: 'reference', reference }]
    }))
    await expectRefused(w, w.admin, adopted, 'INVALID', /refers to a proposal that is not known/)
  })

  test('of a former member is refused, in its old epoch and in the new, also when its leaf is another’s', async () => {
    const w = await world(993)
    const old = await w.editor.group.buildCommit()
    const { memberId, me } = w.editor.group
    await decide(w, w.admin, { removes: [memberId] })
    await expectRefused(w, w.editor, old.commit, 'STALE_EPOCH')
    const forged = await inEpochOf(w.admin, w.editor, me.leafIndex)
    await expectRefused(w, w.editor, forged, 'INVALID', /not in the group/)
    const [heir] = await addMembers(w, w.admin, 9_930, [EDITOR])
    expect(heir?.group.me.leafIndex).toBe(me.leafIndex)
    await expectRefused(w, w.editor, await inEpochOf(w.admin, w.editor, me.leafIndex), 'BAD_SIGNATURE')
  })

  test('that brings a key nobody can encrypt to is refused, or nobody else could commit any more', async () => {
    const w = await world(994)
    const keyPackage = await keyPackageFor(testDeps(9_940))
    const lying = await lyingKeyPackage(keyPackage, { hpkePublicKey: LOW_ORDER }, testDeps(9_940))
    const add: Proposal = { proposalType: 'add', add: { keyPackage: lying.keyPackage } }
    const added = await edited(w.admin, ({ path }) => ({
      path,
      proposals: [{ proposalOrRefType: 'proposal', proposal: add }]
    }))
    await expectRefused(w, w.admin, added, 'INVALID', /no HPKE key/)
    const points = [LOW_ORDER, LOW_ORDER.with(0, 1), LOW_ORDER.with(31, 0x80)]
    const path = await forge(w.editor, [], { pathKey: (honest) => points.pop() ?? honest })
    await expectRefused(w, w.editor, path, 'INVALID', /no HPKE key/)
  })

  test('of another kind of sender is refused', async () => {
    const w = await world(995)
    const message = decodePublicMessage((await w.editor.group.buildCommit()).commit)
    const { content, auth } = message
    for (const sender of [{ senderType: 'external', senderIndex: 0 }, { senderType: 'new_member_proposal' }] as const) {
      const senderType = sender.senderType
      const bytes = encodePublicMessage({ content: { ...content, sender }, auth, senderType } as typeof message)
      await expectRefused(w, w.editor, bytes, 'INVALID', /not members are not accepted/)
    }
    const external = { content: { ...content, sender: { senderType: 'new_member_commit' } }, auth }
    const outsider = encodePublicMessage({ ...external, senderType: 'new_member_commit' } as typeof message)
    await expectRefused(w, w.editor, outsider, 'BAD_SIGNATURE')
    expect(() => w.observer.committerOf(outsider)).toThrow(/whose leaf it replaces/)
  })
})

describe('a message', () => {
  test('of a former holder of a leaf is its own, not of the one who has the leaf now', async () => {
    const w = await world(996)
    const { editor, admin, reader } = w
    const before = { memberId: editor.group.memberId, leafIndex: editor.group.me.leafIndex }
    const [early, late] = [await send(editor, 'early'), await send(editor, 'late')]
    await decide(w, admin, { removes: [before.memberId] })
    const [heir] = await addMembers(w, admin, 9_960, [EDITOR])
    if (heir === undefined) throw new Error('no heir')
    expect(heir.group.me.leafIndex).toBe(before.leafIndex)
    const now = await send(heir, 'now')
    for (const message of [late, early])
      expect(await reader.group.decrypt(message)).toMatchObject({ ...before, role: EDITOR })
    expect(await reader.group.decrypt(now)).toMatchObject({
      memberId: heir.group.memberId,
      leafIndex: before.leafIndex
    })
    expect(heir.group.memberId).not.toEqual(before.memberId)
    // Who came later never had the keys.
    await expect(heir.group.decrypt(late)).rejects.toThrow(expect.objectContaining({ code: 'UNDECRYPTABLE' }))
    // An old message under a new epoch, and a new one under the old.
    for (const message of [
      { ...late, epoch: now.epoch },
      { ...now, epoch: late.epoch }
    ])
      await expect(admin.group.decrypt(message)).rejects.toThrow(expect.objectContaining({ code: 'UNDECRYPTABLE' }))
  })

  test('of a former member in an epoch after its removal does not open', async () => {
    const w = await world(997)
    const { editor, admin, reader } = w
    await decide(w, admin, { removes: [editor.group.memberId] })
    const message = await send(editor, 'still here')
    // It can seal in its last epoch, which is told as such; claiming the new one helps it nothing.
    expect((await reader.group.decrypt(message)).memberId).toEqual(editor.group.memberId)
    await expect(reader.group.decrypt({ ...message, epoch: admin.group.epoch })).rejects.toThrow(
      expect.objectContaining({ code: 'UNDECRYPTABLE' })
    )
    expect(reader.group.memberAt(editor.group.memberId, admin.group.epoch)).toBeUndefined()
  })

  test('of a reader is told as a reader’s, whatever it was before or becomes', async () => {
    const w = await world(998)
    const message = await send(w.reader, 'not allowed')
    await decide(w, w.admin, { roles: [{ memberId: w.reader.group.memberId, role: EDITOR }] })
    expect((await w.editor.group.decrypt(message)).role).toBe(READER)
  })
})

describe('a Welcome', () => {
  test('is for one key package, once the group is at the epoch it leads to', async () => {
    const w = await world(999)
    const deps = testDeps(9_990)
    const keyPackage = await keyPackageFor(deps)
    const { commit, welcome, next } = await w.admin.group.buildCommit({ adds: [{ keyPackage: keyPackage.message }] })
    if (welcome === undefined) throw new Error('no Welcome')
    const tree = next.ratchetTree()
    const joined = await MemberGroup.join({ welcome, tree, keyPackage }, deps)
    // The commit it belongs to was not decided: the context gives it away.
    await decide(w, w.editor)
    expect(joined.epoch).toBe(w.observer.epoch)
    expect(joined.public.ctx).not.toEqual(w.observer.ctx)
    await expectRefused(w, w.admin, commit, 'STALE_EPOCH')
    const other = await keyPackageFor(deps)
    await expect(MemberGroup.join({ welcome, tree, keyPackage: other }, deps)).rejects.toThrow(
      expect.objectContaining({ code: 'NOT_FOUND' })
    )
    // Of the group as it went on, or none at all: who gave it is wrong, and not the Welcome.
    for (const wrong of [w.observer.ratchetTree(), tree.subarray(0, -1), new Uint8Array(1)])
      await expect(MemberGroup.join({ welcome, tree: wrong, keyPackage }, deps)).rejects.toMatchObject({
        code: 'INVALID',
        info: { otherTree: true }
      })
    const twice = concatBytes(welcome, welcome)
    await expect(MemberGroup.join({ welcome: twice, tree, keyPackage }, deps)).rejects.toThrow(
      expect.objectContaining({ code: 'MALFORMED' })
    )
    expect((await PublicGroup.fromGroupInfo(await joined.groupInfo(), deps)).ctx).toEqual(joined.public.ctx)
  })
})

/** A commit of `former` at the epoch of `member`, signed with the key it has, under a leaf it had. */
async function inEpochOf(member: Member, former: Member, leafIndex: number): Promise<Uint8Array> {
  const message = decodePublicMessage((await member.group.buildCommit()).commit)
  const { content, auth } = message
  if (content.contentType !== 'commit') throw new Error('not a commit')
  const { mls } = member.group.public.suite
  const { framedContent, signature } = await createContentCommitSignature(
    member.group.public.state.context,
    'mls_public_message',
    content.commit,
    { senderType: 'member', leafIndex },
    content.authenticatedData,
    secretsOf(former).signatureKey,
    mls.signature
  )
  return encodePublicMessage({ ...message, content: framedContent, auth: { ...auth, signature } } as typeof message)
}
