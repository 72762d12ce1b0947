/**
 * The proposals of a member's commit: the rules of RFC 9420 section 12.2 and their effect on tree and extensions (section
 * 12.3). Observers and members run the same code. What Heddle allows beyond that is `../policy.ts`'s business.
 */
import type { Extension } from 'ts-mls/extension.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import { encodePskId, type PreSharedKeyID } from 'ts-mls/presharedkey.js'
import type { Proposal } from 'ts-mls/proposal.js'
import { addLeafNode, type RatchetTree, removeLeafNode, updateLeafNode } from 'ts-mls/ratchetTree.js'
import { toLeafIndex } from 'ts-mls/treemath.js'
import { equalBytes, toHex } from '../../bytes.js'
import type { CipherSuite } from '../../crypto/index.js'
import { HeddleError } from '../../errors.js'
import { ensureValid } from './errors.js'
import { checkKeyPackage, checkLeaf, checkSupports, type LeafRules, requiredCapabilitiesOf, unique } from './leaf.js'
import { LEAVES_MAX, PROPOSALS_MAX } from './limits.js'
import { changedNodes, leafAt, leavesOf } from './tree.js'
import { checkCredentialsSupported, checkKeysUnique } from './tree-validation.js'

export interface ResolvedProposal {
  readonly proposal: Proposal
  /** Leaf of the member whose proposal it is. */
  readonly sender: number
  readonly byValue: boolean
}

export interface AppliedProposals {
  readonly nodes: RatchetTree
  readonly extensions: Extension[]
  /** Leaf indices in the order of the Add proposals. */
  readonly added: readonly number[]
  readonly removed: readonly number[]
  readonly pskIds: readonly PreSharedKeyID[]
}

export interface ProposalRules {
  readonly suite: CipherSuite
  readonly leafRules: LeafRules
  /** Key packages must be within their lifetime at this time, seconds since the Unix epoch. */
  readonly nowSeconds?: bigint | undefined
}

/** Validates and applies; throws INVALID, BAD_SIGNATURE or what the leaf rules throw. Neither argument is changed. */
export async function applyProposals(
  nodes: RatchetTree,
  context: GroupContext,
  committer: number,
  proposals: readonly ResolvedProposal[],
  { suite, leafRules, nowSeconds }: ProposalRules
): Promise<AppliedProposals> {
  const list = sort(proposals)
  checkCombination(list, committer)
  let tree = nodes
  for (const { sender, leafNode } of list.updates) {
    const before = leafAt(tree, sender)
    ensureValid(before !== undefined, 'An update of a blank leaf')
    ensureValid(leafNode.leafNodeSource === 'update', 'An update whose leaf has another source')
    ensureValid(!equalBytes(leafNode.hpkePublicKey, before.hpkePublicKey), 'An update that keeps the encryption key')
    await checkLeaf(leafNode, { groupId: context.groupId, leafIndex: sender }, suite, leafRules)
    tree = updateLeafNode(tree, leafNode, toLeafIndex(sender))
  }
  for (const removed of list.removed) {
    ensureValid(leafAt(tree, removed) !== undefined, `There is no member at leaf ${removed} to remove`)
    tree = removeLeafNode(tree, toLeafIndex(removed))
  }
  const added: number[] = []
  for (const keyPackage of list.keyPackages) {
    await checkKeyPackage(keyPackage, context, suite, leafRules, nowSeconds)
    const [next, at] = addLeafNode(tree, keyPackage.leafNode)
    ensureValid(at / 2 < LEAVES_MAX, `The group would have more than ${LEAVES_MAX} leaves`)
    tree = next
    added.push(at / 2)
  }
  const extensions = list.extensions ?? context.extensions
  checkLeaves(tree, extensions, list.customTypes, { nodes, extensions: context.extensions })
  return { nodes: tree, extensions, added, removed: list.removed, pskIds: list.pskIds }
}

interface SortedProposals {
  readonly updates: { sender: number; leafNode: Extract<Proposal, { proposalType: 'update' }>['update']['leafNode'] }[]
  readonly removed: number[]
  readonly keyPackages: Extract<Proposal, { proposalType: 'add' }>['add']['keyPackage'][]
  readonly pskIds: PreSharedKeyID[]
  readonly customTypes: Set<number>
  extensions: Extension[] | undefined
}

function sort(proposals: readonly ResolvedProposal[]): SortedProposals {
  ensureValid(proposals.length <= PROPOSALS_MAX, `A commit with ${proposals.length} proposals`)
  const list: SortedProposals = {
    updates: [],
    removed: [],
    keyPackages: [],
    pskIds: [],
    customTypes: new Set(),
    extensions: undefined
  }
  for (const { proposal, sender, byValue } of proposals) {
    switch (proposal.proposalType) {
      case 'add':
        list.keyPackages.push(proposal.add.keyPackage)
        break
      case 'update':
        ensureValid(!byValue, 'An update by value: a commit updates its own leaf by its path')
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
      case 'external_init':
        throw new HeddleError('INVALID', `A ${proposal.proposalType} proposal is not allowed here`)
      default:
        // ts-mls decodes a malformed Add as a custom proposal of type 1.
        ensureValid(proposal.proposalType >= 0xf000, `A proposal of unknown type ${proposal.proposalType}`)
        list.customTypes.add(proposal.proposalType)
    }
  }
  return list
}

function checkCombination(list: SortedProposals, committer: number): void {
  const touched = [...list.updates.map(({ sender }) => sender), ...list.removed]
  ensureValid(new Set(touched).size === touched.length, 'A leaf is updated or removed twice in one commit')
  ensureValid(!touched.includes(committer), 'A commit removes or updates its own sender')
  const pskIds = new Set(list.pskIds.map((id) => toHex(encodePskId(id))))
  ensureValid(pskIds.size === list.pskIds.length, 'A pre-shared key occurs twice in one commit')
}

/** What the leaves have to be with the new extensions. Of those that are as they were, what was demanded before is known. */
function checkLeaves(
  nodes: RatchetTree,
  extensions: readonly Extension[],
  customTypes: ReadonlySet<number>,
  before: { readonly nodes: RatchetTree; readonly extensions: readonly Extension[] }
): void {
  const required = requiredCapabilitiesOf(extensions)
  const isKnown = extensions === before.extensions || demandsOf(extensions) === demandsOf(before.extensions)
  for (const at of isKnown ? changedNodes(nodes, before.nodes) : nodes.keys()) {
    const leaf = at % 2 === 0 ? leafAt(nodes, at / 2) : undefined
    if (leaf !== undefined) checkSupports(leaf, extensions, required)
  }
  for (const type of customTypes)
    for (const { leaf } of leavesOf(nodes))
      ensureValid(leaf.capabilities.proposals.includes(type), `A member does not support proposals of type ${type}`)
  checkCredentialsSupported(nodes, before.nodes)
  checkKeysUnique(nodes, before.nodes)
}

/** What the extensions of the group context ask of a leaf: that it lists their types, and what is required. */
function demandsOf(extensions: readonly Extension[]): string {
  const required = extensions.find(({ extensionType }) => extensionType === 'required_capabilities')
  return `${extensions.map(({ extensionType }) => extensionType)} ${required && toHex(required.extensionData)}`
}
