/** Reading requests (SPEC SRV): what a subscription begins with, and a sender's envelopes by number. */
import { toHex } from '../bytes.js'
import type { Body } from '../net/index.js'
import type { Fetch } from '../wire/index.js'
import type { Document } from './document.js'
import type { Reply } from './parts.js'

/** What is durable at this moment, to begin a subscription with. */
export function subscribedBody({ durable, group }: Document): Body {
  const { slot, position, senders } = durable
  return { $case: 'subscribed', value: { group, slot, position, heads: [...senders.values()].map(({ head }) => head) } }
}

/** As many as fit into a page. */
export async function fetchEnvelopes(document: Document, request: Fetch, peer: Uint8Array): Promise<Reply> {
  document.requireMember(peer)
  const { store, parts, group } = document
  const known = document.durable.senders.get(toHex(request.member))
  const positions = known === undefined ? [] : await store.readPositions(request.member, request.fromSeq, request.max)
  const envelopes: Uint8Array[] = []
  let bytes = 0
  for (const position of positions) {
    const { bytes: envelope } = await store.readEnvelope(position)
    bytes += envelope.length
    if (envelopes.length > 0 && bytes > parts.limits.pageBytesMax) break
    envelopes.push(envelope)
  }
  return { body: () => ({ $case: 'fetched', value: { group, envelopes } }) }
}
