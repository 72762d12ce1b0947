/**
 * HPKE in base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256: the composition only, the primitives
 * come from the platform. It is checked against @hpke/core. Called by `provider.ts` for ts-mls.
 */
import type { Hpke, PrivateKey, PublicKey } from 'ts-mls/crypto/hpke.js'
import { HeddleError } from '../errors.js'
import { concatBytes, utf8 } from '../bytes.js'
import type { Hkdf } from './hkdf.js'
import type { Aead, Primitives } from './types.js'

const KEM_X25519 = 0x0020
const KDF_HKDF_SHA256 = 0x0001
const KEY_BYTES = 32
const NONCE_BYTES = 12
const NOTHING = new Uint8Array(0)

/** What stands behind ts-mls' key types: the raw bytes. */
interface RawKey {
  readonly type: 'public' | 'private'
  readonly raw: Uint8Array
}

export interface HpkeParts {
  readonly primitives: Primitives
  readonly hkdf: Hkdf
  readonly aead: Aead
  /** RFC 9180 section 7.3. */
  readonly aeadId: number
  readonly keyBytes: number
  readonly randomBytes: (length: number) => Uint8Array
}

/** The functions of ts-mls' `Hpke`. They reject with MALFORMED for keys that are none, UNDECRYPTABLE for a wrong tag. */
export function createHpke({ primitives, hkdf, aead, aeadId, keyBytes, randomBytes }: HpkeParts): Hpke {
  const kem = labelled(hkdf, concatBytes(utf8('KEM'), uint16(KEM_X25519)))
  const suite = labelled(hkdf, concatBytes(utf8('HPKE'), uint16(KEM_X25519), uint16(KDF_HKDF_SHA256), uint16(aeadId)))

  // RFC 9180 section 4.1
  const sharedSecret = (secretKey: Uint8Array, publicKey: Uint8Array, kemContext: Uint8Array): Uint8Array => {
    const dh = primitives.x25519(secretKey, publicKey)
    if (dh.every((byte) => byte === 0)) throw new HeddleError('MALFORMED', 'X25519 public key of low order')
    const secret = kem.expand(kem.extract(NOTHING, 'eae_prk', dh), 'shared_secret', kemContext, KEY_BYTES)
    dh.fill(0)
    return secret
  }
  const encap = (recipient: Uint8Array) => {
    const ephemeral = randomBytes(KEY_BYTES)
    const enc = primitives.x25519Public(ephemeral)
    const shared = sharedSecret(ephemeral, recipient, concatBytes(enc, recipient))
    ephemeral.fill(0)
    return { enc, shared }
  }
  const decap = (secretKey: Uint8Array, enc: Uint8Array): Uint8Array => {
    if (enc.length !== KEY_BYTES) throw new HeddleError('MALFORMED', 'HPKE encapsulated key must be 32 bytes')
    return sharedSecret(secretKey, enc, concatBytes(enc, primitives.x25519Public(secretKey)))
  }

  // RFC 9180 section 5.1, base mode
  const pskIdHash = suite.extract(NOTHING, 'psk_id_hash', NOTHING)
  const schedule = (shared: Uint8Array, info: Uint8Array) => {
    const context = concatBytes(Uint8Array.of(0), pskIdHash, suite.extract(NOTHING, 'info_hash', info))
    const secret = suite.extract(shared, 'secret', NOTHING)
    return {
      key: suite.expand(secret, 'key', context, keyBytes),
      nonce: suite.expand(secret, 'base_nonce', context, NONCE_BYTES),
      exporterSecret: () => suite.expand(secret, 'exp', context, 32)
    }
  }

  return {
    keyLength: keyBytes,
    nonceLength: NONCE_BYTES,
    importPublicKey: async (raw) => rawKey('public', raw) as unknown as PublicKey,
    importPrivateKey: async (raw) => rawKey('private', raw) as unknown as PrivateKey,
    exportPublicKey: async (key) => rawOf(key),
    exportPrivateKey: async (key) => rawOf(key),
    async generateKeyPair() {
      return keyPair(randomBytes(KEY_BYTES), primitives)
    },
    // RFC 9180 section 7.1.3
    async deriveKeyPair(keyMaterial) {
      const pseudoRandomKey = kem.extract(NOTHING, 'dkp_prk', keyMaterial)
      return keyPair(kem.expand(pseudoRandomKey, 'sk', NOTHING, KEY_BYTES), primitives)
    },
    async seal(publicKey, plaintext, info, associatedData = NOTHING) {
      const { enc, shared } = encap(rawOf(publicKey))
      const { key, nonce } = schedule(shared, info)
      return { enc, ct: aead.seal(key, nonce, associatedData, plaintext) }
    },
    async open(privateKey, enc, ciphertext, info, associatedData = NOTHING) {
      const { key, nonce } = schedule(decap(rawOf(privateKey), enc), info)
      return aead.open(key, nonce, associatedData, ciphertext)
    },
    async exportSecret(publicKey, context, length, info) {
      const { enc, shared } = encap(rawOf(publicKey))
      return { enc, secret: suite.expand(schedule(shared, info).exporterSecret(), 'sec', context, length) }
    },
    async importSecret(privateKey, context, enc, length, info) {
      const { exporterSecret } = schedule(decap(rawOf(privateKey), enc), info)
      return suite.expand(exporterSecret(), 'sec', context, length)
    },
    encryptAead: async (key, nonce, associatedData, plaintext) =>
      aead.seal(key, nonce, associatedData ?? NOTHING, plaintext),
    decryptAead: async (key, nonce, associatedData, ciphertext) =>
      aead.open(key, nonce, associatedData ?? NOTHING, ciphertext)
  }
}

// RFC 9180 section 4: LabeledExtract and LabeledExpand
function labelled(hkdf: Hkdf, suiteId: Uint8Array) {
  const version = utf8('HPKE-v1')
  return {
    extract: (salt: Uint8Array, label: string, keyMaterial: Uint8Array) =>
      hkdf.extract(salt, concatBytes(version, suiteId, utf8(label), keyMaterial)),
    expand: (key: Uint8Array, label: string, info: Uint8Array, length: number) =>
      hkdf.expand(key, concatBytes(uint16(length), version, suiteId, utf8(label), info), length)
  }
}

function keyPair(secretKey: Uint8Array, primitives: Primitives) {
  return {
    privateKey: rawKey('private', secretKey) as unknown as PrivateKey,
    publicKey: rawKey('public', primitives.x25519Public(secretKey)) as unknown as PublicKey
  }
}

function rawKey(type: RawKey['type'], raw: Uint8Array): RawKey {
  if (raw.length !== KEY_BYTES) throw new HeddleError('MALFORMED', `X25519 ${type} key must be ${KEY_BYTES} bytes`)
  return { type, raw }
}

function rawOf(key: PublicKey | PrivateKey): Uint8Array {
  return (key as unknown as RawKey).raw
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff)
}
