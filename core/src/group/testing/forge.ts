/** Commits that an honest member would not build, signed with a member's real keys; read from its stored records. */
import { createMembershipTag, makeProposalRef } from 'ts-mls/authenticatedContent.js'
import type { Commit } from 'ts-mls/commit.js'
import {
  createContentCommitSignature,
  type FramedContent,
  type FramedContentAuthData,
  signFramedContentTBS,
  toTbs
} from 'ts-mls/framedContent.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import { signKeyPackage } from 'ts-mls/keyPackage.js'
import { type LeafNode, type LeafNodeTBSKeyPackage, signLeafNodeKeyPackage } from 'ts-mls/leafNode.js'
import type { Proposal } from 'ts-mls/proposal.js'
import type { PublicMessage } from 'ts-mls/publicMessage.js'
import type { UpdatePath } from 'ts-mls/updatePath.js'
import { expect } from 'vitest'
import type { CipherSuite } from '../../crypto/index.js'
import { type ErrorName, HeddleError } from '../../errors.js'
import type { MemberDeps, OwnKeyPackage } from '../index.js'
import {
  buildEpoch,
  decodePublicMessage,
  encodeKeyPackage,
  encodePublicMessage,
  type PskSource,
  type PublicState
} from '../mls/index.js'
import { readRecords } from '../persistence.js'
import type { Member, World } from './world.js'

const NOTHING = new Uint8Array(0)

export interface ForgeOptions {
  /** What the member's own leaf says, instead of the truth. */
  readonly leaf?: Partial<LeafNode>
  /** Key the path's leaf is signed with, instead of the member's. */
  readonly leafKey?: Uint8Array
  /** Public keys of the path's nodes, upwards, instead of those that fit the path secrets. */
  readonly pathKey?: (honest: Uint8Array) => Uint8Array
  /** Pre-shared keys, instead of none. */
  readonly psks?: PskSource
}

/** A commit with these proposals, right in everything but what Heddle allows. */
export async function forge(
  member: Member,
  proposals: readonly Proposal[],
  options: ForgeOptions = {}
): Promise<Uint8Array> {
  const { state, signatureKey, memberState } = secretsOf(member)
  const { crypto } = member.deps
  const { suite } = member.group.public
  const rules = {
    suite: options.pathKey === undefined ? suite : lyingSuite(suite, options.pathKey),
    leafRules: () => {},
    psks: options.psks
  }
  const built = await buildEpoch(
    memberState,
    lying(state, memberState.leafIndex, options.leaf),
    proposals,
    options.leafKey ?? signatureKey,
    rules,
    crypto
  )
  return sign(member, commitOf(built.message), built.message)
}

/** One of the member's honest commits, changed and signed again. */
export async function edited(member: Member, edit: (commit: Commit) => Commit | Promise<Commit>): Promise<Uint8Array> {
  const { commit } = await member.group.buildCommit()
  const message = decodePublicMessage(commit)
  return sign(member, await edit(commitOf(message)), message)
}

/** A key package of somebody who lies in its leaf, signed with the key given. */
export async function lyingKeyPackage(
  own: OwnKeyPackage,
  lie: Partial<LeafNode>,
  { crypto }: MemberDeps,
  signatureKey = own.signatureKey
): Promise<OwnKeyPackage> {
  const { signature } = crypto.suite(1).mls
  const tbs = { ...own.keyPackage.leafNode, ...lie, leafNodeSource: 'key_package' } as LeafNodeTBSKeyPackage
  const leafNode = await signLeafNodeKeyPackage(tbs, signatureKey, signature)
  const keyPackage = await signKeyPackage({ ...own.keyPackage, leafNode }, signatureKey, signature)
  return { ...own, signatureKey, keyPackage, message: encodeKeyPackage(keyPackage) }
}

/** Observer and all other members refuse the commit for the same reason, and nothing changes. */
export async function expectRefused(
  world: World,
  by: Member,
  commit: Uint8Array,
  code: ErrorName,
  reason?: RegExp
): Promise<void> {
  const check = async (work: Promise<unknown>): Promise<void> => {
    const error = await work.then(
      () => 'accepted',
      (cause: unknown) => cause
    )
    expect(error).toBeInstanceOf(HeddleError)
    const { code: actual, message, info } = error as HeddleError
    expect({ code: actual, poison: info.poison, message }).toMatchObject({ code, poison: undefined })
    if (reason !== undefined) expect(message).toMatch(reason)
  }
  await check(world.observer.processCommit(commit))
  for (const member of world.members) {
    if (member === by) continue
    await check(member.group.processCommit(commit))
    expect(member.group.takeDirtyRecords()).toEqual([])
  }
}

export function secretsOf(member: Member) {
  const { state } = readRecords(member.records.values())
  return { state: member.group.public.state, signatureKey: state.signatureKey, memberState: state.member }
}

/** Tells another public key for every key pair but the first, which is the leaf's. */
function lyingSuite(suite: CipherSuite, pathKey: (honest: Uint8Array) => Uint8Array): CipherSuite {
  const { hpke } = suite.mls
  let told = 0
  const exportPublicKey: typeof hpke.exportPublicKey = async (key) => {
    const honest = await hpke.exportPublicKey(key)
    return told++ === 0 ? honest : pathKey(honest)
  }
  return { ...suite, mls: { ...suite.mls, hpke: { ...hpke, exportPublicKey } } }
}

function lying(state: PublicState, leafIndex: number, lie: Partial<LeafNode> | undefined): PublicState {
  const nodes = state.tree.nodes.slice()
  const node = nodes[2 * leafIndex]
  if (lie === undefined || node?.nodeType !== 'leaf') return state
  nodes[2 * leafIndex] = { nodeType: 'leaf', leaf: { ...node.leaf, ...lie } as LeafNode }
  return { ...state, tree: { ...state.tree, nodes } }
}

function commitOf({ content }: PublicMessage): Commit {
  if (content.contentType !== 'commit') throw new Error('not a commit')
  return content.commit
}

/** One of the member's honest commits with another confirmation tag, under a right membership tag. */
export async function wrongConfirmation(member: Member): Promise<Uint8Array> {
  const { commit } = await member.group.buildCommit()
  const message = decodePublicMessage(commit)
  if (message.auth.contentType !== 'commit') throw new Error('not a commit')
  const auth = { ...message.auth, confirmationTag: new Uint8Array(32) }
  return tag(member, message.content, auth)
}

async function sign(member: Member, commit: Commit, original: PublicMessage): Promise<Uint8Array> {
  const { state, signatureKey } = secretsOf(member)
  const { mls } = member.group.public.suite
  const { framedContent, signature } = await createContentCommitSignature(
    state.context,
    'mls_public_message',
    commit,
    original.content.sender,
    NOTHING,
    signatureKey,
    mls.signature
  )
  return tag(member, framedContent, { ...original.auth, signature })
}

async function tag(member: Member, content: FramedContent, auth: FramedContentAuthData): Promise<Uint8Array> {
  const { state, memberState } = secretsOf(member)
  const tbm = { contentTbs: toTbs(content, 'mls_public_message', state.context), auth }
  const { hash } = member.group.public.suite.mls
  const membershipTag = await createMembershipTag(memberState.secrets.membershipKey, tbm, hash)
  return encodePublicMessage({ content, auth, senderType: 'member', membershipTag })
}

/** An external commit with its proposals or path changed, signed again with the signature key of `member`. */
export async function editedExternal(
  member: Member,
  message: PublicMessage,
  context: GroupContext,
  change: (proposals: readonly Proposal[]) => readonly Proposal[],
  changePath: (path: UpdatePath) => Promise<UpdatePath> = async (path) => path
): Promise<Uint8Array> {
  const { proposals, path } = commitOf(message)
  const plain = proposals.flatMap((item) => (item.proposalOrRefType === 'proposal' ? [item.proposal] : []))
  const commit: Commit = {
    path: path && (await changePath(path)),
    proposals: change(plain).map((proposal) => ({ proposalOrRefType: 'proposal', proposal }))
  }
  const { framedContent, signature } = await createContentCommitSignature(
    context,
    'mls_public_message',
    commit,
    { senderType: 'new_member_commit' },
    NOTHING,
    secretsOf(member).signatureKey,
    member.group.public.suite.mls.signature
  )
  const auth = { ...message.auth, signature }
  return encodePublicMessage({ content: framedContent, auth, senderType: 'new_member_commit' })
}

/** A proposal in a message of its own, as Heddle's devices never send them, and its reference. */
export async function proposalMessage(
  member: Member,
  proposal: Proposal
): Promise<{ readonly message: Uint8Array; readonly reference: Uint8Array }> {
  const { state, signatureKey, memberState } = secretsOf(member)
  const { mls } = member.group.public.suite
  const { context } = state
  const sender = { senderType: 'member', leafIndex: memberState.leafIndex } as const
  const { groupId, epoch } = context
  const content = { contentType: 'proposal', proposal, groupId, epoch, sender, authenticatedData: NOTHING } as const
  const tbs = toTbs(content, 'mls_public_message', context)
  const auth = {
    contentType: 'proposal',
    signature: await signFramedContentTBS(signatureKey, tbs, mls.signature)
  } as const
  const membershipTag = await createMembershipTag(
    memberState.secrets.membershipKey,
    { contentTbs: tbs, auth },
    mls.hash
  )
  return {
    message: encodePublicMessage({ content, auth, senderType: 'member', membershipTag }),
    reference: await makeProposalRef({ wireformat: 'mls_public_message', content, auth }, mls.hash)
  }
}
