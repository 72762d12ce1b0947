/**
 * A group as everyone sees it who follows its commits, without any secret (SPEC GROUP): what a server knows, and what a
 * device validates with before its own secrets come in. Immutable; a commit gives a new one.
 */
import type { Commit } from 'ts-mls/commit.js'
import type { GroupInfo } from 'ts-mls/groupInfo.js'
import type { Reinit } from 'ts-mls/proposal.js'
import { emptyBytes, toHex } from '../bytes.js'
import { type CipherSuite, type CryptoProvider, suiteOfName } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import {
  type CutProposal,
  type DocumentExtension,
  LIMITS,
  type RolesExtension,
  type ServersExtension
} from '../wire/index.js'
import { contextHash, GROUP_ID_BYTES } from './context-hash.js'
import { type GroupExtensions, leafRules, readGroupExtensions } from './extensions.js'
import {
  commitIn,
  decodeContext,
  decodeGroupInfoMessage,
  decodePublicMessage,
  decodeReinitInfo,
  decodeTree,
  encodeContext,
  encodeReinitInfo,
  encodeTree,
  ensureValid,
  hashTree,
  type PublicState,
  rootHash,
  type StagedCommit,
  stageCommit,
  TlsReader,
  TlsWriter,
  typed,
  vectorBytes,
  verifyGroupInfo
} from './mls/index.js'
import { checkCommit, checkWelcome, cutsIn } from './policy.js'
import { Roster, type RosterEntry } from './roster.js'

const SAVED_VERSION = 2
/** Commits make a tree grow that was within the limit of a message when the last member came. */
const STORED_TREE_BYTES_MAX = 4 * LIMITS.WelcomeReply.tree.bytesMax

export interface GroupDeps {
  readonly crypto: CryptoProvider
}

export interface ProcessOptions {
  /**
   * Refuse key packages that are out of their lifetime at this time, milliseconds since the Unix epoch. For who decides
   * whether to vote; who replays a decided commit must not pass it.
   */
  readonly nowMs?: number | undefined
  /** The Welcome proposed with the commit, empty when there is none: it must be for exactly those that are added. */
  readonly welcome?: Uint8Array | undefined
}

/** What the commit that began an epoch did. */
export interface GroupChange {
  /** As it was before the commit. */
  readonly committer: RosterEntry
  readonly added: readonly RosterEntry[]
  /** As they were before the commit. */
  readonly removed: readonly RosterEntry[]
  /** Members whose role changed, as they are now. */
  readonly roleChanged: readonly RosterEntry[]
  readonly serversChanged: boolean
  /** The committer came back by an external commit, under another leaf or its old one; added and removed are empty. */
  readonly rejoined: boolean
  /** How much its sender had of those who lost the right to write. */
  readonly cuts: readonly CutProposal[]
}

export class PublicGroup {
  readonly groupId: Uint8Array
  readonly epoch: bigint
  /** SHA-256 over "heddle/1 group context", a zero byte and the encoded GroupContext, 32 bytes: names epoch and branch. */
  readonly ctx: Uint8Array
  readonly document: DocumentExtension
  readonly servers: ServersExtension
  readonly roles: RolesExtension
  /** The commit that began this epoch; undefined after `fromGroupInfo` and `load`. */
  readonly change: GroupChange | undefined
  /** The MLS state, for MemberGroup. */
  readonly state: PublicState
  readonly #roster: Roster
  readonly #deps: GroupDeps
  readonly #suite: CipherSuite

  /** Checks what holds for every Heddle group. Throws INVALID or MALFORMED. */
  private constructor(state: PublicState, deps: GroupDeps, from?: { staged: StagedCommit; group: PublicGroup }) {
    const { context } = state
    const suiteId = suiteOfName(context.cipherSuite)
    ensureValid(suiteId !== undefined, `Cipher suite ${context.cipherSuite} is not supported`)
    ensureValid(context.groupId.length === GROUP_ID_BYTES, `A group id of ${context.groupId.length} bytes`)
    // A commit that changes none hands on the same array, which was read already.
    const isKnown = from !== undefined && from.group.state.context.extensions === context.extensions
    const extensions: GroupExtensions = isKnown ? from.group : readGroupExtensions(context.extensions)
    this.state = state
    this.groupId = context.groupId
    this.epoch = context.epoch
    this.ctx = contextHash(deps.crypto, context)
    this.document = extensions.document
    this.servers = extensions.servers
    this.roles = extensions.roles
    this.#deps = deps
    this.#suite = deps.crypto.suite(suiteId)
    this.#roster = new Roster(
      this.groupId,
      state.tree,
      extensions.roles,
      deps.crypto,
      from === undefined ? undefined : from.group.#roster
    )
    this.change = from && this.#changeBy(from.staged, from.group)
  }

  /**
   * Starts to follow a group from a GroupInfo with its ratchet tree. Whether the epoch was decided is not in it: compare
   * `ctx` with a certificate. Throws MALFORMED, INVALID, BAD_SIGNATURE.
   */
  static async fromGroupInfo(bytes: Uint8Array, deps: GroupDeps): Promise<PublicGroup> {
    return PublicGroup.ofGroupInfo(decodeGroupInfoMessage(bytes), deps)
  }

  /** `fromGroupInfo` of one that is decoded. Throws INVALID, BAD_SIGNATURE. */
  static async ofGroupInfo(groupInfo: GroupInfo, deps: GroupDeps): Promise<PublicGroup> {
    const suiteId = suiteOfName(groupInfo.groupContext.cipherSuite)
    ensureValid(suiteId !== undefined, `Cipher suite ${groupInfo.groupContext.cipherSuite} is not supported`)
    return typed('INVALID', 'The GroupInfo is not valid', async () =>
      PublicGroup.of(await verifyGroupInfo(groupInfo, deps.crypto, deps.crypto.suite(suiteId), leafRules), deps)
    )
  }

  /** Of a state that is validated already. */
  static of(state: PublicState, deps: GroupDeps): PublicGroup {
    return new PublicGroup(state, deps)
  }

  /** What `save` gave, from this process's own storage: it is checked for damage only. Throws STORAGE_CORRUPT. */
  static load(bytes: Uint8Array, deps: GroupDeps): PublicGroup {
    try {
      const reader = new TlsReader(bytes)
      ensureValid(reader.uint8() === SAVED_VERSION, 'Saved by another version')
      const context = decodeContext(reader.vector())
      const tree = hashTree(decodeTree(reader.vector(), STORED_TREE_BYTES_MAX), deps.crypto.sha256)
      const confirmationTag = reader.vector()
      const reinit = reader.vector()
      reader.end()
      ensureValid(toHex(rootHash(tree)) === toHex(context.treeHash), 'The tree hash is wrong')
      const state = { context, tree, confirmationTag }
      return PublicGroup.of(reinit.length === 0 ? state : { ...state, reinit: decodeReinitInfo(reinit) }, deps)
    } catch (cause) {
      throw new HeddleError('STORAGE_CORRUPT', 'The stored group does not decode', { cause })
    }
  }

  /** Everything of it, for `load`. */
  save(): Uint8Array {
    const { context, tree, confirmationTag, reinit } = this.state
    const parts = [
      encodeContext(context),
      encodeTree(tree.nodes),
      confirmationTag,
      reinit === undefined ? emptyBytes : encodeReinitInfo(reinit)
    ]
    const writer = new TlsWriter(parts.reduce((bytes, { length }) => bytes + vectorBytes(length), 1))
    writer.uint8(SAVED_VERSION)
    for (const part of parts) writer.vector(part)
    return writer.finish()
  }

  /** The encoded ratchet tree (RFC 9420 section 12.4.3.3), for those who join in this epoch. A copy. */
  ratchetTree(): Uint8Array {
    return encodeTree(this.state.tree.nodes)
  }

  /** First 16 bytes of `ctx`. */
  get ctxTag(): Uint8Array {
    return this.ctx.subarray(0, 16)
  }
  get suite(): CipherSuite {
    return this.#suite
  }
  /** The ReInit that closed the group: nothing can be committed or sent any more. Not known after `fromGroupInfo`. */
  get reinit(): Reinit | undefined {
    return this.state.reinit
  }
  /** All members, by ascending leaf index. */
  get roster(): readonly RosterEntry[] {
    return this.#roster.entries
  }
  member(memberId: Uint8Array): RosterEntry | undefined {
    return this.#roster.ofMember(memberId)
  }
  memberOfEndpoint(endpointId: Uint8Array): RosterEntry | undefined {
    return this.#roster.ofEndpoint(endpointId)
  }
  memberAtLeaf(leafIndex: number): RosterEntry | undefined {
    return this.#roster.ofLeaf(leafIndex)
  }

  /**
   * The group after the commit (MLSMessage with a PublicMessage); this one stays as it is. Throws MALFORMED, INVALID,
   * FORBIDDEN, BAD_SIGNATURE, STALE_EPOCH, BEHIND.
   */
  async processCommit(bytes: Uint8Array, options: ProcessOptions = {}): Promise<PublicGroup> {
    const { next } = await this.stage(bytes, options)
    return next
  }

  /**
   * The member whose leaf the commit names as its sender, or removes to come back under another; nothing is verified. Throws
   * MALFORMED, INVALID.
   */
  committerOf(bytes: Uint8Array): RosterEntry {
    const { content, committer } = commitIn(decodePublicMessage(bytes))
    const leafIndex = committer === 'external' ? leafRemovedBy(content.commit) : committer
    const entry = leafIndex === undefined ? undefined : this.memberAtLeaf(leafIndex)
    ensureValid(
      entry !== undefined,
      leafIndex === undefined
        ? 'The external commit does not say whose leaf it replaces'
        : `The sender of the commit, leaf ${leafIndex}, is not in the group`
    )
    return entry
  }

  /** `processCommit` with what MemberGroup goes on from. */
  async stage(bytes: Uint8Array, { nowMs, welcome }: ProcessOptions = {}): Promise<StagedGroup> {
    const message = decodePublicMessage(bytes)
    const nowSeconds = nowMs === undefined ? undefined : BigInt(Math.floor(nowMs / 1000))
    const { crypto } = this.#deps
    return typed('INVALID', 'The commit is not valid', async () => {
      const rules = { crypto, suite: this.#suite, leafRules, path: 'always', nowSeconds } as const
      const staged = await stageCommit(this.state, message, rules)
      checkCommit(staged, this, this.#roster, crypto)
      if (welcome !== undefined) await checkWelcome(staged, welcome, this.#suite)
      return { message, staged, next: new PublicGroup(staged.next, this.#deps, { staged, group: this }) }
    })
  }

  /** The roster, for building commits. */
  get members(): Roster {
    return this.#roster
  }

  #changeBy(
    { committer, added, removed, proposals, external: rejoined }: StagedCommit,
    before: PublicGroup
  ): GroupChange {
    const present = (entry: RosterEntry | undefined): RosterEntry[] => (entry === undefined ? [] : [entry])
    const [oldLeaf] = removed
    const by = before.memberAtLeaf(rejoined && oldLeaf !== undefined ? oldLeaf : committer)
    ensureValid(by !== undefined, 'The committer is not in the roster')
    return {
      committer: by,
      added: added.flatMap((leafIndex) => present(this.memberAtLeaf(leafIndex))),
      removed: rejoined ? [] : removed.flatMap((leafIndex) => present(before.memberAtLeaf(leafIndex))),
      roleChanged:
        this.roles === before.roles
          ? []
          : this.roster.filter(({ memberId, role }) => {
              const old = before.member(memberId)
              return old !== undefined && old.role !== role
            }),
      serversChanged: before.servers.version !== this.servers.version,
      rejoined,
      cuts: cutsIn(proposals.map(({ proposal }) => proposal))
    }
  }
}

export interface StagedGroup {
  readonly message: ReturnType<typeof decodePublicMessage>
  readonly staged: StagedCommit
  readonly next: PublicGroup
}

function leafRemovedBy({ proposals }: Commit): number | undefined {
  for (const item of proposals)
    if (item.proposalOrRefType === 'proposal' && item.proposal.proposalType === 'remove')
      return item.proposal.remove.removed
  return undefined
}
