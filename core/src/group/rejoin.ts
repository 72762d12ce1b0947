/**
 * What a device needs to come back into a group whose secrets it lost (SPEC GROUP), by the external commit whose rules are
 * in `rejoin-policy.ts`: the basis it starts from, the proposals, and the pending state. Called by `member-group.ts`.
 */
import type { Proposal } from 'ts-mls/proposal.js'
import { equalBytes, toHex } from '../bytes.js'
import type { CryptoProvider } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import {
  decodeGroupInfoMessage,
  encodeGroupInfoMessage,
  encodeTree,
  ensure,
  ensureValid,
  externalKeyIn,
  externalPubExtension,
  SECRET_BYTES,
  TlsReader,
  TlsWriter
} from './mls/index.js'
import { PublicGroup } from './public-group.js'

/** First byte of a pending rejoin; that of an ordinary pending commit is another. */
const PENDING_REJOIN = 0x52

/** What a device comes back by. */
export interface RejoinBasis {
  /** MLSMessage with a GroupInfo of the present epoch, ratchet tree and external_pub included. */
  readonly groupInfo: Uint8Array
  /** Context hash of that epoch, which a certificate or the caller vouches for. */
  readonly ctx: Uint8Array
  /**
   * Least `retainedEpochs` of the epochs between this device's last and that one: by the policy of each, members have let go
   * of what proves that this device was one, and a larger number later has not brought it back.
   */
  readonly retainedEpochs: number
}

/** What of a GroupInfo with external_pub cannot be computed from the decided commits. */
export interface RejoinKeyParts {
  /** Leaf of the member that signed it. */
  readonly signer: number
  readonly externalPub: Uint8Array
  readonly signature: Uint8Array
}

/** Takes out of `MemberGroup.groupInfo({ externalPub: true })` what `groupInfoWith` needs. Throws MALFORMED, INVALID. */
export function rejoinKeyIn(groupInfo: Uint8Array, { suite }: PublicGroup): RejoinKeyParts {
  const decoded = decodeGroupInfoMessage(groupInfo)
  return { signer: decoded.signer, externalPub: externalKeyIn(decoded, suite), signature: decoded.signature }
}

/**
 * The GroupInfo (MLSMessage) of an epoch that was followed, with a member's key to it: context and tree are the caller's own,
 * so that the signature verifies only when its signer is in the same epoch. Nothing is verified yet.
 */
export function groupInfoWith(base: PublicGroup, { signer, externalPub, signature }: RejoinKeyParts): Uint8Array {
  const { context: groupContext, tree, confirmationTag } = base.state
  const extensions = [
    externalPubExtension(externalPub),
    { extensionType: 'ratchet_tree' as const, extensionData: encodeTree(tree.nodes) }
  ]
  return encodeGroupInfoMessage({ groupContext, extensions, confirmationTag, signer, signature })
}

export interface ReadBasis {
  readonly base: PublicGroup
  readonly oldLeaf: number
  readonly externalKey: Uint8Array
}

/**
 * Checks the basis against the last epoch this device has. Throws MALFORMED, INVALID, BAD_SIGNATURE; FORK when the
 * GroupInfo is of another context than `ctx`; STALE_EPOCH when it is no later than `last`; REMOVED when this device is no
 * member any more; INTENT_OBSOLETE when it can only be removed and added again.
 */
export async function readBasis(
  { groupInfo, ctx, retainedEpochs }: RejoinBasis,
  last: PublicGroup,
  memberId: Uint8Array,
  crypto: CryptoProvider
): Promise<ReadBasis> {
  const base = await PublicGroup.fromGroupInfo(groupInfo, { crypto })
  ensureValid(equalBytes(base.groupId, last.groupId), 'The GroupInfo is of another group')
  ensure(equalBytes(base.ctx, ctx), 'FORK', `The GroupInfo of epoch ${base.epoch} is not of the context vouched for`)
  ensure(base.epoch > last.epoch, 'STALE_EPOCH', `The GroupInfo is of epoch ${base.epoch}, which this device has`)
  const me = base.member(memberId)
  ensure(me !== undefined, 'REMOVED', 'This device is no member of the group any more')
  const newcomer = base.roster.find((entry) => last.member(entry.memberId) === undefined)
  ensure(
    newcomer === undefined,
    'INTENT_OBSOLETE',
    `Member ${newcomer && toHex(newcomer.memberId)} came after the last epoch of this device and cannot check that it was in it: have an admin remove this device and add it again`
  )
  const kept = Math.min(retainedEpochs, last.document.policy.retainedEpochs, base.document.policy.retainedEpochs)
  ensure(
    base.epoch - last.epoch <= BigInt(kept),
    'INTENT_OBSOLETE',
    `The last epoch of this device is ${base.epoch - last.epoch} epochs ago and members have kept ${kept}: have an admin remove it and add it again`
  )
  return { base, oldLeaf: me.leafIndex, externalKey: externalKeyIn(decodeGroupInfoMessage(groupInfo), base.suite) }
}

/** The proposals beside ExternalInit. */
export function rejoinProposals(oldLeaf: number, last: PublicGroup, crypto: CryptoProvider): readonly Proposal[] {
  return [
    { proposalType: 'remove', remove: { removed: oldLeaf } },
    {
      proposalType: 'psk',
      psk: {
        preSharedKeyId: {
          psktype: 'resumption',
          usage: 'application',
          pskGroupId: last.groupId,
          pskEpoch: last.epoch,
          pskNonce: crypto.randomBytes(SECRET_BYTES)
        }
      }
    }
  ]
}

/** A pending rejoin holds the group it enters, which this device is not in. */
export function savePendingRejoin(base: PublicGroup, pending: Uint8Array): Uint8Array {
  return new TlsWriter(pending.length + 4096).uint8(PENDING_REJOIN).vector(base.save()).vector(pending).finish()
}

/** Undefined when it is the pending state of an ordinary commit. Throws STORAGE_CORRUPT. */
export function readPendingRejoin(
  bytes: Uint8Array,
  crypto: CryptoProvider
): { readonly base: PublicGroup; readonly pending: Uint8Array } | undefined {
  if (bytes[0] !== PENDING_REJOIN) return undefined
  try {
    const reader = new TlsReader(bytes.subarray(1))
    const base = PublicGroup.load(reader.vector(), { crypto })
    const pending = reader.vector()
    reader.end()
    return { base, pending }
  } catch (cause) {
    throw new HeddleError('STORAGE_CORRUPT', 'The stored pending commit does not decode', { cause })
  }
}
