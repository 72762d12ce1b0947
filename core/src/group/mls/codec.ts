/**
 * Guards around ts-mls' codecs (RFC 9420 sections 5 to 12). Its decoders accept trailing bytes and some encodings that are
 * not canonical, and sometimes throw a TypeError; here every message is bounded first, consumed whole, equal to its own
 * re-encoding, and every failure is MALFORMED. Everything untrusted enters the group room through this file.
 */
import { encode } from 'ts-mls/codec/tlsEncoder.js'
import { decodeGroupContext, type GroupContext, groupContextEncoder } from 'ts-mls/groupContext.js'
import type { GroupInfo } from 'ts-mls/groupInfo.js'
import { decodeGroupInfo, groupInfoEncoder } from 'ts-mls/groupInfo.js'
import { decodeGroupSecrets, type GroupSecrets, groupSecretsEncoder } from 'ts-mls/groupSecrets.js'
import type { KeyPackage } from 'ts-mls/keyPackage.js'
import { decodeMlsMessage, type MLSMessage, mlsMessageEncoder } from 'ts-mls/message.js'
import { decodeReinit, type Reinit, reinitEncoder } from 'ts-mls/proposal.js'
import type { PublicMessage } from 'ts-mls/publicMessage.js'
import type { RatchetTree } from 'ts-mls/ratchetTree.js'
import type { Welcome } from 'ts-mls/welcome.js'
import { ensure } from './errors.js'
import { decodeExact } from './exact.js'
import { GROUP_INFO_BYTES_MAX, KEY_PACKAGE_BYTES_MAX, MESSAGE_BYTES_MAX } from './limits.js'
import { decodeTree } from './tree-codec.js'

/** MLSMessage with a PublicMessage: a commit or a proposal. */
export function decodePublicMessage(bytes: Uint8Array): PublicMessage {
  const message = decodeMessage(bytes, MESSAGE_BYTES_MAX, 'commit')
  ensure(message.wireformat === 'mls_public_message', 'MALFORMED', 'The message is not an MLS PublicMessage')
  return message.publicMessage
}
export function encodePublicMessage(publicMessage: PublicMessage): Uint8Array {
  return encodeMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage })
}

/** MLSMessage with a Welcome. */
export function decodeWelcome(bytes: Uint8Array): Welcome {
  const message = decodeMessage(bytes, MESSAGE_BYTES_MAX, 'Welcome')
  ensure(message.wireformat === 'mls_welcome', 'MALFORMED', 'The message is not an MLS Welcome')
  return message.welcome
}
export function encodeWelcome(welcome: Welcome): Uint8Array {
  return encodeMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome })
}

/** MLSMessage with a GroupInfo. */
export function decodeGroupInfoMessage(bytes: Uint8Array): GroupInfo {
  const message = decodeMessage(bytes, GROUP_INFO_BYTES_MAX, 'GroupInfo')
  ensure(message.wireformat === 'mls_group_info', 'MALFORMED', 'The message is not an MLS GroupInfo')
  return message.groupInfo
}
export function encodeGroupInfoMessage(groupInfo: GroupInfo): Uint8Array {
  return encodeMessage({ version: 'mls10', wireformat: 'mls_group_info', groupInfo })
}

/** MLSMessage with a KeyPackage. */
export function decodeKeyPackage(bytes: Uint8Array): KeyPackage {
  const message = decodeMessage(bytes, KEY_PACKAGE_BYTES_MAX, 'KeyPackage')
  ensure(message.wireformat === 'mls_key_package', 'MALFORMED', 'The message is not an MLS KeyPackage')
  return message.keyPackage
}
export function encodeKeyPackage(keyPackage: KeyPackage): Uint8Array {
  return encodeMessage({ version: 'mls10', wireformat: 'mls_key_package', keyPackage })
}

/** GroupInfo as it stands in a Welcome, without the MLSMessage around it. */
export function decodeBareGroupInfo(bytes: Uint8Array): GroupInfo {
  return decodeExact(bytes, { decoder: decodeGroupInfo, encoder: groupInfoEncoder, what: 'GroupInfo' })
}

export function decodeSecretsOfWelcome(bytes: Uint8Array): GroupSecrets {
  return decodeExact(bytes, { decoder: decodeGroupSecrets, encoder: groupSecretsEncoder, what: 'GroupSecrets' })
}

export function decodeContext(bytes: Uint8Array): GroupContext {
  return decodeExact(bytes, { decoder: decodeGroupContext, encoder: groupContextEncoder, what: 'GroupContext' })
}
export const encodeContext: (context: GroupContext) => Uint8Array = encode(groupContextEncoder)

/** A ReInit proposal's content. */
export function decodeReinitInfo(bytes: Uint8Array): Reinit {
  return decodeExact(bytes, { decoder: decodeReinit, encoder: reinitEncoder, what: 'ReInit' })
}
export const encodeReinitInfo: (reinit: Reinit) => Uint8Array = encode(reinitEncoder)

/** The ratchet_tree extension of a GroupInfo, or undefined when it has none. */
export function treeOfGroupInfo(groupInfo: GroupInfo): RatchetTree | undefined {
  const extension = groupInfo.extensions.find(({ extensionType }) => extensionType === 'ratchet_tree')
  return extension && decodeTree(extension.extensionData)
}

function decodeMessage(bytes: Uint8Array, bytesMax: number, what: string): MLSMessage {
  ensure(bytes.length <= bytesMax, 'MALFORMED', `The MLS ${what} has ${bytes.length} bytes, more than ${bytesMax}`)
  return decodeExact(bytes, { decoder: decodeMlsMessage, encoder: mlsMessageEncoder, what })
}

const encodeMessage = encode(mlsMessageEncoder)
