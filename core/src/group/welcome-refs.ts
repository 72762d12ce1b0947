/** Whom a Welcome is for (RFC 9420 section 12.4.3.1): what a server files it under, which cannot read it. */
import { decodeWelcome } from './mls/index.js'

/** KeyPackageRefs of the joiners of a Welcome (MLSMessage), copies. Throws MALFORMED. */
export function welcomeRefs(welcome: Uint8Array): readonly Uint8Array[] {
  return decodeWelcome(welcome).secrets.map(({ newMember }) => newMember.slice())
}
