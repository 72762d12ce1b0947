/** The members of one epoch, found by member id, endpoint id or leaf in constant time. Immutable. */
import type { LeafNode } from 'ts-mls/leafNode.js'
import { equalBytes, toHex } from '../bytes.js'
import type { CryptoProvider } from '../crypto/index.js'
import { type DeviceExtension, Role, type RolesExtension } from '../wire/index.js'
import { deviceOf } from './extensions.js'
import { memberIdOf } from './member-id.js'
import { ensureValid, type HashedTree, leavesOf } from './mls/index.js'

export interface RosterEntry {
  readonly leafIndex: number
  readonly memberId: Uint8Array
  /** Ed25519 key of the leaf: signs messages, envelopes and proposals. */
  readonly signaturePublicKey: Uint8Array
  readonly role: Role
  readonly device: DeviceExtension
}

/** An entry and the leaf it was read from, to see what changed. */
interface ReadEntry extends RosterEntry {
  readonly leaf: LeafNode
}

export class Roster {
  /** By ascending leaf index. */
  readonly entries: readonly RosterEntry[]
  readonly #byMember = new Map<string, RosterEntry>()
  readonly #byEndpoint = new Map<string, RosterEntry>()
  readonly #byLeaf = new Map<number, ReadEntry>()

  /**
   * `previous` is the roster of an earlier epoch of the same group; what has not changed is taken from it. Throws INVALID
   * when two members claim one endpoint, a role is of nobody, or nobody is admin.
   */
  constructor(
    groupId: Uint8Array,
    tree: HashedTree,
    { roles, defaultRole }: RolesExtension,
    crypto: Pick<CryptoProvider, 'sha256'>,
    previous?: Roster
  ) {
    const roleOf = new Map(roles.map(({ member, role }) => [toHex(member), role]))
    const before = previous === undefined ? new Map<number, ReadEntry>() : previous.#byLeaf
    const entries = leavesOf(tree.nodes).map(({ index, leaf }): ReadEntry => {
      const { memberId, device } = readLeaf(leaf, before.get(index), groupId, crypto)
      const role = roleOf.get(toHex(memberId)) ?? defaultRole
      return { leafIndex: index, memberId, signaturePublicKey: leaf.signaturePublicKey, role, device, leaf }
    })
    for (const entry of entries) {
      const endpoint = toHex(entry.device.endpointId)
      ensureValid(!this.#byEndpoint.has(endpoint), `Two members claim the endpoint ${endpoint}`)
      this.#byEndpoint.set(endpoint, entry)
      this.#byMember.set(toHex(entry.memberId), entry)
      this.#byLeaf.set(entry.leafIndex, entry)
    }
    for (const member of roleOf.keys())
      ensureValid(this.#byMember.has(member), `There is a role for ${member}, who is no member`)
    ensureValid(
      entries.some(({ role }) => role === Role.ROLE_ADMIN),
      'The group would be left without an admin'
    )
    this.entries = entries
  }

  ofMember(memberId: Uint8Array): RosterEntry | undefined {
    return this.#byMember.get(toHex(memberId))
  }
  ofEndpoint(endpointId: Uint8Array): RosterEntry | undefined {
    return this.#byEndpoint.get(toHex(endpointId))
  }
  ofLeaf(leafIndex: number): RosterEntry | undefined {
    return this.#byLeaf.get(leafIndex)
  }
}

function readLeaf(
  leaf: LeafNode,
  before: ReadEntry | undefined,
  groupId: Uint8Array,
  crypto: Pick<CryptoProvider, 'sha256'>
): Pick<RosterEntry, 'memberId' | 'device'> {
  if (before?.leaf === leaf) return before
  const { signaturePublicKey } = leaf
  const memberId =
    before !== undefined && equalBytes(before.signaturePublicKey, signaturePublicKey)
      ? before.memberId
      : memberIdOf(crypto, groupId, signaturePublicKey)
  return { memberId, device: deviceOf(leaf) }
}
