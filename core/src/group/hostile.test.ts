import { encode } from 'ts-mls/codec/tlsEncoder.js'
import type { Extension } from 'ts-mls/extension.js'
import { signGroupInfo } from 'ts-mls/groupInfo.js'
import { type LeafNodeTBSCommit, signLeafNodeCommit } from 'ts-mls/leafNode.js'
import { encodeMlsMessage } from 'ts-mls/message.js'
import type { RatchetTree } from 'ts-mls/ratchetTree.js'
import { ratchetTreeEncoder } from 'ts-mls/ratchetTree.js'
import { describe, expect, test } from 'vitest'
import { concatBytes, emptyBytes, equalBytes, utf8 } from '../bytes.js'
import {
  MLS_EXTENSIONS,
  Role,
  type RoleEntry,
  RolesExtension,
  type ServerEntry,
  ServersExtension
} from '../wire/index.js'
import { leafRules, writeGroupExtensions } from './extensions.js'
import { MemberGroup, PublicGroup, readKeyPackage } from './index.js'
import {
  buildEpoch,
  createWelcome,
  decodeGroupInfoMessage,
  decodePublicMessage,
  encodeGroupInfoMessage,
  encodePublicMessage,
  encodeTree,
  encodeWelcome,
  hashTree,
  rootHash
} from './mls/index.js'
import { edited, expectRefused, forge, secretsOf, wrongConfirmation } from './testing/forge.js'
import { mutate } from './testing/fuzz.js'
import {
  addMembers,
  createWorld,
  decide,
  EDITOR,
  keyPackageFor,
  type Member,
  NOW_MS,
  seeded,
  testDeps,
  type World
} from './testing/world.js'

const GARBAGE = Uint8Array.of(0)

async function world(seed: number): Promise<World & { a: Member; b: Member }> {
  const made = await createWorld(seed, [EDITOR, EDITOR, EDITOR])
  const [a, b] = made.members
  if (a === undefined || b === undefined) throw new Error('two members expected')
  await decide(made, b)
  await decide(made, a)
  return Object.assign(made, { a, b })
}

/** The GroupInfo of the group with another tree, its tree hash right and signed by a real member. */
async function withTree(
  { group, deps, records }: Member,
  change: (nodes: RatchetTree) => void,
  rightHash = true
): Promise<Uint8Array> {
  const groupInfo = decodeGroupInfoMessage(await group.groupInfo())
  const nodes = structuredClone(group.public.state.tree.nodes)
  change(nodes)
  const treeHash = rightHash ? rootHash(hashTree(nodes, deps.crypto.sha256)) : groupInfo.groupContext.treeHash
  const { signatureKey } = secretsOf({ group, deps, records } as Member)
  const extensions = groupInfo.extensions.map((extension) =>
    extension.extensionType === 'ratchet_tree'
      ? { ...extension, extensionData: encode(ratchetTreeEncoder)(nodes) }
      : extension
  )
  const tbs = { ...groupInfo, extensions, groupContext: { ...groupInfo.groupContext, treeHash } }
  return encodeGroupInfoMessage(await signGroupInfo(tbs, signatureKey, group.public.suite.mls.signature))
}

/** The GroupInfo of the group with other extensions in its context, signed by a real member. */
async function withExtensions(member: Member, change: (extensions: Extension[]) => Extension[]): Promise<Uint8Array> {
  const groupInfo = decodeGroupInfoMessage(await member.group.groupInfo())
  const groupContext = { ...groupInfo.groupContext, extensions: change(groupInfo.groupContext.extensions) }
  const { signatureKey } = secretsOf(member)
  const { signature } = member.group.public.suite.mls
  return encodeGroupInfoMessage(await signGroupInfo({ ...groupInfo, groupContext }, signatureKey, signature))
}

describe('a hostile commit', () => {
  test('with an index out of the tree is refused at once', async () => {
    const w = await world(70)
    const started = performance.now()
    for (const removed of [4_000_000, 0xffffffff, 7, 4]) {
      const commit = await edited(w.a, ({ path }) => ({
        path,
        proposals: [{ proposalOrRefType: 'proposal', proposal: { proposalType: 'remove', remove: { removed } } }]
      }))
      await expectRefused(w, w.a, commit, 'INVALID', /no member at leaf/)
    }
    const message = decodePublicMessage((await w.a.group.buildCommit()).commit)
    for (const leafIndex of [4_000_000, 0xffffffff, 5]) {
      const content = { ...message.content, sender: { senderType: 'member', leafIndex } } as typeof message.content
      await expectRefused(w, w.a, encodePublicMessage({ ...message, content }), 'INVALID', /not in the group/)
    }
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  test('larger than a value can carry is refused before it is decoded', async () => {
    const w = await world(712)
    const proposal = { proposalType: 0xf7ff, proposalData: new Uint8Array(261_000) } as const
    const commit = await edited(w.a, ({ path }) => ({ path, proposals: [{ proposalOrRefType: 'proposal', proposal }] }))
    await expectRefused(w, w.a, commit, 'MALFORMED', /more than 261000/)
  })

  test('that is not signed by the leaf it names is refused', async () => {
    const w = await world(79)
    const message = decodePublicMessage((await w.b.group.buildCommit()).commit)
    const { signature } = message.auth
    const auth = { ...message.auth, signature: signature.with(63, (signature[63] ?? 0) ^ 1) }
    await expectRefused(w, w.b, encodePublicMessage({ ...message, auth }), 'BAD_SIGNATURE')
    // An editor's commit under the admin's name.
    const sender = { senderType: 'member', leafIndex: w.a.group.me.leafIndex } as const
    const content = { ...message.content, sender } as typeof message.content
    await expectRefused(w, w.a, encodePublicMessage({ ...message, content }), 'BAD_SIGNATURE')
    const epoch = { ...message.content, authenticatedData: GARBAGE } as typeof message.content
    await expectRefused(w, w.b, encodePublicMessage({ ...message, content: epoch }), 'BAD_SIGNATURE')
    const other = await createWorld(790, [EDITOR])
    await expectRefused(
      w,
      w.b,
      (await other.members[0]?.group.buildCommit())?.commit ?? GARBAGE,
      'INVALID',
      /another group/
    )
  })

  test('with a path that does not fit the tree is refused', async () => {
    const w = await world(71)
    const edits: readonly Parameters<typeof edited>[1][] = [
      ({ proposals, path }) => ({ proposals, path: path && { ...path, nodes: path.nodes.slice(1) } }),
      ({ proposals, path }) => ({ proposals, path: path && { ...path, nodes: [...path.nodes, ...path.nodes] } }),
      ({ proposals, path }) => ({
        proposals,
        path: path && { ...path, nodes: path.nodes.map((node) => ({ ...node, encryptedPathSecret: [] })) }
      }),
      ({ proposals, path }) => ({
        proposals,
        path: path && {
          ...path,
          nodes: path.nodes.map((node) => ({ ...node, hpkePublicKey: new Uint8Array(32).fill(1) }))
        }
      }),
      ({ proposals, path }) => ({
        proposals,
        path: path && { ...path, nodes: path.nodes.map((node) => ({ ...node, hpkePublicKey: new Uint8Array(300_0) })) }
      })
    ]
    for (const edit of edits) await expectRefused(w, w.a, await edited(w.a, edit), 'INVALID')
    const other = await edited(w.a, ({ proposals, path }) => ({
      proposals,
      path: path && { ...path, leafNode: { ...path.leafNode, parentHash: new Uint8Array(32) } }
    }))
    await expectRefused(w, w.a, other, 'BAD_SIGNATURE')
  })

  test('whose leaf does not vouch for its path, or whose path has keys that are none, is refused', async () => {
    const w = await world(710)
    const { signatureKey } = secretsOf(w.b)
    const { group, deps } = w.b
    const unvouched = await edited(w.b, async ({ proposals, path }) => {
      if (path === undefined) throw new Error('a commit without path')
      const place = { groupId: group.public.groupId, leafIndex: group.me.leafIndex }
      const tbs = { ...path.leafNode, ...place, leafNodeSource: 'commit', parentHash: new Uint8Array(32) }
      const { signature } = deps.crypto.suite(1).mls
      return {
        proposals,
        path: { ...path, leafNode: await signLeafNodeCommit(tbs as LeafNodeTBSCommit, signatureKey, signature) }
      }
    })
    await expectRefused(w, w.b, unvouched, 'INVALID', /parent hash/)
    const noKeys = await forge(w.b, [], { pathKey: (honest) => concatBytes(honest, GARBAGE) })
    await expectRefused(w, w.b, noKeys, 'INVALID', /no HPKE key/)
  })

  test('that puts keys of its sender’s own into the tree is seen through by members', async () => {
    const w = await world(711)
    const { mls } = w.b.group.public.suite
    const own = await Promise.all(
      Array.from({ length: 4 }, async () => mls.hpke.exportPublicKey((await mls.hpke.generateKeyPair()).publicKey))
    )
    const commit = await forge(w.b, [], { pathKey: () => own.pop() ?? GARBAGE })
    await w.observer.processCommit(commit) // it cannot tell
    for (const member of w.members)
      if (member !== w.b)
        await expect(member.group.processCommit(commit)).rejects.toMatchObject({ info: { poison: 'path' } })
  })

  test('that only members can see through is named as poison, and changes nothing', async () => {
    const w = await world(72)
    const message = decodePublicMessage((await w.a.group.buildCommit()).commit)
    if (message.auth.contentType !== 'commit' || message.senderType !== 'member') throw new Error('a commit expected')
    const flipped = (bytes: Uint8Array) => bytes.with(0, (bytes[0] ?? 0) ^ 1)
    const tag = { ...message, auth: { ...message.auth, confirmationTag: flipped(message.auth.confirmationTag) } }
    const membership = { ...message, membershipTag: flipped(message.membershipTag) }
    const path = await edited(w.a, (commit) => ({
      proposals: commit.proposals,
      path: commit.path && {
        ...commit.path,
        nodes: commit.path.nodes.map((node) => ({
          ...node,
          encryptedPathSecret: node.encryptedPathSecret.map((one) => ({ ...one, ciphertext: flipped(one.ciphertext) }))
        }))
      }
    }))
    const cases: readonly (readonly [string, Uint8Array])[] = [
      ['membership_tag', encodePublicMessage(tag)],
      ['membership_tag', encodePublicMessage(membership)],
      ['path', path],
      ['confirmation_tag', await wrongConfirmation(w.a)]
    ]
    for (const [poison, commit] of cases) {
      await w.observer.processCommit(commit) // it sees nothing wrong
      const before = w.b.group.epochAuthenticator
      await expect(w.b.group.processCommit(commit)).rejects.toMatchObject({ code: 'INVALID', info: { poison } })
      expect(w.b.group.epochAuthenticator).toEqual(before)
      expect(w.b.store()).toEqual([])
    }
    await decide(w, w.a)
  })

  test('or another message with bytes too many, or in another encoding, is malformed', async () => {
    const w = await world(74)
    const deps = testDeps(7_400)
    const keyPackage = await keyPackageFor(deps)
    const { commit, welcome, next } = await w.a.group.buildCommit({ adds: [{ keyPackage: keyPackage.message }] })
    if (welcome === undefined) throw new Error('no Welcome')
    const tree = next.ratchetTree()
    const groupInfo = await w.a.group.groupInfo()
    const entries: readonly (readonly [Uint8Array, (bytes: Uint8Array) => Promise<unknown>])[] = [
      [commit, (bytes) => w.observer.processCommit(bytes)],
      [commit, (bytes) => w.b.group.processCommit(bytes)],
      [groupInfo, (bytes) => PublicGroup.fromGroupInfo(bytes, deps)],
      [welcome, (bytes) => MemberGroup.join({ welcome: bytes, tree, keyPackage }, deps)],
      [keyPackage.message, (bytes) => readKeyPackage(bytes, { crypto: deps.crypto, nowMs: NOW_MS })]
    ]
    const malformed = expect.objectContaining({ code: 'MALFORMED' })
    for (const [bytes, enter] of entries) {
      await expect(enter(concatBytes(bytes, GARBAGE))).rejects.toThrow(malformed)
      await expect(enter(bytes.subarray(0, -1))).rejects.toThrow(malformed)
      await expect(enter(new Uint8Array(0))).rejects.toThrow(malformed)
      await expect(enter(new Uint8Array(300_000))).rejects.toThrow(malformed)
      await expect(enter(longerLength(bytes))).rejects.toThrow(malformed)
      await expect(enter(await privateMessage(w.a))).rejects.toThrow(malformed)
      await enter(bytes)
    }
  })
})

async function privateMessage({ group }: Member): Promise<Uint8Array> {
  const { senderData: encryptedSenderData, ciphertext } = await group.encrypt(utf8('text'), GARBAGE)
  const { groupId, epoch } = group.public
  const content = { contentType: 'application', authenticatedData: GARBAGE, encryptedSenderData, ciphertext } as const
  const privateMessage = { groupId, epoch, ...content }
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_private_message', privateMessage })
}

/** The same message with the length of its first vector, of 16 or 32 bytes, in two bytes instead of one. */
function longerLength(bytes: Uint8Array): Uint8Array {
  const at = bytes.findIndex((byte, i) => i >= 4 && (byte === 16 || byte === 32))
  return concatBytes(bytes.subarray(0, at), Uint8Array.of(0x40, bytes[at] ?? 0), bytes.subarray(at + 1))
}

describe('a hostile GroupInfo', () => {
  test('with unmerged leaves out of the tree, or where they do not belong, is refused at once', async () => {
    const w = await world(75)
    const { deps } = w.a
    await PublicGroup.fromGroupInfo(await withTree(w.a, () => {}), deps)
    const parents = w.a.group.public.state.tree.nodes.flatMap((node, i) => (node?.nodeType === 'parent' ? [i] : []))
    expect(parents.length).toBeGreaterThan(1)
    const started = performance.now()
    for (const unmergedLeaves of [[4_000_000], [0xffffffff], [2, 1], [1, 1], [0, 1, 2, 3, 4]])
      for (const at of parents) {
        const bytes = await withTree(w.a, (nodes) => {
          const node = nodes[at]
          if (node?.nodeType === 'parent') nodes[at] = { ...node, parent: { ...node.parent, unmergedLeaves } }
        })
        await expect(PublicGroup.fromGroupInfo(bytes, deps)).rejects.toThrow(
          expect.objectContaining({ code: 'INVALID' })
        )
      }
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  test('with unmerged leaves out of order or twice is refused, although all its hashes are right', async () => {
    const w = await world(750)
    // Leaves 0 to 12; leaf 8 fills the node above 8 to 15, then 13 and 14 come under it.
    await addMembers(
      w,
      w.a,
      7_501,
      Array.from({ length: 9 }, () => EDITOR)
    )
    const eighth = w.members[8]
    if (eighth === undefined) throw new Error('nine members expected')
    await decide(w, eighth)
    await addMembers(w, w.a, 7_502, [EDITOR, EDITOR])
    const lists = w.observer.state.tree.nodes.flatMap((node) =>
      node?.nodeType === 'parent' ? [node.parent.unmergedLeaves] : []
    )
    expect(lists).toContainEqual([13, 14])
    const withUnmerged = (change: (leaves: number[]) => number[]) =>
      withTree(w.a, (nodes) => {
        for (const node of nodes)
          if (node?.nodeType === 'parent' && node.parent.unmergedLeaves.length === 2)
            node.parent.unmergedLeaves = change(node.parent.unmergedLeaves)
      })
    await PublicGroup.fromGroupInfo(await withUnmerged((leaves) => leaves), w.a.deps)
    for (const change of [(leaves: number[]) => leaves.reverse(), ([one = 0, two = 0]: number[]) => [one, one, two]])
      await expect(PublicGroup.fromGroupInfo(await withUnmerged(change), w.a.deps)).rejects.toThrow(/unmerged leaf/)
  })

  test('with a key that nobody can encrypt to is refused, in a leaf and above', async () => {
    const w = await world(753)
    const kinds = ['leaf', 'parent'] as const
    for (const kind of kinds) {
      const bytes = await withTree(w.a, (nodes) => {
        const node = nodes.find((one) => one?.nodeType === kind)
        const hpkePublicKey = new Uint8Array(32)
        if (node?.nodeType === 'parent') Object.assign(node.parent, { hpkePublicKey })
        else if (node?.nodeType === 'leaf') Object.assign(node.leaf, { hpkePublicKey })
      })
      await expect(PublicGroup.fromGroupInfo(bytes, w.a.deps)).rejects.toThrow(/no HPKE key of the suite/)
    }
  })

  test('that a member did not sign is refused', async () => {
    const w = await world(752)
    const groupInfo = decodeGroupInfoMessage(await w.a.group.groupInfo())
    const badSignature = expect.objectContaining({ code: 'BAD_SIGNATURE' })
    for (const signer of [0, 1]) {
      const changed = { ...groupInfo, signer, signature: signer === 0 ? new Uint8Array(64) : groupInfo.signature }
      await expect(PublicGroup.fromGroupInfo(encodeGroupInfoMessage(changed), w.a.deps)).rejects.toThrow(badSignature)
    }
    const nobody = encodeGroupInfoMessage({ ...groupInfo, signer: 4_000_000 })
    await expect(PublicGroup.fromGroupInfo(nobody, w.a.deps)).rejects.toThrow(/not in the tree/)
  })

  test('whose state is not that of a Heddle group in its one form is refused', async () => {
    const w = await world(751)
    const { document, servers, roles } = w.observer
    const state = { document, servers, roles }
    const stranger = { member: new Uint8Array(16).fill(0xff), role: Role.ROLE_EDITOR }
    // Items one by one, since the codec itself writes none that are out of order.
    const serverItem = (server: ServerEntry) =>
      ServersExtension.encode({ servers: [server], faultBound: 0, version: 0n })
    const roleItem = (role: RoleEntry) => RolesExtension.encode({ ...roles, roles: [role] }).slice(0, -2)
    const withItems = (name: 'roles' | 'servers', items: readonly Uint8Array[], rest: Uint8Array): Extension[] =>
      writeGroupExtensions(state).map((extension) =>
        extension.extensionType === MLS_EXTENSIONS[name].type
          ? { ...extension, extensionData: concatBytes(...items, rest) }
          : extension
      )
    const cases: readonly (readonly [RegExp, (extensions: Extension[]) => Extension[]])[] = [
      [/in another order/, (extensions) => [...extensions].reverse()],
      [
        /other extensions/,
        (extensions) => [...extensions, { extensionType: 'external_senders', extensionData: GARBAGE }]
      ],
      [/lacks extension/, (extensions) => extensions.slice(0, -1)],
      [/other extensions/, (extensions) => extensions.slice(1)],
      [/default role/, () => writeGroupExtensions({ ...state, roles: { ...roles, defaultRole: Role.ROLE_ADMIN } })],
      [
        /who is no member/,
        () => writeGroupExtensions({ ...state, roles: { ...roles, roles: [...roles.roles, stranger] } })
      ],
      [
        /RolesExtension\.roles .*ascending order/,
        () => withItems('roles', [stranger, ...roles.roles].map(roleItem), Uint8Array.of(0x10, roles.defaultRole))
      ],
      [
        /ServersExtension\.servers .*ascending order/,
        () => withItems('servers', [...servers.servers].reverse().map(serverItem), emptyBytes)
      ],
      [/least are allowed/, () => writeGroupExtensions({ ...state, servers: { ...servers, faultBound: 1 } })]
    ]
    for (const [reason, change] of cases)
      await expect(PublicGroup.fromGroupInfo(await withExtensions(w.a, change), w.a.deps)).rejects.toThrow(reason)
    const bytes = await withExtensions(w.a, (extensions) => extensions)
    expect((await PublicGroup.fromGroupInfo(bytes, w.a.deps)).ctx).toEqual(w.observer.ctx)
  })

  test('with a key twice, a node of the wrong kind, or a parent hash that nothing vouches for is refused', async () => {
    const w = await world(76)
    const changes: ((nodes: RatchetTree) => void)[] = [
      (nodes) => {
        nodes[1] = nodes[0]
      },
      (nodes) => {
        nodes[0] = nodes[1]
      },
      (nodes) => {
        nodes[2] = nodes[0]
      },
      (nodes) => {
        const [root] = nodes.flatMap((node) => (node?.nodeType === 'parent' ? [node] : []))
        if (root !== undefined) root.parent.parentHash = new Uint8Array(32)
      },
      (nodes) => {
        for (const node of nodes)
          if (node?.nodeType === 'parent') node.parent.hpkePublicKey = new Uint8Array(32).fill(7)
      }
    ]
    // In the place of a blank node, where no hash sees them.
    const [, third] = w.members.slice(1)
    await decide(w, w.a, { removes: third === undefined ? [] : [third.group.memberId] })
    const blankLeaf = w.observer.state.tree.nodes.findIndex((node, i) => node === undefined && i % 2 === 0)
    const blankParent = w.observer.state.tree.nodes.findIndex((node, i) => node === undefined && i % 2 === 1)
    const hpkePublicKey = new Uint8Array(32).fill(9)
    changes.push(
      (nodes) => {
        nodes[blankLeaf] = { nodeType: 'parent', parent: { hpkePublicKey, parentHash: GARBAGE, unmergedLeaves: [] } }
      },
      (nodes) => {
        const [node] = nodes
        const signaturePublicKey = new Uint8Array(32).fill(8)
        if (node?.nodeType === 'leaf')
          nodes[blankParent] = { ...node, leaf: { ...node.leaf, hpkePublicKey, signaturePublicKey } }
      }
    )
    expect(Math.min(blankLeaf, blankParent)).toBeGreaterThan(-1)
    const blanked = await withTree(w.a, (nodes) => nodes.fill(undefined, 4), false)
    await expect(PublicGroup.fromGroupInfo(blanked, w.a.deps)).rejects.toThrow(/tree hash/)
    for (const change of changes)
      await expect(PublicGroup.fromGroupInfo(await withTree(w.a, change), w.a.deps)).rejects.toThrow(
        expect.objectContaining({ code: 'INVALID' })
      )
  })
})

describe('a hostile Welcome', () => {
  test('with a wrong confirmation tag, or a path secret that does not fit the tree, is refused', async () => {
    const w = await world(760)
    const deps = testDeps(7_600)
    const keyPackage = await keyPackageFor(deps)
    const { state, signatureKey, memberState } = secretsOf(w.a)
    const { suite } = w.a.group.public
    const proposal = { proposalType: 'add', add: { keyPackage: keyPackage.keyPackage } } as const
    const built = await buildEpoch(memberState, state, [proposal], signatureKey, { suite, leafRules }, w.a.deps.crypto)
    const join = async (lie: Partial<typeof built>): Promise<MemberGroup> => {
      const told = await createWelcome({ ...built, ...lie }, [keyPackage.keyPackage], signatureKey, [], suite)
      const tree = encodeTree(built.public.tree.nodes)
      return MemberGroup.join({ welcome: encodeWelcome(told), tree, keyPackage }, deps)
    }
    const confirmationTag = new Uint8Array(32)
    await expect(join({ public: { ...built.public, confirmationTag } })).rejects.toThrow(/confirmation tag/)
    const pathSecrets = new Map([...built.pathSecrets.keys()].map((at) => [at, new Uint8Array(32)]))
    await expect(join({ pathSecrets })).rejects.toThrow(/does not fit the public key/)
    await expect(join({ joinerSecret: new Uint8Array(31) })).rejects.toThrow(/joiner secret/)
    expect((await join({})).epoch).toBe(built.public.context.epoch)
  })
})

describe('mutated messages', () => {
  test('of the application do not open', async () => {
    const w = await world(78)
    const epoch = w.a.group.epoch
    const random = seeded(78)
    const sealed = await w.a.group.encrypt(utf8('text'), GARBAGE)
    for (let i = 0; i < 500; i++) {
      const message = { senderData: sealed.senderData, ciphertext: sealed.ciphertext, epoch, aad: GARBAGE }
      const part = i % 2 === 0 ? 'senderData' : 'ciphertext'
      const changed = { ...message, [part]: mutate(message[part], random) }
      if (equalBytes(changed[part], message[part])) continue
      await expect(w.b.group.decrypt(changed)).rejects.toThrow(expect.objectContaining({ code: 'UNDECRYPTABLE' }))
    }
    expect((await w.b.group.decrypt({ ...sealed, epoch, aad: GARBAGE })).plaintext).toEqual(utf8('text'))
  })
})
