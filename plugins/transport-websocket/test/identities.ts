/** Key pairs and signatures for tests; made with @noble, so that the transport's own signing is checked by another hand. */
import type { EndpointIdentity } from '@heddle/core'
import { ed25519 } from '@noble/curves/ed25519.js'

/** The same identity for the same number. */
export function identity(number: number): EndpointIdentity {
  const secretKey = new Uint8Array(32).fill(number)
  return { secretKey, publicKey: ed25519.getPublicKey(secretKey) }
}

export function sign({ secretKey }: EndpointIdentity, message: Uint8Array): Uint8Array {
  return ed25519.sign(message, secretKey)
}
