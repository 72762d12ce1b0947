/** RFC 9420 section 12.2, rule by rule, and the rules of section 12.1 for each proposal by itself. */
import type { Extension } from 'ts-mls/extension.js'
import { signWithLabel } from 'ts-mls/crypto/signature.js'
import { encode } from 'ts-mls/codec/tlsEncoder.js'
import { type LeafNodeTBS, type LeafNodeUpdate, leafNodeTBSEncoder } from 'ts-mls/leafNode.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import type { Proposal } from 'ts-mls/proposal.js'
import { encodeRequiredCapabilities } from 'ts-mls/requiredCapabilities.js'
import { beforeAll, describe, expect, test } from 'vitest'
import { utf8 } from '../../bytes.js'
import { MLS_PROPOSALS } from '../../wire/index.js'
import { leafRules } from '../extensions.js'
import type { OwnKeyPackage } from '../index.js'
import { lyingKeyPackage, secretsOf } from '../testing/forge.js'
import { createWorld, decide, EDITOR, keyPackageFor, type Member, NOW_MS, testDeps } from '../testing/world.js'
import { PROPOSALS_MAX } from './limits.js'
import { type AppliedProposals, applyProposals, type Committer } from './proposals.js'
import type { PublicState } from './stage-commit.js'
import { leafAt } from './tree.js'

const deps = testDeps(1_200)
const suite = deps.crypto.suite(1)
let admin: Member
let editor: Member
let state: PublicState
/** State of a group of one at its first epoch. */
let start: PublicState
let joiner: OwnKeyPackage
let other: OwnKeyPackage

beforeAll(async () => {
  const world = await createWorld(1_201, [EDITOR, EDITOR, EDITOR])
  const [first, second, third] = world.members
  if (first === undefined || second === undefined || third === undefined) throw new Error('four members expected')
  admin = first
  editor = second
  await decide(world, admin, { removes: [third.group.memberId] }) // leaf 2 is blank from here on
  state = admin.group.public.state
  const [alone] = (await createWorld(1_202, [])).members
  if (alone === undefined) throw new Error('one member expected')
  start = alone.group.public.state
  joiner = await keyPackageFor(deps)
  other = await keyPackageFor(deps)
})

interface Options {
  readonly committer?: Committer
  readonly by?: number
  readonly byValue?: boolean
  readonly from?: PublicState
  readonly nowSeconds?: bigint
}

function apply(
  proposals: readonly Proposal[],
  { committer = 0, by, byValue = true, from = state, nowSeconds }: Options = {}
): Promise<AppliedProposals> {
  const resolved = proposals.map((proposal) => ({ proposal, sender: by ?? committer, byValue }))
  return applyProposals(from.tree, from.context, committer, resolved, {
    crypto: deps.crypto,
    suite,
    leafRules,
    nowSeconds
  })
}

async function expectRefused(
  proposals: readonly Proposal[],
  reason: RegExp,
  options?: Options,
  code = 'INVALID'
): Promise<void> {
  const error = await apply(proposals, options).then(
    () => 'accepted',
    (cause: unknown) => cause
  )
  expect(error).toMatchObject({ name: 'HeddleError', code })
  expect(String(error)).toMatch(reason)
}

const add = ({ keyPackage }: OwnKeyPackage): Proposal => ({ proposalType: 'add', add: { keyPackage } })
const remove = (removed: number): Proposal => ({ proposalType: 'remove', remove: { removed } })
const pskOf = (id: object): Proposal => ({
  proposalType: 'psk',
  psk: { preSharedKeyId: { pskNonce: new Uint8Array(32), ...id } as PreSharedKeyID }
})
const external = (id: string, more: object = {}) => pskOf({ psktype: 'external', pskId: utf8(id), ...more })
const resumption = (usage: 'application' | 'branch' | 'reinit', epoch = 1n) =>
  pskOf({ psktype: 'resumption', usage, pskGroupId: new Uint8Array(16), pskEpoch: epoch })
const setExtensions = (extensions: Extension[]): Proposal => ({
  proposalType: 'group_context_extensions',
  groupContextExtensions: { extensions }
})
const reinit = (): Proposal => {
  const { groupId, cipherSuite, extensions } = state.context
  return { proposalType: 'reinit', reinit: { groupId, version: 'mls10', cipherSuite, extensions } }
}

/** The editor's Update, signed by itself or by whom it lies to be. */
async function update(
  change: { readonly hpkePublicKey?: Uint8Array } = {},
  signatureKey = secretsOf(editor).signatureKey
) {
  const leaf = leafAt(state.tree.nodes, 1)
  if (leaf === undefined) throw new Error('no leaf')
  const { hpkePublicKey } = other.keyPackage.leafNode
  const place = { groupId: state.context.groupId, leafIndex: 1 }
  const { signaturePublicKey, credential, capabilities, extensions } = leaf
  const own = { hpkePublicKey, signaturePublicKey, credential, capabilities, extensions, ...place }
  const tbs: LeafNodeTBS = { leafNodeSource: 'update', ...own, ...change }
  const toSign = encode(leafNodeTBSEncoder)(tbs)
  const signature = await signWithLabel(signatureKey, 'LeafNodeTBS', toSign, suite.mls.signature)
  const leafNode = { ...tbs, signature } as LeafNodeUpdate
  return { proposalType: 'update', update: { leafNode } } as const
}

describe('an Add (12.1.1) is refused', () => {
  test('for another cipher suite or version', async () => {
    await expectRefused([add(await keyPackageFor(deps, 3))], /another cipher suite or version/)
  })
  test('with an init key that is the leaf key, or a leaf of another source', async () => {
    const { keyPackage } = joiner
    const { leafNode } = keyPackage
    await expectRefused(
      [{ proposalType: 'add', add: { keyPackage: { ...keyPackage, initKey: leafNode.hpkePublicKey } } }],
      /init key of the key package is its leaf key/
    )
    const updated = (await update()).update.leafNode
    const wrongSource = { ...keyPackage, leafNode: updated } as unknown as typeof keyPackage
    await expectRefused([{ proposalType: 'add', add: { keyPackage: wrongSource } }], /another source/)
  })
  test('with a key that nobody can encrypt to', async () => {
    const { keyPackage } = joiner
    const zero = new Uint8Array(32)
    await expectRefused(
      [{ proposalType: 'add', add: { keyPackage: { ...keyPackage, initKey: zero } } }],
      /init key .* no HPKE key/
    )
    await expectRefused(
      [add(await lyingKeyPackage(joiner, { hpkePublicKey: zero }, deps))],
      /encryption key of a leaf is no HPKE key/
    )
  })
  test('with a signature that is wrong', async () => {
    const keyPackage = { ...joiner.keyPackage, signature: new Uint8Array(64) }
    await expectRefused([{ proposalType: 'add', add: { keyPackage } }], /signature/, {}, 'BAD_SIGNATURE')
  })
  test('out of its lifetime, when time counts', async () => {
    const now = BigInt(NOW_MS / 1000)
    await expect(apply([add(joiner)], { nowSeconds: now })).resolves.toMatchObject({ added: [2] })
    await expectRefused([add(joiner)], /lifetime/, { nowSeconds: now + 10_000_000n })
    await expectRefused([add(joiner)], /lifetime/, { nowSeconds: now - 10_000_000n })
  })
  test('of a device that lacks what the group requires or uses', async () => {
    const { capabilities } = joiner.keyPackage.leafNode
    const without = async (change: Partial<typeof capabilities>) =>
      add(await lyingKeyPackage(joiner, { capabilities: { ...capabilities, ...change } }, deps))
    await expectRefused([await without({ proposals: [] })], /capability that the group requires/)
    await expectRefused([await without({ extensions: [] })], /capabilities do not list/)
    await expectRefused([await without({ credentials: [] })], /capabilities do not list/)
  })
})

describe('an Update (12.1.2) is refused', () => {
  const byReference = { by: 1, byValue: false }
  test('unless it is right: of a member, under a new key, signed', async () => {
    await expect(apply([await update()], byReference)).resolves.toMatchObject({ added: [] })
    const { hpkePublicKey } = leafAt(state.tree.nodes, 1) ?? other.keyPackage.leafNode
    await expectRefused([await update({ hpkePublicKey })], /keeps the encryption key/, byReference)
    await expectRefused([await update()], /blank leaf/, { by: 2, byValue: false })
    await expectRefused([await update({}, other.signatureKey)], /signature of leaf 1/, byReference, 'BAD_SIGNATURE')
    const wrongSource = { ...(await update()).update.leafNode, leafNodeSource: 'commit' } as never
    await expectRefused([{ proposalType: 'update', update: { leafNode: wrongSource } }], /another source/, byReference)
  })
  test('under a key that is in the tree already', async () => {
    const taken = leafAt(state.tree.nodes, 3)?.hpkePublicKey ?? new Uint8Array(0)
    await expectRefused([await update({ hpkePublicKey: taken })], /encryption key occurs twice/, byReference)
  })
})

describe('a Remove (12.1.3) is refused', () => {
  test.each([2, 4, 7, 4_000_000, 0xffffffff])('of leaf %i, where there is no member', async (leaf) => {
    await expectRefused([remove(leaf)], /no member at leaf/)
  })
})

describe('a PreSharedKey (12.1.4) is refused', () => {
  test('with a nonce of another length than the hash', async () => {
    for (const length of [0, 31, 33])
      await expectRefused([external('id', { pskNonce: new Uint8Array(length) })], /nonce/)
  })
  test('of the usages branch and reinit, but in the first commit of a group, one at most', async () => {
    for (const usage of ['branch', 'reinit'] as const) {
      await expectRefused([resumption(usage)], /only from its first commit/)
      await expect(apply([resumption(usage)], { from: start })).resolves.toMatchObject({ pskIds: [{ usage }] })
    }
    await expectRefused([resumption('branch'), resumption('reinit')], /one only/, { from: start })
  })
})

describe('GroupContextExtensions (12.1.7) are refused', () => {
  test('with an extension that a member does not support', async () => {
    const { extensions } = state.context
    const unknown = { extensionType: 0xf7f0, extensionData: new Uint8Array(0) }
    await expectRefused([setExtensions([...extensions, unknown])], /does not support an extension/)
  })
  test('that require what a member lacks', async () => {
    const [, ...rest] = state.context.extensions
    const more = { extensionTypes: [0xf7f0], proposalTypes: [], credentialTypes: [] }
    const required: Extension = {
      extensionType: 'required_capabilities',
      extensionData: encodeRequiredCapabilities(more)
    }
    await expectRefused([setExtensions([required, ...rest])], /capability that the group requires/)
  })
  test('with an extension twice, or required capabilities that do not decode', async () => {
    const [required, ...rest] = state.context.extensions
    if (required === undefined) throw new Error('extensions expected')
    await expectRefused([setExtensions([required, required, ...rest])], /extension occurs twice/)
    const broken = { ...required, extensionData: Uint8Array.of(1) }
    await expectRefused([setExtensions([broken, ...rest])], /required_capabilities/, {}, 'MALFORMED')
  })
})

describe('a member’s commit (12.2) is refused', () => {
  test('with an Update of its sender, or an Update by value', async () => {
    await expectRefused([await update()], /its own sender/, { committer: 1, by: 1, byValue: false })
    await expectRefused([await update()], /by value/, { by: 1 })
  })
  test('with a Remove of its sender', async () => {
    await expectRefused([remove(0)], /its own sender/)
  })
  test('with several Updates or Removes of one leaf', async () => {
    await expectRefused([remove(1), remove(1)], /twice in one commit/)
    const resolved = [
      { proposal: await update(), sender: 1, byValue: false },
      { proposal: remove(1), sender: 0, byValue: true }
    ]
    const rules = { crypto: deps.crypto, suite, leafRules }
    await expect(applyProposals(state.tree, state.context, 0, resolved, rules)).rejects.toThrow(/twice in one/)
  })
  test('with several Adds of one client', async () => {
    await expectRefused([add(joiner), add(joiner)], /key occurs twice/)
    const sameSigner = await lyingKeyPackage(
      other,
      {
        signaturePublicKey: joiner.keyPackage.leafNode.signaturePublicKey,
        credential: joiner.keyPackage.leafNode.credential
      },
      deps,
      joiner.signatureKey
    )
    await expectRefused([add(joiner), add(sameSigner)], /signature key occurs twice/)
  })
  test('with an Add of a client in the group, unless the same commit removes it', async () => {
    const { signatureKey } = secretsOf(editor)
    const { signaturePublicKey, credential } = leafAt(state.tree.nodes, 1) ?? joiner.keyPackage.leafNode
    const again = await lyingKeyPackage(joiner, { signaturePublicKey, credential }, deps, signatureKey)
    await expectRefused([add(again)], /signature key occurs twice/)
    await expect(apply([remove(1), add(again)])).resolves.toMatchObject({ removed: [1], added: [1] })
  })
  test('with one pre-shared key twice', async () => {
    await expectRefused([external('id'), external('id')], /pre-shared key occurs twice/)
    await expect(apply([external('id'), external('other')])).resolves.toMatchObject({ removed: [] })
  })
  test('with more pre-shared keys than are allowed', async () => {
    await expectRefused(
      Array.from({ length: 17 }, (_, i) => external(`${i}`)),
      /17 pre-shared keys/
    )
  })
  test('with several GroupContextExtensions', async () => {
    const same = setExtensions(state.context.extensions)
    await expectRefused([same, same], /Two GroupContextExtensions/)
  })
  test('with a ReInit beside anything else', async () => {
    await expect(apply([reinit()])).resolves.toMatchObject({ removed: [] })
    for (const beside of [remove(1), add(joiner), external('id'), reinit()])
      await expectRefused([reinit(), beside], /ReInit with other/)
  })
  test('with an ExternalInit', async () => {
    const init: Proposal = { proposalType: 'external_init', externalInit: { kemOutput: new Uint8Array(32) } }
    await expectRefused([init], /not allowed in a member's commit/)
  })
  test('with proposals of a type that some member who processes it does not support', async () => {
    const custom: Proposal = { proposalType: 0xf7ff, proposalData: new Uint8Array(0) }
    await expectRefused([custom], /does not support proposals of type/)
    // Who is added does not process it.
    const [, ...notRequired] = state.context.extensions
    const from = { ...state, context: { ...state.context, extensions: notRequired } }
    const { capabilities } = joiner.keyPackage.leafNode
    const simple = await lyingKeyPackage(joiner, { capabilities: { ...capabilities, proposals: [] } }, deps)
    const known: Proposal = { proposalType: MLS_PROPOSALS.cut.type, proposalData: new Uint8Array(0) }
    await expect(apply([add(simple), known], { from })).resolves.toMatchObject({ added: [2] })
  })
  test('with proposals of unknown types, which is what a malformed Add looks like', async () => {
    for (const proposalType of [0, 1, 9, 0x0a0a, 0xefff])
      await expectRefused([{ proposalType, proposalData: new Uint8Array(0) }], /unknown type/)
  })
  test('with more proposals than are looked at', async () => {
    const many = Array.from({ length: PROPOSALS_MAX + 1 }, () => remove(1))
    await expectRefused(many, /A commit with 1025 proposals/)
  })
})

describe('an external commit (12.2) is refused', () => {
  const init: Proposal = { proposalType: 'external_init', externalInit: { kemOutput: new Uint8Array(32) } }
  const committer = 'external'
  test('without ExternalInit, or with two', async () => {
    await expect(apply([init], { committer })).resolves.toMatchObject({ removed: [] })
    await expectRefused([], /without ExternalInit/, { committer })
    await expectRefused([init, init], /Two ExternalInit/, { committer })
  })
  test('with more than one Remove', async () => {
    await expectRefused([init, remove(1), remove(3)], /removes several/, { committer })
  })
  test('with proposals by reference', async () => {
    await expectRefused([init, remove(1)], /refers to proposals/, { committer, byValue: false })
  })
  test('with anything beside ExternalInit, Remove and PreSharedKey', async () => {
    const { extensions } = state.context
    for (const beside of [add(joiner), setExtensions(extensions)])
      await expectRefused([init, beside], /other proposals than/, { committer })
    await expectRefused([init, await update()], /by value/, { committer })
    await expectRefused([init, reinit()], /ReInit with other/, { committer })
  })
})
