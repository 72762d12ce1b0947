/** The door of the sync room: pure rules of envelopes, chains and vectors. No I/O, no clock, no MLS. */
export { chainStart, digest, type ParsedEnvelope, parseEnvelope } from './envelope.js'
export { convictedBy, digestOf } from './fork.js'
export { samePosition, Standings, type Verdict } from './standing.js'
export { chainBefore, quorumSeq, StateVector, type Succession } from './vector.js'
export { type WaitingLimits, WaitingRoom, waitingLimits } from './waiting.js'
