/**
 * The members of one epoch, found by member id, endpoint id or leaf in constant time. Immutable; what a commit does not
 * change is shared with the epoch before, so that renewing a key costs no look at every member.
 */
import type { LeafNode } from 'ts-mls/leafNode.js'
import { equalBytes, toHex } from '../bytes.js'
import type { CryptoProvider } from '../crypto/index.js'
import { type DeviceExtension, Role, type RolesExtension } from '../wire/index.js'
import { deviceOf, sameClaim } from './extensions.js'
import { memberIdOf } from './member-id.js'
import { changedSince, ensureValid, type HashedTree, leafAt } from './mls/index.js'

export interface RosterEntry {
  readonly leafIndex: number
  readonly memberId: Uint8Array
  /** Ed25519 key of the leaf: signs messages, envelopes and proposals. */
  readonly signaturePublicKey: Uint8Array
  readonly role: Role
  readonly device: DeviceExtension
}

interface Index {
  readonly byMember: ReadonlyMap<string, RosterEntry>
  readonly byEndpoint: ReadonlyMap<string, RosterEntry>
  readonly byLeaf: ReadonlyMap<number, RosterEntry>
}

export class Roster {
  /** By ascending leaf index. */
  readonly entries: readonly RosterEntry[]
  readonly #index: Index
  readonly #tree: HashedTree
  readonly #roles: RolesExtension

  /**
   * `previous` is the roster of an earlier epoch of the same group; what has not changed is taken from it. Throws INVALID
   * when two members claim one endpoint, a role is of nobody, or nobody is admin.
   */
  constructor(
    groupId: Uint8Array,
    tree: HashedTree,
    roles: RolesExtension,
    crypto: Pick<CryptoProvider, 'sha256'>,
    previous?: Roster
  ) {
    const { nodes } = tree
    this.#tree = tree
    this.#roles = roles
    const read = new Map<number, ReadLeaf | undefined>()
    for (const at of previous === undefined ? nodes.keys() : changedSince(tree, previous.#tree)) {
      if (at % 2 === 1) continue
      const leaf = leafAt(nodes, at / 2)
      read.set(at / 2, leaf && readLeaf(leaf, previous?.ofLeaf(at / 2), groupId, crypto))
    }
    if (previous !== undefined && roles === previous.#roles && isSame(nodes, read, previous)) {
      this.entries = previous.entries
      this.#index = previous.#index
    } else {
      this.entries = entriesOf(nodes, read, roles, previous)
      this.#index = indexOf(this.entries)
      checkRoles(this.entries, this.#index, roles)
    }
  }

  ofMember(memberId: Uint8Array): RosterEntry | undefined {
    return this.#index.byMember.get(toHex(memberId))
  }
  ofEndpoint(endpointId: Uint8Array): RosterEntry | undefined {
    return this.#index.byEndpoint.get(toHex(endpointId))
  }
  ofLeaf(leafIndex: number): RosterEntry | undefined {
    return this.#index.byLeaf.get(leafIndex)
  }

  /** The leaves of the tree the roster was read from. */
  get width(): number {
    return (this.#tree.nodes.length + 1) / 2
  }
}

type ReadLeaf = Pick<RosterEntry, 'memberId' | 'signaturePublicKey' | 'device'>

function readLeaf(
  leaf: LeafNode,
  before: RosterEntry | undefined,
  groupId: Uint8Array,
  crypto: Pick<CryptoProvider, 'sha256'>
): ReadLeaf {
  const { signaturePublicKey } = leaf
  const isSameMember = before !== undefined && equalBytes(before.signaturePublicKey, signaturePublicKey)
  return {
    memberId: isSameMember ? before.memberId : memberIdOf(crypto, groupId, signaturePublicKey),
    signaturePublicKey,
    device: deviceOf(leaf)
  }
}

/** Whether the leaves that changed tell the roster nothing new. */
function isSame(
  nodes: HashedTree['nodes'],
  read: ReadonlyMap<number, ReadLeaf | undefined>,
  previous: Roster
): boolean {
  if (nodes.length + 1 !== 2 * previous.width) return false
  for (const [leafIndex, now] of read) {
    const before = previous.ofLeaf(leafIndex)
    if (now === undefined || before === undefined) return false
    if (now.memberId !== before.memberId || !isSameDevice(now.device, before.device)) return false
  }
  return true
}

function isSameDevice(a: DeviceExtension, b: DeviceExtension): boolean {
  return (
    equalBytes(a.endpointId, b.endpointId) &&
    sameClaim(a, b) &&
    a.crdtTypes.length === b.crdtTypes.length &&
    a.crdtTypes.every((type, i) => type === b.crdtTypes[i])
  )
}

function entriesOf(
  nodes: HashedTree['nodes'],
  read: ReadonlyMap<number, ReadLeaf | undefined>,
  { roles, defaultRole }: RolesExtension,
  previous: Roster | undefined
): readonly RosterEntry[] {
  const roleOf = new Map(roles.map(({ member, role }) => [toHex(member), role]))
  const entries: RosterEntry[] = []
  for (let leafIndex = 0; 2 * leafIndex < nodes.length; leafIndex++) {
    const entry = read.has(leafIndex) ? read.get(leafIndex) : previous?.ofLeaf(leafIndex)
    if (entry === undefined) continue
    const { memberId, signaturePublicKey, device } = entry
    const role = roleOf.get(toHex(memberId)) ?? defaultRole
    entries.push({ leafIndex, memberId, signaturePublicKey, role, device })
  }
  return entries
}

function indexOf(entries: readonly RosterEntry[]): Index {
  const byMember = new Map<string, RosterEntry>()
  const byEndpoint = new Map<string, RosterEntry>()
  const byLeaf = new Map<number, RosterEntry>()
  for (const entry of entries) {
    const endpoint = toHex(entry.device.endpointId)
    ensureValid(!byEndpoint.has(endpoint), `Two members claim the endpoint ${endpoint}`)
    byEndpoint.set(endpoint, entry)
    byMember.set(toHex(entry.memberId), entry)
    byLeaf.set(entry.leafIndex, entry)
  }
  return { byMember, byEndpoint, byLeaf }
}

function checkRoles(entries: readonly RosterEntry[], { byMember }: Index, { roles }: RolesExtension): void {
  for (const { member } of roles)
    ensureValid(byMember.has(toHex(member)), `There is a role for ${toHex(member)}, who is no member`)
  ensureValid(
    entries.some(({ role }) => role === Role.ROLE_ADMIN),
    'The group would be left without an admin'
  )
}
