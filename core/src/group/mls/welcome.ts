/** Welcome messages (RFC 9420 section 12.4.3): inviting those a commit adds, and joining by one. */
import { decryptWithLabel } from 'ts-mls/crypto/hpke.js'
import type { Extension } from 'ts-mls/extension.js'
import { verifyConfirmationTag } from 'ts-mls/framedContent.js'
import { extractWelcomeSecret, type GroupInfo } from 'ts-mls/groupInfo.js'
import type { GroupSecrets } from 'ts-mls/groupSecrets.js'
import { type KeyPackage, makeKeyPackageRef } from 'ts-mls/keyPackage.js'
import { deriveKeySchedule } from 'ts-mls/keySchedule.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import { encryptGroupInfo, encryptGroupSecrets, type Welcome, welcomeKey, welcomeNonce } from 'ts-mls/welcome.js'
import { emptyBytes, equalBytes } from '../../bytes.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { decodeBareGroupInfo, decodeSecretsOfWelcome, decodeWelcome } from './codec.js'
import { ensure, ensureValid, typed } from './errors.js'
import { createGroupInfo, verifyGroupInfo } from './group-info.js'
import { SECRET_BYTES } from './kdf.js'
import type { LeafRules } from './leaf.js'
import { type BuiltCommit, type CreatedEpoch, kept } from './member-state.js'
import { checkPskIds, type PskSource, pskSecretOf } from './psk.js'
import type { PublicState } from './stage-commit.js'
import { leafAt, leavesOf } from './tree.js'
import { followPath, isAbove, pathSteps } from './update-path.js'

/** Private keys of a key package. */
export interface KeyPackageSecrets {
  readonly initKey: Uint8Array
  readonly leafKey: Uint8Array
}

/** The Welcome for everyone the commit adds, without the tree; `joiners` in the order of the Add proposals. */
export async function createWelcome(
  built: BuiltCommit,
  joiners: readonly KeyPackage[],
  signatureKey: Uint8Array,
  extensions: readonly Extension[],
  suite: CipherSuite
): Promise<Welcome> {
  const { mls } = suite
  const { leafIndex } = built.member
  const groupInfo = await createGroupInfo(built.public, leafIndex, signatureKey, extensions, suite)
  const encryptedGroupInfo = await encryptGroupInfo(groupInfo, built.welcomeSecret, mls)
  const { nodes } = built.public.tree
  const secrets: Welcome['secrets'] = []
  for (const [i, keyPackage] of joiners.entries()) {
    const joiner = built.added[i]
    const shared = pathSteps(nodes, leafIndex, []).find(
      ({ nodeIndex }) => joiner !== undefined && isAbove(nodes, nodeIndex, joiner)
    )
    ensureValid(shared !== undefined, 'A joiner has no common ancestor with the committer')
    const groupSecrets: GroupSecrets = {
      joinerSecret: built.joinerSecret,
      pathSecret: built.pathSecrets.get(shared.nodeIndex),
      psks: [...built.pskIds]
    }
    const initKey = await mls.hpke.importPublicKey(keyPackage.initKey)
    const { enc, ct } = await encryptGroupSecrets(initKey, encryptedGroupInfo, groupSecrets, mls.hpke)
    secrets.push({
      newMember: await makeKeyPackageRef(keyPackage, mls.hash),
      encryptedGroupSecrets: { kemOutput: enc, ciphertext: ct }
    })
  }
  return { cipherSuite: mls.name, secrets, encryptedGroupInfo }
}

/** References of the key packages a Welcome (MLSMessage) is for, as it says itself; copies. Throws MALFORMED. */
export function welcomeRefs(welcome: Uint8Array): readonly Uint8Array[] {
  return decodeWelcome(welcome).secrets.map(({ newMember }) => newMember.slice())
}

export interface JoinParts {
  readonly crypto: CryptoProvider
  readonly suite: CipherSuite
  readonly leafRules: LeafRules
  /** The encoded ratchet tree, for a Welcome that is without. */
  readonly tree?: Uint8Array | undefined
  /** Without it a Welcome that needs pre-shared keys is refused. */
  readonly psks?: PskSource | undefined
}

export interface Joined extends CreatedEpoch {
  readonly groupInfo: GroupInfo
  /** Pre-shared keys that were needed to join. */
  readonly pskIds: readonly PreSharedKeyID[]
}

/**
 * Joins the group. Throws NOT_FOUND when the Welcome is not for this key package or needs a pre-shared key that `psks`
 * has not, UNDECRYPTABLE, MALFORMED, INVALID (with `info.otherTree` when only the tree is wrong), BAD_SIGNATURE.
 */
export async function joinByWelcome(
  welcome: Welcome,
  keyPackage: KeyPackage,
  secrets: KeyPackageSecrets,
  parts: JoinParts
): Promise<Joined> {
  const { crypto, suite, leafRules } = parts
  const { mls } = suite
  const opened = await openWelcome(welcome, keyPackage, secrets, suite, parts.psks)
  const { groupInfo, joinerSecret, pskSecret, pathSecret, pskIds } = opened
  const state = await verifyGroupInfo(groupInfo, crypto, suite, leafRules, parts.tree)
  checkPskIds(pskIds, state.context.epoch === 1n)
  const leafIndex = ownLeaf(state, keyPackage)
  const [schedule, encryptionSecret] = await deriveKeySchedule(joinerSecret, pskSecret, state.context, mls.kdf)
  for (const secret of [joinerSecret, pskSecret]) secret.fill(0)
  ensureValid(
    await verifyConfirmationTag(
      schedule.confirmationKey,
      state.confirmationTag,
      state.context.confirmedTranscriptHash,
      mls.hash
    ),
    'The confirmation tag of the GroupInfo is wrong'
  )
  schedule.confirmationKey.fill(0)
  const above = await keysAbove(state, leafIndex, groupInfo.signer, pathSecret, suite)
  const privateKeys = new Map([...above, [2 * leafIndex, secrets.leafKey] as const])
  const member = { leafIndex, privateKeys, secrets: kept(schedule), resumption: new Map() }
  return { public: state, member, encryptionSecret, groupInfo, pskIds }
}

export interface OpenedWelcome {
  readonly groupInfo: GroupInfo
  readonly joinerSecret: Uint8Array
  readonly pskSecret: Uint8Array
  readonly pathSecret: Uint8Array | undefined
  readonly pskIds: readonly PreSharedKeyID[]
}

/** What a Welcome says to the owner of a key package; the GroupInfo is not verified. Throws as `joinByWelcome`. */
export async function openWelcome(
  welcome: Welcome,
  keyPackage: KeyPackage,
  secrets: KeyPackageSecrets,
  suite: CipherSuite,
  source: PskSource = () => undefined
): Promise<OpenedWelcome> {
  ensureValid(welcome.cipherSuite === keyPackage.cipherSuite, 'The Welcome is for another cipher suite')
  const { joinerSecret, psks: pskIds, pathSecret } = await openGroupSecrets(welcome, keyPackage, secrets, suite)
  ensureValid(joinerSecret.length === SECRET_BYTES, 'The joiner secret has not the length of the hash')
  // Whether the group is at its start is known only from its GroupInfo; who joins asks again.
  checkPskIds(pskIds, true)
  const pskSecret = await pskSecretOf(pskIds, source, suite)
  const groupInfo = await openGroupInfo(welcome, joinerSecret, pskSecret, suite)
  return { groupInfo, joinerSecret, pskSecret, pathSecret, pskIds }
}

async function openGroupSecrets(
  welcome: Welcome,
  keyPackage: KeyPackage,
  { initKey }: KeyPackageSecrets,
  { mls }: CipherSuite
): Promise<GroupSecrets> {
  const ref = await makeKeyPackageRef(keyPackage, mls.hash)
  const mine = welcome.secrets.find(({ newMember }) => equalBytes(newMember, ref))
  ensure(mine !== undefined, 'NOT_FOUND', 'The Welcome is not for this key package')
  const { kemOutput, ciphertext } = mine.encryptedGroupSecrets
  const privateKey = await mls.hpke.importPrivateKey(initKey)
  const opened = await typed('UNDECRYPTABLE', 'The Welcome cannot be opened with this key package', () =>
    decryptWithLabel(privateKey, 'Welcome', welcome.encryptedGroupInfo, kemOutput, ciphertext, mls.hpke)
  )
  return decodeSecretsOfWelcome(opened)
}

async function openGroupInfo(
  welcome: Welcome,
  joinerSecret: Uint8Array,
  pskSecret: Uint8Array,
  suite: CipherSuite
): Promise<GroupInfo> {
  const secret = await extractWelcomeSecret(joinerSecret, pskSecret, suite.mls.kdf)
  const key = await welcomeKey(secret, suite.mls)
  const nonce = await welcomeNonce(secret, suite.mls)
  return decodeBareGroupInfo(suite.open(key, nonce, emptyBytes, welcome.encryptedGroupInfo))
}

function ownLeaf({ tree }: PublicState, { leafNode }: KeyPackage): number {
  const mine = leavesOf(tree.nodes).find(
    ({ leaf }) =>
      equalBytes(leaf.signaturePublicKey, leafNode.signaturePublicKey) &&
      equalBytes(leaf.hpkePublicKey, leafNode.hpkePublicKey)
  )
  ensureValid(mine !== undefined, 'The Welcome is of a group that this key package is not in')
  return mine.index
}

/** Private keys of the nodes shared with the committer, from the path secret it sent (none without a path). */
async function keysAbove(
  { tree: { nodes } }: PublicState,
  me: number,
  committer: number,
  pathSecret: Uint8Array | undefined,
  suite: CipherSuite
): Promise<ReadonlyMap<number, Uint8Array>> {
  if (pathSecret === undefined) return new Map()
  ensureValid(pathSecret.length === SECRET_BYTES, 'The path secret has not the length of the hash')
  ensureValid(leafAt(nodes, committer) !== undefined && committer !== me, 'The committer is not another member')
  const steps = pathSteps(nodes, committer, [])
  const first = steps.findIndex(({ nodeIndex }) => isAbove(nodes, nodeIndex, me))
  ensureValid(first >= 0, 'The joiner has no common ancestor with the committer')
  const { privateKeys } = await followPath(nodes, steps.slice(first), pathSecret, suite)
  return privateKeys
}
