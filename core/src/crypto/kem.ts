/**
 * The KEMs behind HPKE: DHKEM(X25519, HKDF-SHA256) of RFC 9180 section 4.1, and X-Wing (draft-connolly-cfrg-xwing-kem),
 * which joins ML-KEM-768 and X25519 so that an attacker must break both. Called by `provider.ts` and `hpke.ts`.
 */
import { sha3_256, shake256 } from '@noble/hashes/sha3.js'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { concatBytes, toHex, utf8 } from '../bytes.js'
import { HeddleError } from '../errors.js'
import type { Hkdf } from './hkdf.js'
import type { Primitives, X25519Key } from './types.js'

/** A KEM as RFC 9180 section 4 has it, keys as raw bytes. Methods throw MALFORMED for bytes that are no key. */
export interface Kem {
  /** RFC 9180 section 7.1. */
  readonly id: number
  readonly publicKeyBytes: number
  readonly privateKeyBytes: number
  /** Whether anything can be encapsulated to it: right length, right encoding, no point of low order. */
  isPublicKey(raw: Uint8Array): boolean
  generate(): KemKeyPair
  /** The same key pair for the same key material, 32 bytes or more. */
  derive(keyMaterial: Uint8Array): KemKeyPair
  encapsulate(publicKey: Uint8Array): { readonly enc: Uint8Array; readonly shared: Uint8Array }
  decapsulate(privateKey: Uint8Array, enc: Uint8Array): Uint8Array
}

export interface KemKeyPair {
  readonly publicKey: Uint8Array
  readonly privateKey: Uint8Array
}

type RandomBytes = (length: number) => Uint8Array

const X25519_BYTES = 32
const NOTHING = new Uint8Array(0)

/**
 * u-coordinates of the points of low order and their encodings above the prime (RFC 7748 section 6.1): a Diffie-Hellman
 * with them is zero. A member with such a leaf key would keep everybody else from committing.
 */
const LOW_ORDER: ReadonlySet<string> = new Set([
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`
])

function isX25519Key(raw: Uint8Array): boolean {
  if (raw.length !== X25519_BYTES) return false
  // X25519 ignores the highest bit.
  return !LOW_ORDER.has(toHex(raw.with(31, (raw[31] ?? 0) & 0x7f)))
}

export function dhkemX25519(primitives: Primitives, hkdf: Hkdf, randomBytes: RandomBytes): Kem {
  const kem = labelled(hkdf, concatBytes(utf8('KEM'), uint16(0x0020)))
  const pair = (privateKey: Uint8Array): KemKeyPair => ({
    privateKey,
    publicKey: primitives.x25519(privateKey).publicKey
  })
  const sharedSecret = (own: X25519Key, publicKey: Uint8Array, kemContext: Uint8Array): Uint8Array => {
    const dh = own.agree(publicKey)
    if (dh.every((byte) => byte === 0)) throw new HeddleError('MALFORMED', 'X25519 public key of low order')
    const secret = kem.expand(kem.extract(NOTHING, 'eae_prk', dh), 'shared_secret', kemContext, X25519_BYTES)
    dh.fill(0)
    return secret
  }
  return {
    id: 0x0020,
    publicKeyBytes: X25519_BYTES,
    privateKeyBytes: X25519_BYTES,
    isPublicKey: isX25519Key,
    generate: () => pair(randomBytes(X25519_BYTES)),
    // RFC 9180 section 7.1.3
    derive(keyMaterial) {
      return pair(kem.expand(kem.extract(NOTHING, 'dkp_prk', keyMaterial), 'sk', NOTHING, X25519_BYTES))
    },
    encapsulate(recipient) {
      const ephemeral = randomBytes(X25519_BYTES)
      const own = primitives.x25519(ephemeral)
      const shared = sharedSecret(own, recipient, concatBytes(own.publicKey, recipient))
      ephemeral.fill(0)
      return { enc: own.publicKey, shared }
    },
    decapsulate(secretKey, enc) {
      if (enc.length !== X25519_BYTES) throw new HeddleError('MALFORMED', 'HPKE encapsulated key must be 32 bytes')
      const own = primitives.x25519(secretKey)
      return sharedSecret(own, enc, concatBytes(enc, own.publicKey))
    }
  }
}

const ML_KEM_768 = { publicKeyBytes: 1184, seedBytes: 32, encBytes: 1088, modulus: 3329 }
const XWING_LABEL = Uint8Array.of(0x5c, 0x2e, 0x2f, 0x2f, 0x5e, 0x5c)

/**
 * X-Wing, composed here and not taken from @noble/post-quantum/hybrid.js, which brings the NIST curves into every bundle;
 * it is checked against that. Private keys are seeds of 32 bytes.
 */
export function xWing(primitives: Pick<Primitives, 'x25519'>, randomBytes: RandomBytes): Kem {
  const { publicKeyBytes: mlKemBytes, encBytes: mlKemEncBytes } = ML_KEM_768
  const expand = (seed: Uint8Array) => {
    const expanded = shake256(seed, { dkLen: 96 })
    const { publicKey, secretKey } = ml_kem768.keygen(expanded.subarray(0, 64))
    return { publicKey, secretKey, x25519Key: expanded.slice(64) }
  }
  const pair = (privateKey: Uint8Array): KemKeyPair => {
    const { publicKey, x25519Key } = expand(privateKey)
    return { privateKey, publicKey: concatBytes(publicKey, primitives.x25519(x25519Key).publicKey) }
  }
  const combine = (mlKem: Uint8Array, x25519: Uint8Array, x25519Enc: Uint8Array, x25519PublicKey: Uint8Array) => {
    const shared = sha3_256(concatBytes(mlKem, x25519, x25519Enc, x25519PublicKey, XWING_LABEL))
    mlKem.fill(0)
    x25519.fill(0)
    return shared
  }
  return {
    id: 0x647a,
    publicKeyBytes: mlKemBytes + X25519_BYTES,
    privateKeyBytes: 32,
    isPublicKey: isXWingKey,
    generate: () => pair(randomBytes(32)),
    derive: (keyMaterial) => pair(shake256(keyMaterial, { dkLen: 32 })),
    encapsulate(recipient) {
      if (!isXWingKey(recipient)) throw new HeddleError('MALFORMED', 'The bytes are no X-Wing public key')
      const seed = randomBytes(64)
      const ephemeral = seed.slice(32)
      const mlKem = ml_kem768.encapsulate(recipient.slice(0, mlKemBytes), seed.slice(0, 32))
      const x25519Key = recipient.slice(mlKemBytes)
      const own = primitives.x25519(ephemeral)
      const x25519Enc = own.publicKey
      const x25519 = own.agree(x25519Key)
      for (const secret of [seed, ephemeral]) secret.fill(0)
      const enc = concatBytes(mlKem.cipherText, x25519Enc)
      return { enc, shared: combine(mlKem.sharedSecret, x25519, x25519Enc, x25519Key) }
    },
    decapsulate(privateKey, enc) {
      const [mlKemEnc, x25519Enc] = [enc.slice(0, mlKemEncBytes), enc.slice(mlKemEncBytes)]
      if (!isX25519Key(x25519Enc)) throw new HeddleError('MALFORMED', 'The encapsulated key is no X-Wing one')
      const { secretKey, x25519Key } = expand(privateKey)
      const mlKem = ml_kem768.decapsulate(mlKemEnc, secretKey)
      const own = primitives.x25519(x25519Key)
      const shared = combine(mlKem, own.agree(x25519Enc), x25519Enc, own.publicKey)
      for (const secret of [secretKey, x25519Key]) secret.fill(0)
      return shared
    }
  }
}

/** The encapsulation key check of FIPS 203 section 7.2, and that of X25519 above. */
function isXWingKey(raw: Uint8Array): boolean {
  const { publicKeyBytes, seedBytes, modulus } = ML_KEM_768
  if (raw.length !== publicKeyBytes + X25519_BYTES) return false
  for (let at = 0; at < publicKeyBytes - seedBytes; at += 3) {
    const [a, b, c] = [raw[at] ?? 0, raw[at + 1] ?? 0, raw[at + 2] ?? 0]
    if ((a | ((b & 0x0f) << 8)) >= modulus || ((b >> 4) | (c << 4)) >= modulus) return false
  }
  return isX25519Key(raw.subarray(publicKeyBytes))
}

/** RFC 9180 section 4: LabeledExtract and LabeledExpand. */
export function labelled(hkdf: Hkdf, suiteId: Uint8Array) {
  const version = utf8('HPKE-v1')
  return {
    extract: (salt: Uint8Array, label: string, keyMaterial: Uint8Array) =>
      hkdf.extract(salt, concatBytes(version, suiteId, utf8(label), keyMaterial)),
    expand: (key: Uint8Array, label: string, info: Uint8Array, length: number) =>
      hkdf.expand(key, concatBytes(uint16(length), version, suiteId, utf8(label), info), length)
  }
}

export function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff)
}
