/**
 * The secret half of a group (RFC 9420 sections 8 and 12.4): key schedule and private keys, from one epoch to the next.
 * Pure: it takes the state before and returns the state after. Called by `../member-group.ts`.
 */
import { createMembershipTag, verifyMembershipTag } from 'ts-mls/authenticatedContent.js'
import { deriveSecret } from 'ts-mls/crypto/kdf.js'
import {
  createConfirmationTag,
  createContentCommitSignature,
  toTbs,
  verifyConfirmationTag
} from 'ts-mls/framedContent.js'
import { initializeEpoch, initializeKeySchedule, type KeySchedule } from 'ts-mls/keySchedule.js'
import type { Proposal } from 'ts-mls/proposal.js'
import type { ProposalOrRef } from 'ts-mls/proposalOrRefType.js'
import type { PublicMessage } from 'ts-mls/publicMessage.js'
import { directPath, leafWidth, toNodeIndex } from 'ts-mls/treemath.js'
import { emptyBytes } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { HeddleError } from '../../errors.js'
import { ensureValid } from './errors.js'
import { SECRET_BYTES } from './kdf.js'
import { applyProposals, type ProposalRules } from './proposals.js'
import { confirmedHash, type PublicState, type StagedCommit } from './stage-commit.js'
import { hashTree, rootHash } from './tree.js'
import { checkKeysUnique } from './tree-validation.js'
import { createUpdatePath, openUpdatePath, pathSteps } from './update-path.js'

/** What the key schedule leaves for an epoch (RFC 9420 section 8), but for the secret tree. */
export interface EpochSecrets {
  readonly initSecret: Uint8Array
  readonly senderDataSecret: Uint8Array
  readonly exporterSecret: Uint8Array
  readonly membershipKey: Uint8Array
  readonly resumptionPsk: Uint8Array
  readonly epochAuthenticator: Uint8Array
}

export interface MemberState {
  readonly leafIndex: number
  /** HPKE private keys by node index: the leaf's, and those of the nodes above it that it knows. */
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
  readonly secrets: EpochSecrets
}

export interface EnteredEpoch {
  readonly member: MemberState
  /** Root of the epoch's secret tree. */
  readonly encryptionSecret: Uint8Array
}

export interface CreatedEpoch extends EnteredEpoch {
  readonly public: PublicState
}

/** Epoch 0 of a group of one. */
export async function firstEpoch(
  state: Omit<PublicState, 'confirmationTag'>,
  leafPrivateKey: Uint8Array,
  { mls }: CipherSuite,
  crypto: CryptoProvider
): Promise<CreatedEpoch> {
  const epochSecret = crypto.randomBytes(SECRET_BYTES)
  const schedule = await initializeKeySchedule(epochSecret, mls.kdf)
  const encryptionSecret = await deriveSecret(epochSecret, 'encryption', mls.kdf)
  epochSecret.fill(0)
  const confirmationTag = await createConfirmationTag(schedule.confirmationKey, emptyBytes, mls.hash)
  const privateKeys = new Map([[0, leafPrivateKey]])
  return {
    public: { ...state, confirmationTag },
    member: { leafIndex: 0, privateKeys, secrets: kept(schedule) },
    encryptionSecret
  }
}

/**
 * Enters the epoch that another member's commit begins. `staged` is that commit, publicly valid; `pskSecret` as in RFC 9420
 * section 8.4, zeros without pre-shared keys. Throws INVALID with `info.poison` when the commit is valid for observers but
 * wrong in what only members can check: then its sender is at fault and no honest member can enter the epoch.
 */
export async function enterEpoch(
  member: MemberState,
  staged: StagedCommit,
  suite: CipherSuite,
  pskSecret: Uint8Array = new Uint8Array(SECRET_BYTES)
): Promise<EnteredEpoch> {
  const { mls } = suite
  const { before, next, path, steps } = staged
  let commitSecret: Uint8Array = new Uint8Array(SECRET_BYTES)
  let { privateKeys } = member
  if (path !== undefined) {
    const context = { ...next.context, confirmedTranscriptHash: before.context.confirmedTranscriptHash }
    const opened = await poison('path', () =>
      openUpdatePath(next.tree, member.leafIndex, path, steps, privateKeys, context, suite)
    )
    commitSecret = opened.commitSecret
    privateKeys = new Map([...privateKeys, ...opened.privateKeys])
  }
  const entered = await initializeEpoch(member.secrets.initSecret, commitSecret, next.context, pskSecret, mls.kdf)
  const { confirmationKey } = entered.keySchedule
  const right = await verifyConfirmationTag(
    confirmationKey,
    next.confirmationTag,
    next.context.confirmedTranscriptHash,
    mls.hash
  )
  await poison('confirmation_tag', async () => ensureValid(right, 'The confirmation tag of the commit is wrong'))
  for (const secret of [commitSecret, entered.joinerSecret, entered.welcomeSecret, confirmationKey]) secret.fill(0)
  return {
    member: {
      leafIndex: member.leafIndex,
      privateKeys: ownKeys(privateKeys, next, member.leafIndex),
      secrets: kept(entered.keySchedule)
    },
    encryptionSecret: entered.encryptionSecret
  }
}

/** Throws INVALID with `info.poison` unless the membership tag is that of a member of the epoch. */
export async function checkMembershipTag(
  member: MemberState,
  state: PublicState,
  message: PublicMessage,
  { mls }: CipherSuite
): Promise<void> {
  ensureValid(message.senderType === 'member', 'Only members send commits')
  const { membershipTag } = message
  const tbm = { contentTbs: toTbs(message.content, 'mls_public_message', state.context), auth: message.auth }
  const right = await verifyMembershipTag(member.secrets.membershipKey, tbm, membershipTag, mls.hash)
  await poison('membership_tag', async () => ensureValid(right, 'The membership tag of the commit is wrong'))
}

export interface BuiltCommit extends CreatedEpoch {
  readonly message: PublicMessage
  /** For the Welcome; zero it after use. */
  readonly joinerSecret: Uint8Array
  readonly welcomeSecret: Uint8Array
  readonly pathSecrets: ReadonlyMap<number, Uint8Array>
  /** Leaf indices in the order of the Add proposals. */
  readonly added: readonly number[]
}

/** Builds a commit with the proposals by value and a path. Nothing in the arguments is changed. */
export async function buildEpoch(
  member: MemberState,
  state: PublicState,
  proposals: readonly Proposal[],
  signatureKey: Uint8Array,
  rules: ProposalRules,
  crypto: CryptoProvider
): Promise<BuiltCommit> {
  const { suite } = rules
  const { mls } = suite
  const { context } = state
  const { leafIndex } = member
  const resolved = proposals.map((proposal) => ({ proposal, sender: leafIndex, byValue: true }))
  const applied = await applyProposals(state.tree.nodes, context, leafIndex, resolved, rules)
  const tree = hashTree(applied.nodes, crypto.sha256, state.tree)
  const nextContext = { ...context, extensions: applied.extensions, epoch: context.epoch + 1n }
  const steps = pathSteps(applied.nodes, leafIndex, applied.added)
  const made = await createUpdatePath(tree, leafIndex, nextContext, steps, signatureKey, crypto, suite)
  checkKeysUnique(made.tree.nodes, applied.nodes)

  const items: ProposalOrRef[] = proposals.map((proposal) => ({ proposalOrRefType: 'proposal', proposal }))
  const commit = { proposals: items, path: made.path }
  const sender = { senderType: 'member', leafIndex } as const
  const { framedContent, signature } = await createContentCommitSignature(
    context,
    'mls_public_message',
    commit,
    sender,
    emptyBytes,
    signatureKey,
    mls.signature
  )
  const confirmedTranscriptHash = await confirmedHash(state, framedContent, signature, suite)
  const newContext = { ...nextContext, treeHash: rootHash(made.tree), confirmedTranscriptHash }
  const noPsk = new Uint8Array(SECRET_BYTES)
  const entered = await initializeEpoch(member.secrets.initSecret, made.commitSecret, newContext, noPsk, mls.kdf)
  const { confirmationKey } = entered.keySchedule
  const confirmationTag = await createConfirmationTag(confirmationKey, confirmedTranscriptHash, mls.hash)
  const auth = { contentType: 'commit', signature, confirmationTag } as const
  const tbm = { contentTbs: toTbs(framedContent, 'mls_public_message', context), auth }
  const membershipTag = await createMembershipTag(member.secrets.membershipKey, tbm, mls.hash)
  made.commitSecret.fill(0)
  confirmationKey.fill(0)
  const next: PublicState = { context: newContext, tree: made.tree, confirmationTag }
  return {
    message: { content: framedContent, auth, senderType: 'member', membershipTag },
    public: next,
    member: {
      leafIndex,
      privateKeys: ownKeys(new Map([...member.privateKeys, ...made.privateKeys]), next, leafIndex),
      secrets: kept(entered.keySchedule)
    },
    encryptionSecret: entered.encryptionSecret,
    joinerSecret: entered.joinerSecret,
    welcomeSecret: entered.welcomeSecret,
    pathSecrets: made.pathSecrets,
    added: applied.added
  }
}

/** What is kept of a key schedule; the rest is zeroed or was used. */
export function kept(schedule: KeySchedule): EpochSecrets {
  const { initSecret, senderDataSecret, exporterSecret, membershipKey, resumptionPsk, epochAuthenticator } = schedule
  schedule.externalSecret.fill(0) // there are no external joins
  return { initSecret, senderDataSecret, exporterSecret, membershipKey, resumptionPsk, epochAuthenticator }
}

/** Forgets the keys of nodes that were blanked or are no longer above the leaf (RFC 9420 section 16.8). */
function ownKeys(
  privateKeys: ReadonlyMap<number, Uint8Array>,
  { tree: { nodes } }: PublicState,
  leafIndex: number
): ReadonlyMap<number, Uint8Array> {
  const leafNode = toNodeIndex(2 * leafIndex)
  const above = new Set<number>([leafNode, ...directPath(leafNode, leafWidth(nodes.length))])
  return new Map([...privateKeys].filter(([at]) => above.has(at) && nodes[at] !== undefined))
}

async function poison<T>(what: 'path' | 'confirmation_tag' | 'membership_tag', check: () => Promise<T>): Promise<T> {
  try {
    return await check()
  } catch (cause) {
    throw new HeddleError('INVALID', `The commit is valid for observers, but its ${what.replace('_', ' ')} is wrong`, {
      cause,
      info: { poison: what }
    })
  }
}
