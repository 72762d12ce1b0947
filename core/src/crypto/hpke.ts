/**
 * HPKE in base mode (RFC 9180) with HKDF-SHA256: the composition only, KEM and AEAD come in. With X25519 it is checked
 * against @hpke/core. Called by `provider.ts` for ts-mls.
 */
import type { Hpke, PrivateKey, PublicKey } from 'ts-mls/crypto/hpke.js'
import { concatBytes, utf8 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Hkdf } from './hkdf.js'
import { type Kem, type KemKeyPair, labelled, uint16 } from './kem.js'
import type { Aead } from './types.js'

const KDF_HKDF_SHA256 = 0x0001
const NONCE_BYTES = 12
const NOTHING = new Uint8Array(0)

/** What stands behind ts-mls' key types: the raw bytes. */
interface RawKey {
  readonly type: 'public' | 'private'
  readonly raw: Uint8Array
}

export interface HpkeParts {
  readonly kem: Kem
  readonly hkdf: Hkdf
  readonly aead: Aead
  /** RFC 9180 section 7.3. */
  readonly aeadId: number
  readonly keyBytes: number
}

/** The functions of ts-mls' `Hpke`. They reject with MALFORMED for keys that are none, UNDECRYPTABLE for a wrong tag. */
export function createHpke({ kem, hkdf, aead, aeadId, keyBytes }: HpkeParts): Hpke {
  const suite = labelled(hkdf, concatBytes(utf8('HPKE'), uint16(kem.id), uint16(KDF_HKDF_SHA256), uint16(aeadId)))

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
  const publicKeyOf = (raw: Uint8Array): PublicKey => rawKey('public', raw, kem.publicKeyBytes) as unknown as PublicKey
  const privateKeyOf = (raw: Uint8Array): PrivateKey =>
    rawKey('private', raw, kem.privateKeyBytes) as unknown as PrivateKey
  const keyPair = ({ publicKey, privateKey }: KemKeyPair) => ({
    publicKey: publicKeyOf(publicKey),
    privateKey: privateKeyOf(privateKey)
  })

  return {
    keyLength: keyBytes,
    nonceLength: NONCE_BYTES,
    importPublicKey: async (raw) => publicKeyOf(raw),
    importPrivateKey: async (raw) => privateKeyOf(raw),
    exportPublicKey: async (key) => rawOf(key),
    exportPrivateKey: async (key) => rawOf(key),
    generateKeyPair: async () => keyPair(kem.generate()),
    deriveKeyPair: async (keyMaterial) => keyPair(kem.derive(keyMaterial)),
    async seal(publicKey, plaintext, info, associatedData = NOTHING) {
      const { enc, shared } = kem.encapsulate(rawOf(publicKey))
      const { key, nonce } = schedule(shared, info)
      return { enc, ct: aead.seal(key, nonce, associatedData, plaintext) }
    },
    async open(privateKey, enc, ciphertext, info, associatedData = NOTHING) {
      const { key, nonce } = schedule(kem.decapsulate(rawOf(privateKey), enc), info)
      return aead.open(key, nonce, associatedData, ciphertext)
    },
    async exportSecret(publicKey, context, length, info) {
      const { enc, shared } = kem.encapsulate(rawOf(publicKey))
      return { enc, secret: suite.expand(schedule(shared, info).exporterSecret(), 'sec', context, length) }
    },
    async importSecret(privateKey, context, enc, length, info) {
      const { exporterSecret } = schedule(kem.decapsulate(rawOf(privateKey), enc), info)
      return suite.expand(exporterSecret(), 'sec', context, length)
    },
    encryptAead: async (key, nonce, associatedData, plaintext) =>
      aead.seal(key, nonce, associatedData ?? NOTHING, plaintext),
    decryptAead: async (key, nonce, associatedData, ciphertext) =>
      aead.open(key, nonce, associatedData ?? NOTHING, ciphertext)
  }
}

function rawKey(type: RawKey['type'], raw: Uint8Array, bytes: number): RawKey {
  if (raw.length !== bytes) throw new HeddleError('MALFORMED', `HPKE ${type} key must be ${bytes} bytes`)
  return { type, raw }
}

function rawOf(key: PublicKey | PrivateKey): Uint8Array {
  return (key as unknown as RawKey).raw
}
