/**
 * Hashes of values and of proofs (SPEC PAXOS). A value is opaque here: the canonical bytes of a `Value`. It is compared,
 * voted on and applied by its hash only, never by who proposed it.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { compareBytes, concatBytes, utf8 } from '../bytes.js'
import type { PromiseStatement, Statement } from './statement.js'

/** SHA-256 over "heddle/1 value hash", a zero byte and the canonical bytes of the Value. */
export function valueHash(valueBytes: Uint8Array): Uint8Array {
  return sha256.create().update(valueLabel).update(valueBytes).digest()
}

/**
 * SHA-256 over "heddle/1 proof", a zero byte and every promise's statement bytes after their length (u32, big-endian),
 * in ascending order of server ids, whatever order they are given in.
 */
export function proofHash(promises: readonly Statement<PromiseStatement>[]): Uint8Array {
  const ascending = [...promises].sort((a, b) => compareBytes(a.value.server, b.value.server))
  const hash = sha256.create().update(proofLabel)
  for (const { bytes } of ascending) hash.update(concatBytes(u32Bytes(bytes.length), bytes))
  return hash.digest()
}

const valueLabel = utf8('heddle/1 value hash\0')
const proofLabel = utf8('heddle/1 proof\0')

function u32Bytes(value: number): Uint8Array {
  const out = new Uint8Array(4)
  new DataView(out.buffer).setUint32(0, value)
  return out
}
