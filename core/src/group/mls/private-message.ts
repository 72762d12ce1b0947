/**
 * Application messages (RFC 9420 sections 6.1 and 6.3) without what Heddle's envelope says already: group, epoch, content
 * type and authenticated data are put back by the receiver, so only the encrypted sender data and the ciphertext travel.
 * The bytes are those of a standard PrivateMessage.
 */
import { constantTimeEqual } from 'ts-mls/util/constantTimeCompare.js'
import type { CipherSuite, CryptoProvider } from '../../crypto/index.js'
import { HeddleError } from '../../errors.js'
import { ensure } from './errors.js'
import { expandWithLabel, label } from './kdf.js'
import type { MessageKey, SecretTree } from './secret-tree.js'
import { TlsReader, TlsWriter, vectorBytes } from './tls.js'

/**
 * The content (plaintext, its length, a signature of 66 bytes) is padded with zeros to a multiple of this: 0 to 31 bytes,
 * 15.5 on average, so that the length tells an observer little of what was typed.
 */
export const PADDING_BYTES = 32

const MLS_10 = 1
const WIREFORMAT_PRIVATE_MESSAGE = 2
const CONTENT_APPLICATION = 1
const SENDER_MEMBER = 1
const REUSE_GUARD_BYTES = 4
const SAMPLE_BYTES = 32
/** Of the content that is signed: version, wire format, epoch, sender type, leaf, content type. */
const FIXED_BYTES = 2 + 2 + 8 + 1 + 4 + 1
const LABEL = { key: label('key'), nonce: label('nonce'), signature: label('FramedContentTBS') }

/** The epoch a message belongs to. */
export interface MessageEpoch {
  readonly groupId: Uint8Array
  readonly epoch: bigint
  /** The encoded GroupContext. */
  readonly context: Uint8Array
  readonly senderDataSecret: Uint8Array
  readonly secretTree: SecretTree
}

export interface SealedMessage {
  /** encrypted_sender_data of the PrivateMessage, 28 bytes. */
  readonly senderData: Uint8Array
  readonly ciphertext: Uint8Array
}

export interface Sender {
  readonly leafIndex: number
  readonly signatureKey: Uint8Array
}

export interface OpenedMessage {
  readonly plaintext: Uint8Array
  readonly leafIndex: number
  readonly generation: number
}

/** Signs and encrypts; the key is used up, so the tree's changes must be durable before the message leaves. */
export async function sealMessage(
  plaintext: Uint8Array,
  authenticatedData: Uint8Array,
  sender: Sender,
  epoch: MessageEpoch,
  crypto: CryptoProvider,
  suite: CipherSuite
): Promise<SealedMessage> {
  const toSign = contentToSign(plaintext, authenticatedData, sender.leafIndex, epoch)
  const signature = await suite.mls.signature.sign(sender.signatureKey, toSign)
  const contentBytes = vectorBytes(plaintext.length) + vectorBytes(signature.length)
  const paddedBytes = Math.ceil(contentBytes / PADDING_BYTES) * PADDING_BYTES
  const padding = new Uint8Array(paddedBytes - contentBytes)
  const padded = new TlsWriter(paddedBytes).vector(plaintext).vector(signature).raw(padding).finish()
  const guard = crypto.randomBytes(REUSE_GUARD_BYTES)
  const messageKey = epoch.secretTree.next(sender.leafIndex)
  const ciphertext = suite.seal(
    messageKey.key,
    guardedNonce(messageKey, guard),
    contentAad(authenticatedData, epoch),
    padded
  )
  zeroKey(messageKey)
  const senderData = new TlsWriter(12).uint32(sender.leafIndex).uint32(messageKey.generation).raw(guard).finish()
  const { key, nonce } = senderDataKeys(ciphertext, epoch, crypto, suite)
  return { senderData: suite.seal(key, nonce, senderDataAad(epoch), senderData), ciphertext }
}

/**
 * Decrypts, verifies the signature, and only then uses the key up. `signatureKeyOf` gives the signature key of a leaf at
 * that epoch. Throws UNDECRYPTABLE, BAD_SIGNATURE or MALFORMED, and then nothing has changed.
 */
export async function openMessage(
  { senderData, ciphertext }: SealedMessage,
  authenticatedData: Uint8Array,
  me: number,
  signatureKeyOf: (leafIndex: number) => Uint8Array | undefined,
  epoch: MessageEpoch,
  crypto: CryptoProvider,
  suite: CipherSuite
): Promise<OpenedMessage> {
  const { leafIndex, generation, guard } = openSenderData(senderData, ciphertext, epoch, crypto, suite)
  const signatureKey = signatureKeyOf(leafIndex)
  ensure(signatureKey !== undefined, 'UNDECRYPTABLE', `The message names leaf ${leafIndex}, which the epoch has not`)
  ensure(leafIndex !== me, 'UNDECRYPTABLE', 'The message is of this device itself, which keeps no keys for its own')
  const { key: messageKey, consume } = epoch.secretTree.peek(leafIndex, generation)
  const nonce = guardedNonce(messageKey, guard)
  const padded = suite.open(messageKey.key, nonce, contentAad(authenticatedData, epoch), ciphertext)
  zeroKey(messageKey)
  const { plaintext, signature } = splitContent(padded)
  const signed = contentToSign(plaintext, authenticatedData, leafIndex, epoch)
  ensure(
    await suite.mls.signature.verify(signatureKey, signed, signature),
    'BAD_SIGNATURE',
    `The signature of a message of leaf ${leafIndex} does not verify`
  )
  consume()
  return { plaintext, leafIndex, generation }
}

function openSenderData(
  senderData: Uint8Array,
  ciphertext: Uint8Array,
  epoch: MessageEpoch,
  crypto: CryptoProvider,
  suite: CipherSuite
): { leafIndex: number; generation: number; guard: Uint8Array } {
  const { key, nonce } = senderDataKeys(ciphertext, epoch, crypto, suite)
  const reader = new TlsReader(suite.open(key, nonce, senderDataAad(epoch), senderData))
  const fields = { leafIndex: reader.uint32(), generation: reader.uint32(), guard: reader.raw(REUSE_GUARD_BYTES) }
  reader.end()
  return fields
}

/** PrivateMessageContent of an application message, with padding that must be zero. */
function splitContent(padded: Uint8Array): { plaintext: Uint8Array; signature: Uint8Array } {
  const reader = new TlsReader(padded)
  const plaintext = reader.vector()
  const signature = reader.vector()
  const padding = reader.rest()
  if (!constantTimeEqual(padding, new Uint8Array(padding.length)))
    throw new HeddleError('MALFORMED', 'The padding of a message is not zero')
  return { plaintext, signature }
}

/** SignContent over FramedContentTBS. */
function contentToSign(
  plaintext: Uint8Array,
  authenticatedData: Uint8Array,
  leafIndex: number,
  { groupId, epoch, context }: MessageEpoch
): Uint8Array {
  const vectors = [groupId, authenticatedData, plaintext]
  const contentBytes = vectors.reduce((sum, { length }) => sum + vectorBytes(length), FIXED_BYTES + context.length)
  return new TlsWriter(vectorBytes(LABEL.signature.length) + vectorBytes(contentBytes))
    .vector(LABEL.signature)
    .vectorLength(contentBytes)
    .uint16(MLS_10)
    .uint16(WIREFORMAT_PRIVATE_MESSAGE)
    .vector(groupId)
    .uint64(epoch)
    .uint8(SENDER_MEMBER)
    .uint32(leafIndex)
    .vector(authenticatedData)
    .uint8(CONTENT_APPLICATION)
    .vector(plaintext)
    .raw(context)
    .finish()
}

function contentAad(authenticatedData: Uint8Array, epoch: MessageEpoch): Uint8Array {
  const { groupId } = epoch
  const writer = new TlsWriter(vectorBytes(groupId.length) + 9 + vectorBytes(authenticatedData.length))
  return writeSenderDataAad(writer, epoch).vector(authenticatedData).finish()
}
function senderDataAad(epoch: MessageEpoch): Uint8Array {
  return writeSenderDataAad(new TlsWriter(vectorBytes(epoch.groupId.length) + 9), epoch).finish()
}
function writeSenderDataAad(writer: TlsWriter, { groupId, epoch }: MessageEpoch): TlsWriter {
  return writer.vector(groupId).uint64(epoch).uint8(CONTENT_APPLICATION)
}

/** RFC 9420 section 6.3.2. */
export function senderDataKeys(
  ciphertext: Uint8Array,
  { senderDataSecret }: Pick<MessageEpoch, 'senderDataSecret'>,
  crypto: CryptoProvider,
  suite: CipherSuite
): { key: Uint8Array; nonce: Uint8Array } {
  const sample = ciphertext.subarray(0, SAMPLE_BYTES)
  return {
    key: expandWithLabel(crypto, senderDataSecret, LABEL.key, sample, suite.keyBytes),
    nonce: expandWithLabel(crypto, senderDataSecret, LABEL.nonce, sample, suite.nonceBytes)
  }
}

function guardedNonce({ nonce }: MessageKey, guard: Uint8Array): Uint8Array {
  return nonce.map((byte, i) => byte ^ (guard[i] ?? 0))
}
function zeroKey({ key, nonce }: MessageKey): void {
  key.fill(0)
  nonce.fill(0)
}
