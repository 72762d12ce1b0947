/**
 * Heddle's state in a group context and in a leaf (SPEC GROUP): reading it, writing it, and the rules that hold for any
 * group by itself. How a commit may change it is in `policy.ts`.
 */
import type { Capabilities } from 'ts-mls/capabilities.js'
import type { Extension } from 'ts-mls/extension.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import { encodeRequiredCapabilities } from 'ts-mls/requiredCapabilities.js'
import { equalBytes, toHex } from '../bytes.js'
import { type CipherSuite, suiteName } from '../crypto/index.js'
import {
  DeviceExtension,
  DocumentExtension,
  MLS_EXTENSIONS,
  MLS_PROPOSALS,
  Role,
  RolesExtension,
  ServersExtension
} from '../wire/index.js'
import { ensureValid, type LeafRules, typedSync } from './mls/index.js'

/** What all members of a group agree on beside the tree. */
export interface GroupExtensions {
  readonly document: DocumentExtension
  readonly servers: ServersExtension
  readonly roles: RolesExtension
}

const extensionTypes = Object.values(MLS_EXTENSIONS).map(({ type }) => type)
const requiredExtensionTypes = Object.values(MLS_EXTENSIONS).flatMap(({ type, required }) => (required ? [type] : []))
const proposalTypes = Object.values(MLS_PROPOSALS).map(({ type }) => type)

/** Extensions of a group context, in the one order and form that is accepted. Throws MALFORMED above a limit. */
export function writeGroupExtensions({ document, servers, roles }: GroupExtensions): Extension[] {
  return typedSync('MALFORMED', 'The state of the group breaks a limit', () => [
    { extensionType: 'required_capabilities', extensionData: requiredCapabilities() },
    { extensionType: MLS_EXTENSIONS.document.type, extensionData: DocumentExtension.encode(document) },
    { extensionType: MLS_EXTENSIONS.servers.type, extensionData: ServersExtension.encode(servers) },
    { extensionType: MLS_EXTENSIONS.roles.type, extensionData: RolesExtension.encode(roles) }
  ])
}

/** Reads and checks them. Throws MALFORMED or INVALID. */
export function readGroupExtensions(extensions: readonly Extension[]): GroupExtensions {
  const dataOf = (type: number): Uint8Array => {
    const extension = extensions.find(({ extensionType }) => extensionType === type)
    ensureValid(extension !== undefined, `The group context lacks extension ${type}`)
    return extension.extensionData
  }
  const state = typedSync('MALFORMED', 'An extension of the group context does not decode', () => ({
    document: DocumentExtension.decode(dataOf(MLS_EXTENSIONS.document.type)),
    servers: ServersExtension.decode(dataOf(MLS_EXTENSIONS.servers.type)),
    roles: RolesExtension.decode(dataOf(MLS_EXTENSIONS.roles.type))
  }))
  checkServers(state.servers)
  checkRoles(state.roles)
  ensureValid(
    sameExtensions(extensions, writeGroupExtensions(state)),
    'The group context has other extensions than a Heddle group, or in another order'
  )
  return state
}

export function sameExtensions(a: readonly Extension[], b: readonly Extension[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ extensionType, extensionData }, i) => {
      const other = b[i]
      return other?.extensionType === extensionType && equalBytes(other.extensionData, extensionData)
    })
  )
}

/** Throws INVALID unless the servers are enough for the fault bound. That they are in order, each once, the codec sees. */
export function checkServers({ servers, faultBound }: ServersExtension): void {
  const least = faultBound === 0 ? 1 : 3 * faultBound + 1
  ensureValid(
    servers.length >= least && servers.length <= 7,
    `${servers.length} servers, where 7 at most and ${least} at least are allowed with fault bound ${faultBound}`
  )
}

function checkRoles({ defaultRole }: RolesExtension): void {
  ensureValid(defaultRole !== Role.ROLE_ADMIN, 'The default role is admin')
}

/** The device behind a leaf. Throws MALFORMED or INVALID. */
export function deviceOf(leaf: LeafNode): DeviceExtension {
  const [extension, ...others] = leaf.extensions
  ensureValid(
    extension?.extensionType === MLS_EXTENSIONS.device.type && others.length === 0,
    'A leaf has other extensions than its device'
  )
  return typedSync('MALFORMED', 'The device of a leaf does not decode', () =>
    DeviceExtension.decode(extension.extensionData)
  )
}

export function deviceExtension(device: DeviceExtension): Extension {
  return typedSync('MALFORMED', 'The device breaks a limit', () => ({
    extensionType: MLS_EXTENSIONS.device.type,
    extensionData: DeviceExtension.encode(device)
  }))
}

/** A leaf's identity is its signature key, so nobody can take another's name; and it says what device it is. */
export const leafRules: LeafRules = (leaf) => {
  const { credential, signaturePublicKey } = leaf
  ensureValid(
    credential.credentialType === 'basic' && equalBytes(credential.identity, signaturePublicKey),
    `The credential of a leaf is not its signature key ${toHex(signaturePublicKey)}`
  )
  deviceOf(leaf)
}

/** What a Heddle device says it can do. */
export function capabilitiesOf(suite: CipherSuite): Capabilities {
  return {
    versions: ['mls10'],
    ciphersuites: [suiteName(suite.id)],
    extensions: extensionTypes,
    proposals: proposalTypes,
    credentials: ['basic']
  }
}

/** Whether both say the same of whose device it is. */
export function sameClaim({ identity: a }: DeviceExtension, { identity: b }: DeviceExtension): boolean {
  return a === undefined || b === undefined ? a === b : equalBytes(a, b)
}

function requiredCapabilities(): Uint8Array {
  return encodeRequiredCapabilities({
    extensionTypes: requiredExtensionTypes,
    proposalTypes,
    credentialTypes: ['basic']
  })
}
