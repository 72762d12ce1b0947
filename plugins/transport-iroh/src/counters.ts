/** What an iroh transport has seen since it was started, for health pages and tests. */
export interface Counters {
  connectionsDialled: number
  connectionsAccepted: number
  /** Handshakes that failed because of what the peer sent or proved. */
  handshakesRefused: number
  handshakesTimedOut: number
  /** Turned away because too many connections were waiting, or too many were open. */
  refusedBusy: number
  /** Connections ended because the peer broke the protocol. */
  protocolErrors: number
}

export function newCounters(): Counters {
  return {
    connectionsDialled: 0,
    connectionsAccepted: 0,
    handshakesRefused: 0,
    handshakesTimedOut: 0,
    refusedBusy: 0,
    protocolErrors: 0
  }
}
