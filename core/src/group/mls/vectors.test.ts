/** Official vectors of the engine itself: groups followed by a member and by an observer, trees, paths and messages. */
import { decodeAuthenticatedContent, makeProposalRef, verifyMembershipTag } from 'ts-mls/authenticatedContent.js'
import { decryptWithLabel } from 'ts-mls/crypto/hpke.js'
import { toTbs, verifyConfirmationTag, verifyFramedContentSignature } from 'ts-mls/framedContent.js'
import type { GroupContext } from 'ts-mls/groupContext.js'
import { verifyGroupInfoSignature } from 'ts-mls/groupInfo.js'
import { deriveKeySchedule } from 'ts-mls/keySchedule.js'
import { decodeMlsMessage } from 'ts-mls/message.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import { decodeProposal, encodeProposal } from 'ts-mls/proposal.js'
import { addLeafNode, removeLeafNode, resolution, updateLeafNode } from 'ts-mls/ratchetTree.js'
import { createConfirmedHash, createInterimHash } from 'ts-mls/transcriptHash.js'
import { toLeafIndex, toNodeIndex } from 'ts-mls/treemath.js'
import { decodeUpdatePath } from 'ts-mls/updatePath.js'
import { encodeCommit } from 'ts-mls/commit.js'
import { describe, expect } from 'vitest'
import { equalBytes, toHex, utf8 } from '../../bytes.js'
import { type CipherSuite, suiteName } from '../../crypto/index.js'
import { bytes, crypto, type OfSuite, testVectors } from '../testing/vectors.js'
import { decodeKeyPackage, decodePublicMessage, decodeWelcome, encodeContext } from './codec.js'
import { checkMembershipTag, type EnteredEpoch, enterEpoch } from './member-state.js'
import { openMessage, sealMessage, senderDataKeys } from './private-message.js'
import type { ResolvedProposal } from './proposals.js'
import { type PskSource, pskSecretOf } from './psk.js'
import { SecretTree } from './secret-tree.js'
import { type CommitRules, type PublicState, stageCommit } from './stage-commit.js'
import { type HashedTree, hashTree, leafAt, leavesOf, rootHash } from './tree.js'
import { decodeTree } from './tree-codec.js'
import { treeWithHash, validateTree } from './tree-validation.js'
import { applyUpdatePath, createUpdatePath, followPath, openUpdatePath, pathSteps } from './update-path.js'
import { joinByWelcome, openWelcome } from './welcome.js'

const anyLeaf = () => {}

interface PassiveClient extends OfSuite {
  readonly key_package: string
  readonly signature_priv: string
  readonly encryption_priv: string
  readonly init_priv: string
  readonly welcome: string
  readonly initial_epoch_authenticator: string
  readonly ratchet_tree: string | null
  readonly external_psks: readonly { readonly psk_id: string; readonly psk: string }[]
  readonly epochs: readonly {
    readonly proposals: readonly string[]
    readonly commit: string
    readonly epoch_authenticator: string
  }[]
}
interface WelcomeVector extends OfSuite {
  readonly init_priv: string
  readonly key_package: string
  readonly signer_pub: string
  readonly welcome: string
}
interface TreeValidation extends OfSuite {
  readonly tree: string
  readonly group_id: string
  readonly tree_hashes: readonly string[]
  readonly resolutions: readonly (readonly number[])[]
}
interface TreeOperation extends OfSuite {
  readonly proposal: string
  readonly proposal_sender: number
  readonly tree_before: string
  readonly tree_after: string
  readonly tree_hash_before: string
  readonly tree_hash_after: string
}
interface TreeKem extends OfSuite {
  readonly confirmed_transcript_hash: string
  readonly epoch: number
  readonly group_id: string
  readonly ratchet_tree: string
  readonly leaves_private: readonly {
    readonly encryption_priv: string
    readonly index: number
    readonly path_secrets: readonly { readonly node: number; readonly path_secret: string }[]
    readonly signature_priv: string
  }[]
  readonly update_paths: readonly {
    readonly commit_secret: string
    readonly path_secrets: readonly (string | null)[]
    readonly sender: number
    readonly tree_hash_after: string
    readonly update_path: string
  }[]
}
interface TranscriptHashes extends OfSuite {
  readonly confirmation_key: string
  readonly authenticated_content: string
  readonly interim_transcript_hash_before: string
  readonly confirmed_transcript_hash_after: string
  readonly interim_transcript_hash_after: string
}
interface SecretTreeVector extends OfSuite {
  readonly encryption_secret: string
  readonly sender_data: Readonly<Record<'ciphertext' | 'key' | 'nonce' | 'sender_data_secret', string>>
  readonly leaves: readonly (readonly {
    readonly generation: number
    readonly application_key: string
    readonly application_nonce: string
  }[])[]
}
interface MessageProtection extends OfSuite {
  readonly group_id: string
  readonly epoch: number
  readonly tree_hash: string
  readonly confirmed_transcript_hash: string
  readonly signature_priv: string
  readonly signature_pub: string
  readonly encryption_secret: string
  readonly sender_data_secret: string
  readonly membership_key: string
  readonly proposal: string
  readonly proposal_priv: string
  readonly proposal_pub: string
  readonly commit: string
  readonly commit_priv: string
  readonly commit_pub: string
  readonly application: string
  readonly application_priv: string
}

describe('official vectors', () => {
  const both = 'a member joins and follows, an observer follows'
  testVectors<PassiveClient>('passive-client-welcome', both, follow)
  testVectors<PassiveClient>('passive-client-handling-commit', both, follow)

  testVectors<WelcomeVector>('welcome', 'opens, and its GroupInfo is signed and confirmed', async (vector, suite) => {
    const { mls } = suite
    const secrets = { initKey: bytes(vector.init_priv), leafKey: new Uint8Array(32) }
    const keyPackage = decodeKeyPackage(bytes(vector.key_package))
    const opened = await openWelcome(decodeWelcome(bytes(vector.welcome)), keyPackage, secrets, suite)
    const { groupInfo, joinerSecret, pskSecret } = opened
    expect(await verifyGroupInfoSignature(groupInfo, bytes(vector.signer_pub), mls.signature)).toBe(true)
    const { groupContext: context, confirmationTag } = groupInfo
    const [{ confirmationKey }] = await deriveKeySchedule(joinerSecret, pskSecret, context, mls.kdf)
    const { confirmedTranscriptHash } = context
    expect(await verifyConfirmationTag(confirmationKey, confirmationTag, confirmedTranscriptHash, mls.hash)).toBe(true)
  })

  testVectors<TreeValidation>('tree-validation', 'valid trees, their hashes and resolutions', async (vector, suite) => {
    const nodes = decodeTree(bytes(vector.tree))
    const tree = hashTree(nodes, crypto.sha256)
    expect(tree.hashes.map(toHex)).toEqual(vector.tree_hashes)
    expect(nodes.map((_, at) => resolution(nodes, toNodeIndex(at)))).toEqual(vector.resolutions)
    const context = { groupId: bytes(vector.group_id), extensions: [] }
    await validateTree(treeWithHash(nodes, rootHash(tree), suite, crypto.sha256), context, crypto, suite, anyLeaf)
    expect(() => treeWithHash(nodes, new Uint8Array(32), suite, crypto.sha256)).toThrow(/tree hash/)
  })

  testVectors<TreeOperation>('tree-operations', 'adds, updates and removes', (vector) => {
    const before = hashTree(decodeTree(bytes(vector.tree_before)), crypto.sha256)
    expect(toHex(rootHash(before))).toBe(vector.tree_hash_before)
    const [proposal] = decodeProposal(bytes(vector.proposal), 0) ?? []
    let { nodes } = before
    if (proposal?.proposalType === 'add') [nodes] = addLeafNode(nodes, proposal.add.keyPackage.leafNode)
    else if (proposal?.proposalType === 'update')
      nodes = updateLeafNode(nodes, proposal.update.leafNode, toLeafIndex(vector.proposal_sender))
    else if (proposal?.proposalType === 'remove') nodes = removeLeafNode(nodes, toLeafIndex(proposal.remove.removed))
    else throw new Error('a proposal that changes no tree')
    expect(nodes).toEqual(decodeTree(bytes(vector.tree_after)))
    expect(toHex(rootHash(hashTree(nodes, crypto.sha256, before)))).toBe(vector.tree_hash_after)
  })

  testVectors<TreeKem>('treekem', 'every member opens every path, and those we make', treekem)

  testVectors<TranscriptHashes>(
    'transcript-hashes',
    'hashes and confirmation tag of a commit',
    async (vector, { mls }) => {
      const [decoded] = decodeAuthenticatedContent(bytes(vector.authenticated_content), 0) ?? []
      if (decoded?.content.contentType !== 'commit' || decoded.auth.contentType !== 'commit')
        throw new Error('no commit')
      const { wireformat, content, auth } = decoded
      const { signature, confirmationTag } = auth
      const interim = bytes(vector.interim_transcript_hash_before)
      const confirmed = await createConfirmedHash(interim, { wireformat, content, signature }, mls.hash)
      expect(toHex(confirmed)).toBe(vector.confirmed_transcript_hash_after)
      const key = bytes(vector.confirmation_key)
      expect(await verifyConfirmationTag(key, confirmationTag, confirmed, mls.hash)).toBe(true)
      const next = await createInterimHash(confirmed, confirmationTag, mls.hash)
      expect(toHex(next)).toBe(vector.interim_transcript_hash_after)
    }
  )

  testVectors<SecretTreeVector>('secret-tree', 'every application key, and sender data keys', (vector, suite) => {
    const { sender_data, leaves } = vector
    const { key, nonce } = senderDataKeys(
      bytes(sender_data.ciphertext),
      { senderDataSecret: bytes(sender_data.sender_data_secret) },
      crypto,
      suite
    )
    expect([toHex(key), toHex(nonce)]).toEqual([sender_data.key, sender_data.nonce])
    const tree = SecretTree.start(leaves.length, bytes(vector.encryption_secret), crypto, suite)
    for (const [leaf, generations] of leaves.entries())
      for (const { generation, application_key, application_nonce } of generations) {
        const message = tree.peek(leaf, generation).key
        expect([toHex(message.key), toHex(message.nonce)]).toEqual([application_key, application_nonce])
      }
  })

  const protection = 'public handshakes and private application messages; private handshakes are refused'
  testVectors<MessageProtection>('message-protection', protection, messageProtection)
})

async function follow(vector: PassiveClient, suite: CipherSuite): Promise<void> {
  const keyPackage = decodeKeyPackage(bytes(vector.key_package))
  const resumption = new Map<bigint, Uint8Array>()
  const psks: PskSource = (id: PreSharedKeyID) => {
    if (id.psktype === 'resumption') return resumption.get(id.pskEpoch)
    const found = vector.external_psks.find(({ psk_id }) => equalBytes(bytes(psk_id), id.pskId))
    return found && bytes(found.psk)
  }
  const joined = await joinByWelcome(
    decodeWelcome(bytes(vector.welcome)),
    keyPackage,
    { initKey: bytes(vector.init_priv), leafKey: bytes(vector.encryption_priv) },
    {
      crypto,
      suite,
      leafRules: anyLeaf,
      tree: vector.ratchet_tree === null ? undefined : bytes(vector.ratchet_tree),
      psks
    }
  )
  let entered: EnteredEpoch = joined
  // All that the observer ever gets of the member is this; from here on it sees the commits only.
  let observed: PublicState = structuredClone(joined.public)
  resumption.set(observed.context.epoch, entered.member.secrets.resumptionPsk)
  expect(toHex(entered.member.secrets.epochAuthenticator)).toBe(vector.initial_epoch_authenticator)
  let state = joined.public
  for (const epoch of vector.epochs) {
    const references = new Map<string, ResolvedProposal>()
    for (const proposal of epoch.proposals) {
      const { content, auth } = decodePublicMessage(bytes(proposal))
      if (content.contentType !== 'proposal' || content.sender.senderType !== 'member') throw new Error('no proposal')
      const ref = await makeProposalRef({ wireformat: 'mls_public_message', content, auth }, suite.mls.hash)
      references.set(toHex(ref), { proposal: content.proposal, sender: content.sender.leafIndex, byValue: false })
    }
    const rules: CommitRules = { crypto, suite, leafRules: anyLeaf, path: 'rfc9420', references }
    const message = decodePublicMessage(bytes(epoch.commit))
    await checkMembershipTag(entered.member, state, message, suite)
    const staged = await stageCommit(state, message, rules)
    const pskSecret = await pskSecretOf(staged.pskIds, psks, suite)
    entered = await enterEpoch(entered.member, staged, suite, { pskSecret })
    state = staged.next
    resumption.set(state.context.epoch, entered.member.secrets.resumptionPsk)
    expect(toHex(entered.member.secrets.epochAuthenticator)).toBe(epoch.epoch_authenticator)
    observed = (await stageCommit(observed, decodePublicMessage(bytes(epoch.commit)), rules)).next
    expect(toHex(encodeContext(observed.context))).toBe(toHex(encodeContext(state.context)))
  }
}

async function treekem(vector: TreeKem, suite: CipherSuite): Promise<void> {
  const nodes = decodeTree(bytes(vector.ratchet_tree))
  const before = hashTree(nodes, crypto.sha256)
  const context: GroupContext = {
    version: 'mls10',
    cipherSuite: suiteName(suite.id),
    groupId: bytes(vector.group_id),
    epoch: BigInt(vector.epoch),
    treeHash: rootHash(before),
    confirmedTranscriptHash: bytes(vector.confirmed_transcript_hash),
    extensions: []
  }
  await validateTree(before, context, crypto, suite, anyLeaf)
  const keysOf = new Map<number, ReadonlyMap<number, Uint8Array>>()
  for (const { index, encryption_priv, path_secrets } of vector.leaves_private) {
    const keys = new Map([[2 * index, bytes(encryption_priv)]])
    for (const { node, path_secret } of path_secrets) {
      // Fails unless the secret fits the public key in the tree.
      const step = { nodeIndex: node, recipients: [] }
      const { privateKeys } = await followPath(nodes, [step], bytes(path_secret), suite)
      for (const [at, key] of privateKeys) keys.set(at, key)
    }
    keysOf.set(index, keys)
  }
  for (const update of vector.update_paths) {
    const { sender } = update
    const steps = pathSteps(nodes, sender, [])
    const [path] = decodeUpdatePath(bytes(update.update_path), 0) ?? []
    if (path === undefined) throw new Error('no update path')
    const after = applyUpdatePath(before, sender, path, steps, crypto)
    expect(toHex(rootHash(after))).toBe(update.tree_hash_after)
    const open = (tree: HashedTree, me: number, opened: typeof path) =>
      openUpdatePath(tree, me, opened, steps, keysOf.get(me) ?? new Map(), context, suite)
    for (const { index } of leavesOf(nodes)) {
      if (index === sender) continue
      expect(toHex((await open(after, index, path)).commitSecret)).toBe(update.commit_secret)
      const expected = update.path_secrets[index]
      expect(expected).toBe(await firstSecret(index))
    }
    const signer = vector.leaves_private.find(({ index }) => index === sender)
    const signatureKey = bytes(signer?.signature_priv ?? '')
    const made = await createUpdatePath(before, sender, context, steps, signatureKey, crypto, suite)
    const ours = applyUpdatePath(before, sender, made.path, steps, crypto)
    expect(toHex(rootHash(ours))).toBe(toHex(rootHash(made.tree)))
    for (const { index } of leavesOf(nodes))
      if (index !== sender)
        expect(toHex((await open(ours, index, made.path)).commitSecret)).toBe(toHex(made.commitSecret))

    /** The path secret that the member decrypts, before anything is derived from it. */
    async function firstSecret(me: number): Promise<string | undefined> {
      const { hpke } = suite.mls
      for (const [i, { recipients }] of steps.entries())
        for (const [j, at] of recipients.entries()) {
          const key = keysOf.get(me)?.get(at)
          const sealed = path?.nodes[i]?.encryptedPathSecret[j]
          if (key === undefined || sealed === undefined) continue
          const info = encodeContext({ ...context, treeHash: rootHash(after) })
          const privateKey = await hpke.importPrivateKey(key)
          const { kemOutput, ciphertext } = sealed
          return toHex(await decryptWithLabel(privateKey, 'UpdatePathNode', info, kemOutput, ciphertext, hpke))
        }
      return undefined
    }
  }
  expect(leafAt(nodes, 4_000_000)).toBeUndefined()
}

async function messageProtection(vector: MessageProtection, suite: CipherSuite): Promise<void> {
  const { mls } = suite
  const context: GroupContext = {
    version: 'mls10',
    cipherSuite: suiteName(suite.id),
    groupId: bytes(vector.group_id),
    epoch: BigInt(vector.epoch),
    treeHash: bytes(vector.tree_hash),
    confirmedTranscriptHash: bytes(vector.confirmed_transcript_hash),
    extensions: []
  }
  const signatureKey = bytes(vector.signature_pub)
  for (const kind of ['proposal', 'commit'] as const) {
    const message = decodePublicMessage(bytes(vector[`${kind}_pub`]))
    if (message.senderType !== 'member') throw new Error('not a member')
    const { content, auth, membershipTag } = message
    const wireformat = 'mls_public_message'
    const signed = verifyFramedContentSignature(signatureKey, wireformat, content, auth, context, mls.signature)
    expect(await signed).toBe(true)
    const tbm = { contentTbs: toTbs(content, wireformat, context), auth }
    expect(await verifyMembershipTag(bytes(vector.membership_key), tbm, membershipTag, mls.hash)).toBe(true)
    const encoded = content.contentType === 'proposal' ? encodeProposal(content.proposal) : undefined
    expect(toHex(encoded ?? (content.contentType === 'commit' ? encodeCommit(content.commit) : utf8('')))).toBe(
      vector[kind]
    )
    expect(() => decodePublicMessage(bytes(vector[`${kind}_priv`]))).toThrow(/not an MLS PublicMessage/)
  }
  const [decoded] = decodeMlsMessage(bytes(vector.application_priv), 0) ?? []
  if (decoded?.wireformat !== 'mls_private_message') throw new Error('not a PrivateMessage')
  const { encryptedSenderData: senderData, ciphertext, authenticatedData } = decoded.privateMessage
  const epochOf = () => ({
    groupId: context.groupId,
    epoch: context.epoch,
    context: encodeContext(context),
    senderDataSecret: bytes(vector.sender_data_secret),
    secretTree: SecretTree.start(2, bytes(vector.encryption_secret), crypto, suite)
  })
  const keyOf = (leaf: number) => (leaf === 1 ? signatureKey : undefined)
  const open = async (sealed: { senderData: Uint8Array; ciphertext: Uint8Array }) =>
    toHex((await openMessage(sealed, authenticatedData, 0, keyOf, epochOf(), crypto, suite)).plaintext)
  expect(await open({ senderData, ciphertext })).toBe(vector.application)
  const sender = { leafIndex: 1, signatureKey: bytes(vector.signature_priv) }
  const plaintext = bytes(vector.application)
  expect(await open(await sealMessage(plaintext, authenticatedData, sender, epochOf(), crypto, suite))).toBe(
    vector.application
  )
}
