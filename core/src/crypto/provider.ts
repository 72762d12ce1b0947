/** Composes a `CryptoProvider` from a platform's primitives, so that every platform computes the same. */
import type { CiphersuiteImpl, CiphersuiteName } from 'ts-mls/crypto/ciphersuite.js'
import { constantTimeEqual } from 'ts-mls/util/constantTimeCompare.js'
import { HeddleError } from '../errors.js'
import { createHkdf, type Hkdf } from './hkdf.js'
import { createHpke } from './hpke.js'
import { dhkemX25519, xWing } from './kem.js'
import {
  type Aead,
  type CipherSuite,
  type CryptoProvider,
  type Primitives,
  SUITE_POST_QUANTUM,
  type SuiteId
} from './types.js'

const SEED_BYTES = 32
const TAG_BYTES = 16

interface SuiteEntry {
  readonly name: CiphersuiteName
  readonly kem: 'x25519' | 'xWing'
  readonly aead: 'aesGcm' | 'chaCha20Poly1305'
  readonly aeadId: number
  readonly keyBytes: number
}

const SUITES: Readonly<Record<SuiteId, SuiteEntry>> = {
  1: {
    name: 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519',
    kem: 'x25519',
    aead: 'aesGcm',
    aeadId: 0x0001,
    keyBytes: 16
  },
  3: {
    name: 'MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519',
    kem: 'x25519',
    aead: 'chaCha20Poly1305',
    aeadId: 0x0003,
    keyBytes: 32
  },
  // ts-mls names a suite it does not know by its number. Those with X-Wing that it knows have SHA-512 and numbers that
  // nobody assigned and that differ between its versions.
  [SUITE_POST_QUANTUM]: {
    name: String(SUITE_POST_QUANTUM) as CiphersuiteName,
    kem: 'xWing',
    aead: 'chaCha20Poly1305',
    aeadId: 0x0003,
    keyBytes: 32
  }
}
const SUITE_IDS: readonly SuiteId[] = [1, 3, SUITE_POST_QUANTUM]

/** Name that ts-mls gives the suite. */
export function suiteName(id: SuiteId): CiphersuiteName {
  return SUITES[id].name
}

/** Suite of that name, or undefined when Heddle does not take it. */
export function suiteOfName(name: CiphersuiteName): SuiteId | undefined {
  return SUITE_IDS.find((id) => SUITES[id].name === name)
}

/** `random` must return fresh, cryptographically secure bytes that the caller owns. */
export function createProvider(primitives: Primitives, random: (length: number) => Uint8Array): CryptoProvider {
  const hkdf = createHkdf(primitives)
  const suites = new Map<SuiteId, CipherSuite>()
  return {
    randomBytes: random,
    sha256: (data) => primitives.sha256(data),
    hmacSha256: (key, data) => primitives.hmacSha256(key, data),
    hkdfExtract: hkdf.extract,
    hkdfExpand: hkdf.expand,
    sign: (secretKey, message) => primitives.ed25519Sign(checkSeed(secretKey), message),
    verify: (publicKey, message, signature) => checkedVerify(primitives, publicKey, message, signature),
    verifyOffThread: async (publicKey, message, signature) =>
      hasVerifyLengths(publicKey, signature) && primitives.ed25519VerifyOffThread(publicKey, message, signature),
    publicKeyOf: (secretKey) => primitives.ed25519Public(checkSeed(secretKey)),
    suite(id) {
      let suite = suites.get(id)
      if (suite === undefined) {
        suite = createSuite(id, primitives, hkdf, random)
        suites.set(id, suite)
      }
      return suite
    }
  }
}

function createSuite(
  id: SuiteId,
  primitives: Primitives,
  hkdf: Hkdf,
  randomBytes: (length: number) => Uint8Array
): CipherSuite {
  const { name, kem: kemName, aead: aeadName, aeadId, keyBytes } = SUITES[id]
  const aead = typedErrors(primitives[aeadName])
  const kem = kemName === 'xWing' ? xWing(primitives, randomBytes) : dhkemX25519(primitives, hkdf, randomBytes)
  const hpke = createHpke({ kem, hkdf, aead, aeadId, keyBytes })
  const mls: CiphersuiteImpl = {
    name,
    hash: {
      digest: async (data) => primitives.sha256(data),
      mac: async (key, data) => primitives.hmacSha256(key, data),
      verifyMac: async (key, mac, data) => constantTimeEqual(mac, primitives.hmacSha256(key, data))
    },
    kdf: {
      size: 32,
      extract: async (salt, keyMaterial) => hkdf.extract(salt, keyMaterial),
      expand: async (key, info, length) => hkdf.expand(key, info, length)
    },
    signature: {
      sign: async (secretKey, message) =>
        (primitives.ed25519Async?.sign ?? primitives.ed25519Sign)(checkSeed(secretKey), message),
      verify: async (publicKey, message, signature) => {
        if (!hasVerifyLengths(publicKey, signature)) return false
        return (
          primitives.ed25519Async?.verify(publicKey, message, signature) ??
          checkedVerify(primitives, publicKey, message, signature)
        )
      },
      async keygen() {
        const signKey = randomBytes(SEED_BYTES)
        return { signKey, publicKey: primitives.ed25519Public(signKey) }
      }
    },
    hpke,
    rng: { randomBytes }
  }
  return {
    id,
    keyBytes,
    nonceBytes: hpke.nonceLength,
    tagBytes: TAG_BYTES,
    hpkeKeyBytes: kem.publicKeyBytes,
    isHpkeKey: kem.isPublicKey,
    seal: aead.seal,
    open: aead.open,
    mls
  }
}

function typedErrors(aead: Aead): Aead {
  return {
    seal: (key, nonce, associatedData, plaintext) => aead.seal(key, nonce, associatedData, plaintext),
    open(key, nonce, associatedData, ciphertext) {
      if (ciphertext.length < TAG_BYTES) throw new HeddleError('UNDECRYPTABLE', 'The ciphertext is shorter than a tag')
      try {
        return aead.open(key, nonce, associatedData, ciphertext)
      } catch (cause) {
        throw new HeddleError('UNDECRYPTABLE', 'The ciphertext does not authenticate under this key', { cause })
      }
    }
  }
}

function checkSeed(secretKey: Uint8Array): Uint8Array {
  if (secretKey.length !== SEED_BYTES)
    throw new HeddleError('INVALID', `An Ed25519 secret key is a seed of ${SEED_BYTES} bytes, not ${secretKey.length}`)
  return secretKey
}

function checkedVerify(
  primitives: Primitives,
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array
): boolean {
  return hasVerifyLengths(publicKey, signature) && primitives.ed25519Verify(publicKey, message, signature)
}

function hasVerifyLengths(publicKey: Uint8Array, signature: Uint8Array): boolean {
  return publicKey.length === 32 && signature.length === 64
}
