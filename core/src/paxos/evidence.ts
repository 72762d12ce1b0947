/**
 * Evidence of guilt (SPEC PAXOS, fraud proofs): two statements that one honest signer never makes together. It proves
 * itself, since both are signed; whoever finds it hands it on and an admin may remove the signer by a commit.
 */
import type { Signed } from '../wire/index.js'

export type Evidence =
  /** A leaf sent two values in one ballot. */
  | { readonly kind: 'accepts'; readonly leaf: number; readonly first: Signed; readonly second: Signed }
  /** A server voted for two values in one ballot. */
  | { readonly kind: 'votes'; readonly server: Uint8Array; readonly first: Signed; readonly second: Signed }
  /** A server reported different things in two promises for one ballot. */
  | { readonly kind: 'promises'; readonly server: Uint8Array; readonly first: Signed; readonly second: Signed }
