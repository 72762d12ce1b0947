/**
 * The official test vectors of RFC 9420 (github.com/mlswg/mls-implementations) against the engine. They are not part of
 * the repository: HEDDLE_MLS_VECTORS names a folder with them. Suites 1 and 3 are run, the others are not supported.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeProposalRef } from 'ts-mls/authenticatedContent.js'
import type { PreSharedKeyID } from 'ts-mls/presharedkey.js'
import { accumulatePskSecret } from 'ts-mls/pskIndex.js'
import { decodeRatchetTree } from 'ts-mls/ratchetTree.js'
import { describe, expect, test } from 'vitest'
import { equalBytes, fromHex, toHex } from '../../bytes.js'
import { createCrypto, type SuiteId } from '../../crypto/index.js'
import { decodeKeyPackage, decodePublicMessage, decodeWelcome } from './codec.js'
import { checkMembershipTag, type EnteredEpoch, enterEpoch } from './member-state.js'
import type { ResolvedProposal } from './proposals.js'
import { SecretTree } from './secret-tree.js'
import { type CommitRules, type PublicState, stageCommit } from './stage-commit.js'
import { hashTree, rootHash } from './tree.js'
import { validateTree } from './tree-validation.js'
import { joinByWelcome } from './welcome.js'

const folder = process.env.HEDDLE_MLS_VECTORS
const crypto = createCrypto((length) => globalThis.crypto.getRandomValues(new Uint8Array(length)))
const anyLeaf = () => {}

interface PassiveClient {
  readonly cipher_suite: number
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
interface TreeValidation {
  readonly cipher_suite: number
  readonly tree: string
  readonly group_id: string
  readonly tree_hashes: readonly string[]
}

const skipped = folder === undefined ? 'HEDDLE_MLS_VECTORS is not set' : !existsSync(folder) && `${folder} is missing`

describe.skipIf(skipped)(`official vectors${skipped ? ` (skipped: ${skipped})` : ''}`, () => {
  test.each(['passive-client-welcome', 'passive-client-handling-commit'])('%s', async (name) => {
    const vectors = load<PassiveClient>(name)
    expect(vectors.length).toBeGreaterThan(0)
    for (const vector of vectors) await follow(vector)
  })

  test('secret-tree gives every application key', () => {
    const vectors = load<SecretTreeVector>('secret-tree')
    expect(vectors.length).toBeGreaterThan(0)
    for (const { cipher_suite, encryption_secret, leaves } of vectors) {
      const suite = crypto.suite(cipher_suite as SuiteId)
      const tree = SecretTree.start(leaves.length, bytes(encryption_secret), crypto, suite)
      for (const [leaf, generations] of leaves.entries())
        for (const { generation, application_key, application_nonce } of generations) {
          const { key } = tree.peek(leaf, generation)
          expect([toHex(key.key), toHex(key.nonce)]).toEqual([application_key, application_nonce])
        }
    }
  })

  test('tree-validation accepts every tree and computes every hash', async () => {
    const vectors = load<TreeValidation>('tree-validation')
    expect(vectors.length).toBeGreaterThan(0)
    for (const vector of vectors) {
      const nodes = decodeRatchetTree(bytes(vector.tree), 0)?.[0] ?? []
      const tree = hashTree(nodes, crypto.sha256)
      expect(tree.hashes.map(toHex)).toEqual(vector.tree_hashes)
      const context = { groupId: bytes(vector.group_id), extensions: [], treeHash: rootHash(tree) }
      const suite = crypto.suite(vector.cipher_suite as SuiteId)
      await validateTree(nodes, context, crypto, suite, anyLeaf)
    }
  })
})

interface SecretTreeVector {
  readonly cipher_suite: number
  readonly encryption_secret: string
  readonly leaves: readonly (readonly {
    readonly generation: number
    readonly application_key: string
    readonly application_nonce: string
  }[])[]
}

function load<T extends { readonly cipher_suite: number }>(name: string): readonly T[] {
  const all = JSON.parse(readFileSync(join(folder ?? '', `${name}.json`), 'utf8')) as readonly T[]
  return all.filter(({ cipher_suite }) => cipher_suite === 1 || cipher_suite === 3)
}

async function follow(vector: PassiveClient): Promise<void> {
  const suite = crypto.suite(vector.cipher_suite as SuiteId)
  const keyPackage = decodeKeyPackage(bytes(vector.key_package))
  const resumption = new Map<bigint, Uint8Array>()
  const joined = await joinByWelcome(
    decodeWelcome(bytes(vector.welcome)),
    keyPackage,
    { initKey: bytes(vector.init_priv), leafKey: bytes(vector.encryption_priv) },
    {
      crypto,
      suite,
      leafRules: anyLeaf,
      outOfBandTree: vector.ratchet_tree === null ? undefined : decodeRatchetTree(bytes(vector.ratchet_tree), 0)?.[0],
      pskSecretOf: (ids) => pskSecret(ids, vector, resumption)
    }
  )
  let entered: EnteredEpoch = joined
  let state: PublicState = joined.public
  resumption.set(state.context.epoch, entered.member.secrets.resumptionPsk)
  expect(toHex(entered.member.secrets.epochAuthenticator)).toBe(vector.initial_epoch_authenticator)
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
    entered = await enterEpoch(entered.member, staged, suite, await pskSecret(staged.pskIds, vector, resumption))
    state = staged.next
    resumption.set(state.context.epoch, entered.member.secrets.resumptionPsk)
    expect(toHex(entered.member.secrets.epochAuthenticator)).toBe(epoch.epoch_authenticator)
  }
}

async function pskSecret(
  ids: readonly PreSharedKeyID[],
  { cipher_suite, external_psks }: PassiveClient,
  resumption: ReadonlyMap<bigint, Uint8Array>
): Promise<Uint8Array> {
  const findPsk = (id: PreSharedKeyID): Uint8Array | undefined => {
    if (id.psktype === 'resumption') return resumption.get(id.pskEpoch)
    const found = external_psks.find(({ psk_id }) => equalBytes(bytes(psk_id), id.pskId))
    return found && bytes(found.psk)
  }
  const { mls } = crypto.suite(cipher_suite as SuiteId)
  const [secret] = await accumulatePskSecret([...ids], { findPsk }, mls, new Uint8Array(32))
  return secret
}

function bytes(hex: string): Uint8Array {
  const decoded = fromHex(hex)
  if (decoded === undefined) throw new Error('a vector has no hexadecimal digits where it should')
  return decoded
}
