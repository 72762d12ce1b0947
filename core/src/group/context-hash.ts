/** Names of an epoch and of the group that may follow it (SPEC GROUP), from the GroupContext alone. */
import type { GroupContext } from 'ts-mls/groupContext.js'
import { concatBytes, utf8 } from '../bytes.js'
import type { CryptoProvider } from '../crypto/index.js'
import { encodeContext } from './mls/index.js'

export const GROUP_ID_BYTES = 16

/** SHA-256 over "heddle/1 group context", a zero byte and the encoded GroupContext: names epoch and branch. */
export function contextHash(crypto: Pick<CryptoProvider, 'sha256'>, context: GroupContext): Uint8Array {
  return crypto.sha256(concatBytes(utf8('heddle/1 group context\0'), encodeContext(context)))
}

/**
 * Id of the group that a ReInit in this epoch leads to: the first 16 bytes of SHA-256 over "heddle/1 successor", a zero
 * byte and the context hash. Nobody can choose it, so a ReInit cannot lead into a group that was there before.
 */
export function successorId(crypto: Pick<CryptoProvider, 'sha256'>, ctx: Uint8Array): Uint8Array {
  return crypto.sha256(concatBytes(utf8('heddle/1 successor\0'), ctx)).slice(0, GROUP_ID_BYTES)
}
