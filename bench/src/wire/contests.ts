/**
 * What is measured: each sample, decoded and encoded by each contender. Before anything is timed it is made sure that all
 * of them do the same work: equal bytes out, equal messages in.
 */
import { isDeepStrictEqual } from 'node:util'
import type * as wire from '../../../core/src/wire/index.js'
import type { Codec } from '../../../core/src/wire/index.js'
import * as byHand from './hand-written.js'
import type { Libraries } from './libraries.js'
import { batch, envelope, snapshot, vote } from './samples.js'

export const contenders = ['heddle', 'hand-written', 'ts-proto', 'protobufjs'] as const
export type Contender = (typeof contenders)[number]

/** The modules of the schema in which ts-proto finds the messages. */
export const wireHomes = { Vote: 'paxos', Envelope: 'sync', StatePayload: 'sync', Frame: 'frame' }

/** One kind of work, done by everyone. */
export interface Contest {
  /** "decode.vote". */
  readonly id: string
  /** "decode a vote". */
  readonly label: string
  /** Size of the message, bytes. */
  readonly size: number
  readonly tasks: Readonly<Record<Contender, () => unknown>>
}

type Wire = typeof wire

/** The contests on all samples. Throws when two contenders disagree. */
export function newContests(room: Wire, libraries: Libraries): readonly Contest[] {
  return [
    ...contest('vote', 'a Paxos vote', 'Vote', room.Vote, vote, byHand.decodeVote, byHand.encodeVote, libraries),
    ...contest(
      'envelope',
      'an envelope of 100 bytes',
      'Envelope',
      room.Envelope,
      envelope,
      byHand.decodeEnvelope,
      byHand.encodeEnvelope,
      libraries
    ),
    ...contest(
      'batch',
      'a batch of 1000',
      'Frame',
      room.Frame,
      batch,
      byHand.decodeBatch,
      byHand.encodeBatch,
      libraries
    ),
    ...contest(
      'snapshot',
      'a snapshot of 1 MiB',
      'StatePayload',
      room.StatePayload,
      snapshot,
      byHand.decodeSnapshot,
      byHand.encodeSnapshot,
      libraries
    )
  ]
}

function contest<T>(
  id: string,
  what: string,
  name: string,
  codec: Codec<T>,
  message: T,
  decodeByHand: (bytes: Uint8Array) => T,
  encodeByHand: (message: T) => Uint8Array,
  libraries: Libraries
): readonly Contest[] {
  const bytes = codec.encode(message)
  const tsProto = libraries.tsProto(name)
  const protobufjs = libraries.protobufjs(name)
  const tsProtoMessage = tsProto.decode(bytes)
  const protobufjsMessage = protobufjs.decode(bytes)
  const decode = {
    heddle: () => codec.decode(bytes),
    'hand-written': () => decodeByHand(bytes),
    'ts-proto': () => tsProto.decode(bytes),
    protobufjs: () => protobufjs.decode(bytes)
  }
  const encode = {
    heddle: () => codec.encode(message),
    'hand-written': () => encodeByHand(message),
    'ts-proto': () => tsProto.encode(tsProtoMessage).finish(),
    protobufjs: () => protobufjs.encode(protobufjsMessage).finish()
  }
  for (const contender of ['heddle', 'hand-written', 'ts-proto'] as const) {
    if (!isDeepStrictEqual(decode[contender](), message))
      throw new Error(`${contender} reads ${what} as another message`)
  }
  for (const contender of contenders) {
    if (Buffer.compare(encode[contender](), bytes) !== 0) throw new Error(`${contender} writes ${what} as other bytes`)
  }
  return [
    { id: `decode.${id}`, label: `decode ${what}`, size: bytes.length, tasks: decode },
    { id: `encode.${id}`, label: `encode ${what}`, size: bytes.length, tasks: encode }
  ]
}
