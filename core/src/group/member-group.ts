/**
 * A group as one of its members has it (SPEC GROUP): builds and processes commits, seals and opens messages. Every epoch is
 * an object of its own; the one before must no longer be used. What changes is told as records, which the device makes
 * durable in one batch with its own before anything leaves.
 */
import { mlsExporter } from 'ts-mls/keySchedule.js'
import { emptyBytes, equalBytes } from '../bytes.js'
import { type CipherSuite, suiteOfName } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import { type DocumentExtension, LIMITS, Role, type ServerEntry } from '../wire/index.js'
import { type CommitPlan, planProposals } from './commit-plan.js'
import { EpochStore, RetainedEpoch } from './epoch-store.js'
import { leafRules, writeGroupExtensions } from './extensions.js'
import type { OwnKeyPackage } from './key-package.js'
import { memberIdOf } from './member-id.js'
import {
  buildEpoch,
  checkMembershipTag,
  createGroupInfo,
  createWelcome,
  decodeWelcome,
  type EnteredEpoch,
  encodeGroupInfoMessage,
  encodePublicMessage,
  encodeWelcome,
  ensure,
  ensureValid,
  enterEpoch,
  firstEpoch,
  hashTree,
  joinByWelcome,
  type MemberState,
  openMessage,
  rootHash,
  type SealedMessage,
  SecretTree,
  sealMessage,
  typed
} from './mls/index.js'
import { type GroupRecord, readPending, readRecords, type StoredRecord, savePending } from './persistence.js'
import { type GroupDeps, PublicGroup } from './public-group.js'
import type { RosterEntry } from './roster.js'

/** Commit and Welcome travel in one ValueContent; 16 bytes are for its field headers. */
const VALUE_BYTES_MAX = LIMITS.ValueContent.maxSize - 16

export interface MemberDeps extends GroupDeps {
  /** Milliseconds since the Unix epoch. */
  readonly now: () => number
}

export interface CreateGroup {
  /** 16 bytes, random. */
  readonly groupId: Uint8Array
  readonly keyPackage: OwnKeyPackage
  readonly document: DocumentExtension
  readonly servers: readonly ServerEntry[]
  readonly faultBound: number
  /** Role of members that are given none; not admin. */
  readonly defaultRole: Role
}

export interface BuiltCommit {
  /** MLSMessage with the commit. */
  readonly commit: Uint8Array
  /** MLSMessage with the Welcome, when the commit adds anyone. To be released once the commit is decided. */
  readonly welcome: Uint8Array | undefined
  /** For `adopt`, once this commit is decided: secret, and durable before the commit leaves. */
  readonly pending: Uint8Array
  readonly next: PublicGroup
}

export type ProcessedCommit =
  | { readonly removed: false; readonly group: MemberGroup }
  /** This device was removed: it stays in its epoch, where it can still open what was sent before. */
  | { readonly removed: true; readonly next: PublicGroup }

export interface MessageToOpen extends SealedMessage {
  readonly epoch: bigint
  /** What the sender passed to `encrypt`. */
  readonly aad: Uint8Array
}

export interface Opened {
  readonly plaintext: Uint8Array
  readonly memberId: Uint8Array
  /** At the epoch of the message. */
  readonly role: Role
  readonly leafIndex: number
}

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
   * Throws NOT_FOUND when it is not for this key package, MALFORMED, UNDECRYPTABLE, INVALID, BAD_SIGNATURE.
   */
  static async join(
    { welcome, keyPackage }: { readonly welcome: Uint8Array; readonly keyPackage: OwnKeyPackage },
    deps: MemberDeps
  ): Promise<MemberGroup> {
    const decoded = decodeWelcome(welcome)
    const suite = suiteOf(keyPackage, deps)
    const { initKey, leafKey } = keyPackage.secrets
    const secrets = { initKey, leafKey: leafKey.slice() }
    const joined = await typed('INVALID', 'The Welcome is not valid', () =>
      joinByWelcome(decoded, keyPackage.keyPackage, secrets, { crypto: deps.crypto, suite, leafRules })
    )
    const group = PublicGroup.of(joined.public, deps)
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
    return new MemberGroup(current, state.member, state.signatureKey, store, deps)
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
  /** Signature key of a member in a retained epoch. */
  signatureKeyOf(memberId: Uint8Array, epoch: bigint): Uint8Array | undefined {
    return this.memberAt(memberId, epoch)?.signaturePublicKey
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

  /** MLSMessage with a GroupInfo of this epoch, ratchet tree included, for `PublicGroup.fromGroupInfo`. */
  async groupInfo(): Promise<Uint8Array> {
    const signer = this.me.leafIndex
    return encodeGroupInfoMessage(await createGroupInfo(this.public.state, signer, this.#signatureKey, [], this.#suite))
  }

  /**
   * Builds a commit, always with new keys for this device. Nothing changes until `adopt`. Throws FORBIDDEN when this
   * member may not, INVALID or MALFORMED when nobody could, as every validator would.
   */
  buildCommit(plan: CommitPlan = {}): Promise<BuiltCommit> {
    return this.#exclusively(async () => {
      const { crypto, now } = this.#deps
      const { proposals, joiners } = planProposals(plan, this.public, crypto)
      const nowSeconds = BigInt(Math.floor(now() / 1000))
      const built = await typed('INVALID', 'The commit cannot be built', () =>
        buildEpoch(
          this.#member,
          this.public.state,
          proposals,
          this.#signatureKey,
          { suite: this.#suite, leafRules, nowSeconds },
          crypto
        )
      )
      const commit = encodePublicMessage(built.message)
      // What others will refuse must not be proposed, so it is validated as they do.
      const { next } = await this.public.stage(commit)
      const welcome =
        joiners.length === 0
          ? undefined
          : encodeWelcome(await createWelcome(built, joiners, this.#signatureKey, [], this.#suite))
      ensureValid(
        commit.length + (welcome?.length ?? 0) <= VALUE_BYTES_MAX,
        'The change is too large for one commit: add fewer members at once'
      )
      const { epoch, ctx } = this.public
      const { member, encryptionSecret } = built
      const pending = savePending({ epoch, ctx, commit, nextCtx: next.ctx, member, encryptionSecret })
      for (const secret of [built.joinerSecret, built.welcomeSecret, encryptionSecret]) secret.fill(0)
      return { commit, welcome, pending, next }
    })
  }

  /**
   * Enters the epoch that this member's own commit begins, now that it is decided. `pending` comes from `buildCommit`, of
   * this process or one before. Throws STALE_EPOCH when another commit was decided, STORAGE_CORRUPT.
   */
  adopt(pending: Uint8Array): Promise<MemberGroup> {
    return this.#exclusively(async () => {
      const { epoch, ctx, commit, nextCtx, member, encryptionSecret } = readPending(pending)
      ensure(
        epoch === this.epoch && equalBytes(ctx, this.public.ctx),
        'STALE_EPOCH',
        `The pending commit is for epoch ${epoch}, the group is at ${this.epoch} or on another branch`
      )
      const { next } = await this.public.stage(commit)
      ensure(equalBytes(next.ctx, nextCtx), 'STORAGE_CORRUPT', 'The pending commit leads to another epoch than it did')
      return this.#advance(next, { member, encryptionSecret })
    })
  }

  /**
   * Enters the epoch that another member's commit begins. Throws as `PublicGroup.processCommit` does, and INVALID with
   * `info.poison` for a commit that observers accept and no member can; then nothing has changed.
   */
  processCommit(commit: Uint8Array): Promise<ProcessedCommit> {
    return this.#exclusively(async () => {
      const { message, staged, next } = await this.public.stage(commit)
      const { leafIndex } = this.me
      if (staged.committer === leafIndex)
        throw new HeddleError('INVALID', 'The commit is of this device itself: adopt its pending state', {
          info: { ownCommit: true }
        })
      await checkMembershipTag(this.#member, this.public.state, message, this.#suite)
      if (staged.removed.includes(leafIndex)) return { removed: true, next }
      const entered = await typed('INVALID', 'The commit cannot be processed', () =>
        enterEpoch(this.#member, staged, this.#suite)
      )
      return { removed: false, group: this.#advance(next, entered) }
    })
  }

  /** Seals a message in this epoch. Its key is used up: make the dirty records durable before the message leaves. */
  encrypt(plaintext: Uint8Array, aad: Uint8Array): Promise<SealedMessage> {
    return this.#exclusively(() => {
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
    this.#zero(entered.member)
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

  /** Zeroes what the next epoch does not use; the sender data secret stays for late messages. */
  #zero(next: MemberState): void {
    const { initSecret, exporterSecret, membershipKey, resumptionPsk, epochAuthenticator } = this.#member.secrets
    for (const secret of [initSecret, exporterSecret, membershipKey, resumptionPsk, epochAuthenticator]) secret.fill(0)
    const inUse = new Set(next.privateKeys.values())
    for (const privateKey of this.#member.privateKeys.values()) if (!inUse.has(privateKey)) privateKey.fill(0)
  }
}

function suiteOf({ keyPackage }: OwnKeyPackage, { crypto }: MemberDeps): CipherSuite {
  const suiteId = suiteOfName(keyPackage.cipherSuite)
  ensureValid(suiteId !== undefined, `Cipher suite ${keyPackage.cipherSuite} is not supported`)
  return crypto.suite(suiteId)
}
