/** Who may use a relay: the hook that is asked once per connection, and ready-made policies for it. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { HeddleError } from '@heddle/core'
import { ENDPOINT_ID_BYTES, keyOf } from './protocol/index.js'

/** What else is known of who asks. */
export interface Applicant {
  /** What the client sent as "Authorization: Bearer …" or as ?token=…; nothing has checked it. */
  readonly token: string | undefined
  /** The network address it comes from. */
  readonly remote: string
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal
}

/**
 * Whether the endpoint, whose key the handshake has proven, may use the relay. `endpointId` has 32 bytes and is borrowed. An
 * error counts as a refusal and is logged.
 */
export type Authorize = (endpointId: Uint8Array, applicant: Applicant) => boolean | Promise<boolean>

/** An open relay: forwards for anybody who finds it. */
export const everyone: Authorize = () => true

/** The endpoints of a fixed list, 32 bytes each. Throws CONFIG_INVALID. */
export function members(endpointIds: Iterable<Uint8Array>): Authorize {
  const known = new Set(Array.from(endpointIds, memberKey))
  return (endpointId) => known.has(keyOf(endpointId))
}

/** Whoever sends one of these tokens (`authToken` in iroh's relay configuration). Throws CONFIG_INVALID. */
export function tokens(accepted: readonly string[]): Authorize {
  if (accepted.length === 0 || accepted.some((token) => token === '')) {
    throw new HeddleError(
      'CONFIG_INVALID',
      'tokens() of the iroh relay needs at least one token, and none may be empty'
    )
  }
  // Digests have one length, so that comparing them takes the same time for every guess.
  const digests = accepted.map(digest)
  return (_, { token }) => {
    if (token === undefined) return false
    const offered = digest(token)
    return digests.reduce((found, one) => timingSafeEqual(one, offered) || found, false)
  }
}

/** Whoever any of the policies lets in; they are asked in order. */
export function anyOf(...policies: readonly Authorize[]): Authorize {
  return async (endpointId, applicant) => {
    for (const policy of policies) if (await policy(endpointId, applicant)) return true
    return false
  }
}

export function applicantOf(request: IncomingMessage): Omit<Applicant, 'signal'> {
  const bearer = /^bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
  const query = (request.url ?? '').split('?', 2)[1] ?? ''
  return {
    token: bearer ?? new URLSearchParams(query).get('token') ?? undefined,
    remote: request.socket.remoteAddress ?? 'unknown'
  }
}

function memberKey(endpointId: Uint8Array): string {
  if (endpointId.length === ENDPOINT_ID_BYTES) return keyOf(endpointId)
  throw new HeddleError(
    'CONFIG_INVALID',
    `members() of the iroh relay takes endpoint ids of ${ENDPOINT_ID_BYTES} bytes, not ${endpointId.length}`
  )
}

function digest(token: string): Uint8Array {
  return createHash('sha256').update(token).digest()
}
