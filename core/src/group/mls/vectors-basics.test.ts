/** Official vectors of what the engine is built from: crypto, key schedule, tree arithmetic, encodings. */
import type { Decoder } from 'ts-mls/codec/tlsDecoder.js'
import { type BufferEncoder, encode } from 'ts-mls/codec/tlsEncoder.js'
import { commitEncoder, decodeCommit } from 'ts-mls/commit.js'
import { refhash } from 'ts-mls/crypto/hash.js'
import { decryptWithLabel, encryptWithLabel } from 'ts-mls/crypto/hpke.js'
import { deriveSecret as derive } from 'ts-mls/crypto/kdf.js'
import { signWithLabel, verifyWithLabel } from 'ts-mls/crypto/signature.js'
import { initializeEpoch, mlsExporter } from 'ts-mls/keySchedule.js'
import { decodeMlsMessage, mlsMessageEncoder } from 'ts-mls/message.js'
import * as proposals from 'ts-mls/proposal.js'
import { left, parent, right, root, sibling, toNodeIndex } from 'ts-mls/treemath.js'
import { describe, expect } from 'vitest'
import { concatBytes, toHex } from '../../bytes.js'
import { suiteName } from '../../crypto/index.js'
import { bytes, crypto, type OfSuite, testAllVectors, testVectors } from '../testing/vectors.js'
import {
  decodeGroupInfoMessage,
  decodeKeyPackage,
  decodePublicMessage,
  decodeSecretsOfWelcome,
  decodeWelcome,
  encodeContext,
  encodeGroupInfoMessage,
  encodeKeyPackage,
  encodePublicMessage,
  encodeWelcome
} from './codec.js'
import { decodeExact } from './exact.js'
import { deriveSecret, deriveTreeSecret, expandWithLabel, label } from './kdf.js'
import { pskSecretOf } from './psk.js'
import { decodeTree, encodeTree } from './tree-codec.js'

interface CryptoBasics extends OfSuite {
  readonly derive_secret: { readonly label: string; readonly out: string; readonly secret: string }
  readonly derive_tree_secret: {
    readonly label: string
    readonly generation: number
    readonly length: number
    readonly out: string
    readonly secret: string
  }
  readonly encrypt_with_label: Readonly<
    Record<'ciphertext' | 'context' | 'kem_output' | 'label' | 'plaintext' | 'priv' | 'pub', string>
  >
  readonly expand_with_label: {
    readonly context: string
    readonly label: string
    readonly length: number
    readonly out: string
    readonly secret: string
  }
  readonly ref_hash: Readonly<Record<'label' | 'out' | 'value', string>>
  readonly sign_with_label: Readonly<Record<'content' | 'label' | 'priv' | 'pub' | 'signature', string>>
}

interface KeySchedule extends OfSuite {
  readonly group_id: string
  readonly initial_init_secret: string
  readonly epochs: readonly (Readonly<
    Record<
      | 'commit_secret'
      | 'confirmation_key'
      | 'confirmed_transcript_hash'
      | 'encryption_secret'
      | 'epoch_authenticator'
      | 'exporter_secret'
      | 'external_pub'
      | 'external_secret'
      | 'group_context'
      | 'init_secret'
      | 'joiner_secret'
      | 'membership_key'
      | 'psk_secret'
      | 'resumption_psk'
      | 'sender_data_secret'
      | 'tree_hash'
      | 'welcome_secret',
      string
    >
  > & { readonly exporter: Readonly<Record<'context' | 'label' | 'secret', string>> & { readonly length: number } })[]
}

interface PskSecret extends OfSuite {
  readonly psk_secret: string
  readonly psks: readonly Readonly<Record<'psk' | 'psk_id' | 'psk_nonce', string>>[]
}

interface TreeMath {
  readonly n_leaves: number
  readonly n_nodes: number
  readonly root: number
  readonly left: readonly (number | null)[]
  readonly right: readonly (number | null)[]
  readonly parent: readonly (number | null)[]
  readonly sibling: readonly (number | null)[]
}

type Messages = Readonly<Record<string, string>>

describe('official vectors', () => {
  testVectors<CryptoBasics>(
    'crypto-basics',
    'labelled hashes, keys, signatures and encryption',
    async (vector, suite) => {
      const { mls } = suite
      const { ref_hash, expand_with_label, derive_secret, derive_tree_secret, sign_with_label } = vector
      expect(toHex(await refhash(ref_hash.label, bytes(ref_hash.value), mls.hash))).toBe(ref_hash.out)
      const { secret, context, length } = expand_with_label
      const labelled = label(expand_with_label.label)
      expect(toHex(expandWithLabel(crypto, bytes(secret), labelled, bytes(context), length))).toBe(
        expand_with_label.out
      )
      const derived = deriveSecret(crypto, bytes(derive_secret.secret), label(derive_secret.label))
      expect(toHex(derived)).toBe(derive_secret.out)
      expect(toHex(await derive(bytes(derive_secret.secret), derive_secret.label, mls.kdf))).toBe(derive_secret.out)
      const { generation } = derive_tree_secret
      const leafSecret = bytes(derive_tree_secret.secret)
      const treeLabel = label(derive_tree_secret.label)
      const treeSecret = deriveTreeSecret(crypto, leafSecret, treeLabel, generation, derive_tree_secret.length)
      expect(toHex(treeSecret)).toBe(derive_tree_secret.out)

      const { priv, pub, content, signature } = sign_with_label
      const signed = await signWithLabel(bytes(priv), sign_with_label.label, bytes(content), mls.signature)
      expect(toHex(signed)).toBe(signature)
      const isRight = verifyWithLabel(
        bytes(pub),
        sign_with_label.label,
        bytes(content),
        bytes(signature),
        mls.signature
      )
      expect(await isRight).toBe(true)

      const { hpke } = mls
      const sealed = vector.encrypt_with_label
      const privateKey = await hpke.importPrivateKey(bytes(sealed.priv))
      const open = (kemOutput: Uint8Array, ciphertext: Uint8Array) =>
        decryptWithLabel(privateKey, sealed.label, bytes(sealed.context), kemOutput, ciphertext, hpke)
      expect(toHex(await open(bytes(sealed.kem_output), bytes(sealed.ciphertext)))).toBe(sealed.plaintext)
      const publicKey = await hpke.importPublicKey(bytes(sealed.pub))
      const again = await encryptWithLabel(
        publicKey,
        sealed.label,
        bytes(sealed.context),
        bytes(sealed.plaintext),
        hpke
      )
      expect(toHex(await open(again.enc, again.ct))).toBe(sealed.plaintext)
    }
  )

  testVectors<KeySchedule>('key-schedule', 'every secret of every epoch', async (vector, { mls, id }) => {
    let initSecret = bytes(vector.initial_init_secret)
    for (const [epoch, expected] of vector.epochs.entries()) {
      const context = {
        version: 'mls10',
        cipherSuite: suiteName(id),
        groupId: bytes(vector.group_id),
        epoch: BigInt(epoch),
        treeHash: bytes(expected.tree_hash),
        confirmedTranscriptHash: bytes(expected.confirmed_transcript_hash),
        extensions: []
      } as const
      expect(toHex(encodeContext({ ...context, extensions: [] }))).toBe(expected.group_context)
      const entered = await initializeEpoch(
        initSecret,
        bytes(expected.commit_secret),
        { ...context, extensions: [] },
        bytes(expected.psk_secret),
        mls.kdf
      )
      const { keySchedule } = entered
      const externalKeys = await mls.hpke.deriveKeyPair(keySchedule.externalSecret)
      const { exporter } = expected
      const got = {
        joiner_secret: entered.joinerSecret,
        welcome_secret: entered.welcomeSecret,
        encryption_secret: entered.encryptionSecret,
        init_secret: keySchedule.initSecret,
        sender_data_secret: keySchedule.senderDataSecret,
        exporter_secret: keySchedule.exporterSecret,
        external_secret: keySchedule.externalSecret,
        confirmation_key: keySchedule.confirmationKey,
        membership_key: keySchedule.membershipKey,
        resumption_psk: keySchedule.resumptionPsk,
        epoch_authenticator: keySchedule.epochAuthenticator,
        external_pub: await mls.hpke.exportPublicKey(externalKeys.publicKey)
      }
      const hex = Object.fromEntries(Object.entries(got).map(([name, secret]) => [name, toHex(secret)]))
      expect(expected).toMatchObject(hex)
      const { exporterSecret } = keySchedule
      const exported = await mlsExporter(exporterSecret, exporter.label, bytes(exporter.context), exporter.length, mls)
      expect(toHex(exported)).toBe(exporter.secret)
      initSecret = keySchedule.initSecret
    }
  })

  testVectors<PskSecret>('psk_secret', 'the secret of several pre-shared keys', async ({ psks, psk_secret }, suite) => {
    const ids = psks.map(
      ({ psk_id, psk_nonce }) => ({ psktype: 'external', pskId: bytes(psk_id), pskNonce: bytes(psk_nonce) }) as const
    )
    const keys = new Map(psks.map(({ psk_id, psk }) => [psk_id, bytes(psk)]))
    const source = (id: { psktype: string; pskId?: Uint8Array }) => id.pskId && keys.get(toHex(id.pskId))
    expect(toHex(await pskSecretOf(ids, source, suite))).toBe(psk_secret)
  })

  testAllVectors<TreeMath>('tree-math', 'root, children, parent and sibling of every node', (vector) => {
    const leaves = vector.n_leaves
    expect(root(leaves)).toBe(vector.root)
    expect(vector.n_nodes).toBe(2 * leaves - 1)
    const relations = { left, right, parent: parentIn(leaves), sibling: siblingIn(leaves) }
    for (const [name, relation] of Object.entries(relations))
      for (const [at, expected] of vector[name as keyof typeof relations].entries())
        if (expected !== null) expect(relation(toNodeIndex(at)), `${name} of ${at} in ${leaves}`).toBe(expected)
  })

  testAllVectors<Messages>(
    'messages',
    'every structure in its one encoding, and not with a byte more or less',
    (vector) => {
      const entries = Object.entries(vector)
      expect(entries).toHaveLength(Object.keys(codecs).length)
      for (const [name, hex] of entries) {
        const codec = codecs[name]
        if (codec === undefined) throw new Error(`no codec for ${name}`)
        const encoded = bytes(hex)
        expect(toHex(codec(encoded)), name).toBe(hex)
        const malformed = expect.objectContaining({ code: 'MALFORMED' })
        expect(() => codec(concatBytes(encoded, Uint8Array.of(0))), name).toThrow(malformed)
        expect(() => codec(encoded.subarray(0, -1)), name).toThrow(malformed)
      }
    }
  )
})

const parentIn = (leaves: number) => (at: ReturnType<typeof toNodeIndex>) => parent(at, leaves)
const siblingIn = (leaves: number) => (at: ReturnType<typeof toNodeIndex>) => sibling(at, leaves)

const exact =
  <T>(decoder: Decoder<T>, encoder: BufferEncoder<T>) =>
  (encoded: Uint8Array): Uint8Array =>
    encode(encoder)(decodeExact(encoded, { decoder, encoder, what: 'structure' }))
const message = exact(decodeMlsMessage, mlsMessageEncoder)
const publicMessage = (encoded: Uint8Array) => encodePublicMessage(decodePublicMessage(encoded))

/** Decodes and encodes again. */
const codecs: Readonly<Record<string, (encoded: Uint8Array) => Uint8Array>> = {
  mls_welcome: (encoded) => encodeWelcome(decodeWelcome(encoded)),
  mls_group_info: (encoded) => encodeGroupInfoMessage(decodeGroupInfoMessage(encoded)),
  mls_key_package: (encoded) => encodeKeyPackage(decodeKeyPackage(encoded)),
  ratchet_tree: (encoded) => encodeTree(decodeTree(encoded)),
  group_secrets: (encoded) => {
    decodeSecretsOfWelcome(encoded)
    return encoded
  },
  add_proposal: exact(proposals.decodeAdd, proposals.addEncoder),
  update_proposal: exact(proposals.decodeUpdate, proposals.updateEncoder),
  remove_proposal: exact(proposals.decodeRemove, proposals.removeEncoder),
  pre_shared_key_proposal: exact(proposals.decodePSK, proposals.pskEncoder),
  re_init_proposal: exact(proposals.decodeReinit, proposals.reinitEncoder),
  external_init_proposal: exact(proposals.decodeExternalInit, proposals.externalInitEncoder),
  group_context_extensions_proposal: exact(
    proposals.decodeGroupContextExtensions,
    proposals.groupContextExtensionsEncoder
  ),
  commit: exact(decodeCommit, commitEncoder),
  public_message_application: publicMessage,
  public_message_proposal: publicMessage,
  public_message_commit: publicMessage,
  private_message: message
}
