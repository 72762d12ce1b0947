/** The door of the device room: what apps use. */
export type * from './api.js'
export { openDevice } from './device.js'
export type { ClaimIdentity, LeafClaim, MemberClaim, MemberVerdict, VerifyMember } from './identity.js'
export { formatTicket, parseTicket } from './links.js'
export { type Fingerprint, type FingerprintCheck, parseFingerprint } from './safety.js'
