import type { Extension } from 'ts-mls/extension.js'
import { type LeafNodeTBSCommit, type LeafNodeUpdate, signLeafNodeCommit } from 'ts-mls/leafNode.js'
import type { Proposal } from 'ts-mls/proposal.js'
import { describe, expect, test } from 'vitest'
import { HeddleError } from '../errors.js'
import {
  DeviceExtension,
  MLS_EXTENSIONS,
  MLS_PROPOSALS,
  type Role,
  RoleSetProposal,
  ServerAddProposal,
  ServerRemoveProposal
} from '../wire/index.js'
import { writeGroupExtensions } from './extensions.js'
import { generateKeyPackage, type OwnKeyPackage, welcomeRefs } from './index.js'
import { decodeKeyPackage, leafAt } from './mls/index.js'
import { edited, expectRefused, forge, lyingKeyPackage, secretsOf } from './testing/forge.js'
import {
  ADMIN,
  createMember,
  createWorld,
  decide,
  EDITOR,
  expectAgreement,
  keyPackageFor,
  type Member,
  NOW_MS,
  READER,
  server,
  testDeps,
  type World
} from './testing/world.js'

async function world(seed: number): Promise<World & { admin: Member; editor: Member; reader: Member }> {
  const made = await createWorld(seed, [EDITOR, READER])
  const [admin, editor, reader] = made.members
  if (admin === undefined || editor === undefined || reader === undefined) throw new Error('three members expected')
  return Object.assign(made, { admin, editor, reader })
}

const add = ({ keyPackage }: OwnKeyPackage): Proposal => ({ proposalType: 'add', add: { keyPackage } })
const remove = (member: Member): Proposal => ({
  proposalType: 'remove',
  remove: { removed: member.group.me.leafIndex }
})
const setRole = (memberId: Uint8Array, role: Role): Proposal => ({
  proposalType: MLS_PROPOSALS.roleSet.type,
  proposalData: RoleSetProposal.encode({ member: memberId, role })
})
const addServer = (number: number): Proposal => ({
  proposalType: MLS_PROPOSALS.serverAdd.type,
  proposalData: ServerAddProposal.encode({ server: server(number) })
})
const removeServer = (number: number): Proposal => ({
  proposalType: MLS_PROPOSALS.serverRemove.type,
  proposalData: ServerRemoveProposal.encode({ id: server(number).id })
})
const setExtensions = (extensions: Extension[]): Proposal => ({
  proposalType: 'group_context_extensions',
  groupContextExtensions: { extensions }
})
/** The extensions the group has, but for what is given. */
const extensionsOf = ({ group }: Member, change: Partial<Parameters<typeof writeGroupExtensions>[0]> = {}) =>
  writeGroupExtensions({ ...group.public, ...change })

describe('an editor and a reader', () => {
  test('may renew their own keys', async () => {
    const w = await world(10)
    await decide(w, w.editor)
    await decide(w, w.reader)
  })

  test('may not commit any proposal, and are told before anything leaves', async () => {
    const w = await world(11)
    const joiner = await keyPackageFor(testDeps(9_001))
    for (const by of [w.editor, w.reader]) {
      const own = by.group.memberId
      const asAdmin = by.group.public.roles.roles.map((entry) => ({ ...entry, role: ADMIN }))
      const attempts: readonly (readonly Proposal[])[] = [
        [add(joiner)],
        [remove(w.admin)],
        [remove(by === w.editor ? w.reader : w.editor)],
        [setRole(own, ADMIN)],
        [addServer(9)],
        [removeServer(1)],
        [setExtensions(extensionsOf(by))],
        [setExtensions(extensionsOf(by, { roles: { roles: asAdmin, defaultRole: READER } }))]
      ]
      for (const proposals of attempts) await expectRefused(w, by, await forge(by, proposals), 'FORBIDDEN')
      for (const plan of [{ adds: [{ keyPackage: joiner.message }] }, { removes: [w.admin.group.memberId] }])
        await expect(by.group.buildCommit(plan)).rejects.toThrow(expect.objectContaining({ code: 'FORBIDDEN' }))
    }
    expectAgreement(w)
  })
})

describe('an admin', () => {
  test('changes roles and servers, and an added member gets the default role or the one it was given', async () => {
    const w = await world(12)
    const { group } = w.admin
    expect(group.public.member(w.reader.group.memberId)?.role).toBe(READER)
    expect(group.public.member(w.editor.group.memberId)?.role).toBe(EDITOR)
    await decide(w, w.admin, { roles: [{ memberId: w.editor.group.memberId, role: ADMIN }] })
    expect(w.observer.change?.roleChanged.map(({ memberId }) => memberId)).toEqual([w.editor.group.memberId])
    const version = w.observer.servers.version
    await decide(w, w.editor, {
      servers: [
        { kind: 'add', server: server(7) },
        { kind: 'replace', id: server(1).id, server: { ...server(1), addresses: ['mem://moved'] } },
        { kind: 'remove', id: server(3).id }
      ]
    })
    expect(w.observer.servers.servers.map(({ id }) => id[0])).toEqual([1, 2, 7])
    expect(w.observer.servers.servers[0]?.addresses).toEqual(['mem://moved'])
    expect(w.observer.servers.version).toBe(version + 1n)
    expect(w.observer.change?.serversChanged).toBe(true)
    // The old admin loses its role together with its membership.
    await decide(w, w.editor, { removes: [w.admin.group.memberId] })
    expect(w.observer.roles.roles.map(({ member }) => member)).not.toContainEqual(w.admin.group.memberId)
  })

  test('cannot leave the group without an admin', async () => {
    const w = await world(13)
    const demotion = { roles: [{ memberId: w.admin.group.memberId, role: EDITOR }] }
    await expect(w.admin.group.buildCommit(demotion)).rejects.toThrow(/without an admin/)
    const roles = w.admin.group.public.roles.roles.map((entry) => ({
      ...entry,
      role: entry.role === ADMIN ? EDITOR : entry.role
    }))
    const proposals = [
      setRole(w.admin.group.memberId, EDITOR),
      setExtensions(extensionsOf(w.admin, { roles: { ...w.admin.group.public.roles, roles } }))
    ]
    await expectRefused(w, w.admin, await forge(w.admin, proposals), 'INVALID', /without an admin/)
  })

  test('cannot carry another result than the proposals lead to', async () => {
    const w = await world(14)
    const { roles, servers, document } = w.admin.group.public
    const editor = w.editor.group.memberId
    const allAdmins = { ...roles, roles: roles.roles.map((entry) => ({ ...entry, role: ADMIN })) }
    const attempts: readonly (readonly [RegExp, readonly Proposal[]])[] = [
      [/do not change/, [setExtensions(extensionsOf(w.admin))]],
      [/do not change/, [setExtensions(extensionsOf(w.admin, { roles: allAdmins }))]],
      [/without carrying/, [setRole(editor, READER)]],
      [/without carrying/, [addServer(9)]],
      [/not what its proposals/, [setRole(editor, READER), setExtensions(extensionsOf(w.admin, { roles: allAdmins }))]],
      [
        /not what its proposals/,
        [
          addServer(9),
          setExtensions(
            extensionsOf(w.admin, { servers: { ...servers, servers: [...servers.servers, server(9)] } }) // same version
          )
        ]
      ],
      [/do not change/, [setExtensions(extensionsOf(w.admin, { document: { ...document, crdtType: 'loro/1' } }))]],
      [
        /not what its proposals/,
        [
          setRole(editor, READER),
          setExtensions([
            { extensionType: 'external_senders', extensionData: new Uint8Array(0) },
            ...extensionsOf(w.admin)
          ])
        ]
      ]
    ]
    for (const [reason, proposals] of attempts)
      await expectRefused(w, w.admin, await forge(w.admin, proposals), 'INVALID', reason)
    const twice = [setExtensions(extensionsOf(w.admin)), setExtensions(extensionsOf(w.admin))]
    const commit = await edited(w.admin, ({ path }) => ({
      path,
      proposals: twice.map((proposal) => ({ proposalOrRefType: 'proposal', proposal }))
    }))
    await expectRefused(w, w.admin, commit, 'INVALID', /Two GroupContextExtensions/)
    expectAgreement(w)
  })

  test('cannot name a server or a member that is not there, nor one twice', async () => {
    const w = await world(15)
    const stranger = new Uint8Array(16).fill(7)
    const editor = w.editor.group.memberId
    const attempts: readonly (readonly [RegExp, readonly Proposal[]])[] = [
      [/is not one of the group/, [removeServer(8)]],
      [/is one of the group already/, [addServer(1)]],
      [/is one of the group already/, [addServer(8), addServer(8)]],
      [/is not one of the group/, [removeServer(1), removeServer(1)]],
      [/0 servers/, [removeServer(1), removeServer(2), removeServer(3)]],
      [/8 servers|too_many|limit/, [addServer(4), addServer(5), addServer(6), addServer(7), addServer(8)]],
      [/no member after the commit/, [setRole(stranger, EDITOR)]],
      [/set twice/, [setRole(editor, EDITOR), setRole(editor, READER)]],
      [/no member after the commit/, [remove(w.editor), setRole(editor, READER)]]
    ]
    for (const [reason, proposals] of attempts)
      await expectRefused(w, w.admin, await forge(w.admin, proposals), 'INVALID', reason)
    const malformed: Proposal = { proposalType: MLS_PROPOSALS.roleSet.type, proposalData: new Uint8Array([0xff]) }
    await expectRefused(w, w.admin, await forge(w.admin, [malformed]), 'MALFORMED')
    await expect(w.admin.group.buildCommit({ removes: [stranger] })).rejects.toThrow(
      expect.objectContaining({ code: 'INTENT_OBSOLETE' })
    )
  })

  test('keeps n >= 3f + 1 servers when the group tolerates f', async () => {
    const admin = await createMember(16, { servers: 4, faultBound: 1 })
    await expect(admin.group.buildCommit({ servers: [{ kind: 'remove', id: server(1).id }] })).rejects.toThrow(
      /4 at least/
    )
    await admin.commit({ servers: [{ kind: 'replace', id: server(1).id, server: server(9) }] })
    await expect(createMember(17, { servers: 3, faultBound: 1 })).rejects.toThrow(/4 at least/)
    await expect(createMember(17, { servers: 8 })).rejects.toThrow(HeddleError)
  })

  test('cannot use what Heddle does not take: external senders, unknown types', async () => {
    const w = await world(18)
    const refused: readonly Proposal[] = [
      { proposalType: 'external_init', externalInit: { kemOutput: new Uint8Array(32) } },
      { proposalType: 0xf7ff, proposalData: new Uint8Array(0) },
      { proposalType: 0x0a0a, proposalData: new Uint8Array(0) }
    ]
    for (const proposal of refused) {
      const commit = await edited(w.admin, ({ path }) => ({
        path,
        proposals: [{ proposalOrRefType: 'proposal', proposal }]
      }))
      await expectRefused(w, w.admin, commit, 'INVALID')
    }
    const removal = (member: Member) => ({ proposalOrRefType: 'proposal', proposal: remove(member) }) as const
    const twice = await edited(w.admin, ({ path }) => ({ path, proposals: [removal(w.editor), removal(w.editor)] }))
    await expectRefused(w, w.admin, twice, 'INVALID', /twice in one commit/)
    const itself = await edited(w.admin, ({ path }) => ({ path, proposals: [removal(w.admin)] }))
    await expectRefused(w, w.admin, itself, 'INVALID', /its own sender/)
    const updateByValue = await edited(w.admin, ({ path }) => {
      const leafNode = { ...path?.leafNode, leafNodeSource: 'update' } as LeafNodeUpdate
      return {
        path,
        proposals: [{ proposalOrRefType: 'proposal', proposal: { proposalType: 'update', update: { leafNode } } }]
      }
    })
    await expectRefused(w, w.admin, updateByValue, 'INVALID', /by value/)
    const byReference = await edited(w.admin, ({ path }) => ({
      path,
      proposals: [{ proposalOrRefType: 'reference', reference: new Uint8Array(32) }]
    }))
    await expectRefused(w, w.admin, byReference, 'INVALID', /not known/)
    const pathless = await edited(w.admin, ({ proposals }) => ({ proposals, path: undefined }))
    await expectRefused(w, w.admin, pathless, 'INVALID', /no update path/)
  })
})

describe('a member', () => {
  test('cannot become somebody else by renewing its keys', async () => {
    const w = await world(20)
    const victim = w.admin.group.me.signaturePublicKey
    const { crypto } = w.editor.deps
    const newKey = crypto.randomBytes(32)
    const newPublicKey = crypto.publicKeyOf(newKey)
    const otherDevice: Extension = {
      extensionType: MLS_EXTENSIONS.device.type,
      extensionData: DeviceExtension.encode({ endpointId: crypto.randomBytes(32), crdtTypes: ['yjs/1'] })
    }
    const victimsName = await forge(w.editor, [], {
      leaf: { credential: { credentialType: 'basic', identity: victim } }
    })
    await expectRefused(w, w.editor, victimsName, 'INVALID', /credential/)
    const newIdentity = await forge(w.editor, [], {
      leafKey: newKey,
      leaf: { signaturePublicKey: newPublicKey, credential: { credentialType: 'basic', identity: newPublicKey } }
    })
    await expectRefused(w, w.editor, newIdentity, 'INVALID', /changes the signature key/)
    const victimsKey = await edited(w.editor, ({ proposals, path }) => {
      if (path === undefined) throw new Error('a commit without path')
      const credential = { credentialType: 'basic', identity: victim } as const
      return { proposals, path: { ...path, leafNode: { ...path.leafNode, signaturePublicKey: victim, credential } } }
    })
    await expectRefused(w, w.editor, victimsKey, 'BAD_SIGNATURE')
    const newDevice = await forge(w.editor, [], { leaf: { extensions: [otherDevice] } })
    await expectRefused(w, w.editor, newDevice, 'INVALID', /device/)
    const claim = DeviceExtension.encode({ ...w.editor.group.me.device, identity: crypto.randomBytes(8) })
    const newClaim = await forge(w.editor, [], { leaf: { extensions: [{ ...otherDevice, extensionData: claim }] } })
    await expectRefused(w, w.editor, newClaim, 'INVALID', /device/)
    const noDevice = await forge(w.editor, [], { leaf: { extensions: [] } })
    await expectRefused(w, w.editor, noDevice, 'INVALID', /device/)
    const noCapabilities = await edited(w.editor, ({ proposals, path }) => {
      if (path === undefined) throw new Error('a commit without path')
      const capabilities = { ...path.leafNode.capabilities, extensions: [] }
      return { proposals, path: { ...path, leafNode: { ...path.leafNode, capabilities } } }
    })
    await expectRefused(w, w.editor, noCapabilities, 'INVALID')
    expectAgreement(w)
  })

  test('must renew its encryption key with every commit', async () => {
    const w = await world(24)
    const { group, deps } = w.editor
    const { signatureKey } = secretsOf(w.editor)
    const { leafIndex } = group.me
    const old = leafAt(group.public.state.tree.nodes, leafIndex)?.hpkePublicKey ?? new Uint8Array(0)
    const commit = await edited(w.editor, async ({ proposals, path }) => {
      if (path === undefined) throw new Error('a commit without path')
      const tbs = {
        ...path.leafNode,
        leafNodeSource: 'commit',
        hpkePublicKey: old,
        groupId: group.public.groupId,
        leafIndex
      }
      const { signature } = deps.crypto.suite(1).mls
      const leafNode = await signLeafNodeCommit(tbs as LeafNodeTBSCommit, signatureKey, signature)
      return { proposals, path: { ...path, leafNode } }
    })
    await expectRefused(w, w.editor, commit, 'INVALID', /keeps the encryption key/)
  })

  test('is added only with a key package that is right in everything', async () => {
    const w = await world(21)
    const deps = testDeps(9_100)
    const { crypto } = deps
    const device = { endpointId: crypto.randomBytes(32), crdtTypes: ['yjs/1'] }
    const good = await generateKeyPackage({ crypto, device, nowMs: NOW_MS })
    const others: readonly (readonly [RegExp, OwnKeyPackage])[] = [
      [/no yjs/, await generateKeyPackage({ crypto, device: { ...device, crdtTypes: ['loro/1'] }, nowMs: NOW_MS })],
      [/endpoint/, await generateKeyPackage({ crypto, device: w.admin.group.me.device, nowMs: NOW_MS })],
      [/cipher suite/, await generateKeyPackage({ crypto, device, nowMs: NOW_MS, suite: 3 })]
    ]
    for (const [reason, keyPackage] of others) {
      const plan = { adds: [{ keyPackage: keyPackage.message }] }
      await expect(w.admin.group.buildCommit(plan)).rejects.toThrow(reason)
    }
    const [, , otherSuite] = others
    if (otherSuite === undefined) throw new Error('three expected')
    const wrongSuite = await edited(w.admin, ({ path }) => ({
      path,
      proposals: [{ proposalOrRefType: 'proposal', proposal: add(otherSuite[1]) }]
    }))
    await expectRefused(w, w.admin, wrongSuite, 'INVALID', /cipher suite/)
    for (const [reason, keyPackage] of others.slice(0, 2))
      await expectRefused(w, w.admin, await forge(w.admin, [add(keyPackage)]), 'INVALID', reason)
    await expect(
      w.admin.group.buildCommit({ adds: [{ keyPackage: good.message }, { keyPackage: good.message }] })
    ).rejects.toThrow(expect.objectContaining({ code: 'INVALID' }))
    const { keyPackage } = good
    const tampered: readonly (readonly ['BAD_SIGNATURE' | 'INVALID', Proposal])[] = [
      [
        'BAD_SIGNATURE',
        { proposalType: 'add', add: { keyPackage: { ...keyPackage, initKey: crypto.randomBytes(32) } } }
      ],
      [
        'INVALID',
        { proposalType: 'add', add: { keyPackage: { ...keyPackage, initKey: keyPackage.leafNode.hpkePublicKey } } }
      ],
      [
        'BAD_SIGNATURE',
        { proposalType: 'add', add: { keyPackage: { ...keyPackage, signature: crypto.randomBytes(64) } } }
      ]
    ]
    for (const [code, proposal] of tampered) {
      const commit = await edited(w.admin, ({ path }) => ({
        path,
        proposals: [{ proposalOrRefType: 'proposal', proposal }]
      }))
      await expectRefused(w, w.admin, commit, code)
    }
    expectAgreement(w)
  })

  test('is not added under the keys of another', async () => {
    const w = await world(25)
    const deps = testDeps(9_400)
    const own = await keyPackageFor(deps)
    const victim = secretsOf(w.editor)
    const hpkePublicKey = leafAt(victim.state.tree.nodes, 1)?.hpkePublicKey ?? new Uint8Array(0)
    const { signaturePublicKey } = w.editor.group.me
    const identity = {
      signaturePublicKey,
      credential: { credentialType: 'basic', identity: signaturePublicKey }
    } as const
    const cases: readonly (readonly [RegExp, OwnKeyPackage])[] = [
      [/encryption key occurs twice/, await lyingKeyPackage(own, { hpkePublicKey }, deps)],
      [/signature key occurs twice/, await lyingKeyPackage(own, identity, deps, victim.signatureKey)]
    ]
    for (const [reason, keyPackage] of cases) {
      const commit = await edited(w.admin, ({ path }) => ({
        path,
        proposals: [{ proposalOrRefType: 'proposal', proposal: add(keyPackage) }]
      }))
      await expectRefused(w, w.admin, commit, 'INVALID', reason)
    }
  })

  test('is voted for only with the Welcome it needs', async () => {
    const w = await world(23)
    const joiner = await keyPackageFor(testDeps(9_300))
    const { commit, welcome } = await w.admin.group.buildCommit({ adds: [{ keyPackage: joiner.message }] })
    if (welcome === undefined) throw new Error('no Welcome')
    expect(welcomeRefs(welcome)).toEqual([joiner.ref])
    await w.observer.processCommit(commit, { welcome })
    const other = await keyPackageFor(testDeps(9_301))
    const otherWelcome = (await w.admin.group.buildCommit({ adds: [{ keyPackage: other.message }] })).welcome
    for (const wrong of [new Uint8Array(0), otherWelcome])
      await expect(w.observer.processCommit(commit, { welcome: wrong })).rejects.toThrow(/Welcome/)
    const rotation = (await w.admin.group.buildCommit()).commit
    await w.observer.processCommit(rotation, { welcome: new Uint8Array(0) })
    await expect(w.observer.processCommit(rotation, { welcome })).rejects.toThrow(/Welcome/)
  })

  test('is voted for within the lifetime of its key package, and replayed at any time', async () => {
    const w = await world(22)
    const joiner = await keyPackageFor(testDeps(9_200))
    const { commit } = await w.admin.group.buildCommit({ adds: [{ keyPackage: joiner.message }] })
    const year = 365 * 86_400_000
    await w.observer.processCommit(commit, { nowMs: NOW_MS })
    for (const nowMs of [NOW_MS + year, NOW_MS - year])
      await expect(w.observer.processCommit(commit, { nowMs })).rejects.toThrow(/lifetime/)
    await w.observer.processCommit(commit)
    expect(decodeKeyPackage(joiner.message)).toEqual(joiner.keyPackage)
  })
})
