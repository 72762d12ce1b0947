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
import type { LeafNode } from 'ts-mls/leafNode.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import type { Proposal } from 'ts-mls/proposal.js'
import type { ProposalOrRef } from 'ts-mls/proposalOrRefType.js'
import type { PublicMessage } from 'ts-mls/publicMessage.js'
import { directPath, leafWidth, toNodeIndex } from 'ts-mls/treemath.js'
import { emptyBytes, utf8 } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { HeddleError } from '../../errors.js'
import { ensureValid } from './errors.js'
import { SECRET_BYTES } from './kdf.js'
import { type AppliedProposals, addHashedLeaf, applyProposals, type ProposalRules } from './proposals.js'
import { type PskSource, pskSecretOf } from './psk.js'
import { confirmedHash, type PublicState, type StagedCommit } from './stage-commit.js'
import { rootHash } from './tree.js'
import { checkKeysUnique } from './tree-validation.js'
import { createUpdatePath, openUpdatePath, pathSteps } from './update-path.js'

/** What the key schedule leaves for an epoch (RFC 9420 section 8), but for the secret tree. */
export interface EpochSecrets {
  readonly initSecret: Uint8Array
  readonly senderDataSecret: Uint8Array
  readonly exporterSecret: Uint8Array
  /** Its KEM key pair lets in who comes by an external commit. */
  readonly externalSecret: Uint8Array
  readonly membershipKey: Uint8Array
  readonly resumptionPsk: Uint8Array
  readonly epochAuthenticator: Uint8Array
}

export interface MemberState {
  readonly leafIndex: number
  /** HPKE private keys by node index: the leaf's, and those of the nodes above it that it knows. */
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
  readonly secrets: EpochSecrets
  /** Resumption PSKs of past epochs, by epoch, oldest first. */
  readonly resumption: ReadonlyMap<bigint, Uint8Array>
}

/** What a member brings beside its state to enter an epoch. */
export interface EntryOptions {
  /** RFC 9420 section 8.4; zeros without pre-shared keys. */
  readonly pskSecret?: Uint8Array | undefined
  /** Past epochs whose resumption PSK is kept. Default 0. */
  readonly pastEpochs?: number | undefined
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
    member: { leafIndex: 0, privateKeys, secrets: kept(schedule), resumption: new Map() },
    encryptionSecret
  }
}

/**
 * Enters the epoch that another's commit begins. `staged` is that commit, publicly valid. Throws INVALID with `info.poison` when the commit is valid for observers but
 * wrong in what only members can check: then its sender is at fault and no honest member can enter the epoch.
 */
export async function enterEpoch(
  member: MemberState,
  staged: StagedCommit,
  suite: CipherSuite,
  { pskSecret = new Uint8Array(SECRET_BYTES), pastEpochs = 0 }: EntryOptions = {}
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
  const { externalInit } = staged
  const initSecret =
    externalInit === undefined
      ? member.secrets.initSecret
      : await poison('external_init', () => openExternalInit(member.secrets.externalSecret, externalInit, suite))
  const entered = await initializeEpoch(initSecret, commitSecret, next.context, pskSecret, mls.kdf)
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
      secrets: kept(entered.keySchedule),
      resumption: resumptionAfter(member, before.context.epoch, next.context.epoch, pastEpochs)
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
  readonly pskIds: readonly PreSharedKeyID[]
}

export interface BuildRules extends Omit<ProposalRules, 'crypto'>, Pick<EntryOptions, 'pastEpochs'> {
  readonly psks?: PskSource | undefined
}

/** Builds a commit with the proposals by value and a path. Nothing in the arguments is changed. */
export async function buildEpoch(
  member: MemberState,
  state: PublicState,
  proposals: readonly Proposal[],
  signatureKey: Uint8Array,
  rules: BuildRules,
  crypto: CryptoProvider
): Promise<BuiltCommit> {
  const { leafIndex, secrets } = member
  const resolved = proposals.map((proposal) => ({ proposal, sender: leafIndex, byValue: true }))
  const applied = await applyProposals(state.tree, state.context, leafIndex, resolved, { ...rules, crypto })
  const sender = { senderType: 'member', leafIndex } as const
  const { epoch } = state.context
  const resumption = resumptionAfter(member, epoch, epoch + 1n, rules.pastEpochs ?? 0)
  const { privateKeys } = member
  const { initSecret } = secrets
  const way = { state, proposals, applied, leafIndex, initSecret, sender, privateKeys, resumption }
  const { content, auth, ...built } = await commitAndEnter(way, signatureKey, rules, crypto)
  const tbm = { contentTbs: toTbs(content, 'mls_public_message', state.context), auth }
  const membershipTag = await createMembershipTag(secrets.membershipKey, tbm, rules.suite.mls.hash)
  return { ...built, message: { content, auth, senderType: 'member', membershipTag } }
}

/**
 * Builds an external commit (RFC 9420 section 12.4.3.2) into the epoch of `state`: an ExternalInit and the proposals given.
 * `externalKey` is the public key of the GroupInfo's external_pub; the new leaf says what `leaf` says under new keys;
 * `resumption` goes on to the new epoch, by copies.
 */
export async function buildExternalEpoch(
  {
    state,
    externalKey,
    leaf,
    resumption
  }: {
    readonly state: PublicState
    readonly externalKey: Uint8Array
    readonly leaf: LeafNode
    readonly resumption: ReadonlyMap<bigint, Uint8Array>
  },
  proposals: readonly Proposal[],
  signatureKey: Uint8Array,
  rules: BuildRules,
  crypto: CryptoProvider
): Promise<BuiltCommit> {
  const { hpke } = rules.suite.mls
  const key = await hpke.importPublicKey(externalKey)
  const { enc, secret } = await hpke.exportSecret(key, EXTERNAL_INIT, SECRET_BYTES, emptyBytes)
  const all: Proposal[] = [{ proposalType: 'external_init', externalInit: { kemOutput: enc } }, ...proposals]
  const resolved = all.map((proposal) => ({ proposal, sender: 'external', byValue: true }) as const)
  const applied = await applyProposals(state.tree, state.context, 'external', resolved, { ...rules, crypto })
  const [tree, leafIndex] = addHashedLeaf(applied.tree, leaf, crypto)
  const sender = { senderType: 'new_member_commit' } as const
  const { content, auth, ...built } = await commitAndEnter(
    {
      state,
      proposals: all,
      applied: { ...applied, tree },
      leafIndex,
      initSecret: secret,
      sender,
      privateKeys: new Map(),
      resumption: new Map([...resumption].map(([epoch, psk]) => [epoch, psk.slice()]))
    },
    signatureKey,
    rules,
    crypto
  )
  secret.fill(0)
  return { ...built, message: { content, auth, senderType: 'new_member_commit' } }
}

interface Way {
  readonly state: PublicState
  readonly proposals: readonly Proposal[]
  readonly applied: AppliedProposals
  readonly leafIndex: number
  readonly initSecret: Uint8Array
  readonly sender: Extract<PublicMessage['content']['sender'], { senderType: 'member' | 'new_member_commit' }>
  /** By node, before the commit. */
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
  /** Those of the new epoch. */
  readonly resumption: ReadonlyMap<bigint, Uint8Array>
}

/** Path, signature and key schedule of a commit whose proposals are applied. */
async function commitAndEnter(
  { state, proposals, applied, leafIndex, initSecret, sender, privateKeys, resumption }: Way,
  signatureKey: Uint8Array,
  { suite, psks }: BuildRules,
  crypto: CryptoProvider
) {
  const { mls } = suite
  const { context } = state
  const { tree } = applied
  const nextContext = { ...context, extensions: applied.extensions, epoch: context.epoch + 1n }
  const steps = pathSteps(tree.nodes, leafIndex, applied.added)
  const made = await createUpdatePath(tree, leafIndex, nextContext, steps, signatureKey, crypto, suite)
  checkKeysUnique(made.tree, tree)

  const items: ProposalOrRef[] = proposals.map((proposal) => ({ proposalOrRefType: 'proposal', proposal }))
  const commit = { proposals: items, path: made.path }
  const { framedContent: content, signature } = await createContentCommitSignature(
    context,
    'mls_public_message',
    commit,
    sender,
    emptyBytes,
    signatureKey,
    mls.signature
  )
  const confirmedTranscriptHash = await confirmedHash(state, content, signature, suite)
  const newContext = { ...nextContext, treeHash: rootHash(made.tree), confirmedTranscriptHash }
  const pskSecret = await pskSecretOf(applied.pskIds, psks ?? (() => undefined), suite)
  const entered = await initializeEpoch(initSecret, made.commitSecret, newContext, pskSecret, mls.kdf)
  const { confirmationKey } = entered.keySchedule
  const confirmationTag = await createConfirmationTag(confirmationKey, confirmedTranscriptHash, mls.hash)
  for (const secret of [made.commitSecret, pskSecret, confirmationKey]) secret.fill(0)
  const next: PublicState = { context: newContext, tree: made.tree, confirmationTag, reinit: applied.reinit }
  return {
    content,
    auth: { contentType: 'commit', signature, confirmationTag } as const,
    public: next,
    member: {
      leafIndex,
      privateKeys: ownKeys(new Map([...privateKeys, ...made.privateKeys]), next, leafIndex),
      secrets: kept(entered.keySchedule),
      resumption
    },
    encryptionSecret: entered.encryptionSecret,
    joinerSecret: entered.joinerSecret,
    welcomeSecret: entered.welcomeSecret,
    pathSecrets: made.pathSecrets,
    added: applied.added,
    pskIds: applied.pskIds
  }
}

/** Public key of the epoch's external_pub (RFC 9420 section 12.4.3.2). */
export async function externalKeyOf({ secrets }: MemberState, { mls: { hpke } }: CipherSuite): Promise<Uint8Array> {
  const { publicKey } = await hpke.deriveKeyPair(secrets.externalSecret)
  return hpke.exportPublicKey(publicKey)
}

const EXTERNAL_INIT = utf8('MLS 1.0 external init secret')

async function openExternalInit(
  externalSecret: Uint8Array,
  kemOutput: Uint8Array,
  { mls: { hpke } }: CipherSuite
): Promise<Uint8Array> {
  const { privateKey } = await hpke.deriveKeyPair(externalSecret)
  return hpke.importSecret(privateKey, EXTERNAL_INIT, kemOutput, SECRET_BYTES, emptyBytes)
}

/** The resumption PSKs kept in epoch `next`, own copies. `epoch` is the member's before. */
function resumptionAfter(
  { secrets, resumption }: MemberState,
  epoch: bigint,
  next: bigint,
  pastEpochs: number
): ReadonlyMap<bigint, Uint8Array> {
  const all = [...resumption, [epoch, secrets.resumptionPsk] as const]
  return new Map(all.flatMap(([at, psk]) => (next - at <= BigInt(pastEpochs) ? [[at, psk.slice()] as const] : [])))
}

/** What is kept of a key schedule; the rest is zeroed or was used. */
export function kept(schedule: KeySchedule): EpochSecrets {
  const { initSecret, senderDataSecret, exporterSecret, externalSecret } = schedule
  const { membershipKey, resumptionPsk, epochAuthenticator } = schedule
  return {
    initSecret,
    senderDataSecret,
    exporterSecret,
    externalSecret,
    membershipKey,
    resumptionPsk,
    epochAuthenticator
  }
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

type Poison = 'path' | 'confirmation_tag' | 'membership_tag' | 'external_init' | 'psk'

/** What fails in `check` is the fault of the commit's sender, and of nothing that observers could see. */
export async function poison<T>(what: Poison, check: () => Promise<T>): Promise<T> {
  try {
    return await check()
  } catch (cause) {
    throw new HeddleError(
      'INVALID',
      `The commit is valid for observers, but its ${what.replaceAll('_', ' ')} is wrong`,
      {
        cause,
        info: { poison: what }
      }
    )
  }
}
