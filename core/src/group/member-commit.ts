/**
 * The commits a member builds (SPEC GROUP): its own, the one by which it comes back, and the first of a group that follows
 * this one. Nothing changes by them until they are decided. Called by `member-group.ts`.
 */
import type { KeyPackage } from 'ts-mls/keyPackage.js'
import type { Proposal } from 'ts-mls/proposal.js'
import type { CryptoProvider } from '../crypto/index.js'
import { LIMITS } from '../wire/index.js'
import { type CommitPlan, planProposals } from './commit-plan.js'
import { leafRules } from './extensions.js'
import type { OwnKeyPackage } from './key-package.js'
import { memberIdOf } from './member-id.js'
import type { BuiltCommit, MemberDeps } from './member-types.js'
import {
  ADD_TREE_BYTES_MAX,
  buildEpoch,
  buildExternalEpoch,
  createWelcome,
  decodeKeyPackage,
  encodePublicMessage,
  encodeWelcome,
  ensure,
  ensureValid,
  leafAt,
  type BuiltCommit as MlsCommit,
  type MemberState,
  type PskSource,
  SECRET_BYTES,
  type SuccessionUsage,
  treeBytes,
  typed
} from './mls/index.js'
import { savePending } from './persistence.js'
import type { PublicGroup } from './public-group.js'
import { type RejoinBasis, readBasis, rejoinProposals, savePendingRejoin } from './rejoin.js'
import type { RosterEntry } from './roster.js'

/** Commit and Welcome travel in one ValueContent; 16 bytes are for its field headers. */
const VALUE_BYTES_MAX = LIMITS.ValueContent.maxSize - 16

/** The member that commits. */
export interface CommitParts {
  readonly group: PublicGroup
  readonly member: MemberState
  /** Ed25519 seed of its leaf. */
  readonly signatureKey: Uint8Array
  readonly deps: MemberDeps
}

/** A commit with what is planned and `more`. Throws as `MemberGroup.buildCommit`. */
export async function buildMemberCommit(
  { group, member, signatureKey, deps }: CommitParts,
  plan: CommitPlan,
  more: readonly Proposal[],
  psks: PskSource
): Promise<BuiltCommit> {
  const { crypto, now } = deps
  const { suite, state } = group
  const planned = planProposals(plan, group, crypto)
  const proposals = [...planned.proposals, ...more]
  const nowSeconds = BigInt(Math.floor(now() / 1000))
  const rules = { suite, leafRules, nowSeconds, psks, pastEpochs: group.document.policy.retainedEpochs }
  const built = await typed('INVALID', 'The commit cannot be built', () =>
    buildEpoch(member, state, proposals, signatureKey, rules, crypto)
  )
  ensure(
    built.added.length === 0 || treeBytes(built.public.tree.nodes) <= ADD_TREE_BYTES_MAX,
    'LIMIT_EXCEEDED',
    'The group has no room for more members'
  )
  const commit = encodePublicMessage(built.message)
  // What others will refuse must not be proposed, so it is validated as they do.
  const { next } = await group.stage(commit)
  const { joiners } = planned
  const welcome =
    joiners.length === 0 ? undefined : encodeWelcome(await createWelcome(built, joiners, signatureKey, [], suite))
  ensure(
    commit.length + (welcome?.length ?? 0) <= VALUE_BYTES_MAX,
    'LIMIT_EXCEEDED',
    'The change is too large for one commit: add fewer members at once'
  )
  return { commit, welcome, pending: takePending(group, commit, next, built, member), next }
}

/** The external commit back into the group; `resumption` as in this member's last epoch. Throws as `MemberGroup.resync`. */
export async function buildRejoin(
  { group: last, member, signatureKey, deps: { crypto } }: CommitParts,
  basis: RejoinBasis,
  memberId: Uint8Array,
  resumption: ReadonlyMap<bigint, Uint8Array>
): Promise<BuiltCommit> {
  const { base, oldLeaf, externalKey } = await readBasis(basis, last, memberId, crypto)
  const { suite, state } = base
  const leaf = leafAt(state.tree.nodes, oldLeaf)
  ensureValid(leaf !== undefined, 'The old leaf is not in the tree')
  const psks: PskSource = (id) => (id.psktype === 'resumption' ? resumption.get(id.pskEpoch) : undefined)
  const built = await typed('INVALID', 'The commit cannot be built', () =>
    buildExternalEpoch(
      { state, externalKey, leaf, resumption },
      rejoinProposals(oldLeaf, last, crypto),
      signatureKey,
      { suite, leafRules, psks },
      crypto
    )
  )
  const commit = encodePublicMessage(built.message)
  const { next } = await base.stage(commit)
  const pending = savePendingRejoin(base, takePending(base, commit, next, built, member))
  return { commit, welcome: undefined, pending, next }
}

/** Adds of members of `before` to a group that follows it, and the proof that all were in it. Throws INVALID, MALFORMED. */
export function planFollowers(
  usage: SuccessionUsage,
  before: PublicGroup,
  me: RosterEntry,
  own: OwnKeyPackage,
  members: readonly Uint8Array[],
  crypto: CryptoProvider
): { readonly plan: CommitPlan; readonly proof: Proposal } {
  const { groupId: pskGroupId, epoch: pskEpoch } = before
  const memberOf = ({ leafNode }: KeyPackage): RosterEntry => {
    const entry = before.member(memberIdOf(crypto, pskGroupId, leafNode.signaturePublicKey))
    ensureValid(entry !== undefined, 'A key package is of nobody in the group before')
    return entry
  }
  ensureValid(memberOf(own.keyPackage) === me, 'The key package is not of this device')
  const adds = members.map((keyPackage) => ({ keyPackage, role: memberOf(decodeKeyPackage(keyPackage)).role }))
  const pskNonce = crypto.randomBytes(SECRET_BYTES)
  const preSharedKeyId = { psktype: 'resumption', usage, pskGroupId, pskEpoch, pskNonce } as const
  return { plan: { adds }, proof: { proposalType: 'psk', psk: { preSharedKeyId } } }
}

/** Zeroes what `other` does not use. The sender data secret is that of the epoch's store. */
export function zeroMember({ privateKeys, secrets, resumption }: MemberState, other: MemberState): void {
  const { initSecret, exporterSecret, externalSecret, membershipKey, resumptionPsk, epochAuthenticator } = secrets
  const inUse = new Set([...other.privateKeys.values(), ...other.resumption.values()])
  for (const secret of [initSecret, exporterSecret, externalSecret, membershipKey, resumptionPsk, epochAuthenticator])
    secret.fill(0)
  for (const secret of [...privateKeys.values(), ...resumption.values()]) if (!inUse.has(secret)) secret.fill(0)
}

/** What `adopt` needs later; the secrets of the new epoch are zeroed. `before` is the member that goes on meanwhile. */
function takePending(
  base: PublicGroup,
  commit: Uint8Array,
  next: PublicGroup,
  built: MlsCommit,
  before: MemberState
): Uint8Array {
  const { epoch, ctx } = base
  const { member, encryptionSecret, joinerSecret, welcomeSecret, pathSecrets } = built
  const pending = savePending({ epoch, ctx, commit, nextCtx: next.ctx, member, encryptionSecret })
  for (const secret of [joinerSecret, welcomeSecret, encryptionSecret, ...pathSecrets.values()]) secret.fill(0)
  zeroMember(member, before)
  member.secrets.senderDataSecret.fill(0)
  return pending
}
