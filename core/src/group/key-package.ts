/**
 * Key packages (RFC 9420 section 10): what a device hands out to be added to a group, and the private keys it keeps until
 * then. One package is for one group and is used once.
 */
import { type KeyPackage, makeKeyPackageRef, signKeyPackage } from 'ts-mls/keyPackage.js'
import { signLeafNodeKeyPackage } from 'ts-mls/leafNode.js'
import { emptyBytes } from '../bytes.js'
import { type CryptoProvider, SUITE_DEFAULT, type SuiteId, suiteName, suiteOfName } from '../crypto/index.js'
import { HeddleError } from '../errors.js'
import type { DeviceExtension } from '../wire/index.js'
import { capabilitiesOf, deviceExtension, deviceOf, leafRules } from './extensions.js'
import {
  checkKeyPackage,
  decodeKeyPackage,
  encodeKeyPackage,
  ensureValid,
  type KeyPackageSecrets,
  TlsReader,
  TlsWriter,
  typed
} from './mls/index.js'

const SAVED_VERSION = 1
const LIFETIME_MS_DEFAULT = 90 * 86_400_000
/** Clocks of others may be behind. */
const BACKDATE_MS = 86_400_000

export interface KeyPackageOptions {
  readonly crypto: CryptoProvider
  readonly device: DeviceExtension
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: number
  readonly lifetimeMs?: number
  readonly suite?: SuiteId
  /** Ed25519 seed of the leaf, to be known again in a group that follows another; default a new one. */
  readonly signatureKey?: Uint8Array
}

/** A key package with its private keys. */
export interface OwnKeyPackage {
  /** MLSMessage with the KeyPackage: what others get. */
  readonly message: Uint8Array
  /** KeyPackageRef, 32 bytes (RFC 9420 section 5.2). */
  readonly ref: Uint8Array
  readonly keyPackage: KeyPackage
  /** Ed25519 seed of the leaf. */
  readonly signatureKey: Uint8Array
  readonly secrets: KeyPackageSecrets
}

/** A new key package under new keys. Throws MALFORMED when the device breaks a limit. */
export async function generateKeyPackage({
  crypto,
  device,
  nowMs,
  lifetimeMs = LIFETIME_MS_DEFAULT,
  suite: suiteId = SUITE_DEFAULT,
  signatureKey = crypto.randomBytes(32)
}: KeyPackageOptions): Promise<OwnKeyPackage> {
  const suite = crypto.suite(suiteId)
  const { hpke, signature } = suite.mls
  const signaturePublicKey = crypto.publicKeyOf(signatureKey)
  const init = await hpke.generateKeyPair()
  const leaf = await hpke.generateKeyPair()
  const leafNode = await signLeafNodeKeyPackage(
    {
      leafNodeSource: 'key_package',
      hpkePublicKey: await hpke.exportPublicKey(leaf.publicKey),
      signaturePublicKey,
      credential: { credentialType: 'basic', identity: signaturePublicKey },
      capabilities: capabilitiesOf(suite),
      lifetime: { notBefore: seconds(nowMs - BACKDATE_MS), notAfter: seconds(nowMs + lifetimeMs) },
      extensions: [deviceExtension(device)]
    },
    signatureKey,
    signature
  )
  const initKey = await hpke.exportPublicKey(init.publicKey)
  const tbs = { version: 'mls10', cipherSuite: suiteName(suiteId), initKey, leafNode, extensions: [] } as const
  const keyPackage = await signKeyPackage({ ...tbs, extensions: [] }, signatureKey, signature)
  return {
    message: encodeKeyPackage(keyPackage),
    ref: await makeKeyPackageRef(keyPackage, suite.mls.hash),
    keyPackage,
    signatureKey,
    secrets: {
      initKey: await hpke.exportPrivateKey(init.privateKey),
      leafKey: await hpke.exportPrivateKey(leaf.privateKey)
    }
  }
}

/** All of it, private keys included, for `loadKeyPackage`. */
export function saveKeyPackage({ message, ref, signatureKey, secrets }: OwnKeyPackage): Uint8Array {
  return new TlsWriter(1024)
    .uint8(SAVED_VERSION)
    .vector(message)
    .vector(ref)
    .vector(signatureKey)
    .vector(secrets.initKey)
    .vector(secrets.leafKey)
    .finish()
}

/** What `saveKeyPackage` gave, from this process's own storage. Throws STORAGE_CORRUPT. */
export function loadKeyPackage(bytes: Uint8Array): OwnKeyPackage {
  try {
    const reader = new TlsReader(bytes)
    ensureValid(reader.uint8() === SAVED_VERSION, 'Saved by another version')
    const message = reader.vector()
    const own: OwnKeyPackage = {
      message,
      keyPackage: decodeKeyPackage(message),
      ref: reader.vector(),
      signatureKey: reader.vector(),
      secrets: { initKey: reader.vector(), leafKey: reader.vector() }
    }
    reader.end()
    return own
  } catch (cause) {
    throw new HeddleError('STORAGE_CORRUPT', 'The stored key package does not decode', { cause })
  }
}

/** What others can tell from a key package. */
export interface KeyPackageInfo {
  readonly ref: Uint8Array
  readonly signaturePublicKey: Uint8Array
  readonly device: DeviceExtension
  readonly suite: SuiteId
}

/**
 * Checks somebody else's key package as the commit that adds it would be checked, lifetime included. Throws MALFORMED,
 * INVALID, BAD_SIGNATURE.
 */
export async function readKeyPackage(
  message: Uint8Array,
  { crypto, nowMs }: { readonly crypto: CryptoProvider; readonly nowMs: number }
): Promise<KeyPackageInfo> {
  const keyPackage = decodeKeyPackage(message)
  const { cipherSuite, leafNode } = keyPackage
  const suiteId = suiteOfName(cipherSuite)
  ensureValid(suiteId !== undefined, `Cipher suite ${cipherSuite} is not supported`)
  const suite = crypto.suite(suiteId)
  return typed('INVALID', 'The key package is not valid', async () => {
    const context = { cipherSuite, version: 'mls10', groupId: emptyBytes }
    await checkKeyPackage(keyPackage, context, suite, leafRules, seconds(nowMs))
    return {
      ref: await makeKeyPackageRef(keyPackage, suite.mls.hash),
      signaturePublicKey: leafNode.signaturePublicKey,
      device: deviceOf(leafNode),
      suite: suiteId
    }
  })
}

function seconds(ms: number): bigint {
  return BigInt(Math.max(0, Math.floor(ms / 1000)))
}
