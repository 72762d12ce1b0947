/**
 * The proposals of a commit: the rules of RFC 9420 section 12.2 and their effect on tree and extensions (section 12.3).
 * Observers and members run the same code. What Heddle allows beyond that is `../policy.ts`'s business.
 */
import type { Extension } from 'ts-mls/extension.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import type { Proposal, Reinit } from 'ts-mls/proposal.js'
import { addLeafNode, type RatchetTree, removeLeafNode, updateLeafNode } from 'ts-mls/ratchetTree.js'
import { toLeafIndex } from 'ts-mls/treemath.js'
import { equalBytes, toHex } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { ensureValid } from './errors.js'
import { checkKeyPackage, checkLeaf, checkSupports, type LeafRules, requiredCapabilitiesOf, unique } from './leaf.js'
import { LEAVES_MAX, PROPOSALS_MAX } from './limits.js'
import { checkPskIds } from './psk.js'
import { changedSince, type HashedTree, hashTree, leafAt, leavesOf } from './tree.js'
import { checkCredentialsSupported, checkKeysUnique } from './tree-validation.js'

/** Who commits: a member by its leaf, or somebody who comes in by an external commit. */
export type Committer = number | 'external'

export interface ResolvedProposal {
  readonly proposal: Proposal
  /** Whose proposal it is. */
  readonly sender: Committer
  readonly byValue: boolean
}

export interface AppliedProposals {
  readonly tree: HashedTree
  readonly extensions: Extension[]
  /** Leaf indices in the order of the Add proposals. */
  readonly added: readonly number[]
  readonly removed: readonly number[]
  readonly pskIds: readonly PreSharedKeyID[]
  /** kem_output of the ExternalInit of an external commit. */
  readonly externalInit: Uint8Array | undefined
  /** The group ends with this commit. */
  readonly reinit: Reinit | undefined
}

export interface ProposalRules {
  readonly crypto: CryptoProvider
  readonly suite: CipherSuite
  readonly leafRules: LeafRules
  /** Key packages must be within their lifetime at this time, seconds since the Unix epoch. */
  readonly nowSeconds?: bigint | undefined
}

/** Validates and applies; throws INVALID, BAD_SIGNATURE or what the leaf rules throw. Neither argument is changed. */
export async function applyProposals(
  before: HashedTree,
  context: GroupContext,
  committer: Committer,
  proposals: readonly ResolvedProposal[],
  { crypto, suite, leafRules, nowSeconds }: ProposalRules
): Promise<AppliedProposals> {
  const list = sort(proposals)
  checkCombination(list, committer)
  checkPskIds(list.pskIds, context.epoch === 0n)
  let { nodes } = before
  for (const { sender, leafNode } of list.updates) {
    const old = leafAt(nodes, sender)
    ensureValid(old !== undefined, 'An update of a blank leaf')
    ensureValid(leafNode.leafNodeSource === 'update', 'An update whose leaf has another source')
    ensureValid(!equalBytes(leafNode.hpkePublicKey, old.hpkePublicKey), 'An update that keeps the encryption key')
    await checkLeaf(leafNode, { groupId: context.groupId, leafIndex: sender }, suite, leafRules)
    nodes = updateLeafNode(nodes, leafNode, toLeafIndex(sender))
  }
  for (const removed of list.removed) {
    ensureValid(leafAt(nodes, removed) !== undefined, `There is no member at leaf ${removed} to remove`)
    nodes = removeLeafNode(nodes, toLeafIndex(removed))
  }
  const added: number[] = []
  for (const keyPackage of list.keyPackages) {
    await checkKeyPackage(keyPackage, context, suite, leafRules, nowSeconds)
    const [next, leafIndex] = addLeaf(nodes, keyPackage.leafNode)
    nodes = next
    added.push(leafIndex)
  }
  const extensions = list.extensions ?? context.extensions
  const tree = hashTree(nodes, crypto.sha256, before)
  checkLeaves(tree, extensions, list.customTypes, { tree: before, extensions: context.extensions }, new Set(added))
  const { removed, pskIds, externalInit, reinit } = list
  return { tree, extensions, added, removed, pskIds, externalInit, reinit }
}

/** Puts a leaf at the first free place. Throws INVALID when the group is full. */
function addLeaf(nodes: RatchetTree, leaf: LeafNode): readonly [nodes: RatchetTree, leafIndex: number] {
  const [next, at] = addLeafNode(nodes, leaf)
  ensureValid(at / 2 < LEAVES_MAX, `The group would have more than ${LEAVES_MAX} leaves`)
  return [next, at / 2]
}

/** `addLeaf` for a tree with its hashes. */
export function addHashedLeaf(
  tree: HashedTree,
  leaf: LeafNode,
  { sha256 }: Pick<CryptoProvider, 'sha256'>
): readonly [tree: HashedTree, leafIndex: number] {
  const [nodes, leafIndex] = addLeaf(tree.nodes, leaf)
  return [hashTree(nodes, sha256, tree), leafIndex]
}

interface SortedProposals {
  readonly count: number
  readonly updates: { sender: number; leafNode: Extract<Proposal, { proposalType: 'update' }>['update']['leafNode'] }[]
  readonly removed: number[]
  readonly keyPackages: Extract<Proposal, { proposalType: 'add' }>['add']['keyPackage'][]
  readonly pskIds: PreSharedKeyID[]
  readonly customTypes: Set<number>
  /** Whether each is part of the commit itself. */
  readonly byValue: boolean
  extensions: Extension[] | undefined
  externalInit: Uint8Array | undefined
  reinit: Reinit | undefined
}

function sort(proposals: readonly ResolvedProposal[]): SortedProposals {
  ensureValid(proposals.length <= PROPOSALS_MAX, `A commit with ${proposals.length} proposals`)
  const list: SortedProposals = {
    count: proposals.length,
    updates: [],
    removed: [],
    keyPackages: [],
    pskIds: [],
    customTypes: new Set(),
    byValue: proposals.every(({ byValue }) => byValue),
    extensions: undefined,
    externalInit: undefined,
    reinit: undefined
  }
  for (const { proposal, sender, byValue } of proposals) {
    switch (proposal.proposalType) {
      case 'add':
        list.keyPackages.push(proposal.add.keyPackage)
        break
      case 'update':
        ensureValid(!byValue && sender !== 'external', 'An update by value: a commit updates its own leaf by its path')
        list.updates.push({ sender, leafNode: proposal.update.leafNode })
        break
      case 'remove':
        list.removed.push(proposal.remove.removed)
        break
      case 'psk':
        list.pskIds.push(proposal.psk.preSharedKeyId)
        break
      case 'group_context_extensions':
        ensureValid(list.extensions === undefined, 'Two GroupContextExtensions proposals in one commit')
        list.extensions = proposal.groupContextExtensions.extensions
        ensureValid(unique(list.extensions), 'An extension occurs twice in the group context')
        break
      case 'reinit':
        list.reinit = proposal.reinit
        break
      case 'external_init':
        ensureValid(list.externalInit === undefined, 'Two ExternalInit proposals in one commit')
        list.externalInit = proposal.externalInit.kemOutput
        break
      default:
        // ts-mls decodes a malformed Add as a custom proposal of type 1.
        ensureValid(proposal.proposalType >= 0xf000, `A proposal of unknown type ${proposal.proposalType}`)
        list.customTypes.add(proposal.proposalType)
    }
  }
  return list
}

function checkCombination(list: SortedProposals, committer: Committer): void {
  const { removed, updates, pskIds, externalInit, reinit } = list
  const touched = [...updates.map(({ sender }) => sender), ...removed]
  ensureValid(new Set(touched).size === touched.length, 'A leaf is updated or removed twice in one commit')
  ensureValid(reinit === undefined || list.count === 1, 'A ReInit with other proposals in one commit')
  if (committer === 'external') {
    ensureValid(externalInit !== undefined, 'An external commit without ExternalInit')
    ensureValid(list.byValue, 'An external commit that refers to proposals')
    ensureValid(removed.length <= 1, 'An external commit that removes several members')
    ensureValid(
      list.count === 1 + removed.length + pskIds.length,
      'An external commit with other proposals than ExternalInit, Remove and PreSharedKey'
    )
    return
  }
  ensureValid(externalInit === undefined, "An external_init proposal is not allowed in a member's commit")
  ensureValid(!touched.includes(committer), 'A commit removes or updates its own sender')
}

/** What the leaves have to be with the new extensions. Of those that are as they were, what was demanded before is known. */
function checkLeaves(
  tree: HashedTree,
  extensions: readonly Extension[],
  customTypes: ReadonlySet<number>,
  before: { readonly tree: HashedTree; readonly extensions: readonly Extension[] },
  added: ReadonlySet<number>
): void {
  const { nodes } = tree
  const required = requiredCapabilitiesOf(extensions)
  const isKnown = extensions === before.extensions || demandsOf(extensions) === demandsOf(before.extensions)
  for (const at of isKnown ? changedSince(tree, before.tree) : nodes.keys()) {
    const leaf = at % 2 === 0 ? leafAt(nodes, at / 2) : undefined
    if (leaf !== undefined) checkSupports(leaf, extensions, required)
  }
  // Who is added does not process the commit, so it need not know the types of its proposals (section 12.2).
  for (const type of customTypes)
    for (const { index, leaf } of leavesOf(nodes))
      ensureValid(
        added.has(index) || leaf.capabilities.proposals.includes(type),
        `A member does not support proposals of type ${type}`
      )
  checkCredentialsSupported(tree, before.tree)
  checkKeysUnique(tree, before.tree)
}

/** What the extensions of the group context ask of a leaf: that it lists their types, and what is required. */
function demandsOf(extensions: readonly Extension[]): string {
  const required = extensions.find(({ extensionType }) => extensionType === 'required_capabilities')
  return `${extensions.map(({ extensionType }) => extensionType)} ${required && toHex(required.extensionData)}`
}
