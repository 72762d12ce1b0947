/** What the server asks of one epoch's public group: who is in it, who may write, and under which rules its slot is decided. */
import { mayWrite, type PublicGroup, type RosterEntry } from '../group/index.js'
import { isServer, type SlotConfig, slotConfigOf } from '../paxos/index.js'
import { Role } from '../wire/index.js'

export interface EpochMember {
  /** Member id, 16 bytes. */
  readonly id: Uint8Array
  /** Ed25519 key of the leaf. */
  readonly signatureKey: Uint8Array
  readonly mayWrite: boolean
  readonly isAdmin: boolean
}

export class Epoch {
  readonly group: PublicGroup
  /** Rules of the slot whose decision ends this epoch. */
  readonly config: SlotConfig

  constructor(group: PublicGroup) {
    this.group = group
    this.config = slotConfigOf(group)
  }

  get number(): bigint {
    return this.group.epoch
  }
  get ctxTag(): Uint8Array {
    return this.group.ctxTag
  }
  /** How many past epochs the group wants kept. */
  get retainedEpochs(): number {
    return this.group.document.policy.retainedEpochs
  }

  /** Whether this server is one of the document's in this epoch. */
  lists(server: Uint8Array): boolean {
    return isServer(this.config, server)
  }

  memberById(member: Uint8Array): EpochMember | undefined {
    return memberOf(this.group.member(member))
  }
  memberByEndpoint(endpointId: Uint8Array): EpochMember | undefined {
    return memberOf(this.group.memberOfEndpoint(endpointId))
  }
}

function memberOf(entry: RosterEntry | undefined): EpochMember | undefined {
  if (entry === undefined) return undefined
  const { memberId: id, signaturePublicKey: signatureKey, role } = entry
  const isAdmin = role === Role.ROLE_ADMIN
  return { id, signatureKey, isAdmin, mayWrite: mayWrite(role) }
}
