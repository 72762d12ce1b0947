/**
 * The way in: a challenge, the client's proof of its key, and the policy's answer, all within one time limit. The relay
 * calls it for every new link.
 */
import { HeddleError } from '@heddle/core'
import type { Applicant, Authorize } from './authorize.js'
import type { Link, LinkHost } from './link/index.js'
import { CHALLENGE_BYTES, malformed, provenEndpointId, serverChallenge, serverDeniesAuth } from './protocol/index.js'

/**
 * The endpoint id of a client that may use the relay, owned by the caller; undefined when it was turned away, which then
 * has been counted and logged, and the link is closing.
 */
export async function admit(
  link: Link,
  applicant: Omit<Applicant, 'signal'>,
  authorize: Authorize,
  host: LinkHost
): Promise<Uint8Array | undefined> {
  const { context, counters, limits } = host
  const stop = new AbortController()
  let isOver = false
  using _timer = context.clock.setTimer(limits.handshakeTimeoutMs, () => {
    isOver = true
    counters.handshakesTimedOut += 1
    const error = new HeddleError('UNAUTHENTICATED', `no proof of its key within ${limits.handshakeTimeoutMs} ms`)
    turnAway(link, error)
    stop.abort(error)
  })
  void link.closed.then(() => stop.abort(new HeddleError('TRANSPORT_CLOSED', 'the client has left the iroh relay')))
  const challenge = context.random(CHALLENGE_BYTES)
  const proof = firstMessage(link)
  link.send(serverChallenge(challenge))
  try {
    const frame = await proof
    if (frame === undefined || isOver) {
      if (!isOver) counters.handshakesRefused += 1
      return undefined
    }
    const endpointId = provenEndpointId(frame, challenge)
    const answer = authorize(endpointId, { ...applicant, signal: stop.signal })
    const isAllowed = await Promise.race([answer, link.closed.then(() => undefined)])
    if (isAllowed === undefined || isOver) return undefined
    if (isAllowed) return endpointId
    counters.clientsDenied += 1
    turnAway(link, new HeddleError('FORBIDDEN', 'this endpoint may not use this relay; ask its operator'))
  } catch (error) {
    if (stop.signal.aborted) return undefined
    counters.handshakesRefused += 1
    if (HeddleError.is(error)) {
      turnAway(link, error)
    } else {
      context.log('error', 'iroh-relay.authorize-failed', { remote: link.remote, error })
      turnAway(
        link,
        new HeddleError('INTERNAL', 'the relay could not find out whether this endpoint may use it; its log says why')
      )
    }
  }
  return undefined
}

/** The client's first message; undefined when there is none before the end. A second one is too early. */
function firstMessage(link: Link): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let isFirst = true
    link.attach({
      message: (frame) => {
        if (!isFirst) throw malformed('a frame before its handshake was over')
        isFirst = false
        resolve(frame)
      },
      throttled: () => {}
    })
    void link.closed.then(() => resolve(undefined))
  })
}

function turnAway(link: Link, error: HeddleError): void {
  link.send(serverDeniesAuth(error.message))
  link.refuse(error)
}
