/** Key pairs for tests; the same identity for the same number. */
import type { EndpointIdentity } from '@heddle/core'
import { loadIroh } from '../src/native/index.js'

const iroh = await loadIroh()

export function identity(number: number): EndpointIdentity {
  const secretKey = new Uint8Array(32).fill(number)
  return { secretKey, publicKey: iroh.publicKey(secretKey) }
}
