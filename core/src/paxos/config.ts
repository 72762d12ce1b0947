/**
 * The configuration a slot is decided under (SPEC PAXOS): who the acceptors are and how many may lie. It follows from
 * the GroupContext of the slot's epoch, so each slot has exactly one.
 */
import { equalBytes } from '../bytes.js'
import { HeddleError } from '../errors.js'

export interface SlotConfig {
  /** Document, 16 bytes. */
  readonly group: Uint8Array
  /** The MLS epoch whose commit is decided. */
  readonly slot: bigint
  /** SHA-256 of that epoch's GroupContext. */
  readonly ctx: Uint8Array
  /** Ids of the acceptors, 32 bytes each, all different. */
  readonly servers: readonly Uint8Array[]
  /** How many of them may lie. */
  readonly faultBound: number
  /** Ed25519 signature key of a leaf of that epoch; undefined when the leaf is blank or there is none. */
  leafKey(leaf: number): Uint8Array | undefined
}

/** What of a group's epoch decides how its slot is decided. */
export interface SlotEpoch {
  readonly groupId: Uint8Array
  readonly epoch: bigint
  readonly ctx: Uint8Array
  readonly servers: { readonly servers: readonly { readonly id: Uint8Array }[]; readonly faultBound: number }
  memberAtLeaf(leaf: number): { readonly signaturePublicKey: Uint8Array } | undefined
}

/** The configuration of the slot that ends this epoch. */
export function slotConfigOf(group: SlotEpoch): SlotConfig {
  const { groupId, epoch, ctx, servers } = group
  return {
    group: groupId,
    slot: epoch,
    ctx,
    servers: servers.servers.map(({ id }) => id),
    faultBound: servers.faultBound,
    leafKey: (leaf) => group.memberAtLeaf(leaf)?.signaturePublicKey
  }
}

/** Most acceptors a document can have; bounds the size of proofs and certificates. */
export const serversMax = 7

/** Number of distinct servers that decide: ⌊(n + f) / 2⌋ + 1. */
export const quorum = (config: SlotConfig): number => Math.floor((config.servers.length + config.faultBound) / 2) + 1

export const isServer = (config: SlotConfig, id: Uint8Array): boolean =>
  config.servers.some((server) => equalBytes(server, id))

/** Whether a statement speaks of this document, slot and context. */
export function bindsTo(
  config: SlotConfig,
  statement: { readonly group: Uint8Array; readonly slot: bigint; readonly ctx: Uint8Array }
): boolean {
  return (
    statement.slot === config.slot && equalBytes(statement.group, config.group) && equalBytes(statement.ctx, config.ctx)
  )
}

/** Throws INVALID for a configuration under which the rules of this room would not hold. */
export function assertConfig(config: SlotConfig): void {
  const { servers, faultBound: f } = config
  const n = servers.length
  const distinct = servers.every((id, i) => id.length === 32 && !servers.slice(0, i).some((o) => equalBytes(o, id)))
  if (n < 1 || n > serversMax || !distinct)
    throw new HeddleError('INVALID', `slot ${config.slot} needs 1 to ${serversMax} different server ids, got ${n}`)
  if (!Number.isInteger(f) || f < 0 || n < 3 * f + 1)
    throw new HeddleError('INVALID', `fault bound ${f} of slot ${config.slot} needs ${3 * f + 1} servers, got ${n}`)
}
