/** The messages the wire benchmark works on: valid ones, of the sizes that matter. */
import type { Envelope, Frame, StatePayload, Vote } from '../../../core/src/wire/index.js'

/** Phase 2b of Paxos, as it is signed: about 150 bytes. */
export const vote: Vote = {
  group: bytes(16, 1),
  slot: 1_234n,
  ctx: bytes(32, 2),
  ballot: { round: 3n, leaf: 17, incarnation: 0n },
  valueHash: bytes(32, 3),
  server: bytes(32, 4),
  statementSeq: 56_789n
}

/** One typed character under encryption: 100 bytes of ciphertext, header and signature around it. */
export const envelope: Envelope = {
  header: bytes(112, 5),
  senderData: bytes(28, 6),
  ciphertext: bytes(100, 7),
  signature: bytes(64, 8)
}

/** A page of the log as a server sends it: 1000 envelopes of about 300 bytes. */
export const batch: Frame = {
  request: 0n,
  body: {
    $case: 'deliver',
    value: {
      group: bytes(16, 1),
      afterPosition: 10_000n,
      throughPosition: 11_000n,
      envelopes: Array.from({ length: 1_000 }, (_, i) => bytes(300 + (i % 16), i)),
      caughtUp: false
    }
  }
}

/** A snapshot of 1 MiB: the heads it stands for, and the body. */
export const snapshot: StatePayload = {
  heads: Array.from({ length: 100 }, (_, i) => ({
    member: bytes(16, i),
    seq: BigInt(1 + i * 1_000),
    hash: bytes(32, i + 1)
  })),
  state: bytes(1024 * 1024, 9),
  epochAuthenticator: bytes(8, 10)
}

/** Bytes that are no text and not all the same. */
function bytes(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7) & 0xff)
}
