/** ExpandWithLabel and what is built on it (RFC 9420 section 8), synchronous: it runs several times for every message. */
import { emptyBytes, utf8 } from '../../bytes.js'
import type { CryptoProvider } from '../../crypto/index.js'
import { TlsWriter, vectorBytes } from './tls.js'

export const SECRET_BYTES = 32

/** A label of RFC 9420 as it is encoded: with "MLS 1.0 " before it. */
export function label(text: string): Uint8Array {
  return utf8(`MLS 1.0 ${text}`)
}

/** `labelBytes` comes from `label`. */
export function expandWithLabel(
  crypto: CryptoProvider,
  secret: Uint8Array,
  labelBytes: Uint8Array,
  context: Uint8Array,
  length: number
): Uint8Array {
  const infoBytes = 2 + vectorBytes(labelBytes.length) + vectorBytes(context.length)
  const info = new TlsWriter(infoBytes).uint16(length).vector(labelBytes).vector(context).finish()
  return crypto.hkdfExpand(secret, info, length)
}

export function deriveSecret(crypto: CryptoProvider, secret: Uint8Array, labelBytes: Uint8Array): Uint8Array {
  return expandWithLabel(crypto, secret, labelBytes, emptyBytes, SECRET_BYTES)
}

/** RFC 9420 section 9.1. */
export function deriveTreeSecret(
  crypto: CryptoProvider,
  secret: Uint8Array,
  labelBytes: Uint8Array,
  generation: number,
  length: number
): Uint8Array {
  return expandWithLabel(crypto, secret, labelBytes, new TlsWriter(4).uint32(generation).finish(), length)
}
