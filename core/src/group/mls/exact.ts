/**
 * The guard around a decoder of ts-mls, which accepts trailing bytes and some encodings that are not canonical, and
 * sometimes throws a TypeError. Called by the codecs of this room.
 */
import type { Decoder } from 'ts-mls/codec/tlsDecoder.js'
import { type BufferEncoder, encode } from 'ts-mls/codec/tlsEncoder.js'
import { equalBytes } from '../../bytes.js'
import { HeddleError } from '../../errors.js'

/** Decodes all of the bytes or throws MALFORMED. The value shares no memory with the argument. */
export function decodeExact<T>(
  bytes: Uint8Array,
  { decoder, encoder, what }: { decoder: Decoder<T>; encoder: BufferEncoder<T>; what: string }
): T {
  try {
    const decoded = decoder(new Uint8Array(bytes), 0)
    if (decoded !== undefined) {
      const [value, consumed] = decoded
      if (consumed === bytes.length && equalBytes(encode(encoder)(value), bytes)) return value
    }
  } catch (cause) {
    throw new HeddleError('MALFORMED', `The bytes are no MLS ${what}`, { cause })
  }
  throw new HeddleError('MALFORMED', `The bytes are no MLS ${what}, or not in its only encoding`)
}
