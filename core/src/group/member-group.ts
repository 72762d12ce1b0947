/**
 * A group as one of its members has it (SPEC GROUP): builds and processes commits, seals and opens messages. Every epoch is
 * an object of its own; the one before must no longer be used. What changes is told as records, which the device makes
 * durable in one batch with its own before anything leaves.
 */
import { mlsExporter } from 'ts-mls/keySchedule.js'
import type { Proposal } from 'ts-mls/proposal.js'
import { emptyBytes, equalBytes } from '../bytes.js'
import { type CipherSuite, suiteOfName } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import { Role } from '../wire/index.js'
import type { CommitPlan } from './commit-plan.js'
import { EpochStore, RetainedEpoch } from './epoch-store.js'
import { leafRules, readGroupExtensions, sameExtensions, writeGroupExtensions } from './extensions.js'
import { generateKeyPackage, type KeyPackageOptions, type OwnKeyPackage } from './key-package.js'
import { buildMemberCommit, buildRejoin, type CommitParts, planFollowers, zeroMember } from './member-commit.js'
import { memberIdOf } from './member-id.js'
import type {
  BegunGroup,
  BuiltCommit,
  CreateGroup,
  FollowGroup,
  JoinGroup,
  MemberDeps,
  MessageToOpen,
  Opened,
  ProcessedCommit
} from './member-types.js'
import {
  checkMembershipTag,
  createGroupInfo,
  decodeWelcome,
  type EnteredEpoch,
  encodeGroupInfoMessage,
  ensure,
  ensureValid,
  enterEpoch,
  externalKeyOf,
  externalPubExtension,
  firstEpoch,
  hashTree,
  joinByWelcome,
  type MemberState,
  openMessage,
  type PskSource,
  ratchetTreeExtension,
  poison,
  pskSecretOf,
  rootHash,
  type SealedMessage,
  SecretTree,
  type SuccessionUsage,
  sealMessage,
  typed
} from './mls/index.js'
import { type GroupRecord, readPending, readRecords, type SavedState, type StoredRecord } from './persistence.js'
import { PublicGroup } from './public-group.js'
import { type RejoinBasis, readPendingRejoin } from './rejoin.js'
import type { RosterEntry } from './roster.js'
import { checkSuccession, successionOf } from './successor.js'

export class MemberGroup {
  readonly public: PublicGroup
  readonly me: RosterEntry
  readonly #member: MemberState
  readonly #signatureKey: Uint8Array
  readonly #store: EpochStore
  readonly #deps: MemberDeps
  #superseded = false

  private constructor(
    group: PublicGroup,
    member: MemberState,
    signatureKey: Uint8Array,
    store: EpochStore,
    deps: MemberDeps
  ) {
    const me = group.memberAtLeaf(member.leafIndex)
    ensureValid(me !== undefined, 'This device has no leaf in the group')
    this.public = group
    this.me = me
    this.#member = member
    this.#signatureKey = signatureKey
    this.#store = store
    this.#deps = deps
  }

  /** A new group of which this device is the only member, and admin. Throws MALFORMED or INVALID. */
  static async create(start: CreateGroup, deps: MemberDeps): Promise<MemberGroup> {
    const { groupId, keyPackage, document, servers, faultBound, defaultRole } = start
    const { crypto } = deps
    const { leafNode, cipherSuite } = keyPackage.keyPackage
    const suite = suiteOf(keyPackage, deps)
    const member = memberIdOf(crypto, groupId, leafNode.signaturePublicKey)
    const extensions = writeGroupExtensions({
      document,
      servers: { servers, faultBound, version: 0n },
      roles: { roles: [{ member, role: Role.ROLE_ADMIN }], defaultRole }
    })
    const tree = hashTree([{ nodeType: 'leaf', leaf: leafNode }], crypto.sha256)
    const context = {
      version: 'mls10',
      cipherSuite,
      groupId: groupId.slice(),
      epoch: 0n,
      treeHash: rootHash(tree),
      confirmedTranscriptHash: new Uint8Array(0),
      extensions
    } as const
    const epoch = await firstEpoch({ context, tree }, keyPackage.secrets.leafKey.slice(), suite, crypto)
    const group = PublicGroup.of(epoch.public, deps)
    return MemberGroup.#enter(group, epoch, keyPackage.signatureKey.slice(), new EpochStore(0n), deps)
  }

  /**
   * Joins by a Welcome (MLSMessage). Whether the epoch was decided is not in it: compare `public.ctx` with a certificate.
   * Throws NOT_FOUND when it is not for this key package or needs a key that this device has not, MALFORMED, UNDECRYPTABLE,
   * INVALID (with `info.otherTree` when `tree` is of another epoch or group), BAD_SIGNATURE.
   */
  static async join({ welcome, tree, keyPackage, predecessor }: JoinGroup, deps: MemberDeps): Promise<MemberGroup> {
    const decoded = decodeWelcome(welcome)
    const suite = suiteOf(keyPackage, deps)
    const { initKey, leafKey } = keyPackage.secrets
    const secrets = { initKey, leafKey: leafKey.slice() }
    const resumptionOf = (groupId: Uint8Array, epoch: bigint) =>
      predecessor === undefined ? undefined : predecessor.#resumptionPsk(groupId, epoch)
    const psks: PskSource = (id) =>
      id.psktype === 'external' ? deps.externalPsk?.(id.pskId) : resumptionOf(id.pskGroupId, id.pskEpoch)
    const joined = await typed('INVALID', 'The Welcome is not valid', () =>
      joinByWelcome(decoded, keyPackage.keyPackage, secrets, { crypto: deps.crypto, suite, leafRules, tree, psks })
    )
    const group = PublicGroup.of(joined.public, deps)
    const succession = successionOf(joined)
    ensureValid(
      (succession === undefined) === (predecessor === undefined),
      'The Welcome is not of a group that follows the one given'
    )
    if (succession !== undefined && predecessor !== undefined) {
      const before = predecessor.publicAt(succession.pskEpoch)
      ensureValid(before !== undefined, `The roster of epoch ${succession.pskEpoch} is not kept any more`)
      checkSuccession(succession, joined.public.context, group.members, before)
    }
    return MemberGroup.#enter(group, joined, keyPackage.signatureKey.slice(), new EpochStore(group.epoch), deps)
  }

  /** The group as its records tell, in any order. Throws STORAGE_CORRUPT. */
  static load(records: Iterable<StoredRecord>, deps: MemberDeps): MemberGroup {
    const { state, epochs } = readRecords(records)
    const { crypto } = deps
    const current = PublicGroup.load(epochs.get(state.epoch)?.saved?.group ?? emptyBytes, deps)
    const retained = new Map<bigint, RetainedEpoch>()
    for (const [epoch, { saved, endedAtMs, nodes, ratchets }] of epochs) {
      if (saved === undefined) continue
      const { leaves, senderDataSecret, group } = saved
      const secretTree = new SecretTree(leaves, nodes, ratchets, crypto, current.suite)
      const readGroup = () => (epoch === state.epoch ? current : PublicGroup.load(group, deps))
      retained.set(epoch, new RetainedEpoch(secretTree, senderDataSecret, readGroup, endedAtMs))
    }
    const store = new EpochStore(state.epoch, retained)
    return new MemberGroup(current, memberOf(state, store), state.signatureKey, store, deps)
  }

  get epoch(): bigint {
    return this.public.epoch
  }
  get memberId(): Uint8Array {
    return this.me.memberId
  }
  /** Equal for all members of the epoch and nobody else (RFC 9420 section 8.7). A copy. */
  get epochAuthenticator(): Uint8Array {
    this.#check()
    return this.#member.secrets.epochAuthenticator.slice()
  }

  /** Ed25519 signature of this device's leaf key; the caller separates domains. */
  sign(message: Uint8Array): Uint8Array {
    return this.#deps.crypto.sign(this.#signatureKey, message)
  }

  /** The member as it was in a retained epoch. */
  memberAt(memberId: Uint8Array, epoch: bigint): RosterEntry | undefined {
    return this.#store.find(epoch)?.group.member(memberId)
  }
  /** Whether there was such a member, of which this holds, in the present or a retained epoch. */
  wasMember(memberId: Uint8Array, holds: (entry: RosterEntry) => boolean = () => true): boolean {
    for (const group of this.#store.groups()) {
      const entry = group.member(memberId)
      if (entry !== undefined && holds(entry)) return true
    }
    return false
  }
  /** Signature key of a member, or of who was one in a retained epoch; it stays the same as long as it is one. */
  signatureKeyOf(memberId: Uint8Array, epoch: bigint): Uint8Array | undefined {
    return (this.public.member(memberId) ?? this.memberAt(memberId, epoch))?.signaturePublicKey
  }
  /** The group at a retained epoch. */
  publicAt(epoch: bigint): PublicGroup | undefined {
    return this.#store.find(epoch)?.group
  }

  /** RFC 9420 section 8.5. */
  async exportSecret(label: string, context: Uint8Array, length: number): Promise<Uint8Array> {
    this.#check()
    return mlsExporter(this.#member.secrets.exporterSecret, label, context, length, this.#suite.mls)
  }

  /**
   * MLSMessage with a GroupInfo of this epoch, ratchet tree included, for `PublicGroup.fromGroupInfo`; with `externalPub`
   * also for `resync` of a member that lost its keys. Without it, an object whose epoch is over can still say it.
   */
  async groupInfo({ externalPub = false }: { readonly externalPub?: boolean } = {}): Promise<Uint8Array> {
    if (externalPub) this.#check()
    const signer = this.me.leafIndex
    const { state } = this.public
    const external = externalPub ? [externalPubExtension(await externalKeyOf(this.#member, this.#suite))] : []
    const extensions = [...external, ratchetTreeExtension(state)]
    return encodeGroupInfoMessage(await createGroupInfo(state, signer, this.#signatureKey, extensions, this.#suite))
  }

  /**
   * Builds a commit, always with new keys for this device. Nothing changes until `adopt`. Throws FORBIDDEN when this
   * member may not, INVALID or MALFORMED when nobody could, as every validator would, LIMIT_EXCEEDED when it is too much
   * for one commit, NOT_FOUND for a pre-shared key that this device has not.
   */
  buildCommit(plan: CommitPlan = {}): Promise<BuiltCommit> {
    return this.#build(plan, [], this.#psks)
  }

  #build(plan: CommitPlan, more: readonly Proposal[], psks: PskSource): Promise<BuiltCommit> {
    return this.#exclusively(() => buildMemberCommit(this.#parts, plan, more, psks))
  }

  /**
   * Builds the external commit by which this device, still a member, comes back into the present epoch when it cannot
   * process the commits since its last one (RFC 9420 section 12.4.3.2). `adopt` its pending state once it is decided. Nobody
   * may have joined since that epoch, since who did has no key of it to check with. Throws FORK when the GroupInfo is not of
   * the context vouched for; STALE_EPOCH, REMOVED, INTENT_OBSOLETE; MALFORMED, INVALID, BAD_SIGNATURE.
   */
  resync(basis: RejoinBasis): Promise<BuiltCommit> {
    return this.#exclusively(() => buildRejoin(this.#parts, basis, this.memberId, this.#resumptionNow()))
  }

  /** A key package for a group that follows this one, under the same signature key and device. Throws INVALID. */
  async successorKeyPackage(options: Pick<KeyPackageOptions, 'suite' | 'lifetimeMs'> = {}): Promise<OwnKeyPackage> {
    this.#check()
    const { crypto, now } = this.#deps
    const { device } = this.me
    const signatureKey = this.#signatureKey.slice()
    return generateKeyPackage({ suite: this.#suite.id, ...options, crypto, device, nowMs: now(), signatureKey })
  }

  /**
   * Begins a group of some members of this one (RFC 9420 section 11.3), who keep their roles; this device is an admin there.
   * Only who has the keys of this epoch can join it, with this group as `predecessor`. Throws INVALID, MALFORMED.
   */
  async branch(
    start: FollowGroup & Pick<CreateGroup, 'groupId' | 'document' | 'servers' | 'faultBound'>
  ): Promise<BegunGroup> {
    ensureValid(this.public.reinit === undefined, 'The group was closed by a ReInit: it goes on in its successor')
    const { defaultRole } = this.public.roles
    const own = start.keyPackage.keyPackage
    ensureValid(own.cipherSuite === this.public.state.context.cipherSuite, 'A branch has another cipher suite')
    return this.#begin('branch', { ...start, defaultRole }, start.members)
  }

  /**
   * Begins the group that the ReInit of this one announced (RFC 9420 section 11.2), with everyone it named: by an admin, who
   * has their key packages. Throws FORBIDDEN, INVALID, MALFORMED.
   */
  async succeed({ keyPackage, members }: FollowGroup): Promise<BegunGroup> {
    const { reinit } = this.public
    ensureValid(reinit !== undefined, 'The group was not closed by a ReInit')
    ensure(this.me.role === Role.ROLE_ADMIN, 'FORBIDDEN', 'Only an admin begins the successor of a group')
    const { document, servers, roles } = readGroupExtensions(reinit.extensions)
    const { defaultRole } = roles
    const start = { keyPackage, groupId: reinit.groupId, document, ...servers, defaultRole }
    ensureValid(keyPackage.keyPackage.cipherSuite === reinit.cipherSuite, 'The ReInit announced another cipher suite')
    const begun = await this.#begin('reinit', start, members)
    ensureValid(
      sameExtensions(begun.first.next.state.context.extensions, reinit.extensions),
      'Members that the ReInit gives a role are missing'
    )
    return begun
  }

  async #begin(usage: SuccessionUsage, start: CreateGroup, members: readonly Uint8Array[]): Promise<BegunGroup> {
    const { epoch, groupId } = this.public
    const { plan, proof } = planFollowers(usage, this.public, this.me, start.keyPackage, members, this.#deps.crypto)
    const group = await MemberGroup.create(start, this.#deps)
    return { group, first: await group.#build(plan, [proof], () => this.#resumptionPsk(groupId, epoch)) }
  }

  /**
   * Enters the epoch that this member's own commit begins, now that it is decided. `pending` comes from `buildCommit`, of
   * this process or one before. Throws STALE_EPOCH when another commit was decided, STORAGE_CORRUPT.
   */
  adopt(pending: Uint8Array): Promise<MemberGroup> {
    return this.#exclusively(async () => {
      const rejoin = readPendingRejoin(pending, this.#deps.crypto)
      const from = rejoin?.base ?? this.public
      const { epoch, ctx, commit, nextCtx, member, encryptionSecret } = readPending(rejoin?.pending ?? pending)
      ensure(
        epoch === from.epoch && equalBytes(ctx, from.ctx) && epoch >= this.epoch,
        'STALE_EPOCH',
        `The pending commit is for epoch ${epoch}, the group is at ${this.epoch} or on another branch`
      )
      const { next } = await from.stage(commit)
      ensure(equalBytes(next.ctx, nextCtx), 'STORAGE_CORRUPT', 'The pending commit leads to another epoch than it did')
      return this.#advance(next, { member, encryptionSecret })
    })
  }

  /**
   * Enters the epoch that another's commit begins. Throws as `PublicGroup.processCommit` does, and INVALID with
   * `info.poison` for a commit that observers accept and this member cannot process: `psk` when it has not a key that the
   * commit needs, otherwise by its sender's fault; then nothing has changed.
   */
  processCommit(commit: Uint8Array): Promise<ProcessedCommit> {
    return this.#exclusively(async () => {
      const { message, staged, next } = await this.public.stage(commit)
      const { leafIndex } = this.me
      const own = staged.external ? staged.removed.includes(leafIndex) : staged.committer === leafIndex
      if (own)
        throw new HeddleError('INVALID', 'The commit is of this device itself: adopt its pending state', {
          info: { ownCommit: true }
        })
      if (!staged.external) await checkMembershipTag(this.#member, this.public.state, message, this.#suite)
      if (staged.removed.includes(leafIndex)) return { removed: true, next }
      const pskSecret = await poison('psk', () => pskSecretOf(staged.pskIds, this.#psks, this.#suite))
      const entered = await typed('INVALID', 'The commit cannot be processed', () =>
        enterEpoch(this.#member, staged, this.#suite, { pskSecret, pastEpochs: this.#pastEpochs })
      )
      pskSecret.fill(0)
      return { removed: false, group: this.#advance(next, entered) }
    })
  }

  /** Seals a message in this epoch. Its key is used up: make the dirty records durable before the message leaves. */
  encrypt(plaintext: Uint8Array, aad: Uint8Array): Promise<SealedMessage> {
    return this.#exclusively(() => {
      ensureValid(this.public.reinit === undefined, 'The group was closed by a ReInit: it goes on in its successor')
      const { message } = this.#store.epochOf(this.epoch)
      const sender = { leafIndex: this.me.leafIndex, signatureKey: this.#signatureKey }
      return sealMessage(plaintext, aad, sender, message, this.#deps.crypto, this.#suite)
    })
  }

  /**
   * Opens a message of this epoch or a retained one and tells who sent it. Throws BEHIND for an epoch to come;
   * UNDECRYPTABLE for one that is gone, a message opened before, one of this device, or not authentic; BAD_SIGNATURE,
   * MALFORMED. Then nothing has changed.
   */
  decrypt({ epoch, aad, senderData, ciphertext }: MessageToOpen): Promise<Opened> {
    return this.#exclusively(async () => {
      const { group, message } = this.#store.epochOf(epoch)
      const { plaintext, leafIndex } = await openMessage(
        { senderData, ciphertext },
        aad,
        this.me.leafIndex,
        (index) => group.memberAtLeaf(index)?.signaturePublicKey,
        message,
        this.#deps.crypto,
        this.#suite
      )
      const sender = group.memberAtLeaf(leafIndex)
      ensure(sender !== undefined, 'UNDECRYPTABLE', 'The sender is not in the roster of the epoch')
      return { plaintext, memberId: sender.memberId, role: sender.role, leafIndex }
    })
  }

  /** Forgets past epochs that the group's policy gives up by now. */
  expireEpochs(): void {
    this.#store.expire(this.#deps.now())
  }

  /** What changed since the last call, each record once, to be stored in one batch. The caller owns the arrays. */
  takeDirtyRecords(): readonly GroupRecord[] {
    return this.#store.takeDirty()
  }

  get #suite(): CipherSuite {
    return this.public.suite
  }

  get #parts(): CommitParts {
    return { group: this.public, member: this.#member, signatureKey: this.#signatureKey, deps: this.#deps }
  }

  get #pastEpochs(): number {
    return this.public.document.policy.retainedEpochs
  }

  readonly #psks: PskSource = (id) =>
    id.psktype === 'external' ? this.#deps.externalPsk?.(id.pskId) : this.#resumptionPsk(id.pskGroupId, id.pskEpoch)

  #resumptionPsk(groupId: Uint8Array, epoch: bigint): Uint8Array | undefined {
    this.#check()
    return equalBytes(groupId, this.public.groupId) ? this.#resumptionNow().get(epoch) : undefined
  }

  #resumptionNow(): ReadonlyMap<bigint, Uint8Array> {
    const { resumption, secrets } = this.#member
    return new Map([...resumption, [this.epoch, secrets.resumptionPsk]])
  }

  #check(): void {
    if (this.#superseded)
      throw new HeddleError(
        'DISPOSED',
        `The group has moved on from epoch ${this.epoch}: use the object of the new one`
      )
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#store.exclusively(() => {
      this.#check()
      return work()
    })
  }

  /** The last step of a change of epoch: from here on nothing fails. */
  #advance(next: PublicGroup, entered: EnteredEpoch): MemberGroup {
    const group = MemberGroup.#enter(next, entered, this.#signatureKey, this.#store, this.#deps)
    this.#superseded = true
    zeroMember(this.#member, entered.member)
    return group
  }

  static #enter(
    group: PublicGroup,
    { member, encryptionSecret }: EnteredEpoch,
    signatureKey: Uint8Array,
    store: EpochStore,
    deps: MemberDeps
  ): MemberGroup {
    const entered = new MemberGroup(group, member, signatureKey, store, deps)
    const leaves = (group.state.tree.nodes.length + 1) / 2
    const secretTree = SecretTree.start(leaves, encryptionSecret, deps.crypto, group.suite)
    const epoch = new RetainedEpoch(secretTree, member.secrets.senderDataSecret, () => group, undefined)
    store.enter(epoch, { epoch: group.epoch, signatureKey, member }, deps.now())
    return entered
  }
}

/** The member as it was stored, its sender data secret being that of the epoch and not a second copy. */
function memberOf({ member, epoch }: SavedState, store: EpochStore): MemberState {
  const { senderDataSecret } = store.epochOf(epoch)
  member.secrets.senderDataSecret.fill(0)
  return { ...member, secrets: { ...member.secrets, senderDataSecret } }
}

function suiteOf({ keyPackage }: OwnKeyPackage, { crypto }: MemberDeps): CipherSuite {
  const suiteId = suiteOfName(keyPackage.cipherSuite)
  ensureValid(suiteId !== undefined, `Cipher suite ${keyPackage.cipherSuite} is not supported`)
  return crypto.suite(suiteId)
}
