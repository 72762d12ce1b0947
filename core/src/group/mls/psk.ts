/** Pre-shared keys (RFC 9420 sections 8.4 and 12.1.4): the rules for their ids, and the secret they make together. */
import { encodePskId, type PreSharedKeyID, updatePskSecret } from 'ts-mls/presharedkey.js'
import { toHex } from '../../bytes.js'
import type { CipherSuite } from '../../crypto/index.js'
import { ensure, ensureValid } from './errors.js'
import { SECRET_BYTES } from './kdf.js'
import { PSKS_MAX } from './limits.js'

/** Finds a key, or says that it is not had. The key stays the owner's. */
export type PskSource = (id: PreSharedKeyID) => Uint8Array | undefined

/** How a group may be the continuation of another (RFC 9420 sections 11.2 and 11.3). */
export type SuccessionUsage = 'reinit' | 'branch'

/**
 * Throws INVALID unless the ids are as RFC 9420 allows in one commit or Welcome: nonces of the length of the hash, none
 * twice, and of the usages reinit and branch one at most, only at the beginning of a group.
 */
export function checkPskIds(ids: readonly PreSharedKeyID[], atStart: boolean): void {
  ensureValid(ids.length <= PSKS_MAX, `${ids.length} pre-shared keys at once`)
  ensureValid(
    ids.every(({ pskNonce }) => pskNonce.length === SECRET_BYTES),
    'The nonce of a pre-shared key has not the length of the hash'
  )
  const distinct = new Set(ids.map((id) => toHex(encodePskId(id))))
  ensureValid(distinct.size === ids.length, 'A pre-shared key occurs twice')
  const { length } = ids.filter(isSuccession)
  ensureValid(
    length === 0 || (atStart && length === 1),
    'A group follows another only from its first commit, and one only'
  )
}

export type SuccessionPsk = Extract<PreSharedKeyID, { psktype: 'resumption' }> & { readonly usage: SuccessionUsage }

export function isSuccession(id: PreSharedKeyID): id is SuccessionPsk {
  return id.psktype === 'resumption' && id.usage !== 'application'
}

/** psk_secret of the keys in this order; zeros without any. Throws NOT_FOUND for a key that `source` has not. */
export async function pskSecretOf(
  ids: readonly PreSharedKeyID[],
  source: PskSource,
  { mls }: CipherSuite
): Promise<Uint8Array> {
  let secret: Uint8Array = new Uint8Array(SECRET_BYTES)
  for (const [index, id] of ids.entries()) {
    const key = source(id)
    ensure(key !== undefined, 'NOT_FOUND', `This device has not the pre-shared key ${describe(id)}`)
    secret = await updatePskSecret(secret, id, key, index, ids.length, mls)
  }
  return secret
}

function describe(id: PreSharedKeyID): string {
  return id.psktype === 'external'
    ? `with id ${toHex(id.pskId)}`
    : `of epoch ${id.pskEpoch} of group ${toHex(id.pskGroupId)}`
}
