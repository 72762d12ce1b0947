/** The door of the sync room: pure rules of envelopes, chains and vectors. No I/O, no clock, no MLS. */
export { chainStart, digest, type ParsedEnvelope, parseEnvelope } from './envelope.js'
export { quorumSeq, StateVector, type Succession } from './vector.js'
export { type WaitingLimits, WaitingRoom, waitingLimits } from './waiting.js'
