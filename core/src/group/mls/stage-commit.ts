/**
 * From a commit to the public state of the next epoch (RFC 9420 section 12.4.2, all that needs no secret). Observers stop
 * here; members go on with `member-state.ts`. Nothing is changed in place, so a failed commit leaves no trace.
 */
import { type FramedContentCommit, verifyFramedContentSignature } from 'ts-mls/framedContent.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import type { Reinit } from 'ts-mls/proposal.js'
import type { PublicMessage } from 'ts-mls/publicMessage.js'
import { createConfirmedHash, createInterimHash } from 'ts-mls/transcriptHash.js'
import type { UpdatePath } from 'ts-mls/updatePath.js'
import { equalBytes, toHex } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { HeddleError } from '../../errors.js'
import { ensure, ensureValid } from './errors.js'
import { checkLeaf, checkSupports, type LeafRules, requiredCapabilitiesOf } from './leaf.js'
import { addHashedLeaf, applyProposals, type Committer, type ResolvedProposal } from './proposals.js'
import { type HashedTree, leafAt, rootHash } from './tree.js'
import { checkCredentialsSupported, checkKeysUnique } from './tree-validation.js'
import { applyUpdatePath, type PathStep, pathSteps } from './update-path.js'

/** What everybody who follows a group knows of one epoch. */
export interface PublicState {
  readonly context: GroupContext
  readonly tree: HashedTree
  readonly confirmationTag: Uint8Array
  /** The group was closed by the commit that began this epoch; what is to follow it (RFC 9420 section 11.2). */
  readonly reinit?: Reinit | undefined
}

export interface CommitRules {
  readonly crypto: CryptoProvider
  readonly suite: CipherSuite
  readonly leafRules: LeafRules
  /** `always`: Heddle. `rfc9420`: only where section 17.4 requires one. */
  readonly path: 'always' | 'rfc9420'
  /** Proposals a commit may name by reference, by the reference in hexadecimal. */
  readonly references?: ReadonlyMap<string, ResolvedProposal> | undefined
  readonly nowSeconds?: bigint | undefined
}

export interface StagedCommit {
  readonly before: PublicState
  readonly next: PublicState
  /** Whether the committer came in from outside (RFC 9420 section 12.4.3.2). */
  readonly external: boolean
  /** Its leaf in the next epoch. */
  readonly committer: number
  readonly proposals: readonly ResolvedProposal[]
  readonly added: readonly number[]
  readonly removed: readonly number[]
  readonly pskIds: readonly PreSharedKeyID[]
  readonly externalInit: Uint8Array | undefined
  readonly path: UpdatePath | undefined
  readonly steps: readonly PathStep[]
}

/** The commit in a public message, of a member or from outside. Throws INVALID for proposals and other senders. */
export function commitIn(message: PublicMessage): { readonly content: CommitContent; readonly committer: Committer } {
  const { content } = message
  ensureValid(content.contentType === 'commit', 'The message is a proposal, not a commit')
  const { sender } = content
  ensureValid(
    sender.senderType === 'member' || sender.senderType === 'new_member_commit',
    'Commits of senders that are not members are not accepted'
  )
  const committer = sender.senderType === 'member' ? sender.leafIndex : 'external'
  return { content: content as CommitContent, committer }
}
type CommitContent = PublicMessage['content'] & FramedContentCommit

/**
 * Verifies the commit and returns the next epoch's public state. Throws STALE_EPOCH or BEHIND for another epoch,
 * BAD_SIGNATURE, INVALID, and what the leaf rules throw. The confirmation and membership tags need secrets and are not
 * checked; nor, in an external commit, that its sender knows any secret of the group.
 */
export async function stageCommit(
  state: PublicState,
  message: PublicMessage,
  rules: CommitRules
): Promise<StagedCommit> {
  const { context } = state
  const { crypto, suite, leafRules } = rules
  const { content, committer } = commitIn(message)
  ensureValid(state.reinit === undefined, 'The group was closed by a ReInit: it goes on in its successor')
  checkPlace(content, context)
  const { path } = content.commit
  const signer = committer === 'external' ? path?.leafNode : leafAt(state.tree.nodes, committer)
  ensureValid(
    signer !== undefined,
    committer === 'external'
      ? 'An external commit without update path'
      : `The sender of the commit, leaf ${committer}, is not in the group`
  )
  ensure(
    await verifyFramedContentSignature(
      signer.signaturePublicKey,
      'mls_public_message',
      content,
      message.auth,
      context,
      suite.mls.signature
    ),
    'BAD_SIGNATURE',
    'The signature of the commit does not verify'
  )
  const proposals = resolve(content, committer, rules)
  const applied = await applyProposals(state.tree, context, committer, proposals, rules)
  const { extensions, added, removed, pskIds, externalInit, reinit } = applied
  let [tree, leafIndex] =
    committer === 'external' ? addHashedLeaf(applied.tree, signer, crypto) : [applied.tree, committer]
  let steps: readonly PathStep[] = []
  if (path === undefined) {
    ensureValid(rules.path === 'rfc9420' && !requiresPath(proposals), 'The commit has no update path')
  } else {
    const { leafNode } = path
    checkSupports(leafNode, extensions, requiredCapabilitiesOf(extensions))
    if (committer !== 'external')
      ensureValid(!equalBytes(leafNode.hpkePublicKey, signer.hpkePublicKey), 'The update path keeps the encryption key')
    ensureValid(
      path.nodes.every(({ hpkePublicKey }) => suite.isHpkeKey(hpkePublicKey)),
      'A key in the update path is no HPKE key of the suite'
    )
    await checkLeaf(leafNode, { groupId: context.groupId, leafIndex }, suite, leafRules)
    steps = pathSteps(tree.nodes, leafIndex, added)
    tree = applyUpdatePath(tree, leafIndex, path, steps, crypto)
    checkKeysUnique(tree, state.tree)
    checkCredentialsSupported(tree, state.tree)
  }
  return {
    before: state,
    next: {
      context: {
        ...context,
        extensions,
        epoch: context.epoch + 1n,
        treeHash: rootHash(tree),
        confirmedTranscriptHash: await confirmedHash(state, content, message.auth.signature, suite)
      },
      tree,
      confirmationTag: confirmationTagOf(message),
      reinit
    },
    external: committer === 'external',
    committer: leafIndex,
    proposals,
    added,
    removed,
    pskIds,
    externalInit,
    path,
    steps
  }
}

/** RFC 9420 section 8.2. */
export async function confirmedHash(
  state: PublicState,
  content: CommitContent,
  signature: Uint8Array,
  { mls }: CipherSuite
): Promise<Uint8Array> {
  const interim = await createInterimHash(state.context.confirmedTranscriptHash, state.confirmationTag, mls.hash)
  return createConfirmedHash(interim, { wireformat: 'mls_public_message', content, signature }, mls.hash)
}

function checkPlace(content: CommitContent, context: GroupContext): void {
  ensureValid(equalBytes(content.groupId, context.groupId), 'The commit is for another group')
  ensure(
    content.epoch >= context.epoch,
    'STALE_EPOCH',
    `The commit is for epoch ${content.epoch}, the group is at ${context.epoch}`
  )
  ensure(
    content.epoch === context.epoch,
    'BEHIND',
    `The commit is for epoch ${content.epoch}, the group is still at ${context.epoch}`
  )
}

function resolve(
  content: CommitContent,
  committer: Committer,
  { references }: CommitRules
): readonly ResolvedProposal[] {
  return content.commit.proposals.map((item) => {
    if (item.proposalOrRefType === 'proposal') return { proposal: item.proposal, sender: committer, byValue: true }
    const found = references?.get(toHex(item.reference))
    ensureValid(found !== undefined, 'The commit refers to a proposal that is not known')
    return found
  })
}

/** RFC 9420 section 17.4, column "Path Required". */
function requiresPath(proposals: readonly ResolvedProposal[]): boolean {
  const pathless = ['add', 'psk', 'reinit']
  return proposals.length === 0 || proposals.some(({ proposal }) => !pathless.includes(String(proposal.proposalType)))
}

function confirmationTagOf(message: PublicMessage): Uint8Array {
  if (message.auth.contentType !== 'commit') throw new HeddleError('MALFORMED', 'A commit without confirmation tag')
  ensureValid(message.auth.confirmationTag.length === 32, 'The confirmation tag has not the length of the hash')
  return message.auth.confirmationTag
}
