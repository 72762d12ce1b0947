/**
 * What the core needs from cryptography, as one interface (SPEC, room GROUP). Two providers implement it with the same
 * results for the same inputs: `node.ts` on node:crypto and `web.ts` on audited JavaScript and WebCrypto. Arguments are
 * borrowed and never mutated; results belong to the caller.
 */
import type { CiphersuiteImpl } from 'ts-mls/crypto/ciphersuite.js'

/**
 * MLS cipher suites: 1 is the default, with AES-128-GCM; 3 has ChaCha20-Poly1305 (both RFC 9420 section 17.1). 0xf791 is
 * Heddle's own, of the private range: suite 3 with the post-quantum KEM X-Wing in the place of X25519.
 */
export type SuiteId = 1 | 3 | 0xf791

export const SUITE_DEFAULT: SuiteId = 1
export const SUITE_POST_QUANTUM = 0xf791 satisfies SuiteId

export interface CryptoProvider {
  /** `length` bytes from the source of randomness the provider was made with; nothing in it takes randomness elsewhere. */
  randomBytes(length: number): Uint8Array
  sha256(data: Uint8Array): Uint8Array
  hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array
  /** RFC 5869 with SHA-256; an empty salt stands for 32 zero bytes. */
  hkdfExtract(salt: Uint8Array, keyMaterial: Uint8Array): Uint8Array
  /** RFC 5869 with SHA-256; `length` up to 8160 bytes. */
  hkdfExpand(pseudoRandomKey: Uint8Array, info: Uint8Array, length: number): Uint8Array
  /**
   * Ed25519 signature, 64 bytes. `secretKey` is the RFC 8032 seed, 32 bytes; the imported key is remembered for as long as
   * the array lives, so no other seed may be put into it. Throws INVALID for another length.
   */
  sign(secretKey: Uint8Array, message: Uint8Array): Uint8Array
  /** Whether the Ed25519 signature is right; false, never an error, for a malformed key or signature. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
  /**
   * `verify` on another thread where the platform has one for it. Costs more than `verify`; for many signatures, of which
   * several are under way at a time. The arguments must stay as they are until the answer comes.
   */
  verifyOffThread(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean>
  /** Ed25519 public key of a 32-byte seed. Throws INVALID for another length. */
  publicKeyOf(secretKey: Uint8Array): Uint8Array
  /** The suite's AEAD, and what ts-mls takes. */
  suite(id: SuiteId): CipherSuite
}

export interface CipherSuite {
  readonly id: SuiteId
  readonly keyBytes: number
  readonly nonceBytes: number
  /** Bytes that `seal` adds. */
  readonly tagBytes: number
  /** Bytes of an HPKE public key. */
  readonly hpkeKeyBytes: number
  /** Whether the bytes are an HPKE public key that can be encrypted to. */
  isHpkeKey(raw: Uint8Array): boolean
  seal(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** Throws UNDECRYPTABLE when the tag is wrong. */
  open(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, ciphertext: Uint8Array): Uint8Array
  /** The same suite behind the interface of ts-mls 1.6.4. */
  readonly mls: CiphersuiteImpl
}

/** What a platform supplies; `provider.ts` composes the rest. Keys are raw bytes of the length the algorithm has. */
export interface Primitives {
  sha256(data: Uint8Array): Uint8Array
  hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array
  /** X25519 (RFC 7748). Do not keep the result: it is as secret as the key. */
  x25519(secretKey: Uint8Array): X25519Key
  ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array
  ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
  ed25519Public(seed: Uint8Array): Uint8Array
  /** False, never an error, for a malformed key. */
  ed25519VerifyOffThread(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean>
  /** Where the platform signs and verifies faster asynchronously, for the MLS part. */
  readonly ed25519Async?: {
    sign(seed: Uint8Array, message: Uint8Array): Promise<Uint8Array>
    verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean>
  }
  readonly aesGcm: Aead
  readonly chaCha20Poly1305: Aead
}

export interface X25519Key {
  readonly publicKey: Uint8Array
  /** The Diffie-Hellman with another's key. May throw on a low-order point. */
  agree(publicKey: Uint8Array): Uint8Array
}

export interface Aead {
  seal(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** Throws when the tag is wrong. */
  open(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, ciphertext: Uint8Array): Uint8Array
}
