/**
 * What a GroupInfo says of a group before anything of it is verified (SPEC SRV-022): verifying a large ratchet tree takes a
 * signature for every member, so a server looks at this first. Called by the server room.
 */
import type { GroupInfo } from 'ts-mls/groupInfo.js'
import { type DocumentExtension, LIMITS, type ServersExtension } from '../wire/index.js'
import { contextHash, GROUP_ID_BYTES } from './context-hash.js'
import { readGroupExtensions } from './extensions.js'
import { decodeGroupInfoMessage, ensureValid, treeOfGroupInfo, typedSync } from './mls/index.js'
import { type GroupDeps, PublicGroup } from './public-group.js'

/** A leaf has to fit a key package. */
const oneNodeBytesMax = LIMITS.JoinRequest.keyPackage.bytesMax

/** Anybody can claim anything. */
export interface ClaimedGroup {
  readonly groupId: Uint8Array
  readonly epoch: bigint
  /** As `PublicGroup.ctx`: the group that is verified has the same. */
  readonly ctx: Uint8Array
  readonly document: DocumentExtension
  readonly servers: ServersExtension
  /** The ratchet tree is that of a group with one member, which nobody else was ever in. A larger one is not decoded. */
  readonly hasOneMember: boolean
  /** As `PublicGroup.fromGroupInfo`. Throws INVALID, BAD_SIGNATURE. */
  verify(): Promise<PublicGroup>
}

/** Decodes a GroupInfo with its ratchet tree and verifies nothing. Throws MALFORMED, INVALID. */
export function claimedGroup(bytes: Uint8Array, deps: GroupDeps): ClaimedGroup {
  const groupInfo = decodeGroupInfoMessage(bytes)
  const { groupContext } = groupInfo
  return typedSync('INVALID', 'The GroupInfo is not valid', () => {
    ensureValid(groupContext.groupId.length === GROUP_ID_BYTES, `A group id of ${groupContext.groupId.length} bytes`)
    const { document, servers } = readGroupExtensions(groupContext.extensions)
    return {
      groupId: groupContext.groupId,
      epoch: groupContext.epoch,
      ctx: contextHash(deps.crypto, groupContext),
      document,
      servers,
      hasOneMember: hasOneNode(groupInfo),
      verify: () => PublicGroup.ofGroupInfo(groupInfo, deps)
    }
  })
}

function hasOneNode(groupInfo: GroupInfo): boolean {
  const tree = groupInfo.extensions.find(({ extensionType }) => extensionType === 'ratchet_tree')
  ensureValid(tree !== undefined, 'The GroupInfo has no ratchet tree')
  return tree.extensionData.length <= oneNodeBytesMax && treeOfGroupInfo(groupInfo)?.length === 1
}
