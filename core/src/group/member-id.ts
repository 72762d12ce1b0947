/** Who a member is, across epochs and leaves (SPEC GROUP). */
import { concatBytes, utf8 } from '../bytes.js'
import type { CryptoProvider } from '../crypto/index.js'

const MEMBER_ID_BYTES = 16

/** First 16 bytes of SHA-256 over "heddle/1 member", a zero byte, the group id and the leaf's signature key. */
export function memberIdOf(
  crypto: Pick<CryptoProvider, 'sha256'>,
  groupId: Uint8Array,
  signaturePublicKey: Uint8Array
): Uint8Array {
  return crypto.sha256(concatBytes(utf8('heddle/1 member\0'), groupId, signaturePublicKey)).slice(0, MEMBER_ID_BYTES)
}
