/** What a relay has seen since it was started, for health pages and tests. */
export interface Counters {
  clientsAccepted: number
  /** Proved their key, and the policy refused it. */
  clientsDenied: number
  /** Pushed off by a newer connection of the same endpoint, for as long as that lasts. */
  clientsReplaced: number
  /** Given up: no answer to a ping, or a full queue that did not move. */
  clientsLost: number
  /** Times a client was made to wait because it sent faster than it may. */
  clientsThrottled: number
  /** Wrong signatures and anything else that was no handshake. */
  handshakesRefused: number
  handshakesTimedOut: number
  /** Turned away because too many were connected or connecting. */
  refusedBusy: number
  /** Connections ended because the client broke the protocol. */
  protocolErrors: number
  framesForwarded: number
  bytesForwarded: number
  /** Dropped because the destination's queue was full. */
  framesDropped: number
  /** Dropped because the destination is not connected. */
  framesUnroutable: number
}

export function newCounters(): Counters {
  return {
    clientsAccepted: 0,
    clientsDenied: 0,
    clientsReplaced: 0,
    clientsLost: 0,
    clientsThrottled: 0,
    handshakesRefused: 0,
    handshakesTimedOut: 0,
    refusedBusy: 0,
    protocolErrors: 0,
    framesForwarded: 0,
    bytesForwarded: 0,
    framesDropped: 0,
    framesUnroutable: 0
  }
}
