/**
 * External commits (SPEC GROUP): accepted in one shape only, by which a device that lost the group's secrets, and is a
 * member still, comes back under a new leaf (RFC 9420 section 12.4.3.2). Called by `policy.ts`.
 */
import type { GroupContext } from 'ts-mls/groupContext.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import { equalBytes } from '../bytes.js'
import { deviceOf, type GroupExtensions, sameClaim } from './extensions.js'
import { ensureValid, leafAt, type StagedCommit } from './mls/index.js'

/**
 * ExternalInit, Remove of the sender's own old leaf, and the resumption PSK of an epoch of this group, in this order and
 * nothing else; who it is and its device stay. Throws INVALID.
 */
export function checkRejoin({ before, proposals, path }: StagedCommit, extensions: GroupExtensions): void {
  const [init, removal, psk, ...others] = proposals.map(({ proposal }) => proposal)
  ensureValid(
    init?.proposalType === 'external_init' &&
      removal?.proposalType === 'remove' &&
      psk?.proposalType === 'psk' &&
      others.length === 0,
    'An external commit is accepted only to come back: ExternalInit, Remove of the old leaf, resumption PSK'
  )
  const old = leafAt(before.tree.nodes, removal.remove.removed)
  ensureValid(
    old !== undefined && path !== undefined && sameIdentity(old, path.leafNode),
    'An external commit whose leaf has not the signature key, credential and device of the one it removes'
  )
  ensureValid(
    !equalBytes(old.hpkePublicKey, path.leafNode.hpkePublicKey),
    'An external commit that keeps the encryption key of the old leaf'
  )
  const { preSharedKeyId } = psk.psk
  ensureValid(preSharedKeyId.psktype === 'resumption', 'An external commit with an external pre-shared key')
  checkOwnResumption(preSharedKeyId, before.context, extensions)
}

/** A resumption PSK that the members can have kept: of this group and of an epoch that its policy retains. */
export function checkOwnResumption(
  id: Extract<PreSharedKeyID, { psktype: 'resumption' }>,
  { groupId, epoch }: GroupContext,
  { document }: GroupExtensions
): void {
  ensureValid(
    id.usage === 'application' && equalBytes(id.pskGroupId, groupId),
    'A resumption PSK of another group, or for another use'
  )
  const age = epoch - id.pskEpoch
  ensureValid(
    age >= 0n && age <= BigInt(document.policy.retainedEpochs),
    `A resumption PSK of epoch ${id.pskEpoch}, which the members do not keep in epoch ${epoch}`
  )
}

/** Who it is and which device: signature key, credential, endpoint, and what its app claims. */
export function sameIdentity(a: LeafNode, b: LeafNode): boolean {
  const { credential } = a
  return (
    equalBytes(a.signaturePublicKey, b.signaturePublicKey) &&
    credential.credentialType === 'basic' &&
    b.credential.credentialType === 'basic' &&
    equalBytes(credential.identity, b.credential.identity) &&
    equalBytes(deviceOf(a).endpointId, deviceOf(b).endpointId) &&
    sameClaim(deviceOf(a), deviceOf(b))
  )
}
